"""Save Latents: codes to a file."""

from __future__ import annotations

from torch import Tensor

from ... import host
from ...editing.common.types import GanLatent
from ...host import io, ui
from ...models.errors import InputError
from ...models.files.atomic import write_new
from ...models.files.latents import embed_latent, write_latent
from ..common.model_files import listed_name
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanLatentType


class SaveLatents(io.ComfyNode):
    """Codes to a file, and into the pictures they make."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSaveLatents",
            display_name="Save Latents",
            category=menu_category("generator"),
            description="Saves codes below output/semantic_edit/latents, where Load Latents finds them. With pictures "
            "connected, saves those too, each as a PNG that carries its own code. Nothing is ever overwritten.",
            **search_aliases("keep codes", "export latents"),
            inputs=[
                GanLatentType.Input("latents", tooltip="The codes to keep."),
                io.String.Input(
                    "name",
                    default="codes",
                    tooltip="File name without number and ending; 'set1/codes' makes a folder.",
                ),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="The pictures of these codes, as many and in the same order. Saved as PNG files that Load "
                    "Latents can read again, as long as no other program saves them anew.",
                ),
            ],
            outputs=[
                io.String.Output("file", "file", "The name under which Load Latents lists the codes."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, latents: GanLatent, name: str, images: Tensor | None = None) -> io.NodeOutput:
        if images is not None and len(images) != len(latents):
            raise InputError(
                f"There are {len(images)} images for {len(latents)} codes: connect the pictures of exactly these "
                "codes, or none."
            )
        backend = host.current()
        path = backend.save_path("latents", name)
        payload: dict = {}
        if images is not None:
            prefix = f"semantic_edit/latents/{host.safe_name(name)}"
            saved = ui.ImageSaveHelper.save_images(images, prefix, io.FolderType.output, cls)
            for picture, code, title in zip(saved, latents.codes, latents.names, strict=True):
                png = backend.output_directory() / picture["subfolder"] / picture["filename"]
                embed_latent(png, code, title, latents.family)
            payload = ui.SavedImages(saved).as_dict()
        codes, names, family = latents.codes, latents.names, latents.family
        path = write_new(path, lambda path: write_latent(path, codes, names, family, exclusive=True))
        file = listed_name("latents", path)
        return io.NodeOutput(file, ui=host.ui.PreviewText(f"Saved {file}").as_dict() | payload)
