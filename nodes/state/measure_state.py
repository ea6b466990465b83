"""Measure State: what pictures show, as numbers."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from ...editing.state import StateReader
from ...editing.state.figures import readings_plot
from ...host import current, io
from ...models.errors import InputError
from ..common.latents import picture_names
from ..common.schema import menu_category, search_aliases
from ..common.state_targets import axis_title, one_reading, reader_input
from ._lists import joined_images, joined_pictures, numbers_of, single


class MeasureState(io.ComfyNode):
    """Looks only; also joins what came as a list to one batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditMeasureState",
            display_name="Measure State",
            category=menu_category("state"),
            description="Reads what pictures show with any reader: a list of numbers, a plot, and a line for each "
            "picture.",
            is_input_list=True,
            **search_aliases("score", "measure", "how much", "float list", "list to batch"),
            inputs=[
                io.Image.Input("pictures", tooltip="The pictures, as a batch or as a list of batches."),
                reader_input(),
                io.String.Input(
                    "reading",
                    default="",
                    tooltip="Which of the reader's numbers is given, by its name. Empty: its first.",
                ),
                io.Image.Input(
                    "before", optional=True, tooltip="The same pictures before an edit: the plot then shows both."
                ),
                io.Float.Input(
                    "target",
                    optional=True,
                    force_input=True,
                    tooltip="The state to reach, as a line in the plot and a distance in the report.",
                ),
                io.String.Input(
                    "names",
                    optional=True,
                    force_input=True,
                    tooltip="Names of the pictures, one a line, for the report.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "readings", "readings", is_output_list=True, tooltip="A number for each picture, in their order."
                ),
                io.Image.Output("plot", "plot", tooltip="The numbers, with the reader's noise round the target."),
                io.String.Output(
                    "report", "report", tooltip="Each picture's numbers, their spread, and who is unreadable."
                ),
                io.Image.Output("images", "images", tooltip="The pictures as one batch."),
            ],
        )

    @classmethod
    def execute(
        cls,
        pictures: list[Tensor],
        reader: list[StateReader],
        reading: list[str],
        before: list[Tensor] | None = None,
        target: list[Any] | None = None,
        names: list[str] | None = None,
    ) -> io.NodeOutput:
        chosen = one_reading(single(reader, "reader"), single(reading, "reading"))
        images = joined_images(pictures, "pictures")
        labels = picture_names("\n".join(names) if names else None, len(images))
        batch = joined_pictures(pictures, "pictures")
        readings = chosen.read(batch)[:, 0].tolist()
        readings_before: list[float] = []
        if before:
            readings_before = chosen.read(joined_pictures(before, "pictures before"))[:, 0].tolist()
            if len(readings_before) != len(readings):
                raise InputError(
                    f"There are {len(readings)} pictures and {len(readings_before)} before the edit; connect the same."
                )
        goals = numbers_of(target, "target")
        goal = goals[0] if len(set(goals)) == 1 else None
        noise = float(chosen.noise[0])
        spread = _spread(readings)
        title = f"{chosen.names[0]}: spread {spread:.3g}"
        if readings_before:
            title += f", before {_spread(readings_before):.3g}"
        plot = readings_plot(readings, title, axis_title(chosen), goal, noise, readings_before)
        report = _report(chosen, batch, labels, readings, readings_before, goals)
        return io.NodeOutput(readings, plot[None].to(current().result_device()), report, images)


def _spread(readings: list[float]) -> float:
    """Return the standard deviation of the readable ones."""
    values = [value for value in readings if math.isfinite(value)]
    mean = sum(values) / max(1, len(values))
    return math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values)))


def _report(
    reader: StateReader,
    pictures: Tensor,
    names: tuple[str, ...],
    readings: list[float],
    readings_before: list[float],
    goals: list[float],
) -> str:
    """Describe all, and then each picture in a line."""
    unit = f" in {reader.units[0]}" if reader.units[0] else ""
    lines = [f"{reader.names[0]}{unit}; {reader.kind}; noise {float(reader.noise[0]):.3g}"]
    spread = f"spread over {len(readings)} pictures: {_spread(readings):.4g}"
    lines.append(spread + (f", before: {_spread(readings_before):.4g}" if readings_before else ""))
    if len(goals) in (1, len(readings)):
        misses = [
            value - (goals * len(readings))[k] if len(goals) == 1 else value - goals[k]
            for k, value in enumerate(readings)
        ]
        misses = [miss for miss in misses if math.isfinite(miss)]
        if misses:
            lines.append(f"distance from the target: {math.sqrt(sum(m * m for m in misses) / len(misses)):.4g}")
    problems = reader.explain(pictures) if any(not math.isfinite(value) for value in readings) else ()
    for k, (name, value) in enumerate(zip(names, readings, strict=True)):
        if not math.isfinite(value):
            lines.append(f"{name}: cannot be read, {problems[k] or 'its reading is not a finite number'}")
            continue
        was = f" (before {readings_before[k]:.4g})" if readings_before else ""
        lines.append(f"{name}: {value:.4g}{was}")
    return "\n".join(lines)
