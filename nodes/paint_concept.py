"""Paint Concept: a stroke that puts something into a picture, or takes it out."""

from __future__ import annotations

import torch

from ..editing.concepts import ConceptUnits
from ..editing.painting import Painting
from ..editing.strokes import ACTIONS, FORMS, paint_concept
from ..host import io
from ._common import CATEGORY, ConceptUnitsType, GanGeneratorType, GanPaintingType, check_choice

_LEVELS = ("low", "medium", "high", "number")


class PaintConcept(io.ComfyNode):
    """Adds one stroke to a painting; nothing is drawn yet, so a chain of these costs nothing."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditPaintConcept",
            display_name="Paint Concept",
            category=CATEGORY("paint"),
            description="Inserts or removes a concept, such as a hat, where the mask is white. Chain several for "
            "several strokes; Render Painted Photo draws them.",
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator that will draw, or one of its family."),
                ConceptUnitsType.Input("concepts", tooltip="From Load Concepts or Dissect Concepts."),
                io.Mask.Input("mask", tooltip="Where to paint: 1 (white) is painted. Any size; it is resized."),
                io.String.Input("concept", default="hat", tooltip="A dissected concept, such as hat or hair."),
                io.Combo.Input("action", options=list(ACTIONS), tooltip="Put the concept there, or take it away."),
                io.Combo.Input(
                    "level",
                    options=list(_LEVELS),
                    default="medium",
                    tooltip="How strongly: 4, 10 or 15 units, or the number below.",
                ),
                io.Float.Input(
                    "number",
                    default=10.0,
                    min=0.1,
                    max=1000.0,
                    step=0.5,
                    tooltip="With level 'number': how many units; between them in the donor form.",
                ),
                io.Combo.Input(
                    "form",
                    options=list(FORMS),
                    tooltip="donor: features of the same picture with the concept, on all late layers; holds best. "
                    "units: the concept's units of one layer go to their usual values. units, published: to "
                    "their 99 % quantile, or to zero.",
                ),
                GanPaintingType.Input(
                    "painting", optional=True, tooltip="Earlier strokes; this one is painted on top of them."
                ),
            ],
            outputs=[GanPaintingType.Output("painted", tooltip="The strokes so far, with this one on top.")],
        )

    @classmethod
    def execute(
        cls,
        generator,
        concepts: ConceptUnits,
        mask: torch.Tensor,
        concept: str,
        action: str,
        level: str,
        number: float,
        form: str,
        painting: Painting | None = None,
    ) -> io.NodeOutput:
        check_choice("The level", level, _LEVELS)
        amount = number if level == "number" else level
        return io.NodeOutput(paint_concept(generator, concepts, concept.strip(), mask, action, amount, form, painting))
