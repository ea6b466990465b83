"""Apply Pair Edit: the slider on other photos, a strength for each."""

from __future__ import annotations

from torch import Tensor

from ... import host
from ...editing.common.types import EditStrength
from ...editing.imagic.conditioning import single_conditioning
from ...editing.pair.applying import apply_pair_edit
from ...editing.pair.blocks import parse_strengths, with_block_strengths
from ...editing.pair.edit import PairEdit
from ...editing.pair.settings import PairSampling
from ...host import io
from ..common.diffusion import latent_of, refinements_input
from ..common.progress import progress_for
from ..common.schema import MAX_SEED, menu_category, search_aliases, with_advanced
from ..common.sockets import EditStrengthType, PairEditType
from ._inputs import (
    BLOCKS_TOOLTIP,
    at_once_input,
    edit_threshold_input,
    one_pass_input,
    steps_input,
    strength_per_block_input,
    unedited_input,
)


class ApplyPairEdit(io.ComfyNode):
    """Cheap to run again: with Invert To Noise in front, a new strength costs the way back alone."""

    @classmethod
    @with_advanced("unedited", "refinements", "at_once", "seed", "strength_per_block", "one_pass", "edit_threshold")
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditApplyPairEdit",
            display_name="Apply Pair Edit",
            category=menu_category("pair"),
            description="Moves photos along a slider learned from a pair: each goes to its own noise and back, and "
            "what the pair's two ends have in common is left out, so that people stay who they are.",
            **search_aliases(
                "concept slider", "before after", "Edit One for All", "strength per picture", "batch edit"
            ),
            inputs=[
                io.Model.Input("model", tooltip="The model that the slider was learned on. It is not changed."),
                PairEditType.Input("edit", tooltip="From Learn Pair Edit or Load Pair Edit."),
                io.Latent.Input("latent", tooltip="The photos, from VAE Encode."),
                io.Conditioning.Input("conditioning", tooltip="The sentence that the slider was learned under."),
                io.Float.Input(
                    "strength",
                    default=3.0,
                    min=-20.0,
                    max=20.0,
                    step=0.05,
                    tooltip="For all photos. 0: the photo. 1 to 6: the edit. Below 0: the opposite.",
                ),
                steps_input(),
                EditStrengthType.Input(
                    "strengths", optional=True, tooltip="A strength for each photo, from Set Strengths, in its place."
                ),
                io.Latent.Input(
                    "inverted",
                    optional=True,
                    tooltip="From Invert To Noise, of these photos with the same steps: new strengths are then quick.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="1 where the edit acts. Left out: everywhere."),
                unedited_input(),
                refinements_input(),
                at_once_input(),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=False,
                    optional=True,
                    tooltip="The noise that edit models begin with, where the photo is a reference. Others begin with "
                    "the photo's own.",
                ),
                strength_per_block_input(BLOCKS_TOOLTIP),
                one_pass_input(),
                edit_threshold_input(),
            ],
            outputs=[io.Latent.Output("edited", "latent", tooltip="The edited photos, for VAE Decode.")],
        )

    @classmethod
    def execute(
        cls, model, edit: PairEdit, latent: dict, conditioning, strength: float, steps: int,
        strengths: EditStrength | None = None, inverted: dict | None = None, mask: Tensor | None = None,
        unedited: float = 0.0, refinements: int = 2, at_once: int = 1, seed: int = 0, strength_per_block: str = "",
        one_pass: bool = False, edit_threshold: float = 0.0,
    ) -> io.NodeOutput:  # fmt: skip
        sampling = PairSampling(steps, unedited, refinements, at_once, seed, one_pass, edit_threshold)
        photos, entry = latent_of(latent), single_conditioning(conditioning)
        noise = None if inverted is None else latent_of(inverted, "inverted latent")
        blocks = parse_strengths(strength_per_block)
        denoiser = host.current().diffusion.denoiser(model)
        edit = with_block_strengths(edit, denoiser, blocks) if blocks else edit
        edited = apply_pair_edit(
            denoiser, photos, edit, strength if strengths is None else strengths.alpha, entry, sampling, mask, noise,
            progress_for(steps, "applying the pair edit"),
        )  # fmt: skip
        return io.NodeOutput({**latent, "samples": edited})
