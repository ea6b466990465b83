"""Localize Direction: regions and layers for an edit that exists already."""

from __future__ import annotations

from ...editing.common.part_labels import PartLabels
from ...editing.common.types import EditDirection, GanLatent
from ...editing.text.localize import localize_direction
from ...editing.text.training import selection_report
from ...host import io
from ...models.errors import check_choice
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.latents import check_latent
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, seed_input
from ..common.sockets import EditDirectionType, GanGeneratorType, GanLatentType, PartLabelsType, TextEditType
from ._outside import OUTSIDE, outside_input


class LocalizeDirection(io.ComfyNode):
    """The region and layer selection of text edits, for a drag, a slider or an imported direction."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLocalizeDirection",
            display_name="Localize Direction",
            category=menu_category("text"),
            description="Finds the regions and layers that a direction needs, and leaves everything else alone. No "
            "sentence and no scorer are needed.",
            **search_aliases("only the hair", "restrict edit", "local edit", "region"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of the direction."),
                EditDirectionType.Input("direction", tooltip="A drag, a slider, an imported or optimised direction."),
                GanLatentType.Input("latents", tooltip="Pictures to learn from, 16 to 64 sampled ones do well."),
                PartLabelsType.Input("parts", tooltip="Part labels of these latents."),
                io.Float.Input(
                    "amount",
                    default=1.0,
                    min=-20.0,
                    max=20.0,
                    step=0.1,
                    tooltip="Lengths of the direction that strength 1 of the result shall be.",
                ),
                io.Float.Input(
                    "area",
                    default=0.3,
                    min=0.0,
                    max=5.0,
                    step=0.05,
                    tooltip="What changing everything costs, against 1 for losing the whole effect.",
                ),
                io.Int.Input("steps", default=80, min=1, max=2000, tooltip="Training steps of 4 pictures each."),
                seed_input(tooltip="Decides the order of the pictures."),
                outside_input(),
            ],
            outputs=[
                TextEditType.Output("text_edit", "text_edit", tooltip="For Apply Text Edit and Region Layer Masks."),
                io.String.Output("report", "report", tooltip="Which rows each part changes."),
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        direction: EditDirection,
        latents: GanLatent,
        parts: PartLabels,
        amount: float,
        area: float,
        steps: int,
        seed: int,
        outside: str = OUTSIDE[0],
    ) -> io.NodeOutput:
        check_choice("outside", outside, OUTSIDE)
        check_latent(generator, latents)
        place(generator)
        edit = localize_direction(
            generator, direction, latents.codes, parts, amount, area, steps, seed=seed,
            keep_outside=outside == OUTSIDE[0],
            progress=progress_for(steps, "looking for regions"),
        )  # fmt: skip
        return io.NodeOutput(edit, "\n".join(selection_report(edit)) or "no part is needed")
