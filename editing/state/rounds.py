"""Rounds of drawings: what was read of each picture so far, where to draw it next, and when all is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from .lessons import Lessons
from .outside import capped_bounds
from .plan import (
    check_noise,
    check_penalty,
    landing_tolerance,
    own_spread,
    solve_strengths,
    strength_price,
    target_tensor,
)
from .reader import readings_of
from .response import ResponseCurves, fit_groups, fit_responses

__all__ = ["DrawingRounds", "Outcome"]

_GOOD = 0.08  # of the pictures' own spread: where the rms of what is missing is below, no round follows
_FAR = 0.1  # of the pictures' own spread: where it is above after the last round, one more follows
_FINE = 0.01  # of the curve's height: likewise
_EXACT = 1e-6  # strengths that differ by less are one
_NEAR = 0.03  # of the range: likewise, where the range's end is an estimate
_GROUP = 4  # pilots per strength from which the groups tell the curve
_PILOTS = 3  # of so many pictures one is a pilot
_LEAST_RESTRAINT = 0.5  # share of its way that a picture goes at least at its second drawing
_FREE = 0.8  # share above which nothing saturates

Proposal = tuple[Tensor, Tensor]  # strengths [B], and flags [B] of those who need the drawing


@dataclass(frozen=True, eq=False)
class Outcome:
    """The best drawing of each picture; fields as in `ReachedState`."""

    strengths: Tensor
    readings: Tensor
    reachable: Tensor
    pictures: Tensor
    drawings: Tensor
    tolerance: float


class DrawingRounds:
    """The pictures, what was read of them so far, and the best drawing of each; arguments as in `reach_state`."""

    def __init__(
        self, render, read, target, strengths, rounds, noise, cap, progress, render_some, strength_penalty=0.0,
        learn=False,
    ) -> None:  # fmt: skip
        values = torch.as_tensor(target)
        count = values.numel()
        if values.ndim > 1 or count == 0:
            raise InputError(f"The target has shape {list(values.shape)}; expected [B], one number per picture.")
        if rounds < 0:
            raise InputError(f"The rounds must be 0 or more; got {rounds}.")
        curve = torch.as_tensor(strengths).detach().double().cpu().reshape(-1)
        if not bool(torch.isfinite(curve).all()) or len(curve.unique()) < 2:
            raise InputError(f"The shared curve needs two or more different, finite strengths; got {curve.tolist()}.")
        self.lessons = Lessons(read) if learn and getattr(read, "example", None) is not None else None
        self.own_noise = noise is None
        if noise is None and getattr(read, "noise", None) is not None:
            noise = float(torch.as_tensor(read.noise).reshape(-1)[0])
        check_noise(noise)
        check_penalty(strength_penalty)
        self.penalty = strength_penalty
        self.render, self.read, self.noise, self.progress, self.rounds = render, read, noise, progress, rounds
        self.render_some = render_some
        self.device, self.target = values.device, target_tensor(values, count)
        self.curve = curve.unique()
        self.least = self.curve[self.curve.abs().argmin()]
        self.range = (float(self.curve[0]), float(self.curve[-1]))
        self.bounds = torch.stack([self.curve[0].expand(count), self.curve[-1].expand(count)])
        self.cap, self.changes = cap, torch.empty(count, 0, dtype=torch.float64)
        self.strengths = torch.empty(count, 0, dtype=torch.float64)
        self.readings = torch.empty(count, 0, dtype=torch.float64)
        self.drawn = torch.empty(count, 0, dtype=torch.bool)
        self.pictures: list[Tensor] = []
        self.renders = 0
        self._fitted: ResponseCurves | None = None
        self.everyone = torch.ones(count, dtype=torch.bool)

    def begin_with(self, unedited: Tensor) -> None:
        """Read the pictures [B, 3, H, W] at strength 0, which nobody has to draw."""
        if not self.range[0] <= 0 <= self.range[1]:
            raise InputError(
                f"Unedited pictures are those at strength 0, but the strengths go from {self.range[0]:g} to "
                f"{self.range[1]:g}; leave them out, or begin at 0."
            )
        if len(unedited) != len(self.target):
            raise InputError(f"There are {len(unedited)} unedited pictures for {len(self.target)} targets.")
        self.least = torch.zeros((), dtype=torch.float64)
        self._note(self.least.expand(len(self.target)), self.everyone, unedited.detach(), unedited.detach())

    def draw(self, strengths: Tensor, needed: Tensor) -> None:
        """Draw the pictures at their strengths [B], and read them: all, or those alone who need it."""
        if self.render_some is not None and self.pictures:
            needed = needed & (self._distance(strengths) > _EXACT)
        index = needed.nonzero()[:, 0] if self.render_some is not None and self.pictures else None
        if index is not None and not len(index):
            return
        count = len(self.target) if index is None else len(index)
        values = strengths.to(self.device, torch.get_default_dtype())
        if index is None:
            pictures = self.render(values)
        else:
            index = index.to(self.device)
            pictures = self.render_some(values[index], index)
        if not isinstance(pictures, Tensor) or len(pictures) != count:
            raise InputError(
                f"The editor gave {list(getattr(pictures, 'shape', ())) or type(pictures).__name__} for {count} "
                f"strengths; expected pictures [{count}, 3, H, W]."
            )
        pictures = pictures.detach()
        everyone = pictures if index is None else self.pictures[-1].clone().index_copy(0, index, pictures)
        self._note(strengths, self.everyone if index is None else needed, everyone, pictures)
        self.renders += count
        if self.progress is not None:
            self.progress(self.renders, max((2 + self.rounds) * len(self.target), self.renders), None)

    def _note(self, strengths: Tensor, drawn: Tensor, everyone: Tensor, pictures: Tensor) -> None:
        """Read ``pictures``, those of ``everyone`` [B, 3, H, W] whose flag is set, drawn at ``strengths`` [B]."""
        strengths = torch.where(drawn, strengths, self.strengths[:, -1] if self.pictures else strengths)
        self.strengths = torch.cat([self.strengths, strengths[:, None]], dim=1)
        if self.lessons is None:
            self.readings = torch.cat([self.readings, self._readings(pictures, drawn)[:, None]], dim=1)
        else:
            self.readings, noise = self.lessons.note(pictures, drawn, self.strengths)
            self.noise = noise if self.own_noise else self.noise
        self.drawn = torch.cat([self.drawn, drawn[:, None]], dim=1)
        self.pictures.append(everyone)
        self._fitted = None
        if self.cap is not None:
            count = len(self.target)
            self.changes = torch.cat([self.changes, self.cap.change(everyone)[:, None]], dim=1)
            whole_range = torch.stack([self.curve[0].expand(count), self.curve[-1].expand(count)])
            self.bounds = capped_bounds(self.strengths, self.changes, whole_range, self.cap.limit)

    def _readings(self, pictures: Tensor, drawn: Tensor) -> Tensor:
        """Read pictures [M, 3, H, W] of those whose flag [B] is set -> [B]; NaN for the others."""
        rows = readings_of(self.read, pictures)
        if rows.shape[1] != 1:
            raise InputError(f"One state needs one number per picture; the reader gave {rows.shape[1]}.")
        readings = torch.full((len(self.target),), torch.nan, dtype=torch.float64)
        readings[drawn] = torch.where(torch.isfinite(rows[:, 0]), rows[:, 0], torch.nan)
        return readings

    def curve_strengths(self) -> Iterator[Proposal]:
        """Yield what shows the shared curve, to be drawn one after another; everyone is then read twice."""
        others = self.curve[self.curve != self.least]
        pilots = torch.zeros_like(self.everyone)
        pilots[1::_PILOTS] = True
        dealt = torch.full_like(self.target, float(self.least))
        enough = int(pilots.sum()) >= _GROUP * len(others)
        if enough:
            dealt[pilots] = others[torch.arange(int(pilots.sum())) % len(others)]
        if not self.pictures:
            yield dealt, self.everyone
        elif enough and self.render_some is not None:
            yield dealt, pilots
        yield self._second_strengths(), self.everyone

    def _second_strengths(self) -> Tensor:
        """Follow the groups' curve where it is clear; else deal out other strengths, farther ones to who lacks more."""
        first = self.strengths[:, -1]
        if self.readings.shape[1] == 1:
            curves = fit_groups(first, self.readings[:, 0], self.range, self.noise)
        else:
            curves = self.curves()
        if curves is not None:
            aimed = self._solve(curves)[0]
            restraint = self._restraint()
            if restraint >= _FREE:
                return aimed
            return torch.where(first == self.least, self.least + (aimed - self.least) * restraint, self.least)
        rank = (self.target - self.readings[:, 0]).abs().nan_to_num(nan=0.0).argsort().argsort()
        steps = len(self.curve) - 1 + int(self.least not in self.curve)
        share = (
            (rank * steps).div(len(rank), rounding_mode="floor").long() if len(rank) >= steps else rank * 0 + steps - 1
        )
        levels = torch.cat([self.least[None], self.curve]).unique()
        order = (levels - first[:, None]).abs().argsort(dim=1)[:, 1:]  # other strengths, the nearest first
        return levels[order.gather(1, share[:, None])[:, 0]]

    def _restraint(self) -> float:
        """Return the share of its way that a picture goes at once, less where pictures are alike at the ends.

        Readings that saturate are steep where the groups do not look, and everyone would overshoot.
        """
        readable = torch.isfinite(self.readings)
        ends = (self.least, *self.curve[[0, -1]])
        spreads = [self.readings[(self.strengths == s) & readable].std() for s in ends]
        ratio = float(min(spreads[1:]) / spreads[0].clamp(min=1e-12))
        return min(1.0, max(_LEAST_RESTRAINT, ratio**0.5))

    def curves(self) -> ResponseCurves:
        """Fit the curves to all that was read so far, once for each round."""
        if self._fitted is None:
            self._fitted = fit_responses(self.strengths, self.readings, self.range, self.noise)
        return self._fitted

    def settled(self) -> bool:
        """Tell whether nothing is missing: by the last readings, less the reader's noise, and nobody is misplaced."""
        curves = self.curves()
        solved, _, reachable = self._solve(curves)
        if bool(self._misplaced(curves, solved, reachable).any()):
            return False
        misses = self._misses(curves).amin(dim=1)[reachable]
        misses = misses[torch.isfinite(misses)]
        return not len(misses) or float(misses.square().mean().sqrt()) <= self._good(curves)

    def correction(self) -> Proposal:
        """Return where the curves meet the targets, for those who are not there or have to stand at an end."""
        curves = self.curves()
        solved, _, reachable = self._solve(curves)
        apart = reachable & (self._misses(curves).amin(dim=1) > self._good(curves))
        return solved, apart | self._misplaced(curves, solved, reachable)

    def far_off(self) -> bool:
        """Tell whether one more round is due: where many have not landed, as their answers differ in shape."""
        curves = self.curves()
        _, _, reachable = self._solve(curves)
        misses = self._misses(curves).amin(dim=1)[reachable]
        misses = misses[torch.isfinite(misses)]
        return (
            len(misses) > 0 and float(misses.square().mean().sqrt()) > _FAR / _GOOD * self._good(curves) + curves.noise
        )

    def misplaced(self) -> bool:
        """Tell whether somebody who cannot reach the state has not been drawn at the end of the range."""
        return bool(self.ends()[1].any())

    def ends(self) -> Proposal:
        """Return where to draw once more, so that whoever cannot reach the state stands at the end."""
        curves = self.curves()
        solved, _, reachable = self._solve(curves)
        return solved, self._misplaced(curves, solved, reachable) & ~self._almost(curves)

    def _solve(self, curves: ResponseCurves) -> tuple[Tensor, Tensor, Tensor]:
        """Return strengths, readings expected there, and who reaches the target, as `solve_strengths` does.

        Who seems not to reach it goes to the end of the range once, at whatever price: a curve that was not read there
        knows nothing of a picture that answers late, or all at once.
        """
        price = self._price(curves)
        solved, expected, reachable = solve_strengths(curves, self.target, self.bounds, price)
        if not price:
            return solved, expected, reachable
        end, there, _ = solve_strengths(curves, self.target, self.bounds)
        unknown = ~reachable & (self._distance(end) > _NEAR * (self.range[1] - self.range[0]))
        return torch.where(unknown, end, solved), torch.where(unknown, there, expected), reachable

    def _distance(self, strengths: Tensor) -> Tensor:
        """Return how far strengths [B] are from the nearest ones that were drawn, [B]."""
        return torch.where(self._allowed(), (strengths[:, None] - self.strengths).abs(), torch.inf).amin(dim=1)

    def _price(self, curves: ResponseCurves) -> float:
        return strength_price(curves, self.penalty, self.least.expand(len(self.target)))

    def _misses(self, curves: ResponseCurves) -> Tensor:
        """Return how far each drawing is from the target, [B, N], by the curve, which is surer than one reading.

        Where strength has its price: by how much dearer it is than the best.
        """
        misses = (curves.at(self.strengths) - self.target[:, None]).abs()
        price = self._price(curves)
        if price:
            solved, expected, _ = solve_strengths(curves, self.target, self.bounds, price)
            best = (expected - self.target).abs() + price * solved.square()
            misses = (misses + price * self.strengths.square() - best[:, None]).clamp(min=0)
        return torch.where(torch.isfinite(self.readings) & torch.isfinite(misses) & self._allowed(), misses, torch.inf)

    def _allowed(self) -> Tensor:
        """Tell which drawings stay within the cap, [B, N]; of a picture without one, that which changes least."""
        if self.cap is None:
            return self.drawn
        return self.drawn & (
            self.changes <= torch.maximum(self.changes.amin(dim=1), torch.tensor(self.cap.largest))[:, None]
        )

    def _almost(self, curves: ResponseCurves) -> Tensor:
        """Tell whose nearest drawing is at the target as far as the reader can tell, [B]."""
        return self._misses(curves).amin(dim=1) <= self._good(curves) + curves.noise

    def _good(self, curves: ResponseCurves) -> float:
        """Return what may be missing: by the pictures' own spread before the edit, and by the height of the curve."""
        return max(_GOOD * self._spread(curves), _FINE * abs(curves.height))

    def _spread(self, curves: ResponseCurves) -> float:
        """Return the standard deviation of the pictures' states before the edit; 0 where they are too few."""
        return own_spread(curves, self.least.expand(len(self.target)))

    def _misplaced(self, curves: ResponseCurves, solved: Tensor, reachable: Tensor) -> Tensor:
        """Tell who cannot reach the target and was not drawn at that end, [B]; or where strength has its price."""
        apart, near = self._distance(solved), _NEAR * (self.range[1] - self.range[0])
        if self.penalty:
            dear = self._misses(curves).amin(dim=1) > self._good(curves)
            return ~reachable & (apart > _EXACT) & (dear | ((solved - self.bounds).abs().amin(dim=0) <= near))
        return ~reachable & (apart > (_EXACT if self.cap is None else near))

    def outcome(self) -> Outcome:
        """Take of each picture the drawing that is nearest to its target; at their end whoever cannot reach it."""
        curves = self.curves()
        solved, _, reachable = self._solve(curves)
        reachable = reachable | (self._misplaced(curves, solved, reachable) & self._almost(curves))
        from_end = torch.where(self._allowed(), (self.strengths - solved[:, None]).abs(), torch.inf)
        near = reachable[:, None] | (self.penalty > 0)
        best = torch.where(near, self._misses(curves), from_end).argmin(dim=1)
        index = best[:, None]
        return Outcome(
            self.strengths.gather(1, index)[:, 0],
            self.readings.gather(1, index)[:, 0],
            reachable,
            torch.stack([self.pictures[int(k)][i] for i, k in enumerate(best)]),
            torch.isfinite(self.readings).sum(dim=1),
            landing_tolerance(curves.height, curves.noise, self._spread(curves)),
        )
