"""One state for pictures that come a few at a time: the shared curve is measured once, and each is judged alone.

What comes out for a picture depends on that picture and the curve, not on who shares its batch. So a folder of any
size, in any order and on any number of machines, gives the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...models.errors import InputError
from .plan import landing_tolerance, solve_strengths, target_tensor
from .reach import ReachedState
from .reader import readings_of
from .response import ResponsePrior, fit_prior

__all__ = ["measure_response", "reach_state_alone"]

_AT_TARGET = 0.01  # of the curve's height: a picture read nearer is not drawn again


def measure_response(
    render: Callable[[Tensor], Tensor],
    read: Callable[[Tensor], Tensor],
    count: int,
    strengths: Sequence[float],
    noise: float | None = None,
) -> ResponsePrior:
    """Measure the shared curve on some pictures, each drawn at every strength.

    Args:
        render: strengths [count] -> pictures [count, 3, H, W].
        read: pictures -> [count] or [count, 1].
        count: pictures; a dozen is enough.
        strengths: two or more, the range that is allowed.
        noise: standard deviation of a reading; None: the reader's own, else estimated.

    Raises:
        InputError: fewer than two strengths, or readings that do not change with them.
    """
    levels = torch.as_tensor(strengths, dtype=torch.float64).unique()
    if len(levels) < 2 or not bool(torch.isfinite(levels).all()):
        raise InputError(f"The shared curve needs two or more different, finite strengths; got {list(strengths)}.")
    columns = [readings_of(read, render(level.float().expand(count)))[:, :1] for level in levels]
    readings = torch.cat(columns, dim=1)
    if noise is None and getattr(read, "noise", None) is not None:
        noise = float(torch.as_tensor(read.noise).reshape(-1)[0])
    prior = fit_prior(levels, torch.where(torch.isfinite(readings), readings, torch.nan), noise)
    if not abs(float(prior.shape[-1])) > max(3 * prior.noise / count**0.5, 1e-9):
        raise InputError(
            f"The reading does not change with the strength between {float(levels[0]):g} and {float(levels[-1]):g}: "
            "this reader does not see this edit. Choose another reader, or a wider range."
        )
    return prior


def reach_state_alone(
    render: Callable[[Tensor], Tensor],
    read: Callable[[Tensor], Tensor],
    target: Tensor | Sequence[float],
    prior: ResponsePrior,
    rounds: int = 2,
) -> ReachedState:
    """Bring each picture to its target by the shared curve and its own readings.

    Args:
        render: strengths [B] -> pictures [B, 3, H, W].
        read: pictures -> [B] or [B, 1].
        target: [B].
        prior: from `measure_response`; its strengths are the range.
        rounds: drawings at most, beside the first one at the least edit; one more places who cannot reach the target.

    Raises:
        InputError: as `reach_state`.
    """
    values = torch.as_tensor(target)
    device, target = values.device, target_tensor(values, values.numel())
    count, dtype = len(target), torch.get_default_dtype()
    bounds = prior.strengths[[0, -1]].double()[:, None].expand(-1, count)
    least = prior.strengths[prior.strengths.abs().argmin()].double()
    height = abs(float(prior.shape[-1]))
    strengths, readings = torch.empty(count, 0, dtype=torch.float64), torch.empty(count, 0, dtype=torch.float64)
    proposal, drawn = least.expand(count).clone(), []
    active = torch.ones(count, dtype=torch.bool)
    for k in range(rounds + 2):
        pictures = render(proposal.to(device, dtype)).detach()
        row = readings_of(read, pictures)[:, :1]
        # A picture that is done takes no further reading in, so that its outcome does not depend on the others'.
        row = torch.where(torch.isfinite(row) & active[:, None], row, torch.nan)
        strengths, readings = torch.cat([strengths, proposal[:, None]], dim=1), torch.cat([readings, row], dim=1)
        drawn.append(pictures)
        curves = prior.curves(strengths, readings)
        solved, _, reachable = solve_strengths(curves, target, bounds)
        at_target = (row[:, 0] - target).abs() <= _AT_TARGET * height + prior.noise
        apart = torch.where(torch.isfinite(readings), (strengths - solved[:, None]).abs(), torch.inf)
        placed = ~reachable & (apart.amin(dim=1) < 1e-6)
        unread = ~torch.isfinite(readings).any(dim=1)
        active = active & ~(at_target | placed | unread)
        if k >= rounds:  # the last drawing is for those alone who have to stand at their range's end
            active = active & ~reachable
        if not bool(active.any()):
            break
        proposal = torch.where(active, solved, proposal)
    misses = (curves.at(strengths) - target[:, None]).abs()
    misses = torch.where(reachable[:, None], misses, (strengths - solved[:, None]).abs())
    misses = torch.where(torch.isfinite(readings) & torch.isfinite(misses), misses, torch.inf)
    best = torch.where(unread, 0, misses.argmin(dim=1))
    index = best[:, None]
    return ReachedState(
        strengths.gather(1, index)[:, 0].to(device, dtype),
        readings.gather(1, index)[:, 0].to(device, dtype),
        reachable.to(device),
        torch.stack([drawn[int(n)][i] for i, n in enumerate(best)]),
        count * len(drawn),
        target.to(device, dtype),
        torch.isfinite(readings).sum(dim=1),
        landing_tolerance(height, prior.noise),
    )
