"""Reach State With Pair Edit: one pair, one slider, and all photos in one state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import host
from ...editing.common.types import EditStrength
from ...editing.imagic.conditioning import single_conditioning
from ...editing.pair.blocks import parse_strengths, with_block_strengths
from ...editing.pair.edit import PairEdit
from ...editing.pair.rendering import pair_renderer
from ...editing.pair.settings import PairSampling
from ...editing.state import StateReader, reach_state, reader_from_example
from ...host import io
from ...models.errors import InputError
from ..common.diffusion import latent_of, refinements_input
from ..common.feature_space import AUTOMATIC, picture_features
from ..common.images import from_image_batch, to_image_batch
from ..common.middle_space import middle_space
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, with_advanced
from ..common.sockets import ClipVisionType, EditStrengthType, PairEditType, StateReaderType, TextImageScorerType
from ..common.state_results import state_outputs, state_plot, state_report
from ..common.state_targets import (
    PICTURE,
    STRENGTH_PENALTY,
    aim_inputs,
    one_reading,
    penalty_input,
    picture_input,
    rounds_input,
    target_of,
)
from ..common.typed_numbers import typed_numbers
from ._inputs import (
    BLOCKS_TOOLTIP,
    at_once_input,
    check_sizes,
    edit_threshold_input,
    one_pass_input,
    steps_input,
    strength_per_block_input,
    unedited_input,
)


class ReachStateWithPairEdit(io.ComfyNode):
    """Edit One for All (2401.10219) on the diffusion models that people own."""

    @classmethod
    @with_advanced(
        "reading",
        "unedited",
        "refinements",
        "at_once",
        "strength_per_block",
        "one_pass",
        "strength_penalty",
        "edit_threshold",
    )
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditReachStateWithPairEdit",
            display_name="Reach State With Pair Edit",
            category=menu_category("pair"),
            description="Brings photos to the state of one edited example: each is drawn with the slider of Learn Pair "
            "Edit, read and corrected, until all show the same. A reader made of the pair itself says where each is.",
            **search_aliases(
                "Edit One for All", "same state", "before after", "concept slider", "consistent batch", "closed loop"
            ),
            inputs=[
                io.Model.Input("model", tooltip="The model that the slider was learned on. It is not changed."),
                io.Vae.Input("vae", tooltip="The VAE of the same model."),
                PairEditType.Input("edit", tooltip="From Learn Pair Edit or Load Pair Edit."),
                io.Latent.Input("latent", tooltip="The photos, from VAE Encode."),
                io.Conditioning.Input("conditioning", tooltip="The sentence that the slider was learned under."),
                *aim_inputs(),
                io.String.Input(
                    "strengths",
                    default="0, 3, 6",
                    tooltip="The strengths that are tried first; no photo goes beyond the least and the largest. With "
                    "one below 0, photos that have more than the state come back to it.",
                ),
                rounds_input(),
                steps_input(),
                io.Image.Input(
                    "before",
                    optional=True,
                    tooltip="The pair that the slider was learned from: it makes the reader. Or connect a reader.",
                ),
                io.Image.Input("after", optional=True, tooltip="The same picture after its edit."),
                StateReaderType.Input(
                    "reader", optional=True, tooltip="In place of the pair: what reads pictures, from a Read From node."
                ),
                TextImageScorerType.Input(
                    "scorer",
                    optional=True,
                    tooltip="With the pair: an open_clip model that reads, in place of the diffusion model's own "
                    "middle.",
                ),
                ClipVisionType.Input(
                    "clip_vision", optional=True, tooltip="With the pair: likewise, ComfyUI's Load CLIP Vision."
                ),
                io.Latent.Input(
                    "inverted",
                    optional=True,
                    tooltip="From Invert To Noise, of these photos with the same steps. Left out: they are inverted "
                    "here.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="1 where the edit acts. Left out: everywhere."),
                picture_input(),
                unedited_input(),
                refinements_input(),
                at_once_input(),
                strength_per_block_input(BLOCKS_TOOLTIP),
                one_pass_input(),
                penalty_input(),
                edit_threshold_input(),
            ],
            outputs=[
                io.Image.Output("images", "images", tooltip="Every photo at its own strength."),
                EditStrengthType.Output(
                    "alphas", "strengths", tooltip="The strengths, for Apply Pair Edit: the same photos without a loop."
                ),
                *state_outputs(),
            ],
        )

    @classmethod
    def execute(
        cls, model, vae, edit: PairEdit, latent: dict, conditioning, aim: str, target: float, reading: str,
        strengths: str, rounds: int, steps: int, before: Tensor | None = None, after: Tensor | None = None,
        reader: StateReader | None = None, scorer: Any = None, clip_vision: Any = None, inverted: dict | None = None,
        mask: Tensor | None = None, example_picture: Tensor | None = None, unedited: float = 0.0, refinements: int = 2,
        at_once: int = 1, strength_per_block: str = "", one_pass: bool = False,
        strength_penalty: float = STRENGTH_PENALTY, edit_threshold: float = 0.0,
    ) -> io.NodeOutput:  # fmt: skip
        if example_picture is not None and aim != PICTURE:
            raise InputError(f"example_picture is connected, but aim is '{aim}'; choose 'picture'.")
        sampling = PairSampling(steps, unedited, refinements, at_once, one_pass=one_pass, edit_threshold=edit_threshold)
        levels, blocks = typed_numbers(strengths, "strengths"), parse_strengths(strength_per_block)
        photos, entry = latent_of(latent), single_conditioning(conditioning)
        noise = None if inverted is None else latent_of(inverted, "inverted latent")
        diffusion, progress = host.current().diffusion, progress_for(steps, "reaching one state")

        def decode(latents: Tensor) -> Tensor:
            return from_image_batch(diffusion.decode(vae, latents))

        shown = torch.cat([decode(photo) for photo in photos.split(1)]).clamp(-1, 1)
        if reader is None:
            spaces = picture_features(AUTOMATIC, scorer, clip_vision) or [middle_space(model, vae, conditioning)]
            reader = _reader_of(before, after, shown, spaces)
        elif before is not None or after is not None:
            raise InputError("A reader is connected, and the pair too; connect the reader, or before and after.")
        chosen = one_reading(reader, reading)
        readings = chosen.read(shown)[:, 0].cpu()
        targets = target_of(aim, target, chosen, example_picture, readings)
        denoiser = diffusion.denoiser(model)
        edit = with_block_strengths(edit, denoiser, blocks) if blocks else edit
        render_some = pair_renderer(
            denoiser, photos, edit, entry, decode, sampling, mask=mask, inverted=noise,
            drawings=len(levels) - 1 + rounds, progress=progress,
        )  # fmt: skip
        reached = reach_state(
            lambda alpha: render_some(alpha, torch.arange(len(photos))), chosen, targets, levels, rounds,
            unedited=shown if levels[0] <= 0 <= levels[-1] else None, render_some=render_some,
            strength_penalty=strength_penalty,
        )  # fmt: skip
        alphas = reached.strengths.float().cpu()
        edit_strength = EditStrength(alphas, ~reached.reachable.cpu(), "one state by reading pictures")
        report = state_report(reached, readings, [f"photo {k + 1}" for k in range(len(photos))], reached.renders)
        plot = state_plot(reached, chosen, readings)
        return io.NodeOutput(to_image_batch(reached.pictures), edit_strength, alphas.tolist(), plot, report)


def _reader_of(before: Tensor | None, after: Tensor | None, photos: Tensor, spaces: list) -> StateReader:
    """Make a reader of the pair; what the photos [B, 3, H, W] differ in anyway counts less.

    Raises:
        InputError: a picture is missing, or before and after have two sizes.
    """
    if before is None or after is None:
        missing = [name for name, picture in (("before", before), ("after", after)) if picture is None]
        raise InputError(
            f"Nothing says where a photo stands: connect the pair that the slider was learned from (missing: "
            f"{', '.join(missing)}), or a reader."
        )
    check_sizes(before, after)
    networks = " and ".join(space.name for space in spaces)
    return reader_from_example(
        [space.read for space in spaces], from_image_batch(before), from_image_batch(after), photos, "pair edit",
        f"the pair, read by {networks}",
    )  # fmt: skip
