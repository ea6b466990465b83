"""Tune Model: Imagic's second stage."""

from __future__ import annotations

from ... import host
from ...editing.common.diffusion.lora import BLOCKS
from ...editing.imagic.conditioning import conditioning_list, single_conditioning
from ...editing.imagic.figures import loss_plot
from ...editing.imagic.schedule import SCHEDULES
from ...editing.imagic.tuning import METHODS, TuneSettings, tune_model
from ...host import io
from ...models.errors import check_choice
from ...models.files.imagic import LearnedLora
from ...models.printable import printable_logger
from ..common.diffusion import (
    blocks_input,
    draws_input,
    free_memory,
    latent_of,
    noise_level_inputs,
    rank_input,
    rate_input,
)
from ..common.presets import AS_SET, preset_input, with_preset
from ..common.progress import progress_for
from ..common.published import TUNING
from ..common.schema import menu_category, search_aliases, seed_input, with_advanced
from ._inputs import mask_inputs

log = printable_logger(__name__)


class TuneModel(io.ComfyNode):
    """The model learns the photo; what it learned is a LoRA, and the model that came in stays as it was."""

    @classmethod
    @with_advanced(
        "rate",
        "rank",
        "draws",
        "blocks",
        "joint",
        "embedding_rate",
        "prior_weight",
        "checkpointing",
        "mask_weight",
        "noise_from",
        "noise_to",
        "stop_early",
    )
    def define_schema(cls) -> io.Schema:
        defaults = TuneSettings()
        return io.Schema(
            node_id="SemanticEditTuneModel",
            display_name="Tune Model",
            category=menu_category("imagic"),
            description="Imagic, stage 2: the model learns to paint your photo under its embedding, as a small change "
            "beside its weights. One tuning serves many sentences.",
            **search_aliases("Imagic", "LoRA training", "fine-tune on one photo", "overfit"),
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model. It is not changed."),
                io.Latent.Input("latent", tooltip="The photo, from VAE Encode. One photo."),
                io.Conditioning.Input(
                    "conditioning", tooltip="From Optimize Embedding; when joint, a caption or the sentence."
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    tooltip="LoRA: small and safe. all weights: as the paper, needs 16 bytes per number on top; where "
                    "they fit: else a LoRA.",
                ),
                io.Int.Input("steps", default=defaults.steps, min=1, max=20000, tooltip="Optimisation steps."),
                rate_input(
                    defaults.rate, "Learning rate. 0: by method and size, such as 0.0001 for LoRA on Stable Diffusion."
                ),
                rank_input(defaults.rank),
                draws_input(defaults.draws),
                blocks_input(),
                seed_input(tooltip="Decides noise and start."),
                io.Boolean.Input(
                    "joint",
                    default=False,
                    optional=True,
                    tooltip="Optimise the embedding together with the model (Forgedit): one stage instead of two.",
                ),
                io.Float.Input(
                    "embedding_rate",
                    default=defaults.embedding_rate,
                    min=0.0001,
                    max=1.0,
                    step=0.0001,
                    optional=True,
                    tooltip="When joint: learning rate of the embedding, as a share of its size.",
                ),
                io.Conditioning.Input(
                    "prior",
                    optional=True,
                    tooltip="A sentence whose meaning the model must keep, such as 'a portrait': against forgetting.",
                ),
                io.Float.Input(
                    "prior_weight",
                    default=defaults.prior_weight,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    optional=True,
                    tooltip="How much the prior counts.",
                ),
                io.Boolean.Input(
                    "checkpointing",
                    default=False,
                    optional=True,
                    tooltip="Compute blocks twice instead of keeping them: less memory, a third more time.",
                ),
                *mask_inputs(),
                *noise_level_inputs(),
                preset_input(TUNING),
                io.Boolean.Input(
                    "stop_early",
                    default=False,
                    optional=True,
                    tooltip="Stop once the loss on fixed noise no longer falls; the report says whether the photo is "
                    "back.",
                ),
            ],
            outputs=[
                io.Model.Output("tuned", "tuned", tooltip="The model with what it learned; for KSampler."),
                io.LoraModel.Output(
                    "lora", "lora", tooltip="What it learned, alone; for Save Imagic Edit and Apply Tuning."
                ),
                io.Conditioning.Output(
                    "optimised", "optimised", tooltip="The photo's embedding; when joint, the optimised one."
                ),
                io.Image.Output("plot", "plot", tooltip="The loss over the steps."),
                io.String.Output("report", "report", tooltip="How far the loss fell."),
            ],
        )

    @classmethod
    def execute(
        cls, model, latent, conditioning, method: str, steps: int, rate: float, rank: int, draws: int, blocks: str,
        seed: int, joint: bool = False, embedding_rate: float = 0.01, prior=None, prior_weight: float = 1.0,
        checkpointing: bool = False, mask=None, mask_weight: float = 4.0, noise_from: float = 0.0,
        noise_to: float = 1.0, preset: str = AS_SET, stop_early: bool = False,
    ) -> io.NodeOutput:  # fmt: skip
        chosen, note = with_preset(
            TUNING, preset, method=method, steps=steps, rate=rate, rank=rank, draws=draws, blocks=blocks, joint=joint,
            noise_from=noise_from, noise_to=noise_to, stop_early=stop_early, schedule=SCHEDULES[0], reference_rate=0.0,
            average=0.0,
        )  # fmt: skip
        check_choice("method", chosen["method"], METHODS)
        check_choice("blocks", chosen["blocks"], BLOCKS)
        settings = TuneSettings(
            chosen["method"], chosen["steps"], chosen["rate"], chosen["rank"], chosen["draws"],
            (chosen["noise_from"], chosen["noise_to"]), (chosen["blocks"],), chosen["joint"], embedding_rate,
            prior_weight, checkpointing, seed, chosen["schedule"], chosen["reference_rate"], chosen["average"],
        )  # fmt: skip
        embedding = single_conditioning(conditioning, for_training=True)
        preserved = single_conditioning(prior, "prior") if prior is not None and prior_weight > 0 else None
        samples = latent_of(latent)
        diffusion = host.current().diffusion
        denoiser = diffusion.denoiser(model)
        tuning = tune_model(
            denoiser, samples, embedding, settings, preserved, mask, mask_weight, free_memory(denoiser),
            progress_for(settings.steps, "tuning the model"), chosen["stop_early"], log.info,
        )  # fmt: skip
        title = f"tuning the model ({tuning.settings.method})"
        plot = loss_plot(tuning.losses, tuning.loss_before, tuning.loss_after, title)
        tuned = diffusion.apply_lora(model, tuning.lora)
        report = f"{tuning.report()}\n{note}" if note else tuning.report()
        lora = LearnedLora(tuning.lora, tuning.provenance | ({"preset": preset} if note else {}))
        return io.NodeOutput(tuned, lora, conditioning_list(tuning.conditioning), plot[None], report)
