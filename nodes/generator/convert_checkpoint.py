"""Convert Checkpoint: other projects' files become the pack's own, without running a byte of them."""

from __future__ import annotations

from pathlib import Path

from ...host import current, io, no_inference_mode, ui
from ...models.checkpoint import FOREIGN_SUFFIXES
from ...models.convert import convert_file
from ...models.errors import CheckpointError, InputError, check_choice
from ..common.foreign_files import NOTHING_TO_CONVERT, foreign_file, foreign_files
from ..common.model_files import file_fingerprint
from ..common.schema import menu_category, search_aliases

CONTENTS = (
    "automatic",
    "generator",
    "encoder",
    "numbered direction",
    "direction",
    "latents",
    "identity",
    "perceptual",
    "segmenter",
)


class ConvertCheckpoint(io.ComfyNode):
    """Offers only what lies in the pack's own model folders, and never replaces a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditConvertCheckpoint",
            display_name="Convert Checkpoint",
            category=menu_category("generator"),
            description=f"Turns a published checkpoint ({', '.join(FOREIGN_SUFFIXES)}) into a .safetensors file beside "
            "it, which the loaders then list. Nothing in the file is executed, and no file is replaced.",
            **search_aliases("pkl to safetensors", "import generator", "own StyleGAN", "pickle", "e4e", "GANSpace"),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=foreign_files() or [NOTHING_TO_CONVERT],
                    tooltip="A file that you put below models/semantic_edit: generators, encoders, directions, "
                    "latents, losses or segmenters. New files appear after a refresh (r).",
                ),
                io.Combo.Input(
                    "content",
                    options=list(CONTENTS),
                    tooltip="What to take of a file that holds several things. automatic: the generator, else the "
                    "encoder, else codes or the first direction. direction, latents: of an array that may be either. "
                    "identity, perceptual, segmenter: such a network alone.",
                ),
                io.Int.Input(
                    "number",
                    default=0,
                    min=0,
                    max=100_000,
                    tooltip="With 'numbered direction': which one, counted from 0.",
                ),
            ],
            outputs=[
                io.String.Output("written", "written", tooltip="The name of the new file."),
                io.String.Output("report", "report", tooltip="What the file holds, what was written, and what to do."),
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **_: object) -> str:
        try:
            return file_fingerprint(foreign_file(file)[1]) if file else ""
        except InputError:
            return ""

    @classmethod
    def execute(cls, file: str, content: str, number: int) -> io.NodeOutput:
        check_choice("content", content, CONTENTS)
        kind, source = foreign_file(file)
        destination = _destination(source, content, number)
        component = {"automatic": None, "numbered direction": number}.get(content, content)
        sentences: list[str] = []
        current().check_interrupt()
        with no_inference_mode():  # the networks it builds are saved, and checked by drawing with them
            convert_file(source, destination, lambda text: sentences.append(_in_the_node(text)), component=component)
        sentences.append(f"It lies beside its source, among the {kind}. Press r, then choose it in the loader.")
        report = "\n".join(sentences)
        return io.NodeOutput(destination.name, report, ui=ui.PreviewText(report))


def _in_the_node(text: str) -> str:
    """Name the node's list where the sentence names the command's option."""
    return text.replace("--component", "'content'")


def _destination(source: Path, content: str, number: int) -> Path:
    """Return the name of the new file: the source's, and what was taken of it where that was asked for.

    Raises:
        CheckpointError: that file exists.
    """
    part = {"automatic": "", "numbered direction": f"-{number}"}.get(content, f"-{content}")
    destination = source.with_name(f"{source.stem}{part}.safetensors")
    if destination.exists():
        raise CheckpointError(
            f"{destination.name} exists already beside {source.name}, and nothing is replaced: it is in the loader's "
            "list after a refresh (r). To convert again, move it away first."
        )
    return destination
