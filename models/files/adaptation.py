"""Adaptations as files: a photo is learned once and edited on every later day.

Codes are stored in float32, all else in float16, which is what `adapt` rounds to. Deltas that a perturbation network
made are stored as that network: a hundred kilobytes instead of megabytes.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..checkpoint import parse_json, read_safetensors, write_safetensors
from ..errors import CheckpointError, InputError
from ..gan.adaptation import Adaptation
from ..gan.perturbation import perturbation_deltas
from ..inference import no_inference_mode

__all__ = ["read_adaptation", "write_adaptation"]

KIND = "adaptation"
_MOST_VALUES = 2**28  # of one photo's deltas that a header may ask for


def write_adaptation(path: str | Path, adaptation: Adaptation, provenance: dict[str, object] | None = None) -> Path:
    """Write an adaptation so that :func:`read_adaptation` reads it back; the file appears whole or not at all."""
    tensors = adaptation.tensors()
    sizes = None
    if adaptation.state:
        sizes = {str(layer): list(delta.shape[1:]) for layer, delta in adaptation.deltas.items()}
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("delta.")}
        tensors.update({f"network.{name}": tensor for name, tensor in adaptation.state.items()})
    stored = {name: tensor.float() if name == "codes" else tensor.half() for name, tensor in tensors.items()}
    config = {
        "method": adaptation.method,
        "guide": adaptation.guide,
        "names": list(adaptation.names),
        "seed": adaptation.seed,
        "sizes": sizes,
    }
    return write_safetensors(path, stored, KIND, config, provenance, adaptation.family)


def read_adaptation(path: str | Path) -> Adaptation:
    """Read a file of :func:`write_adaptation`, in float32 on the CPU.

    Raises:
        CheckpointError: missing, damaged, of another kind, or with parts that do not belong together.
    """
    path = Path(path)
    with no_inference_mode():
        stored, metadata = read_safetensors(path, kind=KIND)
        config = parse_json(metadata, "config", path)
        for name, tensor in stored.items():
            if not tensor.is_floating_point():
                raise CheckpointError(f"{path.name}: '{name}' holds {tensor.dtype}, expected floating point.")
        tensors = {name: tensor.float() for name, tensor in stored.items()}
        if "codes" not in tensors:
            raise CheckpointError(f"{path.name} holds no codes of photos; it is not an adaptation.")
        state = _below(tensors, "network.")
        seed = _whole(path, config, "seed", 0)
        try:
            deltas = {_layer(path, name): tensor for name, tensor in _below(tensors, "delta.").items()}
            if state:
                deltas = perturbation_deltas(state, _sizes(path, config), seed)
            return Adaptation(
                codes=tensors["codes"],
                deltas=deltas,
                residual=tensors.get("residual"),
                weights=_below(tensors, "weight."),
                names=_names(path, config),
                family=metadata.get("family", ""),
                method=str(config.get("method") or ""),
                guide=_whole(path, config, "guide", None),
                state=state,
                seed=seed,
            )
        except (InputError, RuntimeError, IndexError, TypeError, ValueError) as problem:
            raise CheckpointError(f"{path.name}: {problem}") from None


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _layer(path: Path, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise CheckpointError(f"{path.name}: '{text}' is not the number of a layer.")
    return int(text)


def _whole(path: Path, config: dict, name: str, otherwise: int | None) -> int | None:
    value = config.get(name, otherwise)
    if value is None and otherwise is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise CheckpointError(f"{path.name}: its field '{name}' should be a whole number.")
    return value


def _names(path: Path, config: dict) -> tuple[str, ...]:
    names = config.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path.name}: its list of names is damaged.")
    return tuple(names)


def _sizes(path: Path, config: dict) -> dict[int, tuple[int, int, int]]:
    sizes = config.get("sizes")
    good = isinstance(sizes, dict) and sizes and len(sizes) <= 64
    good = good and all(
        isinstance(size, list) and len(size) == 3 and all(type(side) is int and 1 <= side <= 65536 for side in size)
        for size in sizes.values()
    )
    # A header alone must not decide how much memory is taken.
    if not good or sum(channels * height * width for channels, height, width in sizes.values()) > _MOST_VALUES:
        raise CheckpointError(f"{path.name}: its sizes of layers are damaged.")
    return dict(sorted((_layer(path, layer), tuple(size)) for layer, size in sizes.items()))
