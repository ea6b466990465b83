"""Checkpoints of a job: a file of this machine, an address, or the name of one that comes with the pack."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from ..models import load_generator
from ..models.encoders.encoder import PictureEncoder, load_encoder
from ..models.errors import InputError
from ..models.gan.generator import GanGenerator
from .stores import is_remote, open_store

__all__ = ["NO_ENCODER", "checkpoint_file", "load_networks", "shipped_file"]

NO_ENCODER = "none"

_SHIPPED = Path(__file__).resolve().parents[1] / "models" / "demo"


def shipped_file(name: str, kind: str) -> Path:
    """Return a path as typed, or that of a shipped file by its bare name.

    Args:
        kind: the folder of the shipped files: "generators", "encoders", "directions", "scorers".

    Raises:
        InputError: a bare name that nothing has.
    """
    path = Path(name)
    if path.exists() or path.suffix or path.name != name:
        return path
    folder = _SHIPPED / kind
    for shipped in (folder / f"{name}.safetensors", folder / name):  # a scorer is a folder
        if name and shipped.exists():
            return shipped
    names = ", ".join(sorted(file.stem for file in folder.iterdir() if file.suffix == ".safetensors" or file.is_dir()))
    raise InputError(f"There is neither a file {name!r} nor a shipped one among the {kind}: {names}.")


@contextlib.contextmanager
def checkpoint_file(name: str, kind: str) -> Iterator[Path]:
    """Give the path under which a checkpoint can be read here; that of a copy where it is at an address."""
    if not is_remote(name):
        yield shipped_file(name, kind)
        return
    parent, _, file = name.rpartition("/")
    try:
        with open_store(parent).fetch(file) as path:
            yield path
    except FileNotFoundError:
        raise InputError(f"There is no checkpoint {name}.") from None


def load_networks(
    generator: str, encoder: str, device: torch.device | str
) -> tuple[GanGenerator, PictureEncoder | None]:
    """Load a generator and an encoder; "none" for no encoder.

    Raises:
        InputError: one is missing or damaged.
    """
    with checkpoint_file(generator, "generators") as path:
        network = load_generator(path, device)
    if encoder == NO_ENCODER:
        return network, None
    with checkpoint_file(encoder, "encoders") as path:
        return network, load_encoder(path, device)
