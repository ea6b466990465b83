"""Identity and perceptual networks as files."""

from __future__ import annotations

from pathlib import Path

import torch

from ..checkpoint import parse_json, read_safetensors, write_safetensors
from ..errors import CheckpointError
from ..gan.generator import check_shapes, check_weights
from ..inference import no_inference_mode
from ..printable import printable
from .identity import IDENTITY, IdentityConfig, IdentityNetwork
from .perceptual import PERCEPTUAL, PerceptualConfig, PerceptualNetwork

__all__ = ["LossNetwork", "load_identity", "load_perceptual", "save_loss"]

LossNetwork = IdentityNetwork | PerceptualNetwork
_KIND = "loss"  # of the file
_WORDS = {IDENTITY: "a face recogniser", PERCEPTUAL: "a perceptual network"}


def load_identity(path: str | Path, device: torch.device | str = "cpu") -> IdentityNetwork:
    """Read a face recogniser: frozen, in float32, on ``device``.

    Raises:
        CheckpointError: when the file is missing, damaged, or holds something else.
    """
    return _load(Path(path), IDENTITY, device)  # type: ignore[return-value]


def load_perceptual(path: str | Path, device: torch.device | str = "cpu") -> PerceptualNetwork:
    """Read a perceptual network: frozen, in float32, on ``device``.

    Raises:
        CheckpointError: when the file is missing, damaged, or holds something else.
    """
    return _load(Path(path), PERCEPTUAL, device)  # type: ignore[return-value]


def save_loss(
    path: str | Path, network: LossNetwork, provenance: dict[str, object] | None = None, exclusive: bool = False
) -> Path:
    """Write a network so that its loader reads it back; ``exclusive`` never replaces a file (raises TakenError)."""
    return write_safetensors(
        path, network.state_dict(), _KIND, network.config.to_json(), provenance, exclusive=exclusive
    )


def _load(path: Path, kind: str, device: torch.device | str) -> LossNetwork:
    # Outside inference mode, reading included: a module takes no parameters that were made inside.
    with no_inference_mode():
        tensors, metadata = read_safetensors(path, _KIND)
        values = parse_json(metadata, "config", path)
        if values.get("kind") != kind:
            held = _WORDS.get(str(values.get("kind")), "something unknown")
            raise CheckpointError(f"{path.name} holds {held}; expected {_WORDS[kind]}.")
        try:
            config = (IdentityConfig if kind == IDENTITY else PerceptualConfig).from_json(values)
        except CheckpointError as problem:
            raise CheckpointError(f"{path.name}: {printable(str(problem))}") from None
        with torch.device("meta"):  # no memory is spent on weights that the file replaces
            network = (IdentityNetwork if kind == IDENTITY else PerceptualNetwork)(config)  # type: ignore[arg-type]
        check_shapes(network, tensors, path, _WORDS[kind])
        check_weights(tensors, path)
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
        return network.eval().requires_grad_(False).to(device)
