"""Assembly of a checked generator from tensors under NVlabs' names: the last step of every reader."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...kernels import setup_filter
from ..code_range import LARGEST_CODE, LARGEST_WEIGHT
from ..errors import CheckpointError
from ..gan.stylegan2 import StyleGAN2
from ..gan.stylegan2_config import StyleGAN2Config
from .stored import StoredArray, StoredTensor

STANDARD_FILTER = (1.0, 3.0, 3.0, 1.0)


@dataclass(eq=False)
class GeneratorWeights:
    """Weights of a StyleGAN2 generator that a reader took from a file."""

    layout: str  # whose file it is, in words
    tensors: dict[str, Tensor]  # under NVlabs' names
    config: dict[str, Any] = field(default_factory=dict)  # fields that the shapes cannot tell
    notes: list[str] = field(default_factory=list)  # for the user


def float_tensor(value: StoredTensor | StoredArray, name: str) -> Tensor:
    """Read the stored numbers in float32, in their own shape.

    Raises:
        CheckpointError: when they are missing or not finite floats; it begins with `name`.
    """
    try:
        tensor = value.tensor()
    except CheckpointError as problem:
        raise CheckpointError(f"{name}: {problem}") from None
    if tensor.dtype not in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        raise CheckpointError(f"{name} holds {str(tensor.dtype).removeprefix('torch.')}, expected floating point")
    tensor = tensor.to(torch.float32)
    if not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"{name} holds values that are infinite or not a number; the file is damaged")
    return tensor


def check_size(tensor: Tensor, name: str, largest: float = LARGEST_CODE) -> None:
    """Refuse numbers that are finite, but larger than those of any code or weight.

    Raises:
        CheckpointError: begins with `name`.
    """
    size = float(tensor.abs().max()) if tensor.numel() else 0.0
    if size > largest:
        raise CheckpointError(f"{name} holds numbers up to {size:.3g}, larger than any that is used ({largest:g})")


def float_tensors(stored: dict[str, StoredTensor | StoredArray]) -> dict[str, Tensor]:
    """Read each by `float_tensor`.

    Raises:
        CheckpointError: when views of one storage would blow up to far more than the file holds, and as `float_tensor`.
    """
    available = {id(s): s.numel or 0 for s in (v.storage for v in stored.values() if isinstance(v, StoredTensor))}
    available |= {id(v.data): len(v.data) for v in stored.values() if isinstance(v, StoredArray)}
    claimed = sum(math.prod(value.shape) for value in stored.values())
    if claimed > 2 * sum(available.values()) + (1 << 20):
        raise CheckpointError("refused, because its tensors claim far more numbers than the file holds")
    tensors = {name: float_tensor(value, name) for name, value in stored.items()}
    for name, tensor in tensors.items():
        check_size(tensor, name, LARGEST_WEIGHT)
    return tensors


def filter_taps(kernel: Tensor | None) -> tuple[float, ...]:
    """Factor a resampling kernel into the taps of a 1-D filter.

    Args:
        kernel: the taps [K], or their outer product [K, K]; None: the standard filter [1, 3, 3, 1].

    Returns:
        The taps, as whole numbers where those fit, since that is how configs write them.

    Raises:
        CheckpointError: when it is not separable.
    """
    if kernel is None:
        return STANDARD_FILTER
    if kernel.ndim not in (1, 2) or not 1 <= max(kernel.shape) <= 64 or float(kernel.sum()) == 0:
        raise CheckpointError(f"a resampling filter of shape {list(kernel.shape)} cannot be used")
    taps = kernel.double() / kernel.double().sum()
    if taps.ndim == 2:
        marginal = taps.sum(dim=0)
        if taps.shape[0] != taps.shape[1] or not torch.allclose(torch.outer(marginal, marginal), taps, atol=1e-5):
            raise CheckpointError("its resampling filter is not separable, which this generator cannot use")
        taps = marginal
    scale = taps / taps.abs().max()
    for factor in range(1, 65):
        if torch.allclose(scale * factor, (scale * factor).round(), atol=1e-4):
            return tuple(float(t) for t in (scale * factor).round())
    return tuple(float(t) for t in taps)


_BLOCK = re.compile(r"synthesis\.b(\d{1,6})\.(.+)")


def rename_blocks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Number the blocks as NVlabs do: b4, b8, ...; generators that are not square begin with another size."""
    matches = {name: _BLOCK.fullmatch(name) for name in tensors}
    sizes = sorted({int(match[1]) for match in matches.values() if match})
    names = {size: 4 * 2**k for k, size in enumerate(sizes)}
    return {
        f"synthesis.b{names[int(match[1])]}.{match[2]}" if (match := matches[name]) else name: tensor
        for name, tensor in tensors.items()
    }


def build_generator(weights: GeneratorWeights) -> StyleGAN2:
    """Build the frozen network with these weights; a note is added when its mean of W is missing.

    Raises:
        CheckpointError: names the tensor that is missing, left over, or of another shape.
    """
    tensors = rename_blocks(weights.tensors)
    config = StyleGAN2Config.from_state_dict(tensors, **weights.config)
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):
            network = StyleGAN2(config)
        expected = network.state_dict()
        if "mapping.w_avg" not in tensors:
            weights.notes.append("the file does not hold the mean of W; it will be computed from samples")
            tensors["mapping.w_avg"] = torch.zeros(config.w_dim)
        _set_filters(tensors, expected, setup_filter(config.resample_filter))
        _check_tensors(tensors, expected)
        network.load_state_dict({name: tensors[name] for name in expected}, strict=True, assign=True)
    return network.requires_grad_(False).eval()


def fill_network(network: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Give a sketched network the tensors of its state.

    Args:
        network: on the meta device.
        tensors: by the names of its state.
        name: of the network, as the sentence calls it: "an encoder".

    Raises:
        CheckpointError: names the tensor that is missing, left over, or of another shape.
    """
    expected = network.state_dict()
    wrong = sorted(set(expected) ^ set(tensors))
    if wrong:
        lacks = "lacks" if wrong[0] in expected else "has"
        raise CheckpointError(f"is not {name} as published: it {lacks} {wrong[0][:80]}")
    for key, tensor in expected.items():
        if tensors[key].shape != tensor.shape:
            raise CheckpointError(f"{key} has shape {list(tensors[key].shape)} where {list(tensor.shape)} is expected")
    network.load_state_dict({key: tensors[key] for key in expected}, strict=True, assign=True)


def _set_filters(tensors: dict[str, Tensor], expected: dict[str, Tensor], kernel: Tensor) -> None:
    """Put the same resampling filter into every layer; layouts differ in where they keep it."""
    for name in [name for name in expected if name.endswith(".resample_filter")]:
        stored = tensors.get(name, kernel)
        if stored.shape != kernel.shape or not torch.allclose(stored, kernel, atol=1e-5):
            raise CheckpointError(f"{name} is another resampling filter than the other layers have")
        tensors[name] = kernel.clone()


def _check_tensors(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing, extra = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    if missing or extra:
        lacks = f"lacks {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}" if missing else ""
        has = f"has {', '.join(extra[:3])}{' ...' if len(extra) > 3 else ''}" if extra else ""
        difference = " and ".join(clause for clause in (lacks, has) if clause)
        raise CheckpointError(f"is not a StyleGAN2 generator as published: it {difference}")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise CheckpointError(
                f"{name} has shape {list(tensors[name].shape)} where {list(tensor.shape)} is expected from the others"
            )
    if sum(math.prod(t.shape) for t in tensors.values()) > 1 << 31:
        raise CheckpointError("is larger than any generator (more than two thousand million weights)")
