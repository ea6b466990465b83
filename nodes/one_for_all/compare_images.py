"""Compare Images: a batch before and after, under one slider."""

from __future__ import annotations

import torch
from torch.nn import functional

from ...host import current, io
from ...models.errors import InputError
from ..common.schema import menu_category, search_aliases
from ..common.widget_data import ui_payload

_MOST = 64  # pictures that are sent to the slider


class CompareImages(io.ComfyNode):
    """Shows what an edit did to each picture, and lays the pairs side by side for saving."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditCompareImages",
            display_name="Compare Images",
            category=menu_category("batch"),
            description="Shows pictures before and after an edit under a slider, one pair after the other.",
            **search_aliases("before after", "image slider"),
            inputs=[
                io.Image.Input("before", tooltip="The pictures before the edit; one serves for all."),
                io.Image.Input("after", tooltip="The pictures after the edit, in the same order."),
            ],
            outputs=[io.Image.Output("pairs", "pairs", tooltip="Before and after side by side, one picture per pair.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, before: torch.Tensor, after: torch.Tensor) -> io.NodeOutput:
        for what, images in (("before", before), ("after", after)):
            if images.ndim != 4 or images.shape[-1] not in (3, 4) or 0 in images.shape:
                raise InputError(f"'{what}' has shape {list(images.shape)}; expected an IMAGE [B, H, W, 3].")
        if len(before) not in (1, len(after)):
            raise InputError(
                f"There are {len(before)} pictures before and {len(after)} after; expected as many, or one."
            )
        before, after = before[..., :3].expand(len(after), -1, -1, -1), after[..., :3]
        sized = before if before.shape[1:3] == after.shape[1:3] else _resized(before, after.shape[1:3])
        pairs = torch.cat([sized.to(after), after], dim=2).to(current().result_device())
        left = len(after) - _MOST
        note = f"The first {_MOST} of {len(after)} pairs are shown." if left > 0 else ""
        sent = ui_payload(cls, {"before": before[:_MOST], "after": after[:_MOST]}, note=note)
        return io.NodeOutput(pairs, ui=sent)


def _resized(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    pictures = images.movedim(-1, 1).float()
    pictures = functional.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
    return pictures.movedim(1, -1).clamp(0, 1)
