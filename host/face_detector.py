"""ComfyUI's own face detector (FACE_DETECTION_MODEL, of MediaPipe; newer cores have it) as a function of one photo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..models.errors import InputError

__all__ = ["build_detector"]

_LEAST_SCORE = 0.5  # as the core's own node asks
_VARIANTS = ("short", "full")  # near faces first; far and small ones where there are none


def build_detector(model: Any) -> Callable[[Tensor], list[Any]]:
    """Return what finds the faces of a photo [H, W, 3] in 0..1: objects with "landmarks_xy" in its pixels.

    Args:
        model: from ComfyUI's Load Face Detection Model (MediaPipe).

    Raises:
        InputError: it is something else.
    """
    if not callable(getattr(model, "detect_batch", None)):
        raise InputError(
            f"The face detector is a {type(model).__name__}; connect ComfyUI's Load Face Detection Model (MediaPipe)."
        )

    def detect(photo: Tensor) -> list[Any]:
        pixels = photo[..., :3].mul(255.0).add(0.5).clamp(0, 255).to("cpu", torch.uint8).numpy()
        for variant in _VARIANTS:
            (faces,) = model.detect_batch([pixels], num_faces=0, score_thresh=_LEAST_SCORE, variant=variant)
            if faces:
                return list(faces)
        return []

    return detect
