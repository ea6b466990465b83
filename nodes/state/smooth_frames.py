"""Smooth Frames: strengths, codes and masks of a clip, steadied over time or held at one state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...editing.common.frames import hold_over_time, smooth_over_time
from ...editing.common.rows import parse_rows
from ...editing.common.types import GanLatent
from ...host import io
from ...models.errors import InputError, check_choice
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanLatentType
from ._lists import numbers_of, single

MODES = ("smooth", "hold")


class SmoothFrames(io.ComfyNode):
    """A clip is a batch; what was found for each of its frames alone jitters."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSmoothFrames",
            display_name="Smooth Frames",
            category=menu_category("state"),
            description="Steadies what was found for each frame of a clip alone: strengths, codes and masks are "
            "averaged over neighbouring frames, or held at one state.",
            is_input_list=True,
            **search_aliases("video", "temporal", "flicker", "jitter", "stabilize"),
            inputs=[
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    tooltip="smooth: each frame is averaged with its neighbours. hold: all frames get the clip's "
                    "median.",
                ),
                io.Float.Input(
                    "frames",
                    default=2.0,
                    min=0.0,
                    max=1000.0,
                    step=0.5,
                    tooltip="For smooth: over how many neighbouring frames (the Gaussian's standard deviation). "
                    "0 changes nothing.",
                ),
                io.String.Input(
                    "rows",
                    default="all",
                    tooltip="For codes: which layers are steadied: all, coarse (pose, shape), middle, fine (colours), "
                    "or numbers such as 4-13. The others stay as they are.",
                ),
                io.Float.Input(
                    "strengths",
                    optional=True,
                    force_input=True,
                    tooltip="A list of numbers, one for each frame: strengths, etas or readings.",
                ),
                GanLatentType.Input("latents", optional=True, tooltip="The codes of the frames, in their order."),
                io.Mask.Input("masks", optional=True, tooltip="A mask for each frame, as a batch or a list."),
            ],
            outputs=[
                io.Float.Output(
                    "steady_strengths", "strengths", is_output_list=True, tooltip="The numbers, steadied, as a list."
                ),
                GanLatentType.Output("steady_latents", "latents", tooltip="The codes, steadied, with their names."),
                io.Mask.Output("steady_masks", "masks", tooltip="The masks, steadied, as one batch."),
            ],
        )

    @classmethod
    def execute(
        cls,
        mode: list[str],
        frames: list[float],
        rows: list[str],
        strengths: list[Any] | None = None,
        latents: list[GanLatent] | None = None,
        masks: list[Tensor] | None = None,
    ) -> io.NodeOutput:
        check_choice("mode", single(mode, "mode"), MODES)
        if not strengths and not latents and not masks:
            raise InputError("Nothing is connected; connect strengths, latents or masks of the frames of a clip.")
        hold, sigma = single(mode, "mode") == MODES[1], single(frames, "frames")

        def steady(values: Tensor) -> Tensor:
            return hold_over_time(values) if hold else smooth_over_time(values, sigma)

        numbers = numbers_of(strengths, "strengths")
        if numbers:
            numbers = steady(torch.tensor(numbers, dtype=torch.float64)).tolist()
        codes = None if not latents else _steady_codes(single(latents, "latents"), single(rows, "rows"), steady)
        return io.NodeOutput(numbers, codes, None if not masks else steady(_mask_batch(masks)))


def _steady_codes(latent: GanLatent, rows: str, steady) -> GanLatent:
    """Steady some rows of the codes [B, L, D] of a clip."""
    layers = list(parse_rows(rows, latent.num_layers))
    codes = latent.codes.clone()
    codes[:, layers] = steady(latent.codes[:, layers])
    return replace(latent, codes=codes)


def _mask_batch(masks: list[Tensor]) -> Tensor:
    """Join masks [H, W] or [B, H, W] of a list: [B, H, W]."""
    batches = [mask[None] if mask.ndim == 2 else mask for mask in masks]
    shapes = {tuple(batch.shape[1:]) for batch in batches}
    if len(shapes) > 1 or any(batch.ndim != 3 for batch in batches):
        raise InputError(f"The masks have the shapes {sorted(shapes)}; expected [B, H, W] of one height and width.")
    return torch.cat(batches).float()
