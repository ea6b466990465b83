"""Load Demo Diffusion: a whole diffusion model on a fresh machine."""

from __future__ import annotations

from ...demo.assets import demo_diffusion
from ...host import current, io
from ..common.schema import menu_category, search_aliases


class LoadDemoDiffusion(io.ComfyNode):
    """The shipped diffusion model of painted portraits, as MODEL, CLIP and VAE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadDemoDiffusion",
            display_name="Load Demo Diffusion",
            category=menu_category("demo"),
            description="Loads the small diffusion model of painted portraits that comes with the pack. It goes "
            "wherever Load Checkpoint does: CLIP Text Encode, VAE Encode, KSampler and the Imagic nodes.",
            **search_aliases("demo model", "small stable diffusion", "try Imagic"),
            inputs=[],
            outputs=[
                io.Model.Output("model", "model", "The denoiser: portraits of 128 x 128 pixels, Stable Diffusion 1.x."),
                io.Clip.Output("clip", "clip", "The text encoder: it knows hair, hats, glasses, smiles and the like."),
                io.Vae.Output("vae", "vae", "Pictures to latents of 16 x 16 and back."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(*current().diffusion.load_pipeline(demo_diffusion()))
