"""Compare Images: a batch before and after, under one slider."""

from __future__ import annotations

import torch
from einops import rearrange
from torch.nn import functional

from ...host import current, io
from ...models.errors import InputError
from ..common.schema import menu_category, search_aliases
from ..common.widget_data import ui_payload

_LARGEST_BATCH = 64  # pictures that are sent to the slider


class CompareImages(io.ComfyNode):
    """Shows what an edit did to each picture, and lays the pairs side by side for saving."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditCompareImages",
            display_name="Compare Images",
            category=menu_category("batch"),
            description="Shows pictures before and after an edit under a slider, one pair after the other.",
            **search_aliases("before after", "image slider", "image comparer"),
            inputs=[
                io.Image.Input("before", tooltip="The pictures before the edit; one serves for all."),
                io.Image.Input("after", tooltip="The pictures after the edit, in the same order."),
            ],
            outputs=[io.Image.Output("pairs", "pairs", tooltip="Before and after side by side, one picture per pair.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, before: torch.Tensor, after: torch.Tensor) -> io.NodeOutput:
        for name, images in (("before", before), ("after", after)):
            if images.ndim != 4 or images.shape[-1] not in (3, 4) or 0 in images.shape:
                raise InputError(f"'{name}' has shape {list(images.shape)}; expected an IMAGE [B, H, W, 3].")
        if len(before) not in (1, len(after)):
            raise InputError(
                f"There are {len(before)} pictures before and {len(after)} after; expected as many, or one."
            )
        before, after = before[..., :3].expand(len(after), -1, -1, -1), after[..., :3]
        left = before if before.shape[1:3] == after.shape[1:3] else _resized(before, after.shape[1:3])
        pairs = torch.cat([left.to(after), after], dim=2).to(current().result_device())
        note = f"The first {_LARGEST_BATCH} of {len(after)} pairs are shown." if len(after) > _LARGEST_BATCH else ""
        payload = ui_payload(cls, {"before": before[:_LARGEST_BATCH], "after": after[:_LARGEST_BATCH]}, note=note)
        return io.NodeOutput(pairs, ui=payload)


def _resized(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize an IMAGE [B, h, w, C] to [B, *size, C]."""
    pictures = rearrange(images, "b h w c -> b c h w").float()
    pictures = functional.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
    return rearrange(pictures, "b c h w -> b h w c").clamp(0, 1)
