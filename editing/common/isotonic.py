"""Isotonic regression: the nearest curve that never falls, of scores that noise makes fall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["isotonic_regression"]


def isotonic_regression(values: Sequence[float], weights: Sequence[float] | None = None) -> np.ndarray:
    """Return the closest never-falling curve [N] of N values, by pool adjacent violators.

    It takes sampling noise out of a score curve.

    Args:
        values: N.
        weights: N, above 0, how much each value counts; None: all the same.
    """
    blocks: list[tuple[float, float, int]] = []  # (mean, weight, values)
    for value, weight in zip(values, [1.0] * len(values) if weights is None else weights, strict=True):
        blocks.append((float(value), float(weight), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (b, m, j), (a, n, i) = blocks.pop(), blocks.pop()
            blocks.append(((a * n + b * m) / (n + m), n + m, i + j))
    return np.concatenate([np.full(count, mean) for mean, _, count in blocks])
