"""Edit One for All (2401.10219) for any editor: draw, read and correct, until all pictures show one state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ..common.progress import Progress
from .outside import OutsideCap, capped_bounds
from .plan import check_noise, describe_reach, landing_tolerance, reach_title, solve_strengths, target_tensor
from .reader import readings_of
from .response import ResponseCurves, fit_groups, fit_responses

__all__ = ["ReachedState", "reach_state"]

_GOOD = 0.06  # of the pictures' own spread: where the rms of what is missing is below, no round follows
_FAR = 0.1  # of the pictures' own spread: where it is above after the last round, one more follows
_FINE = 0.01  # of the curve's height: likewise
_EXACT = 1e-6  # strengths that differ by less are one
_NEAR = 0.03  # of the range: likewise, where the range's end is an estimate
_GROUP = 4  # pilots per strength from which the groups tell the curve
_PILOTS = 3  # of so many pictures one is a pilot
_MANY = 8  # pictures from which their own spread is a measure
_LEAST_RESTRAINT = 0.5  # share of its way that a picture goes at least at its second drawing
_FREE = 0.8  # share above which nothing saturates


@dataclass(frozen=True, eq=False)
class ReachedState:
    """Pictures at one state, or as near as they come.

    Args:
        strengths: [B], at which ``pictures`` were drawn.
        readings: [B], what was read there; NaN for a picture that cannot be read.
        reachable: [B] bool; whose range ends before the target is left at its end.
        pictures: [B, 3, H, W], as drawn at ``strengths``.
        renders: pictures drawn in all.
        target: [B].
        drawings: [B], readings of each picture that were used.
        tolerance: a reading that is nearer to its target is at the state: a tenth of the pictures' own spread, or a
            fiftieth of what the edit moves, and twice the reader's noise.
    """

    strengths: Tensor
    readings: Tensor
    reachable: Tensor
    pictures: Tensor
    renders: int
    target: Tensor
    drawings: Tensor | None = None
    tolerance: float = 0.0

    @property
    def landed(self) -> Tensor:
        """Tell whose reading is at the target, [B] bool: what was drawn, and not what might be."""
        return (self.readings - self.target).abs() <= self.tolerance

    def report(self, names: Sequence[str] = ()) -> str:
        """Say who is at the state and who falls short; pictures are numbered where ``names`` has none."""
        return describe_reach(self.strengths, self.reachable, self.readings, self.landed, self.tolerance, names)

    def title(self) -> str:
        """Say the same in numbers, for a plot."""
        return reach_title(self.reachable, self.readings, self.landed)


def reach_state(
    render: Callable[[Tensor], Tensor],
    read: Callable[[Tensor], Tensor],
    target: Tensor | Sequence[float],
    strengths: Sequence[float] = (0.0, 0.5, 1.0),
    rounds: int = 2,
    *,
    noise: float | None = None,
    cap: OutsideCap | None = None,
    progress: Progress | None = None,
) -> ReachedState:
    """Bring each picture to its target by the strength that it needs.

    All pictures are drawn at the least edit, then each at one of the other strengths: together they show the shared
    curve. Rounds of corrections follow, a secant step per picture whose slope is pulled toward the shared one as far as
    the reader is noisy; they end early where nothing is missing. Four drawings a picture are usual with two rounds; one
    more follows where many have not landed, or where somebody turns out late to have the state out of reach.

    Args:
        render: strengths [B] -> pictures [B, 3, H, W].
        read: pictures -> readings [B] or [B, 1]; a `StateReader` brings its noise along.
        target: [B]; its length is the number of pictures.
        strengths: those of the shared curve, two or more; no picture is drawn outside of their range.
        rounds: corrections at most.
        noise: standard deviation of a reading; None: the reader's own, else estimated.
        cap: on what may change outside of a region; a picture's range ends where it is met. Strength 0 has to be
            the unedited picture.
        progress: counts pictures; may raise to stop.

    Raises:
        InputError: a target that is not finite, fewer than two different strengths, negative rounds, or pictures or
            readings of another number than targets.
    """
    job = _Reaching(render, read, target, strengths, rounds, noise, cap, progress)
    job.draw(job.first_strengths())
    job.draw(job.second_strengths())
    for _ in range(rounds):
        proposal = job.next_strengths()
        if proposal is None:
            break
        job.draw(proposal)
    if rounds and job.far_off():
        job.draw(job.solved_strengths())
    ends = job.end_strengths()
    if ends is not None:
        job.draw(ends)
    return job.result()


class _Reaching:
    """The pictures, what was read of them so far, and the best drawing of each."""

    def __init__(self, render, read, target, strengths, rounds, noise, cap, progress) -> None:
        values = torch.as_tensor(target)
        count = values.numel()
        if values.ndim > 1 or count == 0:
            raise InputError(f"The target has shape {list(values.shape)}; expected [B], one number per picture.")
        if rounds < 0:
            raise InputError(f"The rounds must be 0 or more; got {rounds}.")
        curve = torch.as_tensor(strengths).detach().double().cpu().reshape(-1)
        if not bool(torch.isfinite(curve).all()) or len(curve.unique()) < 2:
            raise InputError(f"The shared curve needs two or more different, finite strengths; got {curve.tolist()}.")
        if noise is None and getattr(read, "noise", None) is not None:
            noise = float(torch.as_tensor(read.noise).reshape(-1)[0])
        check_noise(noise)
        self.render, self.read, self.noise, self.progress, self.rounds = render, read, noise, progress, rounds
        self.device, self.target = values.device, target_tensor(values, count)
        self.curve = curve.unique()
        self.least = self.curve[self.curve.abs().argmin()]
        self.range = (float(self.curve[0]), float(self.curve[-1]))
        self.bounds = torch.stack([self.curve[0].expand(count), self.curve[-1].expand(count)])
        self.cap, self.changes = cap, torch.empty(count, 0, dtype=torch.float64)
        self.strengths = torch.empty(count, 0, dtype=torch.float64)
        self.readings = torch.empty(count, 0, dtype=torch.float64)
        self.pictures: list[Tensor] = []
        self.renders = 0

    def draw(self, strengths: Tensor) -> None:
        """Draw every picture at its strength [B], and read it."""
        count = len(self.target)
        pictures = self.render(strengths.to(self.device, torch.get_default_dtype()))
        if not isinstance(pictures, Tensor) or len(pictures) != count:
            raise InputError(
                f"The editor gave {list(getattr(pictures, 'shape', ())) or type(pictures).__name__} for {count} "
                f"strengths; expected pictures [{count}, 3, H, W]."
            )
        pictures = pictures.detach()
        readings = readings_of(self.read, pictures)
        if readings.shape[1] != 1:
            raise InputError(f"One state needs one number per picture; the reader gave {readings.shape[1]}.")
        readings = torch.where(torch.isfinite(readings), readings, torch.nan)
        self.strengths = torch.cat([self.strengths, strengths[:, None]], dim=1)
        self.readings = torch.cat([self.readings, readings], dim=1)
        self.pictures.append(pictures)
        if self.cap is not None:
            self.changes = torch.cat([self.changes, self.cap.change(pictures)[:, None]], dim=1)
            whole_range = torch.stack([self.curve[0].expand(count), self.curve[-1].expand(count)])
            self.bounds = capped_bounds(self.strengths, self.changes, whole_range, self.cap.limit)
        self.renders += count
        if self.progress is not None:
            self.progress(self.renders, max((2 + self.rounds) * count, self.renders), None)

    def first_strengths(self) -> Tensor:
        """Begin nearest to 0; of many pictures a third tries the other strengths, so that the second drawing aims."""
        count = len(self.target)
        strengths = self.least.expand(count).clone()
        others = self.curve[self.curve != self.least]
        pilots = torch.arange(1, count, _PILOTS)
        if len(pilots) >= _GROUP * len(others):
            strengths[pilots] = others[torch.arange(len(pilots)) % len(others)]
        return strengths

    def second_strengths(self) -> Tensor:
        """Follow the groups' curve where it is clear; else deal out other strengths, farther ones to who lacks more."""
        first = self.strengths[:, 0]
        curves = fit_groups(first, self.readings[:, 0], self.range, self.noise)
        if curves is not None:
            aimed = solve_strengths(curves, self.target, self.bounds)[0]
            restraint = self._restraint(first)
            if restraint >= _FREE:
                return aimed
            return torch.where(first == self.least, self.least + (aimed - self.least) * restraint, self.least)
        rank = (self.target - self.readings[:, 0]).abs().nan_to_num(nan=0.0).argsort().argsort()
        steps = len(self.curve) - 1
        share = (
            (rank * steps).div(len(rank), rounding_mode="floor").long() if len(rank) >= steps else rank * 0 + steps - 1
        )
        order = (self.curve - first[:, None]).abs().argsort(dim=1)[:, 1:]  # other strengths, the nearest first
        return self.curve[order.gather(1, share[:, None])[:, 0]]

    def _restraint(self, first: Tensor) -> float:
        """Return the share of its way that a picture goes at once, less where pictures are alike at the ends.

        Readings that saturate are steep where the groups do not look, and everyone would overshoot.
        """
        readings = self.readings[:, 0]
        spreads = [readings[(first == s) & torch.isfinite(readings)].std() for s in (self.least, *self.curve[[0, -1]])]
        ratio = float(min(spreads[1:]) / spreads[0].clamp(min=1e-12))
        return min(1.0, max(_LEAST_RESTRAINT, ratio**0.5))

    def curves(self) -> ResponseCurves:
        """Fit the curves to all that was read so far."""
        return fit_responses(self.strengths, self.readings, self.range, self.noise)

    def next_strengths(self) -> Tensor | None:
        """Return where to draw next, or None where nothing is missing."""
        curves = self.curves()
        solved, _, reachable = solve_strengths(curves, self.target, self.bounds)
        missing = (self.readings[:, -1] - self.target)[reachable]
        missing = missing[torch.isfinite(missing)]
        quiet = not len(missing) or float(missing.square().mean().sqrt()) <= self._good(curves)
        return None if quiet and not bool(self._misplaced(solved, reachable).any()) else solved

    def solved_strengths(self) -> Tensor:
        """Return where the curves meet the targets, [B]."""
        return solve_strengths(self.curves(), self.target, self.bounds)[0]

    def far_off(self) -> bool:
        """Tell whether one more round is due: where many have not landed, as their answers differ in shape."""
        curves = self.curves()
        _, _, reachable = solve_strengths(curves, self.target, self.bounds)
        misses = self._misses(curves).amin(dim=1)[reachable]
        misses = misses[torch.isfinite(misses)]
        return (
            len(misses) > 0 and float(misses.square().mean().sqrt()) > _FAR / _GOOD * self._good(curves) + curves.noise
        )

    def end_strengths(self) -> Tensor | None:
        """Return where to draw once more, so that whoever cannot reach the state stands at the end; None: all do."""
        curves = self.curves()
        solved, _, reachable = solve_strengths(curves, self.target, self.bounds)
        misplaced = self._misplaced(solved, reachable) & ~self._almost(curves)
        return solved if bool(misplaced.any()) else None

    def _misses(self, curves: ResponseCurves) -> Tensor:
        """Return how far each drawing is from the target, [B, N], by the curve, which is surer than one reading."""
        misses = (curves.at(self.strengths) - self.target[:, None]).abs()
        return torch.where(torch.isfinite(self.readings) & torch.isfinite(misses) & self._allowed(), misses, torch.inf)

    def _allowed(self) -> Tensor:
        """Tell which drawings stay within the cap, [B, N]; of a picture without one, that which changes least."""
        if self.cap is None:
            return torch.ones_like(self.strengths, dtype=torch.bool)
        return self.changes <= torch.maximum(self.changes.amin(dim=1), torch.tensor(self.cap.largest))[:, None]

    def _almost(self, curves: ResponseCurves) -> Tensor:
        """Tell whose nearest drawing is at the target as far as the reader can tell, [B]."""
        return self._misses(curves).amin(dim=1) <= self._good(curves) + curves.noise

    def _good(self, curves: ResponseCurves) -> float:
        """Return what may be missing: by the pictures' own spread before the edit, and by the height of the curve."""
        return max(_GOOD * self._spread(curves), _FINE * abs(curves.height))

    def _spread(self, curves: ResponseCurves) -> float:
        """Return the standard deviation of the pictures' states before the edit; 0 where they are too few."""
        levels = curves.at(self.least.expand(len(self.target)))
        levels = levels[torch.isfinite(levels)]
        return float(levels.std()) if len(levels) >= _MANY else 0.0

    def _misplaced(self, solved: Tensor, reachable: Tensor) -> Tensor:
        """Tell who cannot reach the target and was not drawn at that end, [B]."""
        distance = torch.where(self._allowed(), (solved[:, None] - self.strengths).abs(), torch.inf).amin(dim=1)
        return ~reachable & (distance > (_EXACT if self.cap is None else _NEAR * (self.range[1] - self.range[0])))

    def result(self) -> ReachedState:
        """Take of each picture the drawing that is nearest to its target; at their end whoever cannot reach it."""
        curves = self.curves()
        solved, _, reachable = solve_strengths(curves, self.target, self.bounds)
        reachable = reachable | (self._misplaced(solved, reachable) & self._almost(curves))
        from_end = torch.where(self._allowed(), (self.strengths - solved[:, None]).abs(), torch.inf)
        best = torch.where(reachable[:, None], self._misses(curves), from_end).argmin(dim=1)
        index = best[:, None]
        pictures = torch.stack([self.pictures[int(k)][i] for i, k in enumerate(best)])
        dtype = torch.get_default_dtype()
        return ReachedState(
            self.strengths.gather(1, index)[:, 0].to(self.device, dtype),
            self.readings.gather(1, index)[:, 0].to(self.device, dtype),
            reachable.to(self.device),
            pictures,
            self.renders,
            self.target.to(self.device, dtype),
            torch.isfinite(self.readings).sum(dim=1),
            landing_tolerance(curves.height, curves.noise, self._spread(curves)),
        )
