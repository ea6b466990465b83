"""How many scored portraits does a fitted normal need, and what is choosing the ridge worth?

Portraits of the demo generator, scored by the training's regressor (never by the oracle); R2 of the normal's guess on
100 portraits that took no part, beside the fit's own held-out figure and a fixed ridge of 0.001.

    python benchmarks/fit_direction.py [--samples 16 40 100 300]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from _harness import say, table
from semantic_edit.demo.assets import demo_reader
from semantic_edit.demo.portraits.factors import LIVE_NAMES
from semantic_edit.editing import attribute_values
from semantic_edit.editing.common.fit import fit_attribute
from semantic_edit.editing.common.types import GanLatent
from semantic_edit.editing.one_for_all.supervised import fit_direction
from semantic_edit.models import load_generator

GENERATOR = Path(__file__).resolve().parent.parent / "models/demo/generators/demo_portraits.safetensors"
ATTRIBUTES = ("yaw", "smile", "glasses")
UNSEEN = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[16, 40, 100, 300])
    options = parser.parse_args()
    generator = load_generator(GENERATOR)
    most = max(options.samples)
    w = generator.map(torch.randn(most + UNSEEN, generator.z_dim, generator=torch.Generator().manual_seed(9)))
    scores = torch.cat([demo_reader("features")(generator.synthesize(part)) for part in w.split(32)])
    rows = []
    for attribute in ATTRIBUTES:
        column = scores[:, LIVE_NAMES.index(attribute)]
        for count in options.samples:
            edit, report = fit_direction(GanLatent(w[:count]), column[:count])
            fixed = fit_attribute(w[:count, 0], column[:count])
            ours = r2(attribute_values(edit, w[most:]) + report.intercept, column[most:])
            plain = r2(w[most:, 0] @ fixed.normal + fixed.intercept, column[most:])
            rows.append([attribute, count, f"{report.r2:.2f}", f"{ours:.2f}", f"{plain:.2f}", f"{report.ridge:g}"])
    say(table(["attribute", "samples", "R2 it reports", "R2 unseen", "with a fixed ridge", "ridge chosen"], rows))


def r2(guess: torch.Tensor, truth: torch.Tensor) -> float:
    return 1 - float((guess - truth).square().sum() / (truth - truth.mean()).square().sum())


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
