"""Sample From Photo Noise: KSampler, but from the photo's own noise."""

from __future__ import annotations

from ... import host
from ...host import io
from ..common.diffusion import latent_of, refinements_input
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, with_advanced
from ._inputs import sampling_inputs, sampling_of


class SampleFromPhotoNoise(io.ComfyNode):
    """DDIM inversion under the negative, then sampling with guidance, which so begins with the photo."""

    @classmethod
    @with_advanced("refinements")
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSampleFromPhotoNoise",
            display_name="Sample From Photo Noise",
            category=menu_category("imagic"),
            description="KSampler from the photo's own noise instead of random noise: the photo is inverted under the "
            "negative (DDIM inversion), then sampled with guidance. Who and where stay as in the photo.",
            **search_aliases("KSampler", "DDIM inversion", "unsampler", "keep identity", "Imagic"),
            inputs=[
                io.Model.Input("model", tooltip="As in KSampler; for Imagic, the tuned model."),
                io.Conditioning.Input("positive", tooltip="What the picture shall show."),
                io.Conditioning.Input(
                    "negative", tooltip="What guidance leads away from, and what the photo is inverted under. Empty "
                    "does well.",
                ),
                io.Latent.Input("latent", tooltip="The photo, from VAE Encode."),
                *sampling_inputs(),
                refinements_input(),
            ],
            outputs=[io.Latent.Output("edited", "edited", tooltip="The edited photo, for VAE Decode.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model, positive, negative, latent: dict, seed: int, steps: int, cfg: float, sampler_name: str,
        scheduler: str, refinements: int = 2,
    ) -> io.NodeOutput:  # fmt: skip
        sampling = sampling_of(steps, cfg, sampler_name, scheduler)
        samples, diffusion = latent_of(latent), host.current().diffusion
        progress = progress_for(2 * steps, "inverting the photo")
        noise = diffusion.photo_noise(
            model, negative, samples, sampling, refinements,
            lambda step, total, preview=None: progress(step, total + steps),
        )  # fmt: skip
        sampled = diffusion.sample(
            model, positive, negative, samples, sampling, seed, latent.get("noise_mask"), latent.get("batch_index"),
            noise,
        )  # fmt: skip
        progress(2 * steps, 2 * steps)
        return io.NodeOutput({**latent, "samples": sampled})
