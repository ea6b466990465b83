"""Brush Mask: a mask from a few typed strokes, where there is no mask editor."""

from __future__ import annotations

import torch

from ...editing.common.pictures import check_pictures
from ...editing.paint.brush import brush_mask
from ...host import current, io
from ..common.schema import menu_category, search_aliases, shows_its_result
from ..common.widget_data import block_until_input, rerun_token, ui_payload

_NO_STROKES = "Brush Mask: there are no strokes. Paint on the picture in the node, or type points x y, and run again."


class BrushMask(io.ComfyNode):
    """Lines of a round brush, painted in the node. A mask of the mask editor goes where this one goes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditBrushMask",
            display_name="Brush Mask",
            category=menu_category("paint"),
            description="Draws a mask from brush strokes that are painted on the picture in the node, or typed.",
            **search_aliases("draw mask", "mask editor", "paint mask"),
            **shows_its_result(),
            inputs=[
                io.Image.Input("images", tooltip="The pictures whose size the mask gets."),
                io.String.Input(
                    "strokes",
                    default="0.5 0.5",
                    multiline=True,
                    tooltip="One stroke a line: points x y, as shares of width and height from the top left, joined "
                    "by a brush. Example: 0.2 0.3, 0.8 0.3. A radius may come first, 0.05: 0.2 0.3; below 0 it erases.",
                ),
                io.Float.Input(
                    "radius",
                    default=0.1,
                    min=0.001,
                    max=1.0,
                    step=0.005,
                    tooltip="Half the width of the brush, as a share of the picture's height.",
                ),
            ],
            outputs=[
                io.Mask.Output("mask", "mask", tooltip="1 under the brush, 0 elsewhere, one for all pictures."),
                io.Image.Output("preview", "preview", tooltip="The pictures with the mask laid over them in red."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, strokes: str | None = "", **wired: object) -> float | str:
        return rerun_token(strokes is not None and not strokes.strip())

    @classmethod
    def execute(cls, images: torch.Tensor, strokes: str, radius: float) -> io.NodeOutput:
        check_pictures(images)
        payload = ui_payload(cls, {"picture": images[:1]})
        if not strokes.strip():
            return block_until_input(_NO_STROKES, payload)
        mask = brush_mask(strokes, radius, *images.shape[1:3], current().progress(1, "strokes"))
        mask = mask.to(current().result_device())
        red = torch.tensor([1.0, 0.1, 0.1]).to(images)
        preview = images[..., :3] + 0.5 * mask.to(images)[..., None] * (red - images[..., :3])
        return io.NodeOutput(mask, preview, ui=payload)
