"""Learn Pair Edit: one edited photo becomes a slider for all others."""

from __future__ import annotations

from torch import Tensor

from ... import host
from ...editing.common.diffusion.lora import BLOCKS
from ...editing.imagic.conditioning import single_conditioning
from ...editing.imagic.figures import loss_plot
from ...editing.pair.learning import learn_pair_edit
from ...editing.pair.losses import has_content
from ...editing.pair.settings import LOSSES, PairSettings
from ...host import io
from ...models.errors import check_choice
from ..common.diffusion import blocks_input, draws_input, free_memory, noise_level_inputs, rank_input, rate_input
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, seed_input, with_advanced
from ..common.sockets import PairEditType
from ._inputs import check_sizes


class LearnPairEdit(io.ComfyNode):
    """Learning is done once; what comes out moves any number of photos, and the model that came in stays as it was."""

    @classmethod
    @with_advanced(
        "loss", "content_steps", "rate", "rank", "draws", "blocks", "eta", "checkpointing", "noise_from", "noise_to"
    )
    def define_schema(cls) -> io.Schema:
        defaults = PairSettings()
        return io.Schema(
            node_id="SemanticEditLearnPairEdit",
            display_name="Learn Pair Edit",
            category=menu_category("pair"),
            description="Learns what changed between a picture before and after an edit, made in any program, as a "
            "slider for other photos on your own diffusion model. One pair is enough; a few more are steadier.",
            **search_aliases(
                "before after", "concept slider", "pair LoRA", "PairEdit", "Edit One for All", "train LoRA"
            ),
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The diffusion model; one of fp8 or another quantised form of ComfyUI too. It is not "
                    "changed.",
                ),
                io.Vae.Input("vae", tooltip="The VAE of the same model."),
                io.Image.Input("before", tooltip="The picture before the edit; for several pairs, a batch."),
                io.Image.Input("after", tooltip="The same picture, edited; as many as before, of the same size."),
                io.Conditioning.Input(
                    "conditioning",
                    tooltip="What all pictures show, such as 'a person', without the edit; for Apply Pair Edit too.",
                ),
                io.Combo.Input(
                    "loss",
                    options=list(LOSSES),
                    tooltip="content first: learns the pair's own content and throws it away; the best of one pair. "
                    "SliderEdit: learns what 'instruction' does, from the pictures before alone. The others are "
                    "published ones, to compare.",
                ),
                io.Int.Input("steps", default=defaults.steps, min=1, max=20000, tooltip="Optimisation steps."),
                io.Int.Input(
                    "content_steps",
                    default=defaults.content_steps,
                    min=0,
                    max=20000,
                    tooltip="Steps for the pair's own content, before the slider's.",
                ),
                rate_input(defaults.rate, "Learning rate. 0: by the size of the model."),
                rank_input(defaults.rank),
                draws_input(defaults.draws),
                blocks_input(),
                seed_input(tooltip="Decides noise and start."),
                io.Float.Input(
                    "eta",
                    default=defaults.eta,
                    min=0.1,
                    max=100.0,
                    step=0.1,
                    optional=True,
                    tooltip="For PairEdit and residual: by how much the pair's difference is overshot.",
                ),
                io.Boolean.Input(
                    "checkpointing",
                    default=False,
                    optional=True,
                    tooltip="Compute blocks twice instead of keeping them: less memory, a third more time.",
                ),
                *noise_level_inputs(),
                io.Boolean.Input(
                    "reference",
                    display_name="photo as reference",
                    default=False,
                    optional=True,
                    tooltip="For edit models (Flux Kontext, Qwen-Image-Edit, Flux.2): they see the photo as a "
                    "reference latent, so that Invert To Noise is not needed.",
                ),
                io.Conditioning.Input(
                    "instruction",
                    optional=True,
                    tooltip="For SliderEdit: what is to be changed, such as 'add glasses'. 'conditioning' then says "
                    "that nothing is, such as 'keep the picture as it is'.",
                ),
            ],
            outputs=[
                PairEditType.Output("edit", "edit", tooltip="The slider, for Apply Pair Edit and Save Pair Edit."),
                io.LoraModel.Output("lora", "lora", tooltip="The slider as a plain LoRA, of one strength for all."),
                io.Image.Output("plot", "plot", tooltip="The loss over the steps."),
                io.String.Output("report", "report", tooltip="What was learned, and a warning where it is too little."),
            ],
        )

    @classmethod
    def execute(
        cls, model, vae, before: Tensor, after: Tensor, conditioning, loss: str, steps: int, content_steps: int,
        rate: float, rank: int, draws: int, blocks: str, seed: int, eta: float = 2.0, checkpointing: bool = False,
        noise_from: float = 0.0, noise_to: float = 1.0, reference: bool = False, instruction=None,
    ) -> io.NodeOutput:  # fmt: skip
        check_choice("loss", loss, LOSSES)
        check_choice("blocks", blocks, BLOCKS)
        settings = PairSettings(
            loss, steps, content_steps, rate, rank, draws, (noise_from, noise_to), (blocks,), eta, checkpointing,
            seed, reference,
        )  # fmt: skip
        entry = single_conditioning(conditioning, for_training=True)
        if instruction is not None:
            instruction = single_conditioning(instruction, "The instruction", for_training=True)
        check_sizes(before, after)
        diffusion = host.current().diffusion
        with host.no_inference_mode():
            latents = [diffusion.encode(vae, pictures[..., :3]) for pictures in (before, after)]
        denoiser = diffusion.denoiser(model)
        total = steps + content_steps * has_content(loss)
        edit = learn_pair_edit(
            denoiser, *latents, entry, settings, free_memory(denoiser), progress_for(total, "learning the pair edit"),
            instruction,
        )  # fmt: skip
        facts = edit.provenance
        plot = loss_plot(edit.losses, facts["loss_before"], facts["loss_after"], f"learning the pair edit ({loss})")
        return io.NodeOutput(edit, dict(edit.lora), plot[None], edit.report())
