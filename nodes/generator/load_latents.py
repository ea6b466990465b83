"""Load Latents: codes from a file or a picture."""

from __future__ import annotations

from pathlib import Path

from ... import host
from ...editing.common.latents import spread_rows
from ...editing.common.types import GanLatent
from ...host import file_below, io
from ...models.errors import InputError, check_choice
from ...models.files.latents import extract_latent, read_latent
from ...models.gan.generator import GanGenerator
from ..common.latents import check_latent
from ..common.model_files import file_fingerprint, file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType, GanLatentType

SOURCES = ("file", "picture")
_NO_PICTURE = "(no PNG in ComfyUI's input folder yet)"


class LoadLatents(io.ComfyNode):
    """Codes from a file, or from a picture that carries its own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadLatents",
            display_name="Load Latents",
            category=menu_category("generator"),
            description="Loads codes saved by Save Latents: from a .safetensors file, or out of a PNG that carries "
            "its own code.",
            **search_aliases("open codes", "load seeds", "projected_w"),
            inputs=[
                io.Combo.Input(
                    "source",
                    options=list(SOURCES),
                    default="file",
                    tooltip="file: the codes of a .safetensors file. picture: the code inside a PNG.",
                ),
                file_input(
                    "latents", "file", "Saved codes, from output/semantic_edit/latents or models/semantic_edit/latents."
                ),
                io.Combo.Input(
                    "picture",
                    options=_pictures() or [_NO_PICTURE],
                    upload=io.UploadType.image,
                    image_folder=io.FolderType.input,
                    tooltip="A PNG saved by Save Latents, from ComfyUI's input folder. Used when source is 'picture'.",
                ),
                GanGeneratorType.Input(
                    "generator",
                    optional=True,
                    tooltip="Codes of one row, as W has them, are given to all rows of this generator; others are "
                    "compared with it.",
                ),
            ],
            outputs=[
                GanLatentType.Output("latents", "latents", "The codes, with their names and family."),
            ],
        )

    @classmethod
    def validate_inputs(cls, source: object = None, file: object = None, picture: object = None) -> bool | str:
        """Look only at the list that is used: the other may show a name that this machine does not have."""
        for name, value in (("source", source), ("file", file), ("picture", picture)):
            if not isinstance(value, str | None):  # None comes by wire
                return f"{name} is {str(value)[:60]!r}; expected a name from its list."
        try:
            if source is not None:
                check_choice("source", source, SOURCES)
            if source == "file" and file is not None:
                model_file("latents", file)
            if source == "picture" and picture is not None:
                _picture_file(picture)
        except InputError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, source: str, file: str, picture: str, **_: object) -> str:
        picture_file = file_fingerprint(host.current().input_directory() / picture) if picture else ""
        return f"{model_file_fingerprint('latents', file)} {picture_file}"

    @classmethod
    def execute(cls, source: str, file: str, picture: str, generator: GanGenerator | None = None) -> io.NodeOutput:
        check_choice("source", source, SOURCES)
        stored = (
            read_latent(model_file("latents", file)) if source == "file" else extract_latent(_picture_file(picture))
        )
        latent = GanLatent(*stored)
        if generator is not None:
            latent = spread_rows(latent, generator.num_layers)
            check_latent(generator, latent)
        return io.NodeOutput(latent)


def _pictures() -> list[str]:
    """Return the names of the PNG files in ComfyUI's input folder."""
    folder = host.current().input_directory()
    files = folder.iterdir() if folder.is_dir() else ()
    return sorted(file.name for file in files if file.suffix.lower() == ".png" and file.is_file())


def _picture_file(name: str) -> Path:
    """Return the path of a PNG in ComfyUI's input folder or below it, where uploads from elsewhere lie."""
    path = file_below(host.current().input_directory(), name)
    if path is None or path.suffix.lower() != ".png":
        named = "" if name == _NO_PICTURE else f" named {name!r}"
        raise InputError(
            f"There is no PNG{named} in {host.current().input_directory()}. Upload a picture saved by Save Latents, "
            "and choose it from the list."
        )
    return path
