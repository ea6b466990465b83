"""UI payloads: pictures by name and plain values, for a node's own widget in the browser.

Widgets listen to keys of their own ("semantic_edit_..."), so that ComfyUI does not draw the same pictures below them.
"""

from __future__ import annotations

import secrets
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional

from ...editing.common.part_labels import PartLabels
from ...editing.text.edit import TextEdit
from ...host import io, ui

_PREFIX = "semantic_edit_"
_MASK_SIZE = 128  # px, longest side of masks that are only looked at


def ui_payload(
    node: type[io.ComfyNode],
    pictures: dict[str, Tensor] | None = None,
    values: dict[str, Any] | None = None,
    **more_values: Any,
) -> dict[str, list]:
    """Return the `ui` of a `NodeOutput`.

    Args:
        node: the node's class, as `execute` gets it.
        pictures: name -> IMAGE [B, H, W, 3] in 0..1; each becomes temporary PNG files.
        values, more_values: anything that JSON knows.
    """
    payload: dict[str, list] = {}
    for name, images in (pictures or {}).items():
        prefix = f"{_PREFIX}{name}_{secrets.token_hex(4)}"
        files = ui.ImageSaveHelper.save_images(images[..., :3].cpu(), prefix, io.FolderType.temp, node, 1)
        payload[_PREFIX + name] = list(files)
    return payload | {_PREFIX + name: [value] for name, value in ((values or {}) | more_values).items()}


def block_until_input(sentence: str, payload: dict[str, list]) -> io.NodeOutput:
    """Return an output that shows its payload and keeps the nodes behind from running; they say `sentence`."""
    return io.NodeOutput(None, ui=payload, block_execution=sentence)  # a value, or ComfyUI sees no output to block


def rerun_token(blocked: bool) -> float | str:
    """Return the `fingerprint_inputs` of a node that may wait for a person.

    While it waits it runs at every queue: ComfyUI keeps an output of the run before, and says its sentence only once.
    """
    return float("nan") if blocked else ""


def edit_payload(edit: TextEdit) -> dict[str, Any]:
    """Return the values of a table of parts against rows of W+."""
    weights = [] if edit.selection is None else edit.selection.cpu().mul(100).round().int().tolist()
    return {
        "prompt": edit.prompt,
        "rows": list(edit.rows),
        "count": len(edit.offset),
        "parts": list(edit.parts),
        "weights": weights,  # per part and row, in per cent
        "threshold": edit.threshold,
    }


def layers_payload(
    edit: TextEdit, picture: Tensor, masks: list[Tensor | None], parts: PartLabels | None, index: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a picture, the masks of its rows and of its parts, as `ui_payload` takes them.

    Masks lie below each other in one picture, row after row; a row that changes nothing is black.

    Args:
        picture: [3, H, W] in -1..1.
        masks: per row of W+ a mask [1, 1, h, w] in 0..1, or None.
        parts: part labels of the batch, or None.
        index: of the picture in the batch.
    """
    height, width = picture.shape[1:]
    scale = min(1.0, _MASK_SIZE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    rows = [torch.zeros(1, 1, *size) if mask is None else _thumbnail(mask, size) for mask in masks]
    image = rearrange(picture.add(1).mul(0.5).clamp(0, 1), "c h w -> 1 h w c")
    pictures = {"picture": image, "rows": _stack(rows)}
    if parts is not None and edit.parts:
        labels = parts.masks[index if len(parts) > 1 else 0]  # [P, h, w]
        pictures["parts"] = _stack([_thumbnail(labels[parts.index(name)][None, None], size) for name in edit.parts])
    return pictures, {"edit": edit_payload(edit)}


def _thumbnail(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a mask [1, 1, H, W] to [1, 1, *size]."""
    return functional.interpolate(mask.float().cpu(), size, mode="bilinear", antialias=True, align_corners=False)


def _stack(masks: list[Tensor]) -> Tensor:
    """Stack n masks [1, 1, h, w] below each other, as an IMAGE [1, n h, w, 3]."""
    return repeat(torch.cat(masks).clamp(0, 1), "n 1 h w -> 1 (n h) w c", c=3)
