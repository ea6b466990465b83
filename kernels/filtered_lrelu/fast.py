"""Filtered leaky ReLU in strips: separable filters, and the large maps between never kept.

The upsampled map is cut into strips of a few rows and channels that stay in the cache: a strip is drawn, goes through
the non-linearity, and what its rows add to the output is added. So nothing is computed twice, and nothing of the
upsampled size is allocated, which at 1024 px would be gigabytes (and slower by far than the arithmetic). Filters are
depthwise convolutions along one axis in the channels-last layout, torch's fastest on a CPU. Under autograd one node
keeps its input alone; the backward pass draws the strips again and asks them for their signs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# Of the upsampled map: on a CPU above 8 MB, where memory is handed back and asked for anew, it is ten times slower.
_STRIP_BYTES = {"cpu": 4 * 1024**2, "cuda": 512 * 1024**2}
_CHANNELS = (64, 32, 16)  # of a strip: as many as leave it at least _ROWS rows
_ROWS = 32


@dataclass(frozen=True, eq=False)
class _Filters:
    """The constants of a layer; see :func:`kernels.filtered_lrelu.filtered_lrelu`."""

    up_rows: Tensor  # [k], which carries the scale and the gains
    up_columns: Tensor  # [k]
    down_taps: Tensor  # [k'] or [k', k']
    up: int
    down: int
    padding: tuple[int, ...]
    slope: float
    clamp: float | None

    def upsampled(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the upsampled map."""
        left, right, top, bottom = self.padding
        shrink = len(self.up_rows) - 1
        return height * self.up + top + bottom - shrink, width * self.up + left + right - shrink

    def result(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the output for an upsampled map of ``height`` x ``width``."""
        taps = self.down_taps.shape[0]
        return (height - taps) // self.down + 1, (width - taps) // self.down + 1


@dataclass(frozen=True)
class _Strip:
    """Rows ``first`` to ``last`` of the upsampled map, the last excluded, for some channels of a picture."""

    picture: int
    channels: slice
    first: int
    last: int
    inputs: slice  # the rows of the input that it reads
    outputs: slice  # the rows of the output that read it
    input_padding: tuple[int, int]  # of those rows, in upsampled rows, that gives exactly the strip
    output_padding: tuple[int, int]  # of the strip, that gives exactly those outputs

    @property
    def touches(self) -> bool:
        """Return whether it reads anything that is read in turn; beyond the input all is zero."""
        return self.inputs.stop > self.inputs.start and self.outputs.stop > self.outputs.start


def filtered_lrelu_fast(
    x: Tensor,
    up_taps: Tensor,
    down_taps: Tensor,
    up: int,
    down: int,
    padding: tuple[int, ...],
    scale: Tensor | float,
    gain: float,
    slope: float,
    clamp: float | None,
) -> Tensor:
    """See :func:`kernels.filtered_lrelu.filtered_lrelu`."""
    # The non-linearity is homogeneous: scale and gains ride on the few taps of the first filter.
    rows = up_taps.to(x.dtype) * (up * gain * torch.as_tensor(scale, dtype=x.dtype, device=x.device))
    columns = up_taps.to(x.dtype) * up
    filters = _Filters(rows.detach(), columns, down_taps.to(x.dtype), up, down, tuple(padding), slope, clamp)
    return _FilteredLrelu.apply(x, filters)


class _FilteredLrelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, filters: _Filters) -> Tensor:
        ctx.save_for_backward(x)
        ctx.filters = filters
        size = filters.upsampled(*x.shape[2:])
        out = _zeros(x, filters.result(*size))
        for strip in _strips(x, filters, size):
            y = F.leaky_relu_(_draw(x, filters, strip), filters.slope)
            y = y if filters.clamp is None else y.clamp_(-filters.clamp, filters.clamp)
            out[strip.picture, strip.channels, strip.outputs] += _downsample(y, filters, strip)[0]
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (x,), filters = ctx.saved_tensors, ctx.filters
        clamp, slope = filters.clamp, filters.slope
        x_grad = _zeros(x, tuple(x.shape[2:]))
        size = filters.upsampled(*x.shape[2:])
        for strip in _strips(x, filters, size):
            y = _draw(x, filters, strip)
            # What one unit at each position adds to the output: lrelu's slope, 0 where the clamp holds.
            unit = torch.where(y > 0, y.new_ones(()), y.new_full((), slope))
            if clamp is not None:
                unit *= (y <= clamp) & (y >= -clamp / slope)
            unit *= _downsample_adjoint(grad, filters, strip, size[1])
            x_grad[strip.picture, strip.channels, strip.inputs] += _draw_adjoint(unit, filters, strip, x.shape[3])[0]
        return x_grad, None


def _zeros(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, *size] of zeros, in the layout that a CPU convolves fastest."""
    layout = torch.channels_last if x.device.type == "cpu" else torch.contiguous_format
    return x.new_zeros((*x.shape[:2], *size)).contiguous(memory_format=layout)


def _strips(x: Tensor, filters: _Filters, size: tuple[int, int]) -> Iterator[_Strip]:
    """Cut the upsampled map, ``size``, of x [B, C, H, W] into strips."""
    budget = _STRIP_BYTES.get(x.device.type, _STRIP_BYTES["cpu"]) // x.itemsize
    channels = next((c for c in _CHANNELS if budget // (c * size[1]) >= _ROWS), _CHANNELS[-1])
    if x.device.type == "cuda":
        channels = x.shape[1]
    rows = max(8, budget // (channels * size[1]))
    for picture in range(x.shape[0]):
        for channel in range(0, x.shape[1], channels):
            for first in range(0, size[0], rows):
                last = min(first + rows, size[0])
                strip = _strip(picture, slice(channel, channel + channels), first, last, x.shape[2], filters, size)
                if strip.touches:
                    yield strip


def _strip(
    picture: int, channels: slice, first: int, last: int, height: int, filters: _Filters, size: tuple[int, int]
) -> _Strip:
    """Find which rows of the input and of the output a strip touches."""
    up, down, top = filters.up, filters.down, filters.padding[2]
    taps, down_taps = len(filters.up_rows), filters.down_taps.shape[0]
    # Row m of the upsampled map reads the inputs i with 0 <= i * up + top - m < taps.
    begin = max(0, -((top - first) // up))
    end = min(height, (last - 1 + taps - 1 - top) // up + 1)
    before = top + begin * up - first
    # Output o reads the rows o * down to o * down + taps' - 1.
    output = max(0, -((down_taps - 1 - first) // down))
    stop = min(filters.result(*size)[0], (last - 1) // down + 1)
    return _Strip(
        picture,
        channels,
        first,
        last,
        inputs=slice(begin, end),
        outputs=slice(output, stop),
        input_padding=(before, last - first + taps - 1 - (end - begin) * up - before),
        output_padding=(first - output * down, (stop - 1) * down + down_taps - last),
    )


def _draw(x: Tensor, filters: _Filters, strip: _Strip) -> Tensor:
    """Upsample the part of x [B, C, H, W] that a strip needs: [1, c, rows, W']."""
    left, right, _, _ = filters.padding
    maps = x[strip.picture : strip.picture + 1, strip.channels, strip.inputs]
    if x.device.type == "cpu":
        maps = maps.contiguous(memory_format=torch.channels_last)
    maps = _resample(maps, filters.up_rows, 2, filters.up, 1, *strip.input_padding)
    return _resample(maps, filters.up_columns, 3, filters.up, 1, left, right)


def _draw_adjoint(maps: Tensor, filters: _Filters, strip: _Strip, width: int) -> Tensor:
    """[1, c, rows, W'] -> [1, c, h, W]: the transpose of `_draw`."""
    up, taps = filters.up, len(filters.up_rows)
    begin, end = _adjoint_padding(width, maps.shape[3], taps, up, 1, filters.padding[0])
    maps = _resample(maps, filters.up_columns.flip(0), 3, 1, up, begin, end)
    rows = strip.inputs.stop - strip.inputs.start
    begin, end = _adjoint_padding(rows, maps.shape[2], taps, up, 1, strip.input_padding[0])
    return _resample(maps, filters.up_rows.flip(0), 2, 1, up, begin, end)


def _downsample(maps: Tensor, filters: _Filters, strip: _Strip) -> Tensor:
    """Compute what the strip [1, c, rows, W'] adds to its outputs: [1, c, h, W'']."""
    taps, down = filters.down_taps, filters.down
    if taps.ndim == 2:
        kernel = taps.flip(0, 1).expand(maps.shape[1], 1, -1, -1)
        return F.conv2d(_pad(maps, (0, 0, *strip.output_padding)), kernel, stride=down, groups=maps.shape[1])
    maps = _resample(maps, taps, 3, 1, down, 0, 0)
    return _resample(maps, taps, 2, 1, down, *strip.output_padding)


def _downsample_adjoint(grad: Tensor, filters: _Filters, strip: _Strip, width: int) -> Tensor:
    """[B, C, H'', W''] -> [1, c, rows, W'] of a strip: the transpose of `_downsample`."""
    maps = grad[strip.picture : strip.picture + 1, strip.channels, strip.outputs]
    if grad.device.type == "cpu":
        maps = maps.contiguous(memory_format=torch.channels_last)
    taps, down, rows = filters.down_taps, filters.down, strip.last - strip.first
    size = taps.shape[0]
    top, bottom = _adjoint_padding(rows, maps.shape[2], size, 1, down, strip.output_padding[0])
    left, right = _adjoint_padding(width, maps.shape[3], size, 1, down, 0)
    if taps.ndim == 2:
        over = (size - 1 - left, size - down - right, size - 1 - top, size - down - bottom)
        kernel = taps.flip(0, 1).expand(maps.shape[1], 1, -1, -1)
        return _pad(F.conv_transpose2d(maps, kernel, stride=down, groups=maps.shape[1]), [-o for o in over])
    maps = _resample(maps, taps.flip(0), 2, down, 1, top, bottom)
    return _resample(maps, taps.flip(0), 3, down, 1, left, right)


def _adjoint_padding(size: int, result: int, taps: int, up: int, down: int, begin: int) -> tuple[int, int]:
    """Return the paddings of the resampling by ``down`` / ``up`` that is the transpose of ``size`` -> ``result``."""
    return taps - begin - 1, size * up - result * down + begin - up + 1


def _resample(maps: Tensor, taps: Tensor, dim: int, up: int, down: int, begin: int, end: int) -> Tensor:
    """Resample one dimension, 2 or 3, of [1, c, h, w] by ``up`` or by 1 / ``down``; paddings may be negative."""
    channels, size = maps.shape[1], len(taps)
    shape = (size, 1) if dim == 2 else (1, size)
    stride = (max(up, down), 1) if dim == 2 else (1, max(up, down))
    if up == 1:
        kernel = taps.flip(0).view(1, 1, *shape).expand(channels, 1, *shape)
        return F.conv2d(_pad(maps, _of_dim(begin, end, dim)), kernel, stride=stride, groups=channels)
    kernel = taps.view(1, 1, *shape).expand(channels, 1, *shape)
    over = (size - 1 - begin, size - up - end)  # what the whole spread has too much at either end
    inner = max(0, min(over))
    crop = (inner, 0) if dim == 2 else (0, inner)
    y = F.conv_transpose2d(maps, kernel, stride=stride, padding=crop, groups=channels)
    return _pad(y, _of_dim(inner - over[0], inner - over[1], dim))


def _of_dim(begin: int, end: int, dim: int) -> tuple[int, int, int, int]:
    """Return the padding of one dimension, as torch takes it."""
    return (0, 0, begin, end) if dim == 2 else (begin, end, 0, 0)


def _pad(maps: Tensor, padding) -> Tensor:
    """Pad with zeros; negative entries crop."""
    return F.pad(maps, tuple(padding)) if any(padding) else maps
