"""Half precision where the published networks use it: the four highest resolutions (stylegan2-ada-pytorch, 2006.06676).

There features are clamped to +-256, which keeps sums inside half precision; pictures are added up in float32. Only
finished pictures are drawn that way. What takes a gradient, follows or changes features or mixes codes stays in
float32: there a rounding would be taken for a difference between pictures.
"""

from __future__ import annotations

import logging

import torch

from ..errors import check_choice

log = logging.getLogger(__name__)

PRECISIONS = ("automatic", "float32", "float16", "bfloat16")
HALF_RESOLUTIONS = 4
HALF_CLAMP = 256.0  # where a checkpoint names none
_told: list[str] = []


def half_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type of the four highest resolutions on a device; None for float32.

    Args:
        precision: one of `PRECISIONS`. "automatic" is float16 on CUDA and float32 elsewhere. A type that the device
            does not compute in (float16 on a CPU, bfloat16 on an old one) is replaced by float32.

    Raises:
        InputError: another word.
    """
    check_choice("precision", precision, PRECISIONS)
    if precision == "automatic":
        precision = "float16" if device.type == "cuda" else "float32"
    if precision == "float32":
        return None
    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    if computes_in(dtype, device):
        return dtype
    if precision not in _told:
        _told.append(precision)
        log.info("This %s does not compute in %s; float32 is used.", device.type, precision)
    return None


def computes_in(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether a device has arithmetic of a half-precision type, and does not imitate it."""
    if device.type == "cuda":
        return dtype == torch.float16 or torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu":
        return dtype == torch.float16
    if dtype == torch.float16:
        return False
    tests = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")]
    return any(test is not None and test() for test in tests)
