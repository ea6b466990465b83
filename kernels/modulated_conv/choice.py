"""Which path a layer takes on a CPU: measured for its class of shapes, or by a fixed rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..measured import measured_path
from ..select import chosen_path
from ..spare_cores import allowed_threads
from ..upfirdn2d.fast import is_channels_last
from .bands import VALUES as BAND
from .prepared import PreparedWeight
from .tiled import same_size_kind

_SMALL = 2**24  # multiplications; below, the rule's path is over before a choice could pay
_WIDE = 128  # channels, of the rule: Winograd's products beat torch's convolution on all processors that were tried
_PART = 2**28  # multiplications of the part that is timed, where a strip for each thread is not more
_PICTURES = 4  # of a whole layer that is timed
_STRIP = 64 * 512 * 16  # pixels times channels of one of Winograd's strips

Layer = Callable[..., Tensor]


def cpu_path(
    x: Tensor,  # [B, I, H, W]
    weight: Tensor,  # [O, I, k, k]
    up: int,
    paths: Mapping[str, Layer],  # that suit the layer, "fast" among them
    prepared: PreparedWeight | None,
    gradient: bool,
    run: Callable[..., Tensor],  # (layer, x, weight, styles, noise, bias, prepared): all else is as in the layer
) -> str:
    """Return the name of the path."""
    usual = usual_path(x, weight, up, paths)
    if len(paths) == 1 or chosen_path() == "rule" or _multiplications(x, weight) < _SMALL:
        return usual
    kind = ("winograd" if up == 1 and same_size_kind(x) == "winograd" else "", "tiled" in paths, "bands" in paths)
    key = (
        "modulated", *weight.shape[:3], up, *kind, str(x.dtype).removeprefix("torch."), is_channels_last(x),
        (x.shape[0] * x.shape[2] * x.shape[3]).bit_length(), x.shape[3].bit_length(), x.shape[0] == 1, gradient,
        allowed_threads(),
    )  # fmt: skip

    timed: list[bool] = []

    def make_runs() -> dict[str, Callable[[], object]]:
        timed.append(True)
        return _runs(x, weight, up, paths, prepared, gradient, run, _part(x, weight, up))

    def make_whole() -> dict[str, Callable[[], object]]:
        return _runs(x, weight, up, paths, prepared, gradient, run, (min(x.shape[0], _PICTURES), x.shape[2]))

    path = measured_path(key, paths, usual, make_runs, make_whole)
    if timed and path != "tiled" and prepared is not None:
        prepared.leave_arrangements()
    return path


def usual_path(x: Tensor, weight: Tensor, up: int, paths: Mapping[str, Layer]) -> str:
    """Return the rule's path: strips for wide layers that keep their size, else torch's convolution."""
    return "tiled" if "tiled" in paths and up == 1 and min(weight.shape[:2]) >= _WIDE else "fast"


def _multiplications(x: Tensor, weight: Tensor) -> int:
    return x.shape[0] * x.shape[2] * x.shape[3] * weight.numel()


def _runs(
    x: Tensor,
    weight: Tensor,
    up: int,
    paths: Mapping[str, Layer],
    prepared: PreparedWeight | None,
    gradient: bool,
    run: Callable[..., Tensor],
    part: tuple[int, int],
) -> dict[str, Callable[[], object]]:
    """Return a pass over a part of the layer for each path, with gradients to the part where the layer has some.

    The part, pictures and rows of them, has the layer's channels and width and its weight.
    """
    batch, height = part
    with torch.inference_mode(False), torch.no_grad():
        layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
        inputs = torch.ones((batch, x.shape[1], height, x.shape[3]), dtype=x.dtype).contiguous(memory_format=layout)
        styles = torch.ones(batch, x.shape[1], dtype=torch.promote_types(x.dtype, torch.float32))
        noise = torch.ones(1, 1, up * height, up * x.shape[3], dtype=styles.dtype)
        bias = torch.ones(weight.shape[0], dtype=styles.dtype)
    frozen = weight.detach()

    def one(layer: Layer) -> Callable[[], object]:
        def once() -> None:
            with torch.inference_mode(False), torch.set_grad_enabled(gradient):
                leaves = [tensor.detach().requires_grad_(gradient) for tensor in (inputs, styles)]
                y = run(layer, leaves[0], frozen, leaves[1], noise, bias, prepared)
                if gradient:
                    torch.autograd.grad(y, leaves, y.detach())

        return once

    return {name: one(layer) for name, layer in paths.items()}


def _part(x: Tensor, weight: Tensor, up: int) -> tuple[int, int]:
    """Return how many pictures and rows of them are timed first: a strip for each thread at least."""
    batch, _, height, width = x.shape
    strip = max(_STRIP // max(weight.shape[:2]), BAND // (weight.shape[0] * up * up))
    pixels = max(_PART // weight.numel(), allowed_threads() * strip, batch * height * width // 8)
    if batch == 1 or pixels < 2 * height * width:
        pictures = min(batch, 2)
        rows = -(-pixels // (pictures * width))
        return pictures, min(height, -(-rows // 16) * 16)
    return min(batch, -(-pixels // (height * width))), height
