"""Save Direction: keep an edit for later batches."""

from __future__ import annotations

from functools import partial

from ... import host
from ...editing.common.types import EditDirection, GanLatent
from ...editing.one_for_all.library import before_after_strip
from ...host import io
from ...models.errors import InputError
from ...models.files.atomic import write_new
from ...models.files.direction import write_direction, write_thumbnail
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.latents import check_latent
from ..common.model_files import listed_name
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, GanGeneratorType, GanLatentType


class SaveDirection(io.ComfyNode):
    """Writes a numbered .safetensors file; nothing is ever overwritten."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSaveDirection",
            display_name="Save Direction",
            category=menu_category("batch"),
            description="Saves an edit below output/semantic_edit/directions, where Load Direction finds it; with a "
            "generator and a code connected, a thumbnail beside it.",
            **search_aliases("keep slider", "save edit"),
            inputs=[
                EditDirectionType.Input("direction", tooltip="The edit to keep."),
                io.String.Input("name", default="edit", tooltip="File name without ending; a/b makes a folder."),
                io.String.Input(
                    "notes",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Where it comes from, for you and others: a prompt, the example, a licence.",
                ),
                io.String.Input(
                    "date",
                    default="",
                    optional=True,
                    tooltip="A date to keep with it. Empty writes none, so that the same edit gives the same file.",
                ),
                io.Float.Input(
                    "thumbnail_strength",
                    default=1.0,
                    min=-20.0,
                    max=20.0,
                    step=0.1,
                    optional=True,
                    tooltip="How far the thumbnail goes: 1 is the example's state, or one length of the direction.",
                ),
                GanGeneratorType.Input("generator", optional=True, tooltip="Draws the thumbnail."),
                GanLatentType.Input(
                    "latents", optional=True, tooltip="The first of these codes is shown before and after the edit."
                ),
            ],
            outputs=[io.String.Output("file", "file", tooltip="The name under which Load Direction lists it.")],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        direction: EditDirection,
        name: str,
        notes: str = "",
        date: str = "",
        thumbnail_strength: float = 1.0,
        generator: GanGenerator | None = None,
        latents: GanLatent | None = None,
    ) -> io.NodeOutput:
        strip = None
        if (generator is None) != (latents is None):
            missing = "generator" if generator is None else "latents"
            raise InputError(f"A thumbnail needs a generator and a code: connect {missing} as well, or neither.")
        if generator is not None:
            check_latent(generator, latents)
            place(generator)
            strip = before_after_strip(generator, direction, latents.codes, thumbnail_strength)
        provenance = {"notes": notes.strip(), "date": date.strip(), "generator": generator and generator.name}
        path = host.current().save_path("directions", name)
        write = partial(
            write_direction,
            direction=direction.direction,
            normal=direction.normal,
            layers=direction.layers,
            start=direction.start,
            offset=direction.offset,
            method=direction.method,
            family=direction.family,
            name=direction.name,
            example=direction.example,
            provenance={key: value for key, value in provenance.items() if value},
            exclusive=True,
        )
        path = write_new(path, write)
        listed = listed_name("directions", path)
        payload = host.ui.PreviewText(f"Saved {listed}").as_dict()
        if strip is not None:
            write_thumbnail(path, strip)
            payload |= host.ui.PreviewImage(strip[None], cls=cls).as_dict()
        return io.NodeOutput(listed, ui=payload)
