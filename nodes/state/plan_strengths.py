"""Plan Strengths: from pictures at a few strengths to the strength of each, for any editor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...editing.state import StateReader, plan_strengths
from ...editing.state.drawings import StateDrawings, gather_drawings, strength_per_drawing
from ...editing.state.figures import strengths_plot
from ...host import current, io
from ...models.errors import InputError
from ..common.latents import picture_names
from ..common.schema import menu_category, search_aliases, with_advanced
from ..common.sockets import StateDrawingsType
from ..common.state_targets import (
    PICTURE,
    aim_inputs,
    axis_title,
    one_reading,
    penalty_input,
    picture_input,
    reader_input,
    target_of,
)
from ._lists import joined_images, joined_pictures, numbers_of, single


class PlanStrengths(io.ComfyNode):
    """Edit One for All's second step for editors that it has never heard of."""

    @classmethod
    @with_advanced("strength_penalty")
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditPlanStrengths",
            display_name="Plan Strengths",
            category=menu_category("state"),
            description="Reads pictures that any editor drew at a few strengths, and gives each picture the strength "
            "that brings it to one state. Draw there, read again and plan once more to be exact.",
            is_input_list=True,
            **search_aliases(
                "Edit One for All", "same state", "strength per picture", "float list", "consistent batch"
            ),
            inputs=[
                io.Float.Input(
                    "strengths",
                    force_input=True,
                    tooltip="The strengths at which the pictures were drawn: one for each, or one for each batch.",
                ),
                *aim_inputs(),
                io.Image.Input(
                    "pictures",
                    optional=True,
                    tooltip="What the editor drew, as a list or one batch, in the order of the strengths. Or connect "
                    "readings.",
                ),
                reader_input(optional=True),
                io.Float.Input(
                    "readings",
                    optional=True,
                    force_input=True,
                    tooltip="Instead of pictures and a reader: a number for each drawing, from any node that measures.",
                ),
                picture_input(),
                StateDrawingsType.Input(
                    "earlier",
                    optional=True,
                    tooltip="What an earlier Plan Strengths has read: the pictures are then those drawn at its "
                    "strengths, one each.",
                ),
                io.Image.Input(
                    "photos",
                    optional=True,
                    tooltip="The pictures before the edit: they come out as a list beside the strengths.",
                ),
                io.String.Input(
                    "names",
                    optional=True,
                    force_input=True,
                    tooltip="Names of the pictures, one a line, for the report.",
                ),
                penalty_input(),
            ],
            outputs=[
                io.Float.Output(
                    "planned",
                    "strengths",
                    is_output_list=True,
                    tooltip="The strength of each picture, as a list: for the editor's strength.",
                ),
                io.Image.Output("plot", "plot", tooltip="What each picture answers, and where it meets the state."),
                io.String.Output(
                    "report", "report", tooltip="Who can reach the state, who falls short, and each strength."
                ),
                StateDrawingsType.Output(
                    "drawings", "drawings", tooltip="All that was read so far, for the next Plan Strengths."
                ),
                io.Image.Output(
                    "photo_list",
                    "photos",
                    is_output_list=True,
                    tooltip="The photos one by one, in the order of the strengths: for the editor's picture.",
                ),
                io.Float.Output(
                    "targets", "targets", is_output_list=True, tooltip="The reading that each picture shall have."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        strengths: list[Any],
        aim: list[str],
        target: list[float],
        reading: list[str],
        pictures: list[Tensor] | None = None,
        reader: list[StateReader] | None = None,
        readings: list[Any] | None = None,
        example_picture: list[Tensor] | None = None,
        earlier: list[StateDrawings] | None = None,
        photos: list[Tensor] | None = None,
        names: list[str] | None = None,
        strength_penalty: list[float] | None = None,
    ) -> io.NodeOutput:
        chosen = single(reader, "reader")
        chosen = None if chosen is None else one_reading(chosen, single(reading, "reading"))
        values, batches = _readings(pictures, chosen, readings)
        each = strength_per_drawing(numbers_of(strengths, "strengths"), batches)
        drawings = _drawings(each, values, single(earlier, "earlier"))
        labels = picture_names("\n".join(names) if names else None, len(drawings))
        photo_list = list(joined_images(photos, "photos").split(1)) if photos else []
        if photo_list and len(photo_list) != len(drawings):
            raise InputError(f"There are {len(photo_list)} photos, but drawings of {len(drawings)} pictures.")
        example = joined_images(example_picture, "example pictures") if example_picture else None
        if example is not None and single(aim, "aim") != PICTURE:
            raise InputError(f"example_picture is connected, but aim is '{single(aim, 'aim')}'; choose 'picture'.")
        least = drawings.strengths.abs().argmin(dim=1, keepdim=True)
        targets = target_of(
            single(aim, "aim"), single(target, "target"), chosen, example, drawings.readings.gather(1, least)[:, 0]
        )
        penalty = single(strength_penalty, "strength_penalty") or 0.0
        noise = None if chosen is None else float(chosen.noise[0]) or None
        plan = plan_strengths(drawings.strengths, drawings.readings, targets, noise=noise, strength_penalty=penalty)
        alphas, goals = plan.strengths.tolist(), plan.target.tolist()
        title = f"{int(plan.reachable.sum())} of {len(drawings)} pictures can reach the state"
        plot = strengths_plot(
            drawings, alphas, plan.expected.tolist(), plan.reachable.tolist(), goals, title, axis_title(chosen)
        )
        lines = [f"{name}: {alpha:+.3f}" for name, alpha in zip(labels, alphas, strict=True)]
        report = "\n".join([plan.report(labels), *lines])
        return io.NodeOutput(alphas, plot[None].to(current().result_device()), report, drawings, photo_list, goals)


def _readings(
    pictures: list[Tensor] | None, reader: StateReader | None, readings: list[Any] | None
) -> tuple[list[float], list[int]]:
    """Return the reading of every drawing, and how many drawings each batch held."""
    if (pictures is None) == (readings is None):
        connected = "Neither" if pictures is None else "Both"
        raise InputError(f"{connected} of pictures and readings came in; connect one of them.")
    if readings is not None:
        values = numbers_of(readings, "readings", unreadable=True)
        return values, [len(values)]
    if reader is None:
        raise InputError("Pictures are connected, but no reader: connect one of the Read From nodes to 'reader'.")
    values = reader.read(joined_pictures(pictures, "pictures"))[:, 0].tolist()
    return values, [len(batch) for batch in pictures]


def _drawings(strengths: list[float], readings: list[float], earlier: StateDrawings | None) -> StateDrawings:
    """Sort drawings by picture, behind those of an earlier plan."""
    if earlier is None:
        return gather_drawings(strengths, readings)
    if len(readings) != len(earlier):
        raise InputError(
            f"There are {len(readings)} drawings, but the earlier plan is of {len(earlier)} pictures; draw each once, "
            "at the strengths it gave."
        )
    return earlier.with_more(*(torch.tensor(values, dtype=torch.float64) for values in (strengths, readings)))
