"""Factors of a portrait: names, ranges, defaults, and the map from normal samples to them.

A factor vector has shape ``[B, K]``, columns in the order of ``FACTORS``. Unsigned factors lie in 0..1, signed ones in
-1..1. Fifteen factors are *live*: they vary from portrait to portrait. The others exist for photos (details which a
generator trained on live factors alone has never seen) and rest at their defaults otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import repeat
from torch import Tensor

Z_DIM = 64


@dataclass(frozen=True)
class Factor:
    """One property of a portrait."""

    name: str
    low: float  # smallest sampled value
    high: float  # largest sampled value
    default: float  # value when it is not given
    live: bool  # varies from portrait to portrait
    binary: bool = False  # present or absent


_LIVE = (
    Factor("yaw", -0.8, 0.8, 0.0, True),  # head turn, positive to the picture's right
    Factor("smile", -1.0, 1.0, 0.2, True),
    Factor("mouth_open", 0.0, 1.0, 0.0, True),
    Factor("eye_open", 0.15, 1.0, 0.8, True),
    Factor("brow", -1.0, 1.0, 0.0, True),  # raised is positive
    Factor("hair_len", 0.0, 1.0, 0.4, True),
    Factor("hair_hue", 0.0, 1.0, 0.2, True),  # brown, auburn, ginger, blond, silver
    Factor("hair_light", 0.0, 1.0, 0.5, True),
    Factor("skin", 0.0, 1.0, 0.3, True),  # light to dark
    Factor("face_w", 0.0, 1.0, 0.5, True),
    Factor("bg_hue", 0.0, 1.0, 0.6, True),
    Factor("shirt_hue", 0.0, 1.0, 0.3, True),
    Factor("glasses", 0.0, 1.0, 0.0, True, binary=True),
    Factor("hat", 0.0, 1.0, 0.0, True, binary=True),
    Factor("hat_hue", 0.0, 1.0, 0.5, True),
)
_AT_REST = (
    Factor("pitch", -1.0, 1.0, 0.0, False),
    Factor("eye_size", 0.0, 1.0, 0.75, False),
    Factor("eye_hue", 0.0, 1.0, 0.6, False),
    Factor("lip", 0.0, 1.0, 0.6, False),
    Factor("part", -1.0, 1.0, 0.0, False),  # where the hair is parted
    Factor("light", -1.0, 1.0, 0.0, False),  # side the light comes from
    Factor("freckle", 0.0, 1.0, 0.0, False),
    Factor("curl", 0.0, 1.0, 0.0, False),
    Factor("head_x", -1.0, 1.0, 0.0, False),
)
FACTORS: tuple[Factor, ...] = _LIVE + _AT_REST
NAMES: tuple[str, ...] = tuple(factor.name for factor in FACTORS)
LIVE_NAMES: tuple[str, ...] = tuple(factor.name for factor in _LIVE)
BINARY_NAMES: tuple[str, ...] = tuple(factor.name for factor in FACTORS if factor.binary)
INDEX: dict[str, int] = {name: i for i, name in enumerate(NAMES)}

# A person in five to three wears glasses, one in four a hat. The fade is so steep that one portrait in a hundred is
# neither with nor without, which keeps the map from z to the picture continuous.
_PRESENCE = {"glasses": 0.62, "hat": 0.74}
_FADE = 0.002


def default_factors(batch: int = 1) -> Tensor:
    """Return the factors of the neutral portrait, ``[batch, K]``."""
    return repeat(torch.tensor([factor.default for factor in FACTORS]), "k -> b k", b=batch).clone()


def factors_from_z(z: Tensor) -> Tensor:
    """Map normal samples ``z [B, Z]``, ``Z >= 15``, to factors ``[B, K]``; the first 15 entries drive the live ones.

    ``z`` is first normalised to unit mean square, as the generator's mapping does, so that both see the same sample.
    Each entry then goes through the normal distribution function to 0..1 and on to its factor's range.

    Raises:
        ValueError: for another shape.
    """
    live = len(_LIVE)
    if z.ndim != 2 or z.shape[1] < live:
        raise ValueError(f"z: expected [B, Z] with Z >= {live}, got {list(z.shape)}")
    z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
    u = 0.5 * (1 + torch.erf(z[:, :live] / math.sqrt(2)))
    factors = default_factors(len(z)).to(z)
    for i, factor in enumerate(_LIVE):
        if factor.binary:
            factors[:, i] = torch.sigmoid((u[:, i] - _PRESENCE[factor.name]) / _FADE)
        else:
            factors[:, i] = factor.low + (factor.high - factor.low) * u[:, i]
    return factors


def sample_factors(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Sample the factors ``[count, K]`` of random portraits; binary factors exactly 0 or 1."""
    factors = factors_from_z(torch.randn(count, Z_DIM, generator=generator))
    for name in BINARY_NAMES:
        factors[:, INDEX[name]] = factors[:, INDEX[name]].round()
    return factors


def as_factors(factors: Tensor | Mapping[str, Tensor | Sequence[float] | float]) -> Tensor:
    """Build a factor matrix ``[B, K]``.

    Args:
        factors: a matrix ``[B, K]``, or names to ``[B]`` (or to one number for all); other names take their defaults.

    Raises:
        ValueError: for an unknown name, a wrong shape or a batch mismatch.
    """
    if isinstance(factors, Tensor):
        if factors.ndim != 2 or factors.shape[1] != len(NAMES):
            raise ValueError(f"factors: expected [B, {len(NAMES)}], got {list(factors.shape)}")
        return factors.float()
    unknown = sorted(set(factors) - set(NAMES))
    if unknown:
        raise ValueError(f"factors: unknown name {unknown[0]!r}; known are {', '.join(NAMES)}")
    columns = {name: torch.as_tensor(value, dtype=torch.float32).flatten() for name, value in factors.items()}
    batch = max((len(column) for column in columns.values()), default=1)
    matrix = default_factors(batch)
    for name, column in columns.items():
        if len(column) not in (1, batch):
            raise ValueError(f"factors: {name!r} has {len(column)} values, expected 1 or {batch}")
        matrix[:, INDEX[name]] = column
    return matrix


def normalise_factors(factors: Tensor) -> Tensor:
    """Scale the live ones of factors ``[B, K]`` to -1..1, ``[B, 15]``: the target of oracle and regressor."""
    low = torch.tensor([factor.low for factor in _LIVE]).to(factors)
    high = torch.tensor([factor.high for factor in _LIVE]).to(factors)
    return 2 * (factors[:, : len(_LIVE)] - low) / (high - low) - 1


def visibility_mask(factors: Tensor) -> Tensor:
    """Mark the live ones of factors ``[B, K]`` that show: ``[B, 15]``, 0 where nothing could read it (no hat's hue)."""
    mask = torch.ones_like(factors[:, : len(_LIVE)])
    mask[:, INDEX["hat_hue"]] = (factors[:, INDEX["hat"]] > 0.5).to(mask)
    return mask


def denormalise_factors(values: Tensor) -> dict[str, Tensor]:
    """Invert ``normalise_factors``: ``[B, 15]`` in -1..1 to live names and ``[B]`` in their own ranges."""
    return {
        factor.name: factor.low + (factor.high - factor.low) * (values[:, i] + 1) / 2 for i, factor in enumerate(_LIVE)
    }
