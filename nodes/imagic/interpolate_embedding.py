"""Interpolate Embedding: Imagic's third stage."""

from __future__ import annotations

from ...editing.imagic.conditioning import conditioning_list, single_conditioning
from ...editing.imagic.interpolation import FORMS, interpolate, interpolation_notes, parse_etas
from ...host import io
from ...models.errors import check_choice
from ..common.schema import menu_category, search_aliases


class InterpolateEmbedding(io.ComfyNode):
    """From the photo (eta 0) to the sentence (eta 1), and beyond."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditInterpolateEmbedding",
            display_name="Interpolate Embedding",
            category=menu_category("imagic"),
            description="Imagic, stage 3: an embedding between the photo's and the sentence's. Sample the tuned model "
            "with it. Several etas give several conditionings, one picture each.",
            **search_aliases("Imagic", "edit strength", "blend prompts"),
            inputs=[
                io.Conditioning.Input(
                    "optimised", tooltip="The photo's embedding, from Optimize Embedding or Tune Model."
                ),
                io.Conditioning.Input("target", tooltip="The sentence, from the same CLIP."),
                io.Float.Input(
                    "eta",
                    default=0.7,
                    min=-2.0,
                    max=4.0,
                    step=0.01,
                    tooltip="0: the photo. 1: the sentence. Usually 0.6 to 0.8; more is a stronger edit.",
                ),
                io.Combo.Input(
                    "form",
                    options=list(FORMS),
                    tooltip="linear: as the paper. norm preserving: keeps the tokens' lengths. projection: adds to "
                    "each token only what the sentence has and the photo has not.",
                ),
                io.String.Input(
                    "etas",
                    default="",
                    optional=True,
                    tooltip="Several values instead of one, such as '0.4, 0.6, 0.8' or '0.2 to 1.2 in 6'.",
                ),
                io.Float.Input(
                    "photo_weight",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.01,
                    optional=True,
                    tooltip="For the projection: how much of the photo's own embedding stays. Below 1 frees the edit.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    "conditioning",
                    "conditioning",
                    is_output_list=True,
                    tooltip="For KSampler's positive input; one per eta.",
                ),
                io.Float.Output("values", "values", is_output_list=True, tooltip="The etas, in the same order."),
                io.String.Output(
                    "report", "report", tooltip="What of the two conditionings could not be mixed, if anything."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, optimised, target, eta: float, form: str, etas: str = "", photo_weight: float = 1.0
    ) -> io.NodeOutput:
        check_choice("form", form, FORMS)
        values = parse_etas(etas) if etas.strip() else (eta,)
        start, end = single_conditioning(optimised, "optimised"), single_conditioning(target, "target")
        conditionings = [conditioning_list(interpolate(start, end, value, form, photo_weight)) for value in values]
        report = " ".join(interpolation_notes(start, end)) or "All of the text is mixed."
        return io.NodeOutput(conditionings, list(values), report)
