"""Reach State: draw, read and correct, until all pictures of a batch show one state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ...editing.common.part_labels import PartLabels
from ...editing.common.pictures import to_rgb
from ...editing.common.progress import Progress, stage
from ...editing.common.sample import sample
from ...editing.common.types import EditDirection, EditStrength, GanLatent, check_family
from ...editing.one_for_all.closed_form import apply_edit
from ...editing.state import StateReader, reach_state, taught_reader
from ...editing.text.apply import apply_text_edit
from ...editing.text.edit import TextEdit
from ...host import io
from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.images import to_image_batch
from ..common.latents import check_latent
from ..common.progress import progress_for
from ..common.schema import came_later, menu_category, search_aliases, with_advanced
from ..common.sockets import (
    EditDirectionType,
    EditStrengthType,
    GanGeneratorType,
    GanLatentType,
    PartLabelsType,
    TextEditType,
)
from ..common.state_results import state_outputs, state_plot, state_report
from ..common.state_targets import (
    EXAMPLE,
    NUMBER,
    PICTURE,
    aim_inputs,
    one_reading,
    penalty_input,
    picture_input,
    reader_input,
    rounds_input,
    target_of,
)
from ..common.typed_numbers import typed_numbers

_TEACHERS = 24  # sampled pictures, where the batch has fewer
_AT_ONCE, _SEED = 4, 0  # of those


class ReachState(io.ComfyNode):
    """Probe Strengths, Plan Strengths and the rounds between them in one node, for the pack's own editors."""

    @classmethod
    @with_advanced("strength_penalty", "learn_from_drawings")
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditReachState",
            display_name="Reach State",
            category=menu_category("state"),
            description="Edits every picture by the strength that brings it to one state, by drawing, reading and "
            "correcting: for a direction or a text edit of a generator.",
            **search_aliases("Edit One for All", "same state", "closed loop", "consistent batch", "calibrate"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of the codes."),
                GanLatentType.Input("latents", tooltip="The pictures to edit: sampled, encoded or inverted."),
                reader_input(),
                *aim_inputs(),
                io.String.Input(
                    "strengths",
                    default="-2, 0, 2",
                    tooltip="The strengths that are tried first; no picture goes beyond the least and the largest.",
                ),
                rounds_input(),
                EditDirectionType.Input(
                    "direction", optional=True, tooltip="The edit, from Load Direction or Optimize Direction."
                ),
                TextEditType.Input("text_edit", optional=True, tooltip="Or a text edit, in place of a direction."),
                PartLabelsType.Input(
                    "parts", optional=True, tooltip="Part labels of the latents, where the text edit uses parts."
                ),
                picture_input(),
                penalty_input(),
                came_later(
                    io.Boolean.Input(
                        "learn_from_drawings",
                        default=True,
                        optional=True,
                        tooltip="A reader from one example knows how one person changed: what the edit does to all "
                        "others teaches it. For an example that this edit made; off for one from elsewhere.",
                    ),
                    False,
                ),
            ],
            outputs=[
                io.Image.Output("images", "images", tooltip="Every picture at its own strength."),
                EditStrengthType.Output(
                    "alphas", "strengths", tooltip="The strengths, for Apply Edit, Apply Text Edit or Animate Strength."
                ),
                *state_outputs(),
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        latents: GanLatent,
        reader: StateReader,
        aim: str,
        target: float,
        reading: str,
        strengths: str,
        rounds: int,
        direction: EditDirection | None = None,
        text_edit: TextEdit | None = None,
        parts: PartLabels | None = None,
        example_picture: Tensor | None = None,
        strength_penalty: float = 0.0,
        learn_from_drawings: bool = False,
    ) -> io.NodeOutput:
        if (direction is None) == (text_edit is None):
            connected = "Neither" if direction is None else "Both"
            raise InputError(f"{connected} of direction and text_edit came in; connect the edit to use.")
        if example_picture is not None and aim != PICTURE:
            raise InputError(f"example_picture is connected, but aim is '{aim}'; choose 'picture'.")
        check_latent(generator, latents)
        name, family = ("The text edit", text_edit.family) if direction is None else _named(direction)
        check_family(family, latents.family, name, "the latents")
        levels, chosen = typed_numbers(strengths, "strengths"), one_reading(reader, reading)
        place(generator)
        in_range = levels[0] <= 0 <= levels[-1]
        learns = learn_from_drawings and chosen.example is not None and in_range
        # What the batch teaches comes after its target: that of a picture is read with what samples taught.
        asks_samples = learns and parts is None and (len(latents) < _TEACHERS or aim not in (EXAMPLE, NUMBER))
        drawings, taught = (2 + rounds) * len(latents), 2 * _TEACHERS * asks_samples
        progress = progress_for(drawings + taught, "reaching one state")  # a bar before the first drawing
        drawn = _editor(generator, direction, text_edit)

        def render_some(alpha: Tensor, index: Tensor) -> Tensor:
            own = parts if parts is None or len(parts) == 1 else replace(parts, masks=parts.masks[index])
            return drawn(latents.codes[index.to(latents.codes.device)], alpha, own)

        def render(alpha: Tensor) -> Tensor:
            return render_some(alpha, torch.arange(len(latents)))

        example = chosen
        if asks_samples:
            watch = stage(progress, 0, drawings + taught)
            chosen = _taught_by_samples(chosen, generator, drawn, (levels[0], levels[-1]), watch)
        before = render(torch.zeros(len(latents)))
        unedited = chosen.read(before)[:, 0].cpu()
        targets = target_of(aim, target, chosen, example_picture, unedited)
        reached = reach_state(
            render,
            chosen,
            targets,
            levels,
            rounds,
            progress=stage(progress, taught, drawings + taught),
            unedited=before if in_range else None,
            render_some=render_some,
            strength_penalty=strength_penalty,
            learn=learns and aim in (EXAMPLE, NUMBER),
        )
        if reached.reader is not chosen:
            unedited = reached.reader.read(before)[:, 0].cpu()
        alphas = reached.strengths.float().cpu()
        edit_strength = EditStrength(alphas, ~reached.reachable.cpu(), "one state by reading pictures", family)
        report = state_report(reached, unedited, latents.names, taught + len(latents) + reached.renders)
        if reached.reader is not example:
            report += "\nthe reader of the example was taught by what the edit does to others"
        plot = state_plot(reached, chosen, unedited)
        return io.NodeOutput(to_image_batch(reached.pictures), edit_strength, alphas.tolist(), plot, report)


def _editor(
    generator: GanGenerator, direction: EditDirection | None, text_edit: TextEdit | None
) -> Callable[..., Tensor]:
    """Return what draws codes [M, L, D] at strengths [M]: pictures [M, 3, H, W] as they are saved."""

    def drawn(codes: Tensor, alpha: Tensor, parts: PartLabels | None = None) -> Tensor:
        if text_edit is not None:
            pictures = apply_text_edit(generator, codes, text_edit, parts, alpha).images
        else:
            pictures = generator.synthesize(apply_edit(codes, direction, alpha))
        return to_rgb(pictures).clamp(-1, 1)

    return drawn


def _taught_by_samples(
    reader: StateReader,
    generator: GanGenerator,
    drawn: Callable[..., Tensor],
    ends: tuple[float, float],
    progress: Progress,
) -> StateReader:
    """Let sampled pictures, moved to the ends of the range, teach the reader of an example."""
    codes = sample(generator, _TEACHERS, _SEED).codes
    alpha = torch.tensor([end for end in ends if end]).repeat(_TEACHERS)[:_TEACHERS]
    pictures = []
    for strengths in (torch.zeros_like(alpha), alpha):
        for few, own in zip(codes.split(_AT_ONCE), strengths.split(_AT_ONCE), strict=True):
            pictures.append(drawn(few, own))
            progress(len(pictures) * _AT_ONCE, 0)
    unedited, edited = torch.cat(pictures).chunk(2)
    return taught_reader(reader, unedited, edited, alpha)


def _named(direction: EditDirection) -> tuple[str, str]:
    """Return what sentences call a direction, and its family."""
    return f"The direction '{direction.name}'", direction.family
