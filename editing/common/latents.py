"""Selection, interpolation and truncation of codes of W+: pure functions, nothing is changed in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...models.errors import InputError, check_choice
from .rows import parse_rows
from .types import GanLatent, check_family, check_rows

__all__ = ["BLEND_MODES", "blend", "lerp", "select", "slerp", "spread_rows", "truncate"]

BLEND_MODES = ("linear", "spherical")
_PARALLEL = 1e-4  # rad; below it, and this near to opposite, an arc is no better defined than a line


def select(latent: GanLatent, indices: Sequence[int]) -> GanLatent:
    """Return the codes at these positions, in this order; repeats are allowed.

    Raises:
        InputError: no positions, or one that does not exist.
    """
    if not indices or not all(-len(latent) <= index < len(latent) for index in indices):
        raise InputError(f"Choose among the {len(latent)} codes, 0 to {len(latent) - 1}; got {list(indices)}.")
    codes = latent.codes[torch.as_tensor(list(indices), device=latent.codes.device)]
    return replace(latent, codes=codes, names=[latent.names[index] for index in indices])


def spread_rows(latent: GanLatent, rows: int) -> GanLatent:
    """Give codes of W, which have one row [B, 1, D], to all rows of W+: [B, L, D]; codes of several rows stay."""
    if latent.num_layers != 1 or rows == 1:
        return latent
    return replace(latent, codes=latent.codes.expand(-1, rows, -1).contiguous())


def blend(
    a: GanLatent,
    b: GanLatent,
    amount: float,
    mode: str = "linear",
    layers: str | Sequence[int] = "all",
    center: Tensor | None = None,
) -> GanLatent:
    """Mix two latents of one family on some rows: `amount` 0 gives `a`, 1 gives `b`; the other rows stay those of `a`.

    Args:
        a, b: equally many codes, or one code in either, which then meets every code of the other.
        amount: beyond 0..1 continues past `a` or `b`.
        mode: "linear", or "spherical": along the arc between the two, each row for itself, with the length in between.
        layers: rows that take part: row numbers, or text for `parse_rows` ("coarse", "0-5").
        center: [D], the point that arcs go round, such as the mean of W; None: zero. A line needs none.

    Raises:
        InputError: another family, shape or number of codes, an unknown mode, or rows that do not exist.
    """
    check_choice("mode", mode, BLEND_MODES)
    check_family(a.family, b.family, "Latent a", "latent b")
    if a.codes.shape[1:] != b.codes.shape[1:]:
        raise InputError(
            f"Latent a has codes {list(a.codes.shape[1:])} and latent b {list(b.codes.shape[1:])} (rows, width): "
            "they were made with different generators and cannot be mixed."
        )
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise InputError(f"Latent a has {len(a)} codes and b {len(b)}: give equally many, or a single one on one side.")
    if isinstance(layers, str):
        rows = list(parse_rows(layers, a.num_layers, "layers"))
    else:
        rows = list(check_rows(layers, a.num_layers, "A latent"))
    count = max(len(a), len(b))
    codes = a.codes.expand(count, -1, -1).clone()
    other = b.codes.to(codes).expand(count, -1, -1)
    if mode == "linear":
        codes[:, rows] = lerp(codes[:, rows], other[:, rows], amount)
    else:
        center = 0 if center is None else center.to(codes)
        codes[:, rows] = slerp(codes[:, rows] - center, other[:, rows] - center, amount) + center
    names = [_blended_name(a.names[k % len(a)], b.names[k % len(b)], amount) for k in range(count)]
    return GanLatent(codes, names, a.family or b.family)


def lerp(a: Tensor, b: Tensor, amount: float) -> Tensor:
    """Interpolate on the line, [..., D], [..., D] -> [..., D]; exactly a at `amount` 0 and b at 1."""
    return a * (1 - amount) + b * amount


def slerp(a: Tensor, b: Tensor, amount: float) -> Tensor:
    """Interpolate on the arc from a to b (Shoemake 1985), [..., D], [..., D] -> [..., D], its length in between.

    The arc is taken between the unit vectors, and the lengths are mixed linearly: sin((1-t) o)/sin o and sin(t o)/sin o
    weigh the two, o being the angle between them. Parallel, opposite and zero vectors are mixed on the line.
    """
    length_a, length_b = (x.norm(dim=-1, keepdim=True) for x in (a, b))
    tiny = torch.finfo(a.dtype).tiny
    unit_a, unit_b = a / length_a.clamp_min(tiny), b / length_b.clamp_min(tiny)
    # atan2 of the two chords is exact for small angles, where the cosine has no digits left.
    angle = 2 * torch.atan2((unit_a - unit_b).norm(dim=-1, keepdim=True), (unit_a + unit_b).norm(dim=-1, keepdim=True))
    curved = (angle > _PARALLEL) & (angle < torch.pi - _PARALLEL) & (length_a > tiny) & (length_b > tiny)
    sine = torch.where(curved, angle.sin(), torch.ones_like(angle))
    arc = ((1 - amount) * angle).sin() / sine * unit_a + (amount * angle).sin() / sine * unit_b
    return torch.where(curved, arc * lerp(length_a, length_b, amount), lerp(a, b, amount))


def truncate(latent: GanLatent, mean: Tensor, truncation: float, rows: Sequence[int] | None = None) -> GanLatent:
    """Pull codes toward the mean of W (1812.04948, appendix B): w' = mean + truncation (w - mean).

    Args:
        mean: [D].
        truncation: 1 keeps the codes, 0 gives the mean.
        rows: that are pulled; None: all.

    Raises:
        InputError: a mean of another width, or rows that do not exist.
    """
    if mean.shape != (latent.w_dim,):
        raise InputError(f"The mean of W has shape {list(mean.shape)}; the codes are {latent.w_dim} wide.")
    rows = list(range(latent.num_layers) if rows is None else check_rows(rows, latent.num_layers, "A latent"))
    codes, center = latent.codes.clone(), mean.to(latent.codes)
    codes[:, rows] = center + truncation * (codes[:, rows] - center)
    return replace(latent, codes=codes)


def _blended_name(a: str, b: str, amount: float) -> str:
    return f"{a} to {b}, {amount:g}" if a != b else a
