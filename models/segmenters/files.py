"""Segmenters as files."""

from __future__ import annotations

from pathlib import Path

import torch

from ..checkpoint import parse_json, read_safetensors, write_safetensors
from ..errors import CheckpointError
from ..gan.generator import check_shapes, check_weights
from ..inference import no_inference_mode
from ..printable import printable
from .bisenet import FaceSegmenter, SegmenterConfig

__all__ = ["load_segmenter", "save_segmenter"]

_KIND = "segmenter"


def load_segmenter(path: str | Path, device: torch.device | str = "cpu") -> FaceSegmenter:
    """Read a segmenter: frozen, in float32, on ``device``.

    Raises:
        CheckpointError: when the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    # Outside inference mode, reading included: a module takes no parameters that were made inside.
    with no_inference_mode():
        tensors, metadata = read_safetensors(path, _KIND)
        try:
            config = SegmenterConfig.from_json(parse_json(metadata, "config", path))
        except CheckpointError as problem:
            raise CheckpointError(f"{path.name}: {printable(str(problem))}") from None
        with torch.device("meta"):  # no memory is spent on weights that the file replaces
            network = FaceSegmenter(config)
        check_shapes(network, tensors, path, _KIND)
        check_weights(tensors, path)
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
        return network.eval().requires_grad_(False).to(device)


def save_segmenter(
    path: str | Path, network: FaceSegmenter, provenance: dict[str, object] | None = None, exclusive: bool = False
) -> Path:
    """Write a segmenter so that :func:`load_segmenter` reads it back; ``exclusive`` never replaces a file."""
    return write_safetensors(
        path, network.state_dict(), _KIND, network.config.to_json(), provenance, exclusive=exclusive
    )
