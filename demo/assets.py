"""Shipped demo files: their paths, and their networks, read once."""

from __future__ import annotations

import functools
from pathlib import Path

from ..models.errors import InputError
from ..models.inference import no_inference_mode
from .readers import PortraitReader, load_reader
from .segmenter import PartSegmenter, load_segmenter

_DEMO = Path(__file__).resolve().parent.parent / "models" / "demo"
PHOTOS = Path(__file__).resolve().parent / "photos"


def demo_file(kind: str, name: str = "demo_portraits") -> Path:
    """Return the path of a shipped checkpoint.

    Args:
        kind: its folder: generators, encoders, oracles, ...
        name: without suffix.

    Raises:
        InputError: when this installation came without it.
    """
    path = _DEMO / kind / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(
            f"The demo file {kind}/{path.name} is missing from this installation. Install the pack again, or make it "
            "with `python -m semantic_edit.offline.train_demo`."
        )
    return path


def demo_diffusion() -> Path:
    """Return the folder of the shipped diffusion model, as diffusers saves pipelines.

    Raises:
        InputError: when this installation came without it.
    """
    folder = _DEMO / "diffusion" / "demo_portraits"
    if not (folder / "model_index.json").is_file():
        raise InputError(
            "The demo diffusion model is missing from this installation. Install the pack again, or make it with "
            "`python -m semantic_edit.offline.train_demo diffusion`."
        )
    return folder


@functools.lru_cache(maxsize=4)
def demo_reader(kind: str) -> PortraitReader:
    """Return the shipped "oracle", "identity" or "features" network, read once."""
    folder = {"oracle": "oracles", "identity": "identities", "features": "features"}[kind]
    with no_inference_mode():
        return load_reader(demo_file(folder), kind)


@functools.lru_cache(maxsize=1)
def demo_segmenter() -> PartSegmenter:
    """Return the shipped part segmenter, read once."""
    with no_inference_mode():
        return load_segmenter(demo_file("segmenters"))
