"""Several editors and several readers at once: a Newton step with Broyden's update of each picture's own Jacobian.

An edit of one attribute moves others a little. So all strengths of a picture are solved for together: the shared
Jacobian is measured once, each picture's own is updated from what it showed (Broyden, 1965), the less the noisier the
readers are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from torch import Tensor

from ...models.errors import InputError
from ..common.progress import Progress
from .plan import describe_reach
from .reader import readings_of

__all__ = ["JointState", "reach_states"]

_GROUP = 4  # pictures per editor from which one drawing of all measures the Jacobian
_PROBE = 0.25  # of an editor's range: the step that measures the Jacobian
_STEP = 0.5  # of an editor's range: the largest step of a round
_DAMPING = 1e-3  # of the squared heights: editors that do the same share the work
_TOLERANCE = 0.03  # of a reading's height: nearer to the target is at the target
_FINE = 0.005  # of a reading's height: where nobody misses more, no round follows
_STRONG = 0.5  # of what moves a reading most: such an editor's slope keeps its sign, and
_LEAST_SLOPE = 0.3  # of what all pictures show: where a picture answers no more, it goes on until it does
_EQUAL = 1e-6


@dataclass(frozen=True, eq=False)
class JointState:
    """Pictures at one state of K readings, or as near as they come, by E editors.

    Args:
        strengths: [B, E], at which ``pictures`` were drawn.
        readings: [B, K].
        reachable: [B] bool.
        pictures: [B, 3, H, W].
        renders: pictures drawn in all.
        targets: [B, K].
        landed: [B] bool, whose readings are all at their targets.
    """

    strengths: Tensor
    readings: Tensor
    reachable: Tensor
    pictures: Tensor
    renders: int
    targets: Tensor
    landed: Tensor

    def report(self, names: Sequence[str] = ()) -> str:
        """Say who is at the state and who falls short; pictures are numbered where ``names`` has none."""
        return describe_reach(self.strengths, self.reachable, self.readings.sum(dim=1), self.landed, names=names)


def reach_states(
    render: Callable[[Tensor], Tensor],
    read: Callable[[Tensor], Tensor],
    targets: Tensor,
    ranges: Sequence[tuple[float, float]],
    rounds: int = 3,
    *,
    noise: Tensor | Sequence[float] | None = None,
    progress: Progress | None = None,
) -> JointState:
    """Bring K readings of each picture to their targets by E editors at once.

    Args:
        render: strengths [B, E] -> pictures [B, 3, H, W].
        read: pictures -> readings [B, K]; a `StateReader` brings its noise along.
        targets: [B, K].
        ranges: least and largest strength of each of E editors; no picture is drawn outside of them.
        rounds: corrections at most, after the drawings that measure the Jacobian.
        noise: [K] standard deviations of the readings; None: the reader's own, else 0.
        progress: counts pictures; may raise to stop.

    Returns:
        Of each picture the drawing that is nearest to the targets, each reading measured by how far the edits move it.

    Raises:
        InputError: targets of another shape or not finite, a range without width, negative rounds, more readings than
            editors, an editor that moves nothing, or pictures or readings of another number than targets.
    """
    joint = _Joint(render, read, targets, ranges, rounds, noise, progress)
    joint.measure_jacobian()
    for _ in range(rounds):
        step, missing = joint.newton_step()
        if bool((missing <= _FINE).all()) or bool((step.abs() <= _EQUAL * joint.width).all()):
            break
        joint.advance(step)
    return joint.result()


class _Joint:
    """The pictures' strengths, readings and Jacobians [B, K, E] so far."""

    def __init__(self, render, read, targets, ranges, rounds, noise, progress) -> None:
        targets = torch.as_tensor(targets)
        if targets.ndim != 2 or 0 in targets.shape:
            raise InputError(f"The targets have shape {list(targets.shape)}; expected [B, K] (pictures, readings).")
        bounds = torch.as_tensor(ranges, dtype=torch.float64)
        if bounds.ndim != 2 or bounds.shape[1] != 2 or not bool((bounds[:, 1] > bounds[:, 0]).all()):
            raise InputError(f"Each editor needs a least and a larger largest strength; got {bounds.tolist()}.")
        if not bool(torch.isfinite(bounds).all()) or not bool(torch.isfinite(targets).all()):
            raise InputError("The targets and the ranges of strengths must be finite numbers.")
        if targets.shape[1] > len(bounds):
            raise InputError(
                f"{targets.shape[1]} readings cannot be brought to targets by {len(bounds)} editors; connect one "
                "editor for each reading, or leave a reading out."
            )
        if rounds < 0:
            raise InputError(f"The rounds must be 0 or more; got {rounds}.")
        self.render, self.read, self.progress, self.rounds = render, read, progress, rounds
        self.device, self.targets = targets.device, targets.detach().double().cpu()
        self.low, self.high = bounds[:, 0], bounds[:, 1]
        self.width = self.high - self.low
        self.noise = self._noise(noise)
        self.strengths = torch.zeros(1, dtype=torch.float64).clamp(self.low, self.high).expand(len(targets), -1).clone()
        self.renders = 0
        self.readings, self.pictures = self._draw(self.strengths)
        self.best = None

    def _noise(self, noise) -> Tensor:
        if noise is None:
            noise = getattr(self.read, "noise", None)
        values = torch.zeros(1) if noise is None else torch.as_tensor(noise).reshape(-1)
        return values.double().cpu().expand(self.targets.shape[1])

    def _draw(self, strengths: Tensor) -> tuple[Tensor, Tensor]:
        count = len(self.targets)
        pictures = self.render(strengths.to(self.device, torch.get_default_dtype()))
        if not isinstance(pictures, Tensor) or len(pictures) != count:
            raise InputError(
                f"The editors drew {list(getattr(pictures, 'shape', ()))} for {count} pictures' strengths."
            )
        readings = readings_of(self.read, pictures)
        if readings.shape[1] != self.targets.shape[1]:
            raise InputError(
                f"There are {self.targets.shape[1]} targets, and {readings.shape[1]} readings per picture."
            )
        self.renders += count
        if self.progress is not None:
            self.progress(self.renders, max((2 + self.rounds) * count, self.renders), None)
        return readings, pictures.detach()

    def measure_jacobian(self) -> None:
        """Move each editor alone, in groups of pictures or one after another, and take the median answers."""
        count, editors = self.strengths.shape
        steps = torch.where(self.high - self.strengths[0] >= self.width / 2, self.width, -self.width) * _PROBE
        together = count >= _GROUP * editors
        columns, moved_once = [], []
        groups = torch.arange(count) % editors
        for call in range(1 if together else editors):
            editor = groups if together else torch.full((count,), call)
            moves = torch.nn.functional.one_hot(editor, editors) * steps
            readings, pictures = self._draw(self.strengths + moves)
            moved_once.append((self.strengths + moves, readings, pictures, moves))
            for e in range(editors) if together else [call]:
                answers = (readings - self.readings)[editor == e] / steps[e]
                columns.append(answers.nanmedian(dim=0).values.nan_to_num())
        shared = torch.stack(columns, dim=1)  # [K, E]
        self.height = (shared.abs() * self.width).amax(dim=1).clamp(min=1e-12)  # [K]
        reach = (shared.abs() * self.width / self.height[:, None]).amax(dim=0)
        if bool((shared.abs() * self.width).amax() <= 1e-9):
            raise InputError("No reading changes with any of the strengths; check the editors and the readers.")
        if bool((reach < 1e-3).any()):
            weak = [f"#{e + 1}" for e in (reach < 1e-3).nonzero()[:, 0].tolist()]
            raise InputError(f"Editor {', '.join(weak)} changes none of the readings; leave it out.")
        self.tolerance = _TOLERANCE + self.noise / self.height  # [K]
        self.shared = shared
        self.jacobian = shared.expand(count, -1, -1).clone()
        self._remember(self.strengths, self.readings, self.pictures)
        for strengths, readings, pictures, moves in moved_once:
            self._update(moves, readings - self.readings)
            self._remember(strengths, readings, pictures)

    def newton_step(self) -> tuple[Tensor, Tensor]:
        """Solve for the step [B, E] within the ranges; and return what is missing, [B, K] in heights."""
        missing = (self.targets - self.readings) / self.height
        missing = torch.where(torch.isfinite(missing), missing, 0.0)
        scaled = self.jacobian * self.width / self.height[:, None]  # [B, K, E], steps as shares of the ranges
        least, largest = (self.low - self.strengths) / self.width, (self.high - self.strengths) / self.width
        least, largest = least.clamp(min=-_STEP), largest.clamp(max=_STEP)
        step, free = torch.zeros_like(self.strengths), torch.ones_like(self.strengths)
        for _ in range(self.strengths.shape[1] + 1):  # whoever hits a bound stays there, and the others solve the rest
            active = scaled * free[:, None]
            left = missing - einsum(scaled, step * (1 - free), "b k e, b e -> b k")
            gram = active.transpose(1, 2) @ active
            gram = gram + _DAMPING * torch.eye(gram.shape[1], dtype=gram.dtype)
            solved = torch.linalg.solve(gram, (active.transpose(1, 2) @ left[..., None]))[..., 0]
            step = torch.where(free > 0, solved, step)
            beyond = (free > 0) & ((step < least) | (step > largest))
            step = step.clamp(least, largest)
            free = torch.where(beyond, 0.0, free)
            if not bool(beyond.any()):
                break
        return step * self.width, missing.abs()

    def advance(self, step: Tensor) -> None:
        """Draw at the strengths plus a step [B, E], and learn from it."""
        strengths = (self.strengths + step).clamp(self.low, self.high)
        moves = strengths - self.strengths
        readings, pictures = self._draw(strengths)
        self._update(moves, readings - self.readings)
        self.strengths = strengths
        self.readings = torch.where(torch.isfinite(readings), readings, self.readings)
        self._remember(strengths, readings, pictures)

    def _update(self, moves: Tensor, changes: Tensor) -> None:
        """Apply Broyden's update, in shares of the ranges and heights, as far as a change stands out of the noise."""
        s, y = moves / self.width, changes / self.height
        jacobian = self.jacobian * self.width / self.height[:, None]
        error = y - einsum(jacobian, s, "b k e, b e -> b k")
        length = s.square().sum(dim=1, keepdim=True)
        signal = einsum(jacobian, s, "b k e, b e -> b k").square()
        trust = signal / (signal + 2 * (self.noise / self.height).square() + 1e-4)
        usable = torch.isfinite(error) & (length > 1e-6)
        error = torch.where(usable, error * trust, 0.0)
        jacobian = jacobian + einsum(error, s / length.clamp(min=1e-9), "b k, b e -> b k e")
        self.jacobian = self._with_shared_signs(jacobian * self.height[:, None] / self.width)

    def _with_shared_signs(self, jacobian: Tensor) -> Tensor:
        """Keep a picture's slopes [B, K, E] from turning against all others' where an editor is what moves a reading.

        A picture that is saturated answers with nothing, or with a little of the wrong sign.
        """
        effect = (self.shared * self.width).abs()
        strong = effect >= _STRONG * effect.amax(dim=1, keepdim=True)
        along = jacobian * self.shared.sign()
        kept = torch.maximum(along, _LEAST_SLOPE * self.shared.abs()) * self.shared.sign()
        return torch.where(strong, kept, jacobian)

    def _remember(self, strengths: Tensor, readings: Tensor, pictures: Tensor) -> None:
        """Keep of each picture the drawing nearest to its targets."""
        misses = ((readings - self.targets) / self.height).square().sum(dim=1)
        misses = torch.where(torch.isfinite(misses), misses, torch.inf)
        if self.best is None:
            self.best = [misses, strengths.clone(), readings.clone(), pictures.clone()]
            return
        better = misses < self.best[0]
        self.best[0] = torch.where(better, misses, self.best[0])
        self.best[1] = torch.where(better[:, None], strengths, self.best[1])
        self.best[2] = torch.where(better[:, None], readings, self.best[2])
        index = better.nonzero()[:, 0].to(pictures.device)
        self.best[3][index] = pictures[index]

    def result(self) -> JointState:
        """Return the best drawings; who misses a target there, with a strength at its bound, cannot reach it."""
        _, strengths, readings, pictures = self.best
        missing = ((self.targets - readings) / self.height).abs()
        missed = ~(missing <= self.tolerance).all(dim=1)
        share = (strengths - self.low) / self.width
        at_bound = ((share < 1e-3) | (share > 1 - 1e-3)).any(dim=1)
        reachable = ~(missed & (at_bound | ~torch.isfinite(missing).all(dim=1)))
        dtype = torch.get_default_dtype()
        return JointState(
            strengths.to(self.device, dtype), readings.to(self.device, dtype), reachable.to(self.device), pictures,
            self.renders, self.targets.to(self.device, dtype), (~missed).to(self.device),
        )  # fmt: skip
