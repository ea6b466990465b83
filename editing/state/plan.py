"""Edit One for All (2401.10219) for any editor: strengths from readings at a few strengths, one per picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from .response import ResponseCurves, fit_responses

__all__ = [
    "StrengthPlan",
    "check_strengths",
    "describe_plan",
    "describe_reach",
    "landing_tolerance",
    "plan_strengths",
    "reach_title",
    "solve_strengths",
    "strength_price",
    "target_tensor",
]

_TOLERANCE = 0.005  # of the shared curve's height: nearer to the target is at the target
_NAMED = 8  # pictures that a report names
_LANDED_SPREAD = 0.1  # of the pictures' own spread: nearer to the target is at the state
_LANDED_HEIGHT = 0.02  # of what the edit moves: likewise
_MANY = 8  # pictures from which their own spread is a measure


@dataclass(frozen=True, eq=False)
class StrengthPlan:
    """One strength per picture.

    Args:
        strengths: [B], within the strengths that were read.
        reachable: [B] bool, whether the target lies within the picture's range; whose does not is left at its end.
        expected: [B], the reading expected there; NaN for a picture without a reading.
        target: [B].
    """

    strengths: Tensor
    reachable: Tensor
    expected: Tensor
    target: Tensor

    def report(self, names: Sequence[str] = ()) -> str:
        """Say in a sentence who falls short; pictures are numbered where ``names`` has none."""
        return describe_plan(self.strengths, self.reachable, self.expected, names)


def plan_strengths(
    strengths: Tensor | Sequence[float],
    readings: Tensor | Sequence[Sequence[float]],
    target: Tensor | Sequence[float] | float,
    *,
    noise: float | None = None,
    strength_penalty: float = 0.0,
) -> StrengthPlan:
    """Choose each picture's strength from what it read at a few strengths.

    Args:
        strengths: [S] for all pictures, or [B, S], two or more different ones, in any order.
        readings: [B, S]; NaN where a picture could not be read.
        target: the reading that all shall reach, or [B].
        noise: standard deviation of a reading; None: estimated from readings that step back where the curve goes on.
        strength_penalty: 0 takes the reading nearest to the target at any strength; see `strength_price`.

    Returns:
        Strengths within the range of those read, never beyond it.

    Raises:
        InputError: shapes that do not go together, strengths or targets that are not finite, one strength alone, no
            finite reading at all, or a penalty that is negative or not finite.
    """
    readings = _matrix(readings)
    count, columns = readings.shape
    strengths, device = check_strengths(strengths, count, columns)
    target = target_tensor(target, count)
    if torch.isinf(readings).any() or not bool(torch.isfinite(readings).any()):
        raise InputError(
            "The readings must be finite numbers, NaN where a picture cannot be read; got none, or an infinite one."
        )
    check_noise(noise)
    check_penalty(strength_penalty)
    curves = fit_responses(strengths, readings, (float(strengths.min()), float(strengths.max())), noise)
    bounds = torch.stack([strengths.amin(dim=1), strengths.amax(dim=1)])
    least = strengths.gather(1, strengths.abs().argmin(dim=1, keepdim=True))[:, 0]
    price = strength_price(curves, strength_penalty, least)
    solved, expected, reachable = solve_strengths(curves, target, bounds, price)
    dtype = torch.get_default_dtype()
    return StrengthPlan(
        solved.to(device, dtype), reachable.to(device), expected.to(device, dtype), target.to(device, dtype)
    )


def strength_price(curves: ResponseCurves, penalty: float, least: Tensor) -> float:
    """Return what a squared strength costs, in readings.

    An edit that has done what it can goes on changing everything else: from one strength on its reading hardly moves,
    and a picture that lacks a trifle is pushed to the end of its range for it. So the strength s with the least

        |reading(s) - target| + penalty * trifle * (s / largest strength)^2

    is taken, where a trifle is what counts as landed for a reader without noise: at a penalty of 1, standing at the
    largest strength costs as much as missing the target by that. Where readings follow the strength they still meet the
    target. Noise has no part in it: the curves of all pictures together are surer than a reading.

    Args:
        least: [B], the strength at which each picture is edited least; the pictures' own spread is read there.
    """
    if not penalty:
        return 0.0
    trifle = landing_tolerance(curves.height, 0.0, own_spread(curves, least))
    return penalty * trifle / float(curves.grid.square().max())


def own_spread(curves: ResponseCurves, least: Tensor) -> float:
    """Return the standard deviation of pictures' readings at their least edit [B]; 0 where they are too few to say."""
    levels = curves.at(least)
    levels = levels[torch.isfinite(levels)]
    return float(levels.std()) if len(levels) >= _MANY else 0.0


def solve_strengths(
    curves: ResponseCurves, target: Tensor, bounds: Tensor, price: float = 0.0, tolerance: float = _TOLERANCE
) -> tuple[Tensor, Tensor, Tensor]:
    """Solve each picture's curve for its target.

    Args:
        curves: of B pictures.
        target: [B].
        bounds: [2, B], each picture's least and largest strength.
        price: of a squared strength, from `strength_price`.
        tolerance: as a share of the shared curve's height; a target that the curve misses by less is reached.

    Returns:
        (strengths [B], readings expected there [B], whether the target is reached [B]). Of several solutions the one
        nearest to strength 0 is taken; without a solution, the end whose reading is nearest to the target. With a
        price, the strength of the least cost; whether a target is reached is told as without it.
    """
    grid, mean = curves.grid, curves.mean
    inside = (grid >= bounds[0][:, None] - 1e-9) & (grid <= bounds[1][:, None] + 1e-9)  # [B, G]
    gap = mean - target[:, None]
    crossing = (gap[:, :-1] * gap[:, 1:] <= 0) & inside[:, :-1] & inside[:, 1:]
    share = gap[:, :-1].abs() / (gap[:, :-1].abs() + gap[:, 1:].abs()).clamp(min=1e-30)
    solutions = grid[:-1] + share * (grid[1] - grid[0])
    distance = torch.where(crossing, solutions.abs(), torch.inf)
    nearest = distance.argmin(dim=1, keepdim=True)
    crossed = crossing.any(dim=1)
    ends = curves.at(bounds.T)  # [B, 2]
    misses = (ends - target[:, None]).abs()
    misses = torch.where(torch.isfinite(misses), misses, 0.0)
    # Ends that are equally near: the one that edits less.
    order = misses + 1e-6 * abs(curves.height) * bounds.T.abs()
    order = torch.where(misses.amax(dim=1, keepdim=True) - misses.amin(dim=1, keepdim=True) > 0, order, bounds.T.abs())
    end = order.argmin(dim=1, keepdim=True)
    solved = torch.where(crossed, solutions.gather(1, nearest)[:, 0], bounds.T.gather(1, end)[:, 0])
    expected = torch.where(crossed, target, ends.gather(1, end)[:, 0])
    reachable = crossed | ((expected - target).abs() <= tolerance * abs(curves.height))
    readable = torch.isfinite(mean).all(dim=1)
    if price:
        cheapest, there = _cheapest(curves, target, price, inside, torch.where(crossed, solved, torch.nan))
        solved, expected = torch.where(readable, cheapest, solved), torch.where(readable, there, expected)
    return solved, expected, reachable & readable


def _cheapest(
    curves: ResponseCurves, target: Tensor, price: float, inside: Tensor, crossing: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the strength of the least cost and the reading there, [B] each: of the grid, or where the target is met.

    Args:
        inside: [B, G], what each picture's range holds of the grid.
        crossing: [B], the least strength that meets the target; NaN where none does.
    """
    costs = (curves.mean - target[:, None]).abs() + price * curves.grid.square()
    cost, best = torch.where(inside, costs, torch.inf).min(dim=1)
    meets = price * crossing.square() <= cost
    solved = torch.where(meets, crossing, curves.grid[best])
    return solved, torch.where(meets, target, curves.at(solved))


def landing_tolerance(height: float, noise: float, spread: float = 0.0) -> float:
    """Return how near to its target a drawn picture is at the state.

    Args:
        height: by how much the edit moves a reading over the whole range.
        noise: standard deviation of a reading; twice that is allowed for.
        spread: standard deviation of the pictures' readings before the edit; 0 where they are too few to say.
    """
    return max(_LANDED_SPREAD * spread, _LANDED_HEIGHT * abs(height)) + 2 * noise


def describe_plan(strengths: Tensor, reachable: Tensor, expected: Tensor, names: Sequence[str] = ()) -> str:
    """Say who can reach the state by what was read so far, who cannot, and who cannot be read: a sentence or three.

    Args:
        strengths, reachable, expected: [B].
        names: B, or none: the pictures are numbered then.
    """
    unread = ~torch.isfinite(expected)
    text = f"{int(reachable.sum())} of {len(reachable)} pictures can reach the state{_range_of(strengths)}"
    groups = {"Left as near as they come": ~reachable & ~unread, "Cannot be read": unread}
    return text + _named_groups(groups, names)


def describe_reach(
    strengths: Tensor,
    reachable: Tensor,
    readings: Tensor,
    landed: Tensor,
    tolerance: float | None = None,
    names: Sequence[str] = (),
    words: tuple[str, str] = ("pictures", "strengths"),
) -> str:
    """Say who was drawn at the state, who was left as near as they come, who is still apart, who cannot be read.

    Args:
        strengths, reachable, readings: [B], of what was drawn.
        landed: [B] bool, whose reading is at the target.
        tolerance: within which it counts as there; None: it differs from reading to reading.
        names: B, or none: the pictures are numbered then.
        words: what is edited, and by what.
    """
    unread = ~torch.isfinite(readings)
    within = "" if tolerance is None else f" within {tolerance:.2g}"
    text = f"{int(landed.sum())} of {len(landed)} {words[0]} are at the state{within}{_range_of(strengths, words[1])}"
    groups = {
        "Left as near as they come": ~reachable & ~landed & ~unread,
        "Still apart from it": reachable & ~landed & ~unread,
        "Cannot be read": unread,
    }
    return text + _named_groups(groups, names)


def reach_title(reachable: Tensor, readings: Tensor, landed: Tensor, subject: str = "pictures") -> str:
    """Return the headline of a plot of drawn pictures; arguments [B] as in `describe_reach`."""
    unread = ~torch.isfinite(readings)
    groups = {
        "left as near as they come": ~reachable & ~landed & ~unread,
        "still apart": reachable & ~landed & ~unread,
        "cannot be read": unread,
    }
    title = f"{int(landed.sum())} of {len(landed)} {subject} are at the state"
    return title + "".join(f"; {int(flags.sum())} {words}" for words, flags in groups.items() if bool(flags.any()))


def _range_of(strengths: Tensor, word: str = "strengths") -> str:
    return f"; {word} from {float(strengths.min()):.2f} to {float(strengths.max()):.2f}."


def _named_groups(groups: Mapping[str, Tensor], names: Sequence[str]) -> str:
    """Return a sentence for each group [B] that holds somebody."""
    text = ""
    for sentence, flags in groups.items():
        members = [k for k, flag in enumerate(flags.tolist()) if flag]
        if members:
            more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
            text += f" {sentence}: {', '.join(names[k] if names else f'#{k + 1}' for k in members[:_NAMED])}{more}."
    return text


def check_strengths(strengths: Tensor | Sequence[float], count: int, columns: int) -> tuple[Tensor, torch.device]:
    """Bring strengths [S] or [B, S] to [B, S], float64 on the CPU, and return their device, too.

    Raises:
        InputError: another shape, numbers that are not finite, or fewer than two different strengths.
    """
    values = torch.as_tensor(strengths).detach()
    device, values = values.device, values.double().cpu()
    if values.ndim not in (1, 2) or values.shape[-1] != columns or (values.ndim == 2 and len(values) != count):
        raise InputError(
            f"The strengths have shape {list(values.shape)}; expected [{columns}] or "
            f"[{count}, {columns}], one per reading."
        )
    if not bool(torch.isfinite(values).all()):
        raise InputError("The strengths must be finite numbers; one of them is not.")
    values = values.expand(count, columns)
    if columns < 2 or bool((values.amax(dim=1) <= values.amin(dim=1)).any()):
        raise InputError(f"Planning needs two or more different strengths; got {columns}, or equal ones.")
    return values, device


def target_tensor(target: Tensor | Sequence[float] | float, count: int) -> Tensor:
    """Bring a target, one number or [B], to [B], float64 on the CPU.

    Raises:
        InputError: another length, or a number that is not finite.
    """
    values = torch.as_tensor(target).detach().double().cpu().reshape(-1)
    if len(values) not in (1, count):
        raise InputError(f"The target has {len(values)} numbers; expected one, or one for each of {count} pictures.")
    if not bool(torch.isfinite(values).all()):
        raise InputError("The target must be a finite number; it is NaN or infinite.")
    return values.expand(count).clone()


def check_penalty(penalty: float) -> None:
    """Refuse a penalty of strengths that is none.

    Raises:
        InputError: below 0, or not finite.
    """
    if not 0 <= penalty < float("inf"):
        raise InputError(f"The strength penalty must be a finite number, 0 or more; got {penalty}.")


def check_noise(noise: float | None) -> None:
    """Refuse a noise that is no standard deviation.

    Raises:
        InputError: below 0, or not finite.
    """
    if noise is not None and not 0 <= noise < float("inf"):
        raise InputError(f"The reader's noise must be a finite number, 0 or more; got {noise}.")


def _matrix(readings: Tensor | Sequence[Sequence[float]]) -> Tensor:
    values = torch.as_tensor(readings).detach().double().cpu()
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"The readings have shape {list(values.shape)}; expected [B, S] (pictures, strengths).")
    return values
