"""Retrain a demo checkpoint: ``python -m semantic_edit.offline.train_demo JOB --out DIR [--smoke] [--resume]``."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch

from .common import TrainingRun

# job: (module, function, seed). Modules are imported when chosen, so that a job needs only its own pieces.
JOBS = {
    "regressor": ("readers", "train_regressor", 5),
    "oracle": ("readers", "train_oracle", 71),
    "generator": ("generator", "train_generator", 1),
    "encoder": ("encoder", "train_encoder", 13),
    "directions": ("directions", "train_directions", 41),
    "concepts": ("concepts", "train_concepts", 61),
    "segmenter": ("segmenter", "train_segmenter", 41),
    "identity": ("identity", "train_identity", 29),
    "scorer": ("scorer", "train_scorer", 57),
    "diffusion": ("diffusion", "train_diffusion", 83),
}


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line (default: the process's own) and run one job."""
    parser = argparse.ArgumentParser(prog="python -m semantic_edit.offline.train_demo", description=__doc__)
    parser.add_argument("job", choices=sorted(JOBS))
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, logs and sample sheets")
    parser.add_argument("--seed", type=int, help="default: the seed of the shipped checkpoint")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    parser.add_argument("--resume", action="store_true", help="go on from what OUT holds (generator, diffusion)")
    options = parser.parse_args(arguments)
    module, function, seed = JOBS[options.job]
    seed = seed if options.seed is None else options.seed
    run = TrainingRun(options.job, options.out, seed, options.smoke, options.resume)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(options.threads)
        with torch.random.fork_rng(devices=[]):
            getattr(importlib.import_module(f".{module}", __package__), function)(run)
    finally:
        torch.set_num_threads(threads)
        run.close()


if __name__ == "__main__":
    main()
