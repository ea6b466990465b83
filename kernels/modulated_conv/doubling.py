"""The doubling layer: stride-2 transposed 3 x 3 convolution, then the low-pass, strip by strip.

Along one axis the transposed convolution u[2n + t] += x[n] w[t] has an even phase x[n] w[0] + x[n-1] w[2] and an odd
phase x[n] w[1]; nothing is multiplied by an inserted zero. Pixels of a strip lie one after the other in memory, padded
by zeros left and right, so x[n-1] is the same matrix begun one pixel (or one row) earlier, and the nine taps are six
matrix products. The low-pass follows in the cache as two products with banded matrices, rows and then columns, which
is an order faster here than a depthwise convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from ..strips import run_strips
from .winograd import Load, Store

_PIXELS_PER_STRIP = 1024  # measured 128 to 2048
_ROWS_PER_RUN = 32  # input rows; a run begins with two rows of the one before
_SPAN = 8  # outputs of one column product; it reads 3 more


class PhaseWeights(NamedTuple):
    """The taps [I, O] by output phase, those that share an input side by side: [I, 2 O] or [I, O]."""

    even_here: Tensor  # taps 00 | 01
    even_above: Tensor  # taps 20 | 21
    odd_here: Tensor  # taps 10 | 11
    even_left: Tensor  # tap 02
    even_above_left: Tensor  # tap 22
    odd_left: Tensor  # tap 12


def arrange_phases(weight: Tensor) -> PhaseWeights:
    """Arrange a weight [O, I, 3, 3] by output phase."""
    tap = rearrange(weight, "o i kh kw -> kh kw i o")
    pairs = [torch.cat([tap[row, 0], tap[row, 1]], dim=1) for row in (0, 2, 1)]
    return PhaseWeights(*pairs, *(tap[row, 2].contiguous() for row in (0, 2, 1)))


def separable_taps(fir: Tensor, gain: float) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Split a low-pass of at most 4 x 4 taps into rows and columns, filters over u[j-1] .. u[j+2]; None for others."""
    values = fir.detach().tolist()
    key = tuple(tuple(row) for row in values) if fir.ndim == 2 else tuple(values)
    return _separate(key, gain)


@lru_cache(maxsize=64)
def _separate(key: tuple, gain: float) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    fir = torch.tensor(key, dtype=torch.float64, device="cpu")
    if fir.ndim == 1:
        fir = fir[:, None] * fir[None, :]
    total = fir.sum()
    if max(fir.shape) > 4 or total.abs() < 1e-6:
        return None
    rows, columns = fir.sum(dim=1), fir.sum(dim=0) / total
    if (fir - rows[:, None] * columns[None, :]).abs().max() > 1e-6 * fir.abs().max():
        return None
    return _window(rows * gain), _window(columns)


def _window(taps: Tensor) -> tuple[float, ...]:
    size = taps.numel()
    first = 1 - ((size + 1) // 2 - 1)  # the low-pass starts at u[j - ((size + 1) // 2 - 1)], the window at u[j - 1]
    window = [0.0] * 4
    for k, tap in enumerate(taps.flip(0).tolist()):  # a true convolution
        window[first + k] = tap
    return tuple(window)


@lru_cache(maxsize=256)
def _row_matrices(taps: tuple[float, ...], rows: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Make output rows [2 rows] of the even and the odd phase, whose rows begin two above: each [2 rows, rows + 3]."""
    with torch.inference_mode(False):
        phases = torch.zeros(2, 2 * rows, rows + 3, dtype=torch.float64)
        for j in range(2 * rows):
            for t, tap in enumerate(taps):
                source = j - 1 + t + 4  # u counted from two phase rows above
                phases[source % 2, j, source // 2] = tap
        return phases[0].to(dtype), phases[1].to(dtype)


@lru_cache(maxsize=16)
def _column_matrix(taps: tuple[float, ...], dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        matrix = torch.zeros(_SPAN, _SPAN + 3, dtype=torch.float64)
        for j in range(_SPAN):
            matrix[j, j : j + 4] = torch.tensor(taps, dtype=torch.float64)
        return matrix.to(dtype)


@lru_cache(maxsize=256)
def _row_matrix_adjoint(taps: tuple[float, ...], rows: int, dtype: torch.dtype) -> Tensor:
    """Make phase rows (rows + 1 even, then as many odd) of gradient rows begun two above: [2 rows + 2, 2 rows + 4]."""
    with torch.inference_mode(False):
        matrix = torch.zeros(2, rows + 1, 2 * rows + 4, dtype=torch.float64)
        for phase in range(2):
            for n in range(rows + 1 - phase):  # the last odd row belongs to the next strip
                for t, tap in enumerate(taps):
                    matrix[phase, n, 2 * n + phase + 1 - t + 2] = tap
        return matrix.view(2 * rows + 2, -1).to(dtype)


def _strips(batch: int, height: int, width: int) -> tuple[int, int]:
    rows = max(1, min(height, _PIXELS_PER_STRIP // width))
    group = max(1, min(batch, _PIXELS_PER_STRIP // (height * width))) if rows == height else 1
    return rows, group


def run_doubling(
    shape: tuple[int, int, int, int],  # B, H, W, I; W a multiple of 4
    weight: PhaseWeights,
    taps: tuple[tuple[float, ...], tuple[float, ...]],  # of separable_taps
    load: Load,  # input rows, as for run_winograd
    store: Store,  # output rows [b, rows, 2 W, O]
) -> None:
    """Run the layer strip by strip, [B, H, W, I] -> [B, 2 H, 2 W, O]."""
    batch, height, width, channels = shape
    outputs = weight.even_left.shape[1]
    rows, group = _strips(batch, height, width)
    pitch = width + 2  # columns -1 .. W
    wide = 2 * width + _SPAN
    new = dict(dtype=weight.even_left.dtype, device=weight.even_left.device)
    columns = _column_matrix(taps[1], new["dtype"])
    # A run of strips is one thread's: what two neighbours share is computed once inside of a run.
    length = rows * max(1, _ROWS_PER_RUN // rows)
    runs = [
        (slice(b, min(b + group, batch)), first, min(first + length, height))
        for b in range(0, batch, group)
        for first in range(0, height, length)
    ]

    def make_worker() -> Callable[[tuple[slice, int, int]], None]:
        # Row i of both is row (first row of the strip) - 2 + i; one pixel in front, for the column left of the first.
        source = torch.zeros(1 + group * (rows + 3) * pitch, channels, **new)
        phases = torch.zeros(2, group * (rows + 3) * pitch, 2 * outputs, **new)
        filtered = torch.zeros(group * 2 * rows * wide + _SPAN, outputs, **new)
        result = torch.empty(group * 2 * rows * (wide // _SPAN), _SPAN, outputs, **new)

        def work(run: tuple[slice, int, int]) -> None:
            samples, first, last = run
            count = samples.stop - samples.start
            for r in range(first, last, rows):
                n = min(rows, last - r)
                picture = source[1 : 1 + count * (rows + 3) * pitch].view(count, rows + 3, pitch, channels)
                planes = phases[:, : count * (rows + 3) * pitch].view(2, count, rows + 3, pitch * 2 * outputs)
                known = 0
                if r > first:  # only one sample per group here: the strip above has computed rows -1 and 0 of this one
                    planes[:, :, 1:3] = planes[:, :, rows + 1 : rows + 3].clone()
                    known = 3
                low, high = max(r - 2 + max(known - 1, 0), 0), min(r + n + 1, height)
                offset = low - r + 2
                picture[:, :offset].zero_()
                load(samples, low, high, picture[:, offset : offset + high - low, 1:-1], low, high)
                picture[:, offset + high - low :].zero_()
                _transposed_convolution(
                    source, phases, weight, max(known, 1) * pitch, count * (rows + 3) * pitch, pitch
                )
                even, odd = _row_matrices(taps[0], n, new["dtype"])
                lines = filtered[: count * 2 * n * wide].view(count, 2 * n, wide * outputs)
                for k in range(count):
                    target = lines[k, :, : 2 * pitch * outputs]
                    torch.mm(even, planes[0, k, : n + 3], out=target)
                    torch.addmm(target, odd, planes[1, k, : n + 3], out=target)
                # Column c of ``lines`` is u[c - 2]; output j reads u[j - 1] .. u[j + 2].
                spans = count * 2 * n * (wide // _SPAN)
                windows = filtered[1:].as_strided((spans, _SPAN + 3, outputs), (_SPAN * outputs, outputs, 1))
                torch.bmm(columns.expand(spans, -1, -1), windows, out=result[:spans])
                values = result[:spans].view(count, 2 * n, wide, outputs)
                store(samples, 2 * r, 2 * (r + n), values[:, :, : 2 * width])

        return work

    run_strips(runs, make_worker)


def _transposed_convolution(
    source: Tensor, phases: Tensor, weight: PhaseWeights, begin: int, end: int, pitch: int
) -> None:
    pixel, left = source[1 + begin : 1 + end], source[begin:end]
    above, above_left = source[1 + begin - pitch : 1 + end - pitch], source[begin - pitch : end - pitch]
    even, odd = phases[0, begin:end], phases[1, begin:end]
    outputs = weight.even_left.shape[1]
    torch.mm(pixel, weight.even_here, out=even)
    even.addmm_(above, weight.even_above)
    even[:, :outputs].addmm_(left, weight.even_left)
    even[:, :outputs].addmm_(above_left, weight.even_above_left)
    torch.mm(pixel, weight.odd_here, out=odd)
    odd[:, :outputs].addmm_(left, weight.odd_left)


def run_doubling_adjoint(
    shape: tuple[int, int, int, int],  # B, H, W, O: the size before doubling, the channels after
    weight: PhaseWeights,
    taps: tuple[tuple[float, ...], tuple[float, ...]],
    load: Load,  # rows of the gradient [b, rows, 2 W, O]
    store: Store,  # rows of the input's gradient [b, rows, W, I]
) -> None:
    """Run the transpose of run_doubling, [B, 2 H, 2 W, O] -> [B, H, W, I]."""
    batch, height, width, channels = shape
    inputs = weight.even_left.shape[0]
    rows, group = _strips(batch, height, width)
    wide, pitch = 2 * width + _SPAN, width + 2
    new = dict(dtype=weight.even_left.dtype, device=weight.even_left.device)
    columns = _column_matrix(tuple(reversed(taps[1])), new["dtype"])
    strips = [
        (slice(b, min(b + group, batch)), r, min(rows, height - r))
        for b in range(0, batch, group)
        for r in range(0, height, rows)
    ]

    def make_worker() -> Callable[[tuple[slice, int, int]], None]:
        # Column c is gradient column c - 2, row i is row 2 (first row of the strip) - 2 + i.
        padded = torch.zeros(group * (2 * rows + 4) * wide + _SPAN, channels, **new)
        filtered = torch.empty(group * (2 * rows + 4) * (wide // _SPAN), _SPAN, channels, **new)
        phases = torch.zeros(group, 2 * (rows + 1), pitch, 2 * channels, **new)
        result = torch.empty(rows * pitch, inputs, **new)

        def work(strip: tuple[slice, int, int]) -> None:
            samples, r, n = strip
            count = samples.stop - samples.start
            lines = 2 * n + 4
            gradient = padded[: count * lines * wide].view(count, lines, wide, channels)
            low, high = max(2 * r - 2, 0), min(2 * (r + n) + 2, 2 * height)
            offset = low - 2 * r + 2
            gradient[:, :offset].zero_()
            gradient[:, offset + high - low :].zero_()
            gradient[:, :, :2].zero_()
            gradient[:, :, 2 + 2 * width :].zero_()
            load(samples, low, high, gradient[:, offset : offset + high - low, 2 : 2 + 2 * width], 2 * r, 2 * (r + n))
            spans = count * lines * (wide // _SPAN)
            windows = padded.as_strided((spans, _SPAN + 3, channels), (_SPAN * channels, channels, 1))
            torch.bmm(columns.expand(spans, -1, -1), windows, out=filtered[:spans])
            smooth = filtered[:spans].view(count, lines, wide * channels)
            matrix = _row_matrix_adjoint(taps[0], n, new["dtype"])
            for k in range(count):
                planes = phases[k].view(-1)[: 2 * (n + 1) * pitch * 2 * channels].view(2, (n + 1) * pitch, 2 * channels)
                torch.mm(matrix, smooth[k, :, : 2 * pitch * channels], out=planes.view(2 * (n + 1), -1))
                _strided_convolution(planes, weight, result[: n * pitch], pitch)
                sample = slice(samples.start + k, samples.start + k + 1)
                store(sample, r, r + n, result[: n * pitch].view(1, n, pitch, inputs)[:, :, :width])

        return work

    run_strips(strips, make_worker)


def _strided_convolution(planes: Tensor, weight: PhaseWeights, result: Tensor, pitch: int) -> None:
    even, odd = planes
    size, channels = result.shape[0], weight.even_left.shape[1]
    torch.mm(even[:size], weight.even_here.t(), out=result)
    result.addmm_(even[pitch : pitch + size], weight.even_above.t())
    result.addmm_(odd[:size], weight.odd_here.t())
    # The last pixel has no right neighbour in the strip's memory; it is padding and is not stored.
    inner = result[: size - 1]
    inner.addmm_(even[1:size, :channels], weight.even_left.t())
    inner.addmm_(even[pitch + 1 : pitch + size, :channels], weight.even_above_left.t())
    inner.addmm_(odd[1:size, :channels], weight.odd_left.t())
