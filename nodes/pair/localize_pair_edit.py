"""Localize Pair Edit: how strongly a slider acts in each block of the network."""

from __future__ import annotations

from torch import Tensor

from ... import host
from ...editing.imagic.conditioning import single_conditioning
from ...editing.pair.blocks import parse_strengths, strengths_text
from ...editing.pair.edit import PairEdit
from ...editing.pair.figures import block_chart
from ...editing.pair.localize import localize_pair_edit
from ...host import io
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, seed_input, with_advanced
from ..common.sockets import PairEditType
from ._inputs import check_sizes, strength_per_block_input


class LocalizePairEdit(io.ComfyNode):
    """Region and layer selection for sliders: the region is where the pair differs, the layers are the blocks."""

    @classmethod
    @with_advanced("steps", "seed")
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLocalizePairEdit",
            display_name="Localize Pair Edit",
            category=menu_category("pair"),
            description="Finds how strongly a slider has to act in each block of the model: what the pair changed is "
            "kept, and what changes elsewhere is given up. The strengths may be refined by hand.",
            **search_aliases("block weights", "LoRA block weight", "layer strengths", "local edit", "CORAL"),
            inputs=[
                io.Model.Input("model", tooltip="The model that the slider was learned on. It is not changed."),
                io.Vae.Input("vae", tooltip="The VAE of the same model."),
                PairEditType.Input("edit", tooltip="From Learn Pair Edit or Load Pair Edit."),
                io.Image.Input("before", tooltip="The pictures before that the slider was learned from."),
                io.Image.Input("after", tooltip="The same pictures, edited."),
                io.Conditioning.Input("conditioning", tooltip="The sentence that the slider was learned under."),
                io.Float.Input(
                    "area",
                    default=3.0,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    tooltip="What all the change elsewhere costs, against 1 for another change where the edit acts. "
                    "Below 1 hardly any block is given up.",
                ),
                io.Int.Input(
                    "steps",
                    default=40,
                    min=0,
                    max=2000,
                    tooltip="Optimisation steps. 0: every block at 1, but for those set by hand.",
                ),
                seed_input(tooltip="Decides the noise."),
                strength_per_block_input(
                    "Blocks set by hand, one a line: 'middle_block.1: 0.5'. The others are found."
                ),
            ],
            outputs=[
                PairEditType.Output("localized", "localized", tooltip="The slider with a strength for each block."),
                io.Image.Output("plot", "plot", tooltip="The strength of each block."),
                io.String.Output(
                    "strengths",
                    "strength_per_block",
                    tooltip="The same as text, to be changed and put in by hand, here or in Apply Pair Edit.",
                ),
                io.String.Output(
                    "report", "report", tooltip="How much of the edit is left where it acts, and elsewhere."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model, vae, edit: PairEdit, before: Tensor, after: Tensor, conditioning, area: float, steps: int,
        seed: int, strength_per_block: str = "",
    ) -> io.NodeOutput:  # fmt: skip
        fixed = parse_strengths(strength_per_block)
        entry = single_conditioning(conditioning, for_training=True)
        check_sizes(before, after)
        diffusion = host.current().diffusion
        with host.no_inference_mode():
            latents = [diffusion.encode(vae, pictures[..., :3]) for pictures in (before, after)]
        localized = localize_pair_edit(
            diffusion.denoiser(model), edit, *latents, entry, area, steps, fixed=fixed, seed=seed,
            progress=progress_for(steps, "looking for blocks"),
        )  # fmt: skip
        report = localized.report()
        plot = block_chart(localized.strengths, "strength per block", report)
        return io.NodeOutput(localized.edit, plot[None], strengths_text(localized.strengths), report)
