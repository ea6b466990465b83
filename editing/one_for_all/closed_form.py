"""The closed form of Edit One for All (2401.10219): how far each picture moves so that all reach the same state.

An attribute functional v (the direction's normal) gives every code its value v . w over the edited rows. With the
target value c, picture i moves by alpha_i = (c - v . w_i) / (v . d) along the direction d. Edit One for All
(2401.10219) takes v = d; any other v that measures the attribute better lands the batch closer together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...models.code_range import LARGEST_CODE
from ...models.errors import InputError
from ..common.types import EditDirection, EditStrength

# Below this cosine between v and d, moving along d hardly changes v, and alpha would explode.
SMALLEST_COSINE = 1e-3


def compute_strength(
    direction: EditDirection,
    w: Tensor,  # [B, L, D]
    strength: float = 1.0,  # 0: the example's state before its edit, 1: after, beyond: further
    target: float | None = None,  # a value of v . w instead of the example's
    limit: float | None = None,  # largest |alpha|; None: no bound
) -> Tensor:
    """Compute alpha [B], how many lengths of ``direction.direction`` each code has to move.

    Raises:
        InputError: as :func:`plan_strength`.
    """
    return plan_strength(direction, w, strength, target, limit).alpha


def plan_strength(
    direction: EditDirection,
    w: Tensor,  # [B, L, D]
    strength: float = 1.0,
    target: float | None = None,
    limit: float | None = None,
) -> EditStrength:
    """Compute alpha_i = (c - v . w_i) / (v . d) as :func:`compute_strength`, and report who was clamped and how.

    Raises:
        InputError: codes of another shape, a direction of length 0, a normal that the direction does not move, or a
            direction without example when no target is given.
    """
    _check_codes(direction, w)
    d, v = direction.direction.to(w), direction.normal.to(w)
    gain = float((v * d).sum())
    lengths = float(v.norm() * d.norm())
    if lengths == 0.0:
        raise InputError(f"The direction '{direction.name}' has length 0; it cannot move any picture.")
    if abs(gain) < SMALLEST_COSINE * lengths:
        raise InputError(
            f"Moving along '{direction.name}' does not change its own attribute (cosine {gain / lengths:.1e} between "
            "the direction and its normal), so no strength can be computed. Fit the normal again, or use the "
            "direction as its own normal."
        )
    goal = target_value(direction, strength) if target is None else float(target)
    unlimited = (goal - (w * v).sum(dim=(1, 2))) / gain
    alpha, note = _clamp(unlimited, limit)
    return EditStrength(alpha, alpha != unlimited, f"same state: target {goal:.4g}{note}", direction.family)


def constant_strength(
    direction: EditDirection,
    w: Tensor,  # [B, L, D]
    strength: float = 1.0,
    limit: float | None = None,  # as in `plan_strength`
) -> EditStrength:
    """Move every picture by the same amount, whatever it had before: the naive batch edit.

    Raises:
        InputError: codes of another shape, or a limit that is not above 0.
    """
    _check_codes(direction, w)
    unlimited = torch.full((w.shape[0],), float(strength), dtype=w.dtype, device=w.device)
    alpha, note = _clamp(unlimited, limit)
    return EditStrength(alpha, alpha != unlimited, f"constant {strength:g}{note}", direction.family)


def target_value(direction: EditDirection, strength: float = 1.0) -> float:
    """Return v . (w0 + s (w0' - w0)), where the slider ``strength`` puts the example.

    Raises:
        InputError: the direction comes without an example.
    """
    if not direction.has_example:
        raise InputError(
            f"The direction '{direction.name}' comes without an example, so it has no target state. Connect a "
            "'reference' or a 'reference_image', or set mode to 'number' or 'constant'."
        )
    return direction.start + strength * (direction.offset - direction.start)


def attribute_values(direction: EditDirection, w: Tensor) -> Tensor:
    """Return v . w over the edited rows, [B, L, D] -> [B]: the signed value that the strength equalises.

    Raises:
        InputError: codes of another shape.
    """
    _check_codes(direction, w)
    return (w * direction.normal.to(w)).sum(dim=(1, 2))


def apply_edit(
    w: Tensor,  # [B, L, D]
    direction: EditDirection,
    alpha: Tensor,  # [B], or one value for all
) -> Tensor:
    """Return w_i + alpha_i d on the edited rows, [B, L, D]; the other rows stay w_i's own.

    Raises:
        InputError: codes of another shape, another number of strengths, or codes beyond any generator's range.
    """
    _check_codes(direction, w)
    alpha = torch.as_tensor(alpha, dtype=w.dtype, device=w.device).reshape(-1)
    if alpha.shape[0] not in (1, w.shape[0]):
        raise InputError(f"There are {alpha.shape[0]} strengths for {w.shape[0]} pictures; one per picture is needed.")
    edited = w + alpha[:, None, None] * direction.direction.to(w)
    if not bool(edited.abs().max() <= LARGEST_CODE):
        size, strength = float(edited.abs().max()), float(alpha.abs().max())
        raise InputError(
            f"Moving along '{direction.name}' by up to {strength:.3g} gives codes of numbers up to {size:.3g}; no "
            f"generator draws anything beyond {LARGEST_CODE:g}. Choose a smaller strength, or set a limit."
        )
    return edited


def _clamp(alpha: Tensor, limit: float | None) -> tuple[Tensor, str]:
    """Return strengths no larger than the limit, and a note of it for the report."""
    if limit is None:
        return alpha, ""
    if limit <= 0:
        raise InputError(f"The limit of the strength must be above 0; got {limit}.")
    return alpha.clamp(-limit, limit), f", limited to {limit:g}"


def _check_codes(direction: EditDirection, w: Tensor) -> None:
    expected = tuple(direction.direction.shape)
    if w.ndim != 3 or tuple(w.shape[1:]) != expected:
        raise InputError(
            f"The latents have shape {tuple(w.shape)}; the direction '{direction.name}' fits [B, {expected[0]}, "
            f"{expected[1]}]. They belong to different generators."
        )
