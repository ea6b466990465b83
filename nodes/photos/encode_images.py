"""Encode Images: a first guess of each picture's code in one forward pass."""

from __future__ import annotations

import torch

from ...editing.common.pictures import fit_to_resolution
from ...editing.common.types import GanLatent
from ...host import io, no_inference_mode
from ...models.encoders.encoder import load_encoder
from ...models.files.picture_reader import FITS
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.images import fit_input, from_image_batch
from ..common.latents import picture_names
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType, GanLatentType


class EncodeImages(io.ComfyNode):
    """The encoder belongs to one generator family; its codes are a start for Invert Images, or a fast result."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditEncodeImages",
            display_name="Encode Images",
            category=menu_category("photos"),
            description="Guesses the latent codes of pictures with an encoder network: fast, a good start to invert.",
            **search_aliases("e4e", "pSp", "photo to latent", "image to StyleGAN"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator that shall draw the pictures."),
                io.Image.Input("images", tooltip="The pictures, of any size."),
                file_input("encoders", "file", "An encoder trained for this generator."),
                io.String.Input(
                    "names",
                    optional=True,
                    force_input=True,
                    tooltip="Names of the pictures, one a line, as Load Image Folder gives them.",
                ),
                fit_input(),
            ],
            outputs=[GanLatentType.Output("latents", "latents", tooltip="A code [L, D] for each picture.")],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> str:
        return model_file_fingerprint("encoders", file)

    @classmethod
    def execute(
        cls, generator: GanGenerator, images: torch.Tensor, file: str, names: str | None = None, fit: str = FITS[0]
    ) -> io.NodeOutput:
        network = load_encoder(model_file("encoders", file))
        place(generator, network)
        pictures = fit_to_resolution(generator, from_image_batch(images, generator.device), fit)
        with no_inference_mode():
            codes = network.encode(pictures, generator)
        return io.NodeOutput(GanLatent(codes, picture_names(names, len(codes)), generator.family))
