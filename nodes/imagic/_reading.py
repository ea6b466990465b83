"""Reach Common State by a reader: the state is what a reader sees in the pictures, not the scorer's opinion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ...editing.common.progress import Progress, stage
from ...editing.imagic.batch import PhotoSweeps, render_common_state
from ...editing.imagic.common_state import CommonState
from ...editing.state import StateReader, plan_strengths
from ...editing.state.drawings import StateDrawings
from ...editing.state.plan import describe_reach, landing_tolerance, reach_title
from ...models.errors import InputError
from ..common.images import from_image_batch


@dataclass(frozen=True, eq=False)
class ReadState:
    """Photos at the state that a reader sees.

    Args:
        state: etas, and who reaches the level.
        images: [B, H, W, 3] in 0..1, at these etas.
        drawings: what was read over eta.
        readings: [B], of ``images``.
        landed: [B] bool, whose reading is at the level within ``tolerance``.
    """

    state: CommonState
    images: Tensor
    drawings: StateDrawings
    readings: Tensor
    landed: Tensor
    tolerance: float

    def report(self, names: tuple[str, ...]) -> str:
        """Say who is at the state and who falls short."""
        etas, reached = torch.tensor(self.state.etas), torch.tensor(self.state.reached)
        return describe_reach(
            etas, reached, self.readings, self.landed, self.tolerance, names, words=("photos", "etas")
        )

    def title(self) -> str:
        """Say the same in numbers, for a plot."""
        return reach_title(torch.tensor(self.state.reached), self.readings, self.landed, "photos")


def reach_by_reader(
    sweeps: PhotoSweeps,
    reader: StateReader,  # of one number
    example: int | None,
    example_eta: float | None,
    picture: Tensor | None,  # IMAGE [1, H, W, 3] that shows the state
    shift: float,
    corrections: int,
    progress: Progress,
) -> ReadState:
    """Choose each photo's eta by what a reader sees in its sweep, paint, read, and correct.

    Raises:
        InputError: a picture of the state that cannot be read, or an example that is not among the photos.
    """
    drawings = _swept_readings(sweeps, reader)
    level = _level(sweeps, reader, drawings, example, example_eta, picture) + shift
    noise, count = float(reader.noise[0]) or None, len(sweeps.names)
    best: Tensor | None = None  # [B], what the nearest drawing of each photo still misses
    for k in range(corrections + 1):
        plan = plan_strengths(drawings.strengths, drawings.readings, level, noise=noise)
        state = CommonState(level, tuple(plan.strengths.tolist()), tuple(plan.reachable.tolist()))
        painted = render_common_state(sweeps, state, stage(progress, k * count, (corrections + 1) * count))
        readings = reader.read(from_image_batch(painted))[:, 0].cpu().double()
        etas = plan.strengths.cpu().double()
        drawings = drawings.with_more(etas, readings)
        misses = torch.where(torch.isfinite(readings), (readings - level).abs(), torch.inf)
        if best is None:
            best, images, final, seen, reached = misses, painted, etas, readings, plan.reachable.cpu()
            continue
        nearer = (misses < best) | ~plan.reachable.cpu()  # who cannot reach it stays at the end of the range
        images = torch.where(nearer[:, None, None, None], painted, images)
        final, seen = torch.where(nearer, etas, final), torch.where(nearer, readings, seen)
        best, reached = torch.minimum(best, misses), plan.reachable.cpu()
    state = CommonState(level, tuple(round(eta, 4) for eta in final.tolist()), tuple(reached.tolist()))
    swept = drawings.readings[:, : len(sweeps.etas)]
    rises = swept.nan_to_num(nan=-torch.inf).amax(dim=1) - swept.nan_to_num(nan=torch.inf).amin(dim=1)
    rises = rises[torch.isfinite(rises)]
    tolerance = landing_tolerance(float(rises.median()) if len(rises) else 0.0, noise or 0.0)
    return ReadState(state, images, drawings, seen, (seen - level).abs() <= tolerance, tolerance)


def _swept_readings(sweeps: PhotoSweeps, reader: StateReader) -> StateDrawings:
    """Read every picture of the sweeps, mean over seeds; NaN from where the camera moves, if two etas remain."""
    rows = []
    for sweep, moved in zip(sweeps.sweeps, sweeps.moved, strict=True):
        count = sweep.images.shape[1]
        readings = reader.read(from_image_batch(rearrange(sweep.images, "e s h w c -> (e s) h w c")))[:, 0]
        means = rearrange(readings, "(e s) -> e s", s=count).nanmean(dim=1).cpu().double()
        first = next((k for k, flag in enumerate(moved) if flag), len(means))
        means[max(first, 2) :] = torch.nan
        rows.append(means)
    etas = torch.tensor(sweeps.etas, dtype=torch.float64)
    return StateDrawings(etas.expand(len(rows), -1).clone(), torch.stack(rows))


def _level(
    sweeps: PhotoSweeps,
    reader: StateReader,
    drawings: StateDrawings,
    example: int | None,
    example_eta: float | None,
    picture: Tensor | None,
) -> float:
    """Return the state: a picture's, that of one photo at its eta, the reader's own, or the one that suits most."""
    if picture is not None:
        pictures = from_image_batch(picture)
        values = reader.read(pictures)[:, 0]
        if len(values) != 1 or not bool(torch.isfinite(values).all()):
            reason = (
                f"holds {len(values)} pictures"
                if len(values) != 1
                else f"cannot be read: {reader.explain(pictures)[0]}"
            )
            raise InputError(f"example_picture {reason}; connect one picture that shows the state.")
        return float(values[0])
    if example is not None and not 0 <= example < len(sweeps.names):
        raise InputError(f"The example is photo {example + 1} of {len(sweeps.names)}.")
    if example is None and reader.target is not None:
        return float(reader.target[0])
    etas = sweeps.best_etas if example_eta is None else [example_eta] * len(sweeps.names)
    levels = [_reading_at(drawings, k, eta) for k, eta in enumerate(etas)]
    if example is not None:
        return levels[example]
    return float(torch.tensor(levels, dtype=torch.float64).nanmedian())


def _reading_at(drawings: StateDrawings, photo: int, eta: float) -> float:
    """Interpolate a photo's readings over eta."""
    readable = torch.isfinite(drawings.readings[photo])
    if not bool(readable.any()):
        return float("nan")
    etas, readings = drawings.strengths[photo][readable].numpy(), drawings.readings[photo][readable].numpy()
    return float(np.interp(eta, etas, readings))
