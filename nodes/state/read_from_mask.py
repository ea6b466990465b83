"""Read From Mask: how large a region is, where it lies, and what colour the picture has there."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...editing.state import MASK_MEASURES, measure_masks, reader_from_mask, with_measured_noise
from ...host import io
from ...host.registry import part_labellers
from ...models.errors import InputError, check_choice
from ..common.images import from_image_batch
from ..common.schema import menu_category, search_aliases
from ..common.sockets import StateReaderType

MASK, EVERYWHERE = "mask", "whole picture"


class ReadFromMask(io.ComfyNode):
    """Any segmenter's MASK, a part labeller that is installed, or the whole picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditReadFromMask",
            display_name="Read From Mask",
            category=menu_category("state"),
            description="Reads the size or the place of a region, or the brightness and the colour under it.",
            **search_aliases("exposure", "brightness", "area", "mean colour", "segmentation"),
            inputs=[
                io.Combo.Input(
                    "measure",
                    options=list(MASK_MEASURES),
                    tooltip="What is read: the region's share of the picture, the place of its middle, or the mean "
                    "brightness, colour or saturation under it.",
                ),
                io.Combo.Input(
                    "region",
                    options=[MASK, EVERYWHERE, *part_labellers.names()],
                    tooltip="mask: the connected one. whole picture: everywhere. Or a labeller, which finds 'part' in "
                    "every picture anew.",
                ),
                io.String.Input("part", default="hair", tooltip="For a labeller: the part's name."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 where it counts. One mask serves all pictures; several belong to 'pictures', one each.",
                ),
                io.Image.Input(
                    "pictures", optional=True, tooltip="Pictures to read at once, and to measure the noise on."
                ),
            ],
            outputs=[
                StateReaderType.Output(
                    "reader", "reader", tooltip="For Plan Strengths, Reach State and Measure State."
                ),
                io.Float.Output(
                    "readings",
                    "readings",
                    is_output_list=True,
                    tooltip="The number of each of 'pictures' (of each mask, for area and place), for Plan Strengths.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, measure: str, region: str, part: str, mask: Tensor | None = None, pictures: Tensor | None = None
    ) -> io.NodeOutput:
        check_choice("measure", measure, MASK_MEASURES)
        check_choice("region", region, [MASK, EVERYWHERE, *part_labellers.names()])
        if region == MASK and mask is None:
            raise InputError("region is 'mask', but no mask is connected: connect one, or choose another region.")
        if region != MASK and mask is not None:
            raise InputError(f"A mask is connected, but region is '{region}'; choose 'mask', or disconnect it.")
        batch = None if pictures is None else from_image_batch(pictures)
        masks = None if mask is None else _mask_batch(mask, batch)
        reader = reader_from_mask(_segmenter(region, part, masks), (measure,))
        readings: list[float] = []
        if masks is not None and len(masks) > 1:
            shown = batch if batch is not None else torch.zeros(len(masks), 3, *masks.shape[1:])
            readings = measure_masks(shown, masks.to(shown.device), (measure,))[:, 0].tolist()
        elif batch is not None:
            reader = with_measured_noise(reader, batch)
            readings = reader.read(batch)[:, 0].tolist()
        return io.NodeOutput(reader, readings)


def _mask_batch(mask: Tensor, pictures: Tensor | None) -> Tensor:
    """Return masks [B, H, W]: one, or one for each picture."""
    masks = mask[None] if mask.ndim == 2 else mask
    if masks.ndim != 3 or 0 in masks.shape:
        raise InputError(f"The mask has shape {list(mask.shape)}; expected a MASK [B, H, W].")
    if pictures is not None and len(masks) not in (1, len(pictures)):
        raise InputError(f"There are {len(masks)} masks for {len(pictures)} pictures; expected one, or one for each.")
    return masks.float()


def _segmenter(region: str, part: str, masks: Tensor | None) -> Callable[[Tensor], Tensor] | None:
    """Return what gives masks for pictures; None for the whole picture."""
    if region == EVERYWHERE:
        return None
    if masks is None:
        labeller = part_labellers.create(region)
        name = part.strip()
        check_choice("part", name, labeller.names)
        index = labeller.names.index(name)
        return lambda pictures: labeller.label(pictures, slice(0, len(pictures)))[:, index]

    def given(pictures: Tensor) -> Tensor:
        if len(masks) > 1:
            raise InputError(
                f"The reader was made from {len(masks)} masks, which belong to their own pictures. Use the output "
                "'readings' for those, or connect one mask that serves all pictures."
            )
        return masks.to(pictures.device).expand(len(pictures), -1, -1)

    return given
