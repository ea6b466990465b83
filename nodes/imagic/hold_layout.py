"""Hold Layout: self-attention control against camera moves."""

from __future__ import annotations

from ... import host
from ...host import io
from ..common.schema import menu_category, search_aliases


class HoldLayout(io.ComfyNode):
    """Early steps attend as they would for the photo itself, so that the edit comes without a zoom or a turn."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditHoldLayout",
            display_name="Hold Layout",
            category=menu_category("imagic"),
            description="Against camera moves, Imagic's usual failure: in its first steps the model attends as it does "
            "for the photo, so that things stay where they are. For KSampler and Sweep Eta.",
            **search_aliases("Imagic", "self-attention injection", "keep the composition", "camera move"),
            inputs=[
                io.Model.Input("model", tooltip="The tuned model, from Tune Model or Apply Tuning. It is not changed."),
                io.Conditioning.Input(
                    "optimised", tooltip="The photo's embedding, from Optimize Embedding or Tune Model."
                ),
                io.Float.Input(
                    "share",
                    default=0.3,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="For how much of the noise, from the most down. More holds more, the edit included.",
                ),
            ],
            outputs=[io.Model.Output("held", "held", tooltip="For KSampler or Sweep Eta. Its early steps take twice.")],
        )

    @classmethod
    def execute(cls, model, optimised, share: float) -> io.NodeOutput:
        return io.NodeOutput(host.current().diffusion.hold_attention(model, optimised, share))
