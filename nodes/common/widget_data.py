"""What a node sends to its own widget in the browser: pictures by name, and plain values.

Widgets listen to keys of their own ("semantic_edit_..."), so that ComfyUI does not draw the same pictures below them.
"""

from __future__ import annotations

import secrets
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...editing.common.part_labels import PartLabels
from ...editing.text.edit import TextEdit
from ...host import io, ui

_PREFIX = "semantic_edit_"
_MASK_SIZE = 128  # px, longest side of masks that are only looked at


def shown(
    node: type[io.ComfyNode],
    pictures: dict[str, Tensor] | None = None,
    values: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, list]:
    """Return what `NodeOutput(ui=...)` takes.

    Args:
        node: the node's class, as `execute` gets it.
        pictures: name -> IMAGE [B, H, W, 3] in 0..1; each becomes temporary PNG files.
        values, more: anything that JSON knows.
    """
    sent: dict[str, list] = {}
    for name, images in (pictures or {}).items():
        prefix = f"{_PREFIX}{name}_{secrets.token_hex(4)}"
        files = ui.ImageSaveHelper.save_images(images[..., :3].cpu(), prefix, io.FolderType.temp, node, 1)
        sent[_PREFIX + name] = list(files)
    return sent | {_PREFIX + name: [value] for name, value in ((values or {}) | more).items()}


def waiting(sentence: str, sent: dict[str, list]) -> io.NodeOutput:
    """Return an answer that shows something and keeps the nodes behind from running; they say `sentence`."""
    return io.NodeOutput(None, ui=sent, block_execution=sentence)  # a value, or ComfyUI sees no output to block


def state_of(waits: bool) -> float | str:
    """What `fingerprint_inputs` returns for a node that may wait for a person.

    While it waits it runs at every queue: ComfyUI keeps an answer of the run before, and says its sentence only once.
    """
    return float("nan") if waits else ""


def edit_to_show(edit: TextEdit) -> dict[str, Any]:
    """What a table of parts against rows needs."""
    weights = [] if edit.selection is None else edit.selection.cpu().mul(100).round().int().tolist()
    return {
        "prompt": edit.prompt,
        "rows": list(edit.rows),
        "count": len(edit.offset),
        "parts": list(edit.parts),
        "weights": weights,  # per part and row, in per cent
        "threshold": edit.threshold,
    }


def layers_to_show(
    edit: TextEdit, picture: Tensor, masks: list[Tensor | None], parts: PartLabels | None, index: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A picture [3, H, W] in -1..1, the masks of its rows and of its parts, as `shown` takes them.

    Masks lie below each other in one picture, row after row; a row that changes nothing is black.
    """
    height, width = picture.shape[1:]
    scale = min(1.0, _MASK_SIZE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    rows = [torch.zeros(1, 1, *size) if mask is None else _small(mask, size) for mask in masks]
    pictures = {"picture": picture.add(1).mul(0.5).clamp(0, 1).movedim(0, -1)[None], "rows": _column(rows)}
    if parts is not None and edit.parts:
        own = parts.masks[index if len(parts) > 1 else 0]
        pictures["parts"] = _column([_small(own[parts.index(name)][None, None], size) for name in edit.parts])
    return pictures, {"edit": edit_to_show(edit)}


def _small(mask: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(mask.float().cpu(), size, mode="bilinear", antialias=True, align_corners=False)


def _column(masks: list[Tensor]) -> Tensor:
    """n of [1, 1, h, w] -> IMAGE [1, n h, w, 3]."""
    return torch.cat(masks, dim=2)[:, 0, :, :, None].clamp(0, 1).expand(-1, -1, -1, 3)
