"""Apply Tuning: a photo's LoRA on a model, weaker, or without some blocks."""

from __future__ import annotations

from ... import host
from ...editing.common.diffusion.lora import BLOCKS
from ...editing.common.diffusion.lora_file import without_blocks
from ...host import io
from ...models.errors import check_choice
from ..common.schema import menu_category, search_aliases

_NOTHING = "nothing"


class ApplyTuning(io.ComfyNode):
    """Forgedit's forgetting, as a cheap node behind the tuning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditApplyTuning",
            display_name="Apply Tuning",
            category=menu_category("imagic"),
            description="Puts a saved or freshly learned tuning on a model: all of it, less of it, or without some "
            "blocks, whose own weights come back. Forgetting a part helps when the photo comes back and the edit does "
            "not.",
            **search_aliases("Imagic", "apply LoRA"),
            inputs=[
                io.Model.Input("model", tooltip="The model that the tuning was learned on. It is not changed."),
                io.LoraModel.Input("lora", tooltip="From Tune Model or Load Imagic Edit."),
                io.Float.Input(
                    "strength", default=1.0, min=-4.0, max=4.0, step=0.01, tooltip="1: as learned. 0: the model itself."
                ),
                io.Combo.Input(
                    "forget",
                    display_name="excluded blocks",
                    options=[_NOTHING, *(name for name in BLOCKS if name != "all")],
                    tooltip="Blocks whose own weights come back. encoder and attention keep less of the photo's "
                    "layout.",
                ),
            ],
            outputs=[io.Model.Output("tuned", "tuned", tooltip="For KSampler.")],
        )

    @classmethod
    def execute(cls, model, lora: dict, strength: float, forget: str) -> io.NodeOutput:
        check_choice("forget", forget, [_NOTHING, *BLOCKS])
        remaining = lora if forget == _NOTHING else without_blocks(lora, (forget,))
        return io.NodeOutput(host.current().diffusion.apply_lora(model, remaining, strength))
