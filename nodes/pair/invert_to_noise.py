"""Invert To Noise: each photo's own noise, from which the model makes the photo again."""

from __future__ import annotations

from ... import host
from ...editing.imagic.conditioning import single_conditioning
from ...editing.pair.applying import photos_to_noise
from ...editing.pair.settings import PairSampling
from ...host import io
from ..common.diffusion import latent_of, refinements_input
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, with_advanced
from ._inputs import at_once_input, steps_input


class InvertToNoise(io.ComfyNode):
    """The heavy half of Apply Pair Edit, apart, so that it runs once for all strengths."""

    @classmethod
    @with_advanced("refinements", "at_once")
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditInvertToNoise",
            display_name="Invert To Noise",
            category=menu_category("pair"),
            description="Finds the noise that the model turns into each photo, without chance: for Apply Pair Edit, so "
            "that a new strength costs the way back alone.",
            **search_aliases("DDIM inversion", "unsampler", "invert photo", "reverse ODE", "RF inversion"),
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model. It is not changed."),
                io.Latent.Input("latent", tooltip="The photos, from VAE Encode."),
                io.Conditioning.Input("conditioning", tooltip="What the photos show, such as 'a person'."),
                steps_input(),
                refinements_input(),
                at_once_input(),
            ],
            outputs=[
                io.Latent.Output(
                    "inverted",
                    "inverted",
                    tooltip="The noise of each photo, for Apply Pair Edit with the same model, sentence and steps.",
                )
            ],
        )

    @classmethod
    def execute(
        cls, model, latent: dict, conditioning, steps: int, refinements: int = 2, at_once: int = 1
    ) -> io.NodeOutput:
        sampling = PairSampling(steps, refinements=refinements, at_once=at_once)
        photos, entry = latent_of(latent), single_conditioning(conditioning)
        denoiser = host.current().diffusion.denoiser(model)
        noise = photos_to_noise(denoiser, photos, entry, sampling, progress_for(steps, "inverting the photos"))
        return io.NodeOutput({**latent, "samples": noise})
