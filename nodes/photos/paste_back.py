"""Paste Back: edited crops return into their full photos."""

from __future__ import annotations

import torch

from ...editing.common.part_labels import PartLabels
from ...editing.photos.alignment import Alignment
from ...editing.photos.paste import MATCHES, parts_mask, paste_back
from ...host import current, io
from ...models.errors import InputError, check_choice
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases
from ..common.sockets import AlignmentType, PartLabelsType

COVERS = ("the crop", "the photo")


class PasteBack(io.ComfyNode):
    """The other half of Align Crop."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditPasteBack",
            display_name="Paste Back",
            category=menu_category("photos"),
            description="Blends edited crops back into the full photos they were cut from by Align Crop. Outside the "
            "pasted region the photo stays as it was, to the bit.",
            **search_aliases("stitch", "uncrop", "put face back"),
            inputs=[
                io.Image.Input("photos", tooltip="The full photos, as they went into Align Crop."),
                io.Image.Input(
                    "crops", tooltip="The edited crops, in the order of Align Crop; an upscaled size is fine."
                ),
                AlignmentType.Input("alignment", tooltip="Where the crops came from: Align Crop's output."),
                io.Float.Input(
                    "feather",
                    default=0.1,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Width of the soft edge in sides of the crop. 0 is a hard edge.",
                ),
                io.Combo.Input(
                    "match",
                    options=list(MATCHES),
                    tooltip="What the crop takes over from the photo at its edge: nothing, mean and contrast of the "
                    "colours, or also soft light and shade.",
                ),
                io.Combo.Input(
                    "mask_covers",
                    options=list(COVERS),
                    tooltip="Whether the mask was made for the crops or for the full photos.",
                ),
                io.String.Input(
                    "part_names",
                    default="",
                    tooltip="With parts: which of them to paste, such as 'hair, hat'. Empty: all but the background.",
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="1 where the edit may show: paste only the face or the stroke."
                ),
                PartLabelsType.Input(
                    "parts",
                    optional=True,
                    tooltip="Part labels of the crops, in place of a mask: paste some parts only.",
                ),
                io.Image.Input(
                    "before",
                    optional=True,
                    tooltip="The crops before the edit, as the generator draws them: then only the difference to the "
                    "edited crops is added, and the photo keeps its own detail.",
                ),
            ],
            outputs=[
                io.Image.Output("images", "images", tooltip="The full photos with the edited crops in them."),
                io.Mask.Output("pasted", "pasted", tooltip="1 where a crop shows, 0 where nothing was changed."),
            ],
        )

    @classmethod
    def execute(
        cls,
        photos: torch.Tensor,
        crops: torch.Tensor,
        alignment: Alignment,
        feather: float,
        match: str,
        mask_covers: str,
        part_names: str,
        mask: torch.Tensor | None = None,
        parts: PartLabels | None = None,
        before: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        check_choice("mask_covers", mask_covers, COVERS)
        if parts is None and part_names.strip():
            raise InputError(f"part_names is {part_names.strip()!r}, but no parts are connected.")
        masks = {"crop_masks" if mask_covers == COVERS[0] else "photo_masks": mask}
        if parts is not None:
            if masks.get("crop_masks") is not None:
                raise InputError("Both parts and a mask of the crops are connected; one of them says where to paste.")
            masks["crop_masks"] = parts_mask(parts, part_names)
        progress = progress_for(len(crops), "pasting")
        result = paste_back(
            photos, crops, alignment, feather=feather, match=match, unedited=before, progress=progress, **masks
        )
        device = current().result_device()
        return io.NodeOutput(result.photos.to(device), result.masks.to(device))
