"""Simultaneous edits: one linear system for all strengths, so that the second does not move what the first one set.

Edit j has a functional v_j, the attribute that it equalises, and a direction d_j. Alone it would move a picture by
a_j = (c_j - v_j . w) / (v_j . d_j) lengths of d_j. Applied together, d_k moves v_j as well wherever v_j . d_k is not 0,
and whoever comes last wins. All states are reached at once by the strengths x that solve

    sum_k M_jk x_k = a_j        with the response M_jk = (v_j . d_k) / (v_j . d_j)

a system as small as the number of edits, the same for every picture. Edits may act on different rows of W+: v_j is zero
outside its own, so only shared rows couple. With v = d it is the Gram matrix of the directions, each row divided by its
diagonal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ..common.types import EditDirection, EditStrength, check_family
from .closed_form import apply_edit, attribute_values, plan_strength

__all__ = ["Combination", "combine_edits", "response"]

# The smallest singular value of the response that is still solved: two plain directions of cosine 0.98 have 0.02.
_SMALLEST = 0.02
_TOO_FAR = 1 + 1e-6  # of the limit, before an edit counts as held back


@dataclass(frozen=True, eq=False)
class Combination:
    """The edited codes of B pictures, and how each of E edits (in the order given) reached its state.

    Args:
        codes: [B, L, D], edited.
        alphas: [B, E], lengths moved along each direction.
        solo_alphas: [B, E], the lengths that each edit would need by itself.
        clamped: [B, E] bool, held back by the limit: the state is not reached.
        values_before, values_after, targets: [B, E], v . w of each edit.
        response: [E, E], by how many of its own lengths edit j's state moves when edit k moves by one.
    """

    codes: Tensor
    alphas: Tensor
    solo_alphas: Tensor
    clamped: Tensor
    values_before: Tensor
    values_after: Tensor
    targets: Tensor
    response: Tensor

    def crosstalk(self) -> Tensor:
        """Return [E, E], the mean lengths by which edit k would have moved edit j's state, each applied as if alone."""
        off_diagonal = self.response - torch.eye(len(self.response), dtype=self.response.dtype)
        return off_diagonal.abs() * self.solo_alphas.abs().mean(dim=0).to(off_diagonal)


def combine_edits(
    w: Tensor,  # [B, L, D]
    edits: Sequence[EditDirection],
    strengths: Sequence[EditStrength | Tensor | float],  # one per edit, see below
    limit: float | None = None,  # largest |alpha| of any edit; None: no bound
) -> Combination:
    """Move every code so that all edits reach their states together; the order of the edits does not matter.

    A strength says where its edit shall arrive: a number is the slider of the edit's own example (1: its state after
    the edit), an EDIT_STRENGTH or [B] lengths: the state that this edit would reach alone with them. Where the limit
    holds an edit back, the others are solved again around it, so that they still arrive.

    Raises:
        InputError: another shape or family, an edit that cannot reach a state, or edits of which two are almost the
            same; the sentence names both.
    """
    if len(edits) < 2 or len(strengths) != len(edits):
        raise InputError(f"Two or more edits with one strength each are needed; got {len(edits)} and {len(strengths)}.")
    if limit is not None and not limit > 0:
        raise InputError(f"The limit of the strengths must be above 0; got {limit}.")
    for edit in edits[1:]:
        check_family(edits[0].family, edit.family, f"The edit '{edits[0].name}'", f"the edit '{edit.name}'")
    solo = torch.stack([_solo_alphas(edit, w, s) for edit, s in zip(edits, strengths, strict=True)], dim=1)
    # Solved in an order that the edits themselves decide: sums in another order would differ in their last digits.
    order = sorted(range(len(edits)), key=lambda k: _fingerprint(edits[k]))
    inverse_order = torch.tensor(order).argsort()
    matrix = response([edits[k] for k in order])
    check_apart([edits[k] for k in order], matrix)
    alphas, clamped = _solve(matrix, solo[:, order], limit)
    codes = w
    for column, k in enumerate(order):
        codes = apply_edit(codes, edits[k], alphas[:, column])
    values_before, values_after = (
        torch.stack([attribute_values(edit, rows) for edit in edits], dim=1) for rows in (w, codes)
    )
    gains = torch.tensor([_dot(edit.normal, edit.direction) for edit in edits], dtype=solo.dtype)
    return Combination(
        codes=codes,
        alphas=alphas[:, inverse_order].to(w),
        solo_alphas=solo.to(w),
        clamped=clamped[:, inverse_order].to(w.device),
        values_before=values_before,
        values_after=values_after,
        targets=values_before + (solo * gains).to(w),
        response=matrix[inverse_order][:, inverse_order].float(),
    )


def response(edits: Sequence[EditDirection]) -> Tensor:
    """Return M [E, E] of E edits in float64 on the CPU: M_jk = (v_j . d_k) / (v_j . d_j), 1 on the diagonal."""
    normals = torch.stack([edit.normal.detach().cpu().double().flatten() for edit in edits])
    directions = torch.stack([edit.direction.detach().cpu().double().flatten() for edit in edits])
    products = normals @ directions.t()
    return products / products.diagonal()[:, None]


def check_apart(edits: Sequence[EditDirection], matrix: Tensor) -> None:
    """Refuse edits that cannot be told apart: some mixture of them moves none of their states.

    Args:
        matrix: [E, E] of :func:`response`.

    Raises:
        InputError: the sentence names the two edits that are most alike.
    """
    # A direction's length is nobody's business here: column k in units in which d_k is as long as the others.
    sizes = torch.tensor([float(edit.direction.norm()) for edit in edits], dtype=matrix.dtype)
    scaled = matrix * sizes[:, None] / sizes[None]
    _, values, right = torch.linalg.svd(scaled)
    if float(values[-1]) >= _SMALLEST:
        return
    first, second = right[-1].abs().argsort(descending=True)[:2].tolist()
    first, second = sorted((first, second), key=lambda k: edits[k].name)
    overlap = min(float((matrix[first, second] * matrix[second, first]).abs().sqrt()), 1.0)
    names = f"'{edits[first].name}' and '{edits[second].name}'"
    alike = (
        f"The edits {names} are almost the same: what moves the one moves the other as well ({overlap:.0%})"
        if overlap > 0.9
        else f"The edits {names} cannot be told apart from the edits they are combined with"
    )
    raise InputError(
        f"{alike}, so no strengths bring each to a state of its own. Leave one of them out, or let them act on "
        "different rows."
    )


def _solo_alphas(edit: EditDirection, w: Tensor, strength: EditStrength | Tensor | float) -> Tensor:
    """Return the lengths [B], in float64 on the CPU, that the edit would move each code by itself."""
    planned = plan_strength(edit, w, target=0.0)  # refuses other shapes, and a normal that its direction does not move
    if isinstance(strength, EditStrength):
        check_family(edit.family, strength.family, f"The edit '{edit.name}'", "its strengths")
        strength = strength.alpha
    if not isinstance(strength, Tensor):
        planned = plan_strength(edit, w, float(strength))
        strength = planned.alpha
    if strength.ndim != 1 or len(strength) not in (1, len(w)):
        raise InputError(
            f"The edit '{edit.name}' has strengths of shape {list(strength.shape)} for {len(w)} pictures; one per "
            "picture is needed: compute them with the same codes."
        )
    return strength.detach().cpu().double().expand(len(w))


def _solve(matrix: Tensor, solo: Tensor, limit: float | None) -> tuple[Tensor, Tensor]:
    """Solve matrix [E, E] x = solo for x [B, E], with |x| <= limit; return also who was held back, [B, E] bool.

    Whoever exceeds the limit most is fixed at it first, and the others are solved again.
    """
    alphas = torch.linalg.solve(matrix, solo.t()).t()
    clamped = torch.zeros_like(alphas, dtype=torch.bool)
    if limit is None:
        return alphas, clamped
    for _ in range(len(matrix)):
        excess = alphas.abs().masked_fill(clamped, 0)
        worst = excess.max(dim=1, keepdim=True).values
        newly_clamped = (excess >= worst) & (worst > limit * _TOO_FAR)
        if not bool(newly_clamped.any()):
            break
        alphas = torch.where(newly_clamped, alphas.clamp(-limit, limit), alphas)
        clamped |= newly_clamped
        changed = newly_clamped.any(dim=1)
        for pattern in clamped[changed].unique(dim=0):
            pictures = (clamped == pattern).all(dim=1) & changed
            if not bool(pattern.all()):
                alphas[pictures] = _solve_free(matrix, solo[pictures], alphas[pictures], pattern)
    return alphas, clamped


def _solve_free(matrix: Tensor, solo: Tensor, alphas: Tensor, fixed: Tensor) -> Tensor:
    """Solve for the strengths of alphas [b, E] that are not ``fixed`` [E] bool, around those that are."""
    free = ~fixed
    right_hand = solo[:, free] - alphas[:, fixed] @ matrix[free][:, fixed].t()
    # Least squares: a sub-system of a well-posed one may be singular, and then the shortest way is taken.
    solution = torch.linalg.lstsq(matrix[free][:, free], right_hand.t(), driver="gelsd").solution.t()
    return alphas.masked_scatter(free.expand(len(alphas), -1), solution)


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a.cpu().double() * b.cpu().double()).sum())


def _fingerprint(edit: EditDirection) -> bytes:
    tensors = (edit.direction, edit.normal)
    return hashlib.sha256(b"".join(tensor.detach().cpu().float().numpy().tobytes() for tensor in tensors)).digest()
