"""Save Imagic Edit: a learned photo to a file."""

from __future__ import annotations

from ... import host
from ...editing.imagic.conditioning import single_conditioning
from ...host import io
from ...models.errors import InputError
from ...models.files.atomic import write_new
from ...models.files.imagic import LearnedLora, write_imagic
from ..common.model_files import listed_name
from ..common.schema import menu_category, search_aliases


class SaveImagicEdit(io.ComfyNode):
    """A learned photo to one file: embedding, LoRA and provenance."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSaveImagicEdit",
            display_name="Save Imagic Edit",
            category=menu_category("imagic"),
            description="Saves what was learned of a photo below output/semantic_edit/imagic, where Load Imagic Edit "
            "finds it. Nothing is ever overwritten.",
            **search_aliases("Imagic", "keep edit of a photo"),
            inputs=[
                io.Conditioning.Input("optimised", tooltip="The photo's embedding."),
                io.LoraModel.Input("lora", tooltip="What the model learned, from Tune Model."),
                io.String.Input("name", default="photo", tooltip="File name without number."),
                io.String.Input("prompt", default="", optional=True, tooltip="The sentence, to remember it by."),
                io.String.Input("notes", default="", optional=True, tooltip="Whatever else is worth keeping."),
            ],
            outputs=[io.String.Output("file", "file", tooltip="The name under which Load Imagic Edit lists it.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, optimised, lora: dict, name: str, prompt: str = "", notes: str = "") -> io.NodeOutput:
        if not name.strip():
            raise InputError("The name is empty; give the edit a name such as 'anna'.")
        conditioning = single_conditioning(optimised, "optimised")
        path = host.current().save_path("imagic", name)
        provenance: dict[str, object] = {"notes": notes, "method": "imagic"}
        if isinstance(lora, LearnedLora):
            provenance["learning"] = lora.learning
        embedding, extras = conditioning.embedding, conditioning.extras
        path = write_new(
            path, lambda path: write_imagic(path, embedding, extras, lora, prompt, provenance, exclusive=True)
        )
        listed = listed_name("imagic", path)
        return io.NodeOutput(listed, ui=host.ui.PreviewText(f"Saved {listed}"))
