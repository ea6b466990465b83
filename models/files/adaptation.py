"""Adaptation files: a photo is learned once and edited on every later day.

Codes are stored in float32, all else in float16, which is what `adapt` rounds to. Deltas that a perturbation network
made are stored as that network: a hundred kilobytes instead of megabytes.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..checkpoint import parse_json, read_safetensors, strip_prefix, write_safetensors
from ..code_range import LARGEST_CODE, LARGEST_WEIGHT, check_range
from ..errors import CheckpointError, InputError, about_file
from ..gan.adaptation import Adaptation
from ..gan.perturbation import perturbation_deltas, perturbation_shapes, perturbation_values
from ..inference import no_inference_mode
from ..printable import printable

__all__ = ["read_adaptation", "write_adaptation"]

KIND = "adaptation"
_LARGEST_DELTAS = 2**28  # values of one photo's deltas that a header may ask for


def write_adaptation(
    path: str | Path,
    adaptation: Adaptation,
    provenance: dict[str, object] | None = None,
    exclusive: bool = False,
) -> Path:
    """Write an adaptation so that :func:`read_adaptation` reads it back.

    Args:
        path: ends in .safetensors; the file appears whole or not at all.
        adaptation: of any device; deltas of a perturbation network are stored as its weights.
        provenance: JSON-ready.
        exclusive: never replace a file; raises TakenError.
    """
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
    return write_safetensors(path, stored, KIND, config, provenance, adaptation.family, exclusive)


def read_adaptation(path: str | Path) -> Adaptation:
    """Read a file of :func:`write_adaptation`, in float32 on the CPU.

    Raises:
        CheckpointError: when the file is missing, damaged, of another kind, or its tensors do not belong together.
    """
    path = Path(path)
    with no_inference_mode():
        stored, metadata = read_safetensors(path, kind=KIND)
        config = parse_json(metadata, "config", path)
        for name, tensor in stored.items():
            if not tensor.is_floating_point():
                raise CheckpointError(f"{path.name}: '{name}' holds {tensor.dtype}, expected floating point.")
        tensors = {name: tensor.float() for name, tensor in stored.items()}
        with about_file(path):
            for name, tensor in tensors.items():
                largest = LARGEST_CODE if name == "codes" else LARGEST_WEIGHT
                check_range(f"'{printable(name)[:80]}'", tensor, largest)
        if "codes" not in tensors:
            raise CheckpointError(f"{path.name} holds no codes of photos; it is not an adaptation.")
        state = strip_prefix(tensors, "network.")
        seed = _integer(path, config, "seed", 0)
        try:
            deltas = {_layer(path, name): tensor for name, tensor in strip_prefix(tensors, "delta.").items()}
            if state:
                sizes = _sizes(path, config)
                _check_network(state, list(sizes.values()))
                deltas = perturbation_deltas(state, sizes, seed)
            return Adaptation(
                codes=tensors["codes"],
                deltas=deltas,
                residual=tensors.get("residual"),
                weights=strip_prefix(tensors, "weight."),
                names=_names(path, config),
                family=metadata.get("family", ""),
                method=str(config.get("method") or ""),
                guide=_integer(path, config, "guide", None),
                state=state,
                seed=seed,
            )
        except (InputError, RuntimeError, IndexError, TypeError, ValueError) as problem:
            raise CheckpointError(f"{path.name}: {problem}") from None


def _layer(path: Path, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise CheckpointError(f"{path.name}: '{text}' is not the number of a layer.")
    return int(text)


def _integer(path: Path, config: dict, name: str, default: int | None) -> int | None:
    value = config.get(name, default)
    if value is None and default is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise CheckpointError(f"{path.name}: its field '{name}' should be a whole number.")
    return value


def _names(path: Path, config: dict) -> tuple[str, ...]:
    names = config.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path.name}: its list of names is damaged.")
    return tuple(map(printable, names))


def _check_network(state: dict[str, Tensor], sizes: list[tuple[int, int, int]]) -> None:
    """Compare the stacked weights [B, ...] of the photos' networks with their sizes, before one is built."""
    expected = perturbation_shapes(sizes)
    counts = {len(tensor) if tensor.ndim else 0 for tensor in state.values()}
    wrong = sorted(set(state) - set(expected)) or sorted(set(expected) - set(state))
    wrong = wrong or [name for name, shape in expected.items() if tuple(state[name].shape[1:]) != shape]
    if wrong or len(counts) != 1 or 0 in counts:
        detail = f"at '{printable(wrong[0])[:80]}'" if wrong else "in their number of photos"
        raise InputError(f"its networks do not match its sizes of layers, {detail}.")


def _sizes(path: Path, config: dict) -> dict[int, tuple[int, int, int]]:
    """Read layer -> (channels, height, width)."""
    sizes = config.get("sizes")
    valid = isinstance(sizes, dict) and sizes and len(sizes) <= 64
    valid = valid and all(
        isinstance(size, list) and len(size) == 3 and all(type(n) is int and 1 <= n <= 65536 for n in size)
        for size in sizes.values()
    )
    # A header alone must not decide how much memory is taken.
    if not valid or perturbation_values(list(sizes.values())) > _LARGEST_DELTAS:
        raise CheckpointError(f"{path.name}: its sizes of layers are damaged.")
    return dict(sorted((_layer(path, layer), tuple(size)) for layer, size in sizes.items()))
