"""Reader of face parsers: BiSeNet as face-parsing.PyTorch saves it (``79999_iter.pth``), without training heads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..segmenters.bisenet import FACE_PARTS, FaceSegmenter, SegmenterConfig
from .assemble import fill_network, float_tensors
from .modules import Stored, inner_state_dicts, named_tensors

SEGMENTER = "segmenter"
_KEYS = ("state_dict", "model", "net")
_PREFIXES = ("", "net.", "seg.")
_SKIPPED = ("num_batches_tracked",)  # counters of the training
_TRAINING_HEADS = ("conv_out16.", "conv_out32.")


@dataclass(eq=False)
class SegmenterWeights:
    """Weights of a segmenter that a reader took from a file."""

    layout: str  # whose file it is, in words
    tensors: dict[str, Tensor]
    config: SegmenterConfig
    notes: list[str] = field(default_factory=list)  # for the user


def find_segmenter(content: Any) -> SegmenterWeights | None:
    """Read the segmenter in a file's content, None when there is none.

    Raises:
        CheckpointError: when it is not as published.
    """
    for _, value in inner_state_dicts(content, _KEYS):
        stored = named_tensors(value)
        for prefix in _PREFIXES:
            if f"{prefix}cp.resnet.conv1.weight" in stored and f"{prefix}ffm.convblk.conv.weight" in stored:
                return _read({n[len(prefix) :]: v for n, v in stored.items() if n.startswith(prefix)})
    return None


def build_segmenter(weights: SegmenterWeights) -> FaceSegmenter:
    """Build the frozen network with these weights.

    Raises:
        CheckpointError: names the tensor that is missing, left over, or of another shape.
    """
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):
            network = FaceSegmenter(weights.config)
        fill_network(network, weights.tensors, "a face parser (BiSeNet)")
    return network.requires_grad_(False).eval()


def _read(stored: dict[str, Stored]) -> SegmenterWeights:
    """Read the tensors of a segmenter, and its dimensions from their shapes."""
    kept = {n: v for n, v in stored.items() if not n.endswith(_SKIPPED) and not n.startswith(_TRAINING_HEADS)}
    tensors = float_tensors(kept)

    def width(name: str) -> int:
        if name not in tensors:
            raise CheckpointError(f"is not a face parser (BiSeNet) as published: it lacks {name}")
        return int(tensors[name].shape[0])

    parts, notes = width("conv_out.conv_out.weight"), []
    names = FACE_PARTS
    if parts != len(FACE_PARTS):
        names = tuple(f"part {k}" for k in range(parts))
        notes.append(f"it knows {parts} parts without names; they are called 'part 0', 'part 1' and so on")
    config = SegmenterConfig(
        names=names,
        widths=(width("cp.resnet.conv1.weight"), *(width(f"cp.resnet.layer{k}.0.conv1.weight") for k in range(1, 5))),
        context=width("cp.conv_avg.conv.weight"),
        fused=width("ffm.convblk.conv.weight"),
        head=width("conv_out.conv.conv.weight"),
    )
    return SegmenterWeights("face parser, BiSeNet", tensors, config, notes)
