"""Damages files at random, 10,000 times, and counts how reading them ends.

Files of other projects that the converter reads, everything that this pack's own nodes save, and (--folders) parts of a
diffusers folder and of a scorer's folder. Every outcome must be a file that still reads or one clear error; a crash, a
hang or another exception is a defect and ends the run with status 1.

python benchmarks/mutate_files.py [--count 10000] [--seed 0] [--folders]
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

import numpy as np
import torch
from _injuries import mutate
from _own_files import Sample, own_files, own_folders
from semantic_edit.models import (
    CheckpointError,
    InputError,
    ProgressiveConfig,
    ProgressiveGAN,
    StyleGAN2,
    StyleGAN2Config,
    load_generator,
    save_generator,
)
from semantic_edit.models.convert import convert_file
from semantic_edit.models.encoders.encoder import load_encoder, save_encoder
from semantic_edit.models.encoders.irse import IrseConfig, IrseEncoder
from semantic_edit.models.files.direction import read_direction, write_direction
from semantic_edit.models.loading.torchvision_stubs import allow_declaring

LARGE = 1000.0  # MB by which one file may raise the peak
SLOW = 20.0  # seconds of work after which a single file counts as a hang


def peak_memory() -> float:
    """The largest memory that this process had so far, in MB; 0 where the system does not say."""
    return 0.0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def load_forge() -> object:
    """tests/unit/checkpoint_forge.py, which makes files with the structure of other projects' checkpoints."""
    path = Path(__file__).resolve().parents[1] / "tests" / "unit" / "checkpoint_forge.py"
    spec = importlib.util.spec_from_file_location("checkpoint_forge", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["checkpoint_forge"] = module
    spec.loader.exec_module(module)
    return module


def samples(folder: Path) -> list[Sample]:
    """(name, bytes, reader) of a small good file of every format."""
    forge = load_forge()
    config = StyleGAN2Config(z_dim=4, w_dim=4, channels=(4, 4), mapping_layers=1)
    network = StyleGAN2(config).requires_grad_(False)
    made: list[Sample] = []

    def add(name: str, content: bytes, reader: Callable[[Path, Path], object]) -> None:
        made.append((name, content, reader))

    def convert(path: Path, target: Path) -> object:
        return convert_file(path, target, lambda text: None, overwrite=True)

    def torch_bytes(value: object, old: bool) -> bytes:
        buffer = io.BytesIO()
        torch.save(value, buffer, _use_new_zipfile_serialization=not old)
        return buffer.getvalue()

    def numpy_bytes(save: Callable[..., None], *arrays: np.ndarray, **named: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        save(buffer, *arrays, **named)
        return buffer.getvalue()

    add("nvlabs.pkl", forge.dumps(forge.nvlabs_snapshot(network, True), 4), convert)
    add("stylegan3.pkl", forge.dumps({"G_ema": forge.nvlabs_generator(network, False)}, 2), convert)
    add("tensorflow.pkl", forge.dumps(forge.tensorflow_snapshot(network), 3), convert)
    add("weights.pt", torch_bytes(network.state_dict(), old=False), convert)
    add("old_weights.pt", torch_bytes(network.state_dict(), old=True), convert)
    progressive = ProgressiveGAN(ProgressiveConfig(4, (4, 4))).requires_grad_(False)
    parts = {"weight": "conv.weight", "bias": "wscale.b"}
    theirs = {
        f"{layer.replace('output', 'output_8x8')}.{parts[part]}": tensor
        for (layer, part), tensor in ((n.split("."), t) for n, t in progressive.synthesis.state_dict().items())
    }
    add("church.pth", torch_bytes(theirs, old=True), convert)
    encoder = IrseEncoder(IrseConfig(4, size=(32, 32), widths=(2, 2, 3, 4, 5), units=(1, 1, 1, 1), w_dim=5))
    state = {f"encoder.{n}": t for n, t in encoder.requires_grad_(False).state_dict().items() if n != "w_mean"}
    options = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True}
    add("e4e.pt", torch_bytes({"state_dict": state, "latent_avg": encoder.w_mean, "opts": options}, False), convert)
    add("direction.pt", torch_bytes(torch.ones(1, 16), old=False), convert)
    add("latents.pt", torch_bytes(torch.ones(2, 6, 16), old=False), convert)
    add("projected_w.npz", numpy_bytes(np.savez, w=np.ones((1, 6, 16), np.float32)), convert)
    add("compiled.pt", torch_bytes({f"_orig_mod.{n}": t for n, t in network.state_dict().items()}, old=False), convert)
    add("boundary.npy", numpy_bytes(np.save, np.ones((1, 32), np.float32)), convert)
    add("components.npz", numpy_bytes(np.savez_compressed, lat_comp=np.ones((4, 1, 32), np.float32)), convert)
    generator = save_generator(folder / "generator.safetensors", network)
    add("generator.safetensors", generator.read_bytes(), lambda path, target: load_generator(path))
    church = save_generator(folder / "church.safetensors", progressive)
    add("church.safetensors", church.read_bytes(), lambda path, target: load_generator(path))
    encoded = save_encoder(folder / "encoder.safetensors", encoder)
    add("encoder.safetensors", encoded.read_bytes(), lambda path, target: load_encoder(path))
    direction = write_direction(folder / "direction.safetensors", torch.ones(4, 4), layers=(0, 1), name="smile")
    add("direction.safetensors", direction.read_bytes(), lambda path, target: read_direction(path))
    return made


def run(
    count: int, seed: int, folder: Path, report: Callable[[str], None], folders: bool = False
) -> tuple[Counter, list[str]]:
    """`count` mutated files. Returns the outcomes per format and the defects found."""
    rng = random.Random(seed)
    good = [*samples(folder), *own_files(folder)]
    in_folders = own_folders(folder) if folders else []
    good += in_folders
    parts = {name for name, *_ in in_folders}
    outcomes: Counter = Counter()
    slowest, largest = (0.0, ""), (0.0, "")
    defects: list[str] = []
    target = folder / "out" / "out.safetensors"
    target.parent.mkdir()
    for number in range(count):
        name, content, reader = good[number % len(good)]
        path = folder / name
        path.write_bytes(mutate(name, content, rng))
        started, memory = time.process_time(), peak_memory()
        try:
            reader(path, target)
            outcome = "read"
        except InputError as problem:
            outcome = "refused"
            if name not in parts and not isinstance(problem, CheckpointError):
                defects.append(f"{number} {name}: not an error about a file: {problem}")
            if (name not in parts and not str(problem).startswith(name)) or "\n" in str(problem):
                defects.append(f"{number} {name}: no clear sentence: {problem}")
        except Exception as problem:
            outcome = "defect"
            defects.append(f"{number} {name}: {type(problem).__name__}: {problem}")
        seconds, grown = time.process_time() - started, peak_memory() - memory
        slowest, largest = max(slowest, (seconds, name)), max(largest, (grown, name))
        if seconds > SLOW:
            defects.append(f"{number} {name}: {seconds:.0f} s")
        if grown > LARGE and number >= 2 * len(good):  # the first of each kind loads libraries
            defects.append(f"{number} {name}: {grown:.0f} MB")
        left = [file.name for file in target.parent.iterdir() if file != target or outcome != "read"]
        if left:
            defects.append(f"{number} {name}: left {left}")
        target.unlink(missing_ok=True)
        outcomes[name, outcome] += 1
        if (number + 1) % 1000 == 0:
            report(f"{number + 1} files, {len(defects)} defects")
    report(f"slowest {slowest[0]:.2f} s ({slowest[1]}), largest growth of memory {largest[0]:.0f} MB ({largest[1]})")
    report(f"peak memory {peak_memory():.0f} MB")
    return outcomes, defects


def main() -> int:
    """Prints the table; 0 when there was no defect."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folders", action="store_true", help="damage parts of model folders too (slower)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    allow_declaring()
    with tempfile.TemporaryDirectory() as folder:
        outcomes, defects = run(options.count, options.seed, Path(folder), say, options.folders)
    say("| file | still reads | refused with a sentence |")
    say("|---|---|---|")
    for name in dict.fromkeys(name for name, _ in outcomes):
        say(f"| {name} | {outcomes[name, 'read']} | {outcomes[name, 'refused']} |")
    say(f"{options.count} mutated files, {len(defects)} defects")
    for defect in defects[:20]:
        say(defect)
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
