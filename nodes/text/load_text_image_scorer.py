"""Load Text Image Scorer: an open_clip model that compares pictures with sentences."""

from __future__ import annotations

from ... import host
from ...host import io
from ...models.scorers.scorer import load_scorer
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import TextImageScorerType


class LoadTextImageScorer(io.ComfyNode):
    """The model whose opinion a text edit follows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadTextImageScorer",
            display_name="Load Text Image Scorer",
            category=menu_category("text"),
            description="Loads an open_clip model (CLIP and its relatives) from models/semantic_edit/scorers. Text "
            "edits are trained by its opinion.",
            **search_aliases("CLIP", "open_clip", "text model"),
            inputs=[
                file_input(
                    "scorers",
                    "file",
                    "The weights (.safetensors), best in a folder of their own with open_clip_config.json beside them.",
                ),
                io.String.Input(
                    "architecture",
                    default="auto",
                    tooltip="auto: the config beside the file, else by the weights' shapes. Or one of open_clip's "
                    "names, such as ViT-B-32-quickgelu.",
                ),
            ],
            outputs=[TextImageScorerType.Output("scorer", "scorer", tooltip="For Train Text Edit.")],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> str:
        return model_file_fingerprint("scorers", file)

    @classmethod
    def execute(cls, file: str, architecture: str) -> io.NodeOutput:
        scorer = load_scorer(model_file("scorers", file), architecture=architecture.strip() or "auto")
        host.current().place(scorer.model)
        return io.NodeOutput(scorer)
