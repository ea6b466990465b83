"""Optimize Embedding: Imagic's first stage."""

from __future__ import annotations

from ... import host
from ...editing.imagic.conditioning import conditioning_list, single_conditioning
from ...editing.imagic.embedding import EmbeddingSettings, optimize_embedding, root_mean_square
from ...editing.imagic.figures import loss_plot
from ...editing.imagic.schedule import SCHEDULES
from ...host import io
from ..common.diffusion import draws_input, free_memory, latent_of, noise_level_inputs
from ..common.presets import AS_SET, preset_input, with_preset
from ..common.progress import progress_for
from ..common.published import EMBEDDING
from ..common.schema import menu_category, search_aliases, seed_input, with_advanced
from ._inputs import mask_inputs


class OptimizeEmbedding(io.ComfyNode):
    """The embedding, near the target's, under which the model paints this very photo."""

    @classmethod
    @with_advanced("rate", "draws", "pooled", "mask_weight", "noise_from", "noise_to")
    def define_schema(cls) -> io.Schema:
        defaults = EmbeddingSettings()
        return io.Schema(
            node_id="SemanticEditOptimizeEmbedding",
            display_name="Optimize Embedding",
            category=menu_category("imagic"),
            description="Imagic, stage 1: moves the embedding of a sentence until the model, unchanged, sees your "
            "photo in it. Works with any model ComfyUI runs.",
            **search_aliases("Imagic", "textual inversion", "photo edit by prompt"),
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model. It is not changed."),
                io.Latent.Input("latent", tooltip="The photo, from VAE Encode. One photo."),
                io.Conditioning.Input(
                    "target", tooltip="The sentence that the photo shall follow, from CLIP Text Encode."
                ),
                io.Int.Input("steps", default=defaults.steps, min=1, max=10000, tooltip="Optimisation steps."),
                io.Float.Input(
                    "rate",
                    default=defaults.rate,
                    min=0.0001,
                    max=1.0,
                    step=0.0001,
                    tooltip="Learning rate as a share of the embedding's own size. Too low: edits show nothing.",
                ),
                draws_input(defaults.draws, "Noise draws per step; more are steadier."),
                seed_input(tooltip="Decides the noise."),
                io.Conditioning.Input(
                    "start",
                    optional=True,
                    tooltip="A caption of the photo as it is, to start from; left out: from the target.",
                ),
                io.Boolean.Input(
                    "pooled",
                    default=True,
                    optional=True,
                    tooltip="Optimise the pooled output as well, where the model uses one (SDXL, SD3, Flux).",
                ),
                *mask_inputs(),
                *noise_level_inputs(),
                preset_input(EMBEDDING),
            ],
            outputs=[
                io.Conditioning.Output(
                    "optimised", "optimised", tooltip="The photo's embedding, for Tune Model and the later stages."
                ),
                io.Image.Output("plot", "plot", tooltip="The loss over the steps."),
                io.String.Output(
                    "report", "report", tooltip="How far it moved, with a warning when that is too little."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model, latent, target, steps: int, rate: float, draws: int, seed: int, start=None, pooled: bool = True,
        mask=None, mask_weight: float = 4.0, noise_from: float = 0.0, noise_to: float = 1.0, preset: str = AS_SET,
    ) -> io.NodeOutput:  # fmt: skip
        chosen, note = with_preset(
            EMBEDDING, preset, steps=steps, rate=rate, draws=draws, pooled=pooled, noise_from=noise_from,
            noise_to=noise_to, rate_of="size", schedule=SCHEDULES[0],
        )  # fmt: skip
        sentence = single_conditioning(target, "target", for_training=True)
        caption = None if start is None else single_conditioning(start, "start", for_training=True)
        size = 1.0 if chosen["rate_of"] == "size" else root_mean_square((caption or sentence).embedding)
        settings = EmbeddingSettings(
            chosen["steps"], chosen["rate"] / size, chosen["draws"], (chosen["noise_from"], chosen["noise_to"]),
            chosen["pooled"], seed, chosen["schedule"],
        )  # fmt: skip
        samples = latent_of(latent)
        denoiser = host.current().diffusion.denoiser(model)
        fit = optimize_embedding(
            denoiser, samples, sentence, settings, caption, mask, mask_weight, free_memory(denoiser),
            progress_for(settings.steps, "optimising the embedding"),
        )  # fmt: skip
        plot = loss_plot(fit.losses, fit.loss_before, fit.loss_after, "optimising the embedding")
        report = f"{fit.report()}\n{note}" if note else fit.report()
        return io.NodeOutput(conditioning_list(fit.conditioning), plot[None], report)
