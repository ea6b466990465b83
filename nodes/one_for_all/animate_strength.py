"""Animate Strength: the batch at many strengths as a sequence of frames."""

from __future__ import annotations

import torch

from ...editing.common.types import EditDirection, EditStrength, GanLatent, check_family
from ...editing.one_for_all.animation import EASINGS, LAYOUTS, LOOPS, PATHS, animate, eased_strengths
from ...editing.one_for_all.closed_form import plan_strength
from ...host import current, io
from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.latents import check_latent
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, EditStrengthType, GanGeneratorType, GanLatentType


class AnimateStrength(io.ComfyNode):
    """What a person sees who drags the strength slider, as pictures for any video node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditAnimateStrength",
            display_name="Animate Strength",
            category=menu_category("batch"),
            description="Draws the batch at many strengths, one after the other: the frames of an animation.",
            **search_aliases("video", "GIF", "animation", "slider film"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of the codes."),
                GanLatentType.Input("latents", tooltip="The codes before the edit, one per picture."),
                EditDirectionType.Input("direction", tooltip="The edit, as for Compute Strength."),
                io.Int.Input("frame_count", default=24, min=2, max=2000, tooltip="How many frames from start to end."),
                io.Combo.Input(
                    "path",
                    options=list(PATHS),
                    tooltip="own path: each picture goes from what it is to its edited state. slider: all follow the "
                    "strength slider, and are in one state at every moment.",
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="own path: share of the way at the first frame, 0 is unedited. slider: its first strength.",
                ),
                io.Float.Input(
                    "end",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="own path: share of the way at the last frame, 1 is edited. slider: its last strength.",
                ),
                io.Combo.Input(
                    "easing",
                    options=list(EASINGS),
                    tooltip="smooth starts and ends gently, linear keeps one pace, the others change it on one side.",
                ),
                io.Combo.Input(
                    "loop",
                    options=list(LOOPS),
                    default=LOOPS[1],
                    tooltip="there and back: the frames return to the start, so that the film repeats without a jump.",
                ),
                io.Combo.Input(
                    "layout",
                    options=list(LAYOUTS),
                    tooltip="grid: all pictures in every frame. one by one: each picture's frames after another's.",
                ),
                io.Int.Input(
                    "columns", default=0, min=0, max=100, tooltip="Pictures in a row of the grid. 0: about square."
                ),
                EditStrengthType.Input(
                    "strengths",
                    optional=True,
                    tooltip="For 'own path': where each picture goes, from Compute Strength. Without it: to the "
                    "example's state.",
                ),
            ],
            outputs=[
                io.Image.Output("frames", "frames", tooltip="The frames in the order they are shown."),
                io.Int.Output("count", "count", tooltip="How many frames there are."),
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        latents: GanLatent,
        direction: EditDirection,
        frame_count: int,
        path: str,
        start: float,
        end: float,
        easing: str,
        loop: str,
        layout: str,
        columns: int,
        strengths: EditStrength | None = None,
    ) -> io.NodeOutput:
        check_choice("path", path, PATHS)
        check_latent(generator, latents)
        check_family(direction.family, latents.family, f"The direction '{direction.name}'", "the latents")
        alpha = None
        if path == PATHS[0]:
            alpha = _planned(direction, latents, strengths).alpha
        elif strengths is not None:
            raise InputError(
                "path is 'slider', which computes every frame's strengths itself, but strengths are connected. "
                "Choose 'own path', or disconnect them."
            )
        path_strengths = eased_strengths(frame_count, start, end, easing)
        place(generator)
        frames: torch.Tensor = animate(
            generator,
            latents.codes,
            direction,
            path_strengths,
            alpha,
            layout,
            columns,
            loop,
            progress=progress_for(frame_count * len(latents), "animating"),
        )
        return io.NodeOutput(frames.to(current().result_device()), len(frames))


def _planned(direction: EditDirection, latents: GanLatent, strengths: EditStrength | None) -> EditStrength:
    """Return the connected strengths, else those that lead to the example's state."""
    if strengths is None:
        return plan_strength(direction, latents.codes)
    check_family(direction.family, strengths.family, f"The direction '{direction.name}'", "the strengths")
    if len(strengths) != len(latents):
        raise InputError(
            f"There are {len(strengths)} strengths for {len(latents)} pictures; connect those of this batch."
        )
    return strengths
