"""What nodes that bring pictures to one state show of it: a plot of the readings, and who is there."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...editing.state import ReachedState, StateReader
from ...editing.state.figures import readings_plot
from ...host import current, io
from .state_targets import axis_title


def state_outputs() -> list:
    """Return the outputs behind pictures and strengths: numbers, plot and report."""
    return [
        io.Float.Output("numbers", "numbers", is_output_list=True, tooltip="The same as a list of numbers."),
        io.Image.Output(
            "plot", "plot", tooltip="What each picture shows before and after; hollow dots are not at the state."
        ),
        io.String.Output(
            "report", "report", tooltip="Who is at the state, who was left as near as they come, and each strength."
        ),
    ]


def state_plot(reached: ReachedState, reader: StateReader, unedited: Tensor) -> Tensor:
    """Draw what each picture shows before [B] and after, as an IMAGE [1, H, W, 3]."""
    goals = reached.target.tolist()
    plot = readings_plot(
        reached.readings.tolist(),
        reached.title(),
        axis_title(reader),
        goals[0] if len(set(goals)) == 1 else None,
        reached.tolerance,
        unedited.tolist(),
        reached.landed.tolist(),
    )
    return plot[None].to(current().result_device())


def state_report(reached: ReachedState, unedited: Tensor, names: Sequence[str], drawn: int) -> str:
    """Say who is at the state, how far all are from it, and each picture's strength.

    Args:
        unedited: [B], what was read before the edit.
        names: of the pictures.
        drawn: how many pictures were drawn in all.
    """
    target = reached.target.cpu()
    distances = [_distance(readings.cpu(), target) for readings in (reached.readings, unedited)]
    landing = f"distance from the state: {distances[0]:.3g}, before {distances[1]:.3g}"
    lines = [f"{name}: {alpha:+.3f}" for name, alpha in zip(names, reached.strengths.tolist(), strict=True)]
    return "\n".join([reached.report(names), landing, f"{drawn} pictures drawn", *lines])


def _distance(readings: Tensor, targets: Tensor) -> float:
    """Return the root mean square distance of readings [B] from their targets [B]; unreadable ones do not count."""
    return float((readings - targets).square().nanmean().sqrt())
