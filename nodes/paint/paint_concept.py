"""Paint Concept: a stroke that puts something into a picture, or takes it out."""

from __future__ import annotations

import torch

from ...editing.common.pictures import check_pictures
from ...editing.paint.brush import add_strokes, brush_mask
from ...editing.paint.concepts import ConceptUnits
from ...editing.paint.painting import Painting
from ...editing.paint.strokes import ACTIONS, FORMS, paint_concept
from ...host import current, io
from ...models.errors import check_choice
from ...models.gan.generator import GanGenerator
from ..common.schema import menu_category, search_aliases, shows_its_result
from ..common.sockets import ConceptUnitsType, GanGeneratorType, GanPaintingType
from ..common.widget_data import block_until_input, rerun_token, ui_payload

_RADIUS = 0.06  # of a stroke that names none
_NO_MASK = (
    "Paint Concept: nothing says where to paint. Connect a mask, or connect the picture to 'images' and paint on it in "
    "the node; then run again."
)
_LEVELS = ("low", "medium", "high", "number")


class PaintConcept(io.ComfyNode):
    """Adds one stroke to a painting; nothing is drawn yet, so a chain of these costs nothing."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditPaintConcept",
            display_name="Paint Concept",
            category=menu_category("paint"),
            description="Inserts or removes a concept, such as a hat, where it is brushed or the mask is white. Chain "
            "several for several strokes; Render Painted Photo draws them.",
            **search_aliases("GANPaint", "inpaint", "remove object", "add hat", "add glasses", "brush"),
            **shows_its_result(),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator that will draw, or one of its family."),
                ConceptUnitsType.Input("concepts", tooltip="From Load Concepts or Dissect Concepts."),
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
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where to paint: 1 (white) is painted. Any size; it is resized. Strokes are added to it.",
                ),
                io.Image.Input(
                    "images", optional=True, tooltip="The picture to paint on in the node; it changes no result."
                ),
                io.String.Input(
                    "strokes",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Where to paint, as brush strokes of the painter: 'radius: x y, x y' a line, in shares of "
                    "the picture. Added to a connected mask.",
                ),
            ],
            outputs=[GanPaintingType.Output("painted", "painted", tooltip="The strokes so far, with this one on top.")],
        )

    @classmethod
    def fingerprint_inputs(cls, strokes: str | None = "", **wired: object) -> float | str:
        return rerun_token(strokes is not None and not strokes.strip() and "mask" not in wired)

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        concepts: ConceptUnits,
        concept: str,
        action: str,
        level: str,
        number: float,
        form: str,
        painting: Painting | None = None,
        mask: torch.Tensor | None = None,
        images: torch.Tensor | None = None,
        strokes: str = "",
    ) -> io.NodeOutput:
        check_choice("level", level, _LEVELS)
        amount = number if level == "number" else level
        if images is not None:
            check_pictures(images)
        payload = ui_payload(cls, {} if images is None else {"picture": images[:1]}, concepts=list(concepts.names))
        if strokes.strip():
            height, width = images.shape[1:3] if images is not None else generator.resolution
            mask = add_strokes(mask, brush_mask(strokes, _RADIUS, height, width, current().progress(1, "strokes")))
        if mask is None:
            return block_until_input(_NO_MASK, payload)
        painted = paint_concept(generator, concepts, concept.strip(), mask, action, amount, form, painting)
        return io.NodeOutput(painted, ui=payload)
