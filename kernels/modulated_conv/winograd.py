"""Winograd convolution, same-size 3 x 3 by minimal filtering, F(4 x 4, 3 x 3): a quarter of the multiplications.

Fast Algorithms for Convolutional Neural Networks (1509.09308): a tile of 4 x 4 outputs is
Y = A^T [(G g G^T) * (B^T d B)] A for a filter g and the 6 x 6 inputs d around the tile. The usual points 0, 1, -1, 2,
-2 cost a digit of float32; 0, infinity, +-sqrt(1/2), +-sqrt(2) are as accurate as oneDNN's direct convolution
(measured: root mean square 1.5e-6 beside 1.2e-6, largest 1.2e-5 beside 1.3e-5, for 512 channels of unit variance).
They also come in reciprocal pairs, so that a filter turned by 180 degrees has the same transform in another order: the
backward pass reads the forward pass's transformed weights.

The picture is worked through in strips that stay in the cache. Both transforms are matrix products with 36 columns
(B^T kron B^T and A^T kron A^T): an order faster here than adding slices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..strips import run_strips

TILE = 4  # outputs per side
_WINDOW = 6  # inputs per side
_STRIP = 64 * 512  # tiles times channels: enough rows for the products, few enough for the cache (measured 16 to 1024)
_POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2.0**0.5, -(2.0**0.5))  # and infinity
_RECIPROCAL = (5, 3, 4, 1, 2, 0)  # where 1 / point stands

Load = Callable[[slice, int, int, Tensor, int, int], None]
Store = Callable[[slice, int, int, Tensor], None]


@lru_cache
def transforms(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Compute (B^T kron B^T [36, 36], G kron G [36, 9], A^T kron A^T [16, 36]), computed in float64."""
    inverse = np.array([[p**k for p in _POINTS] + [float(k == TILE - 1)] for k in range(TILE)])
    kernel, window = np.zeros((_WINDOW, 3)), np.zeros((_WINDOW, _WINDOW))
    for i, p in enumerate(_POINTS):
        others = [q for q in _POINTS if q != p]
        kernel[i] = np.array([1.0, p, p * p]) / np.prod([p - q for q in others])
        window[i, :-1] = np.poly(others)[::-1]
    kernel[-1, 2] = 1.0
    window[-1] = np.poly(_POINTS)[::-1]
    # A point's scale may move between G and B. Rows (1/p, 1, p) of G make the row of 1/p the row of p read backwards.
    scale = np.where(kernel[:, 1] == 0, np.abs(kernel).max(axis=1), kernel[:, 1])
    kernel, window = kernel / scale[:, None], window * scale[:, None]
    with torch.inference_mode(False):
        return tuple(torch.from_numpy(np.kron(m, m)).to(dtype) for m in (window, kernel, inverse))


@lru_cache
def _adjoint_order() -> list[int]:
    return [6 * i + j for i in _RECIPROCAL for j in _RECIPROCAL]


@lru_cache
def _data_transforms(dtype: torch.dtype, adjoint: bool) -> tuple[Tensor, Tensor]:
    window, _, inverse = transforms(dtype)
    if not adjoint:
        return window, inverse
    with torch.inference_mode(False):
        order = _adjoint_order()
        return window[order].contiguous(), inverse[:, order].contiguous()


def transform_weight(weight: Tensor) -> Tensor:
    """Transform a filter, G g G^T: [O, I, 3, 3] -> [36, I, O]."""
    taps = rearrange(weight, "o i kh kw -> (kh kw) (i o)")
    return rearrange(transforms(weight.dtype)[1] @ taps, "points (i o) -> points i o", o=weight.shape[0])


def run_winograd(
    shape: tuple[int, int, int, int],  # B, H, W, input channels; H and W multiples of 4
    weight: Tensor,  # [36, I, O] of transform_weight; for the adjoint I and O change roles
    load: Load,  # (samples, first row, end row, destination [b, rows, W, I], first and end row counted once)
    store: Store,  # (samples, first row, end row, values of [b, rows, W, O] in any view of 4 or 6 dimensions)
    adjoint: bool = False,
) -> None:
    """Convolve strip by strip, in several threads: ``load`` brings a strip's input rows, ``store`` takes finished ones.

    Both are called by any thread, for different strips at once.
    """
    batch, height, width, channels = shape
    weight = weight.transpose(1, 2) if adjoint else weight
    outputs = weight.shape[2]
    to_tiles, from_tiles = _data_transforms(weight.dtype, adjoint)
    tile_rows, tile_columns = height // TILE, width // TILE
    strip = _STRIP // max(channels, outputs)
    rows = max(1, min(tile_rows, strip // tile_columns))
    group = max(1, min(batch, strip // (rows * tile_columns))) if rows == tile_rows else 1
    pitch = width + 2
    new = dict(dtype=weight.dtype, device=weight.device)
    values_per_point = group * rows * tile_columns * max(channels, outputs)
    strips = [
        (slice(b, min(b + group, batch)), r, min(rows, tile_rows - r))
        for b in range(0, batch, group)
        for r in range(0, tile_rows, rows)
    ]

    def make_worker() -> Callable[[tuple[slice, int, int]], None]:
        padded = torch.zeros(group, TILE * rows + 2, pitch, channels, **new)
        first, second = (torch.empty(36 * values_per_point, **new) for _ in range(2))  # buffers, used in turn

        def work(strip: tuple[slice, int, int]) -> None:
            samples, r, n = strip
            count = samples.stop - samples.start
            begin, end = TILE * r, TILE * (r + n)
            low, high = max(begin - 1, 0), min(end + 1, height)
            if begin == 0:
                padded[:count, 0].zero_()
            if end == height:
                padded[:count, TILE * n + 1].zero_()
            offset = low - begin + 1
            load(samples, low, high, padded[:count, offset : offset + high - low, 1:-1], begin, end)
            tiles = count * n * tile_columns
            windows = padded.as_strided(
                (_WINDOW, _WINDOW, count, n, tile_columns, channels),
                (pitch * channels, channels, padded.stride(0), TILE * pitch * channels, TILE * channels, 1),
            )
            gathered = first[: 36 * tiles * channels].view(36, -1)
            gathered.view(windows.shape).copy_(windows)
            points = torch.mm(to_tiles, gathered, out=second[: 36 * tiles * channels].view(36, -1))
            products = first[: 36 * tiles * outputs].view(36, tiles, outputs)
            torch.bmm(points.view(36, tiles, channels), weight, out=products)
            values = second[: 16 * tiles * outputs].view(16, -1)
            torch.mm(from_tiles, products.view(36, -1), out=values)
            values = values.view(TILE, TILE, count, n, tile_columns, outputs)
            store(samples, begin, end, values.permute(2, 3, 0, 4, 1, 5))

        return work

    run_strips(strips, make_worker)
