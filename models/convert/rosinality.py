"""Generators in the layout of rosinality's stylegan2-pytorch: {"g_ema": state dict, "latent_avg"}, or whole modules.

The values are NVlabs' own, only the names and a few leading ones in the shapes differ. The decoders inside e4e and pSp
checkpoints have the same layout under "state_dict", with a "decoder." in front.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .assemble import FoundGenerator, all_numbers, filter_taps, numbers
from .modules import Stored, child, is_module, tensors_of, unwrapped
from .stored import StoredArray, StoredTensor, plain_number

_PREFIXES = ("", "module.", "decoder.", "generator.", "g_ema.", "G.", "module.decoder.")
_PLACES = ("g_ema", "g", "state_dict", "params_ema", "generator")


def find_rosinality(content: Any) -> FoundGenerator | None:
    """The moving-average generator, or the only one there is; None when no known place holds this layout."""
    places = [(key, content[key]) for key in _PLACES if key in content] if isinstance(content, dict) else []
    for key, value in [*places, ("", content)]:
        stored = _without_prefix(tensors_of(value))
        if stored is None:
            continue
        found = read_rosinality(stored)
        if key == "g":
            found.notes.append("the file has no moving average (g_ema); the generator in training was taken")
        _add_mean(found, content)
        found.known["lr_multiplier"] = _multiplier(value)
        return found
    return None


def _without_prefix(stored: dict[str, Stored]) -> dict[str, Stored] | None:
    for prefix in _PREFIXES:
        if f"{prefix}style.1.weight" in stored and f"{prefix}conv1.conv.weight" in stored:
            return {name[len(prefix) :]: value for name, value in stored.items() if name.startswith(prefix)}
    return None


def _multiplier(value: Any) -> float:
    """0.01 unless a whole module says otherwise."""
    value = unwrapped(value)
    layer = child(value, "style.1") if is_module(value) else None
    return float(plain_number(layer.get("lr_mul")) or 0.01) if layer is not None else 0.01


def _add_mean(found: FoundGenerator, content: Any) -> None:
    mean = content.get("latent_avg") if isinstance(content, dict) else None
    if isinstance(mean, StoredTensor | StoredArray):
        values = numbers(mean, "latent_avg")
        # e4e keeps one mean per row of W+, all equal
        found.tensors["mapping.w_avg"] = values[0].clone() if values.ndim == 2 and len(values) else values


def read_rosinality(stored: dict[str, Stored]) -> FoundGenerator:
    """The generator with NVlabs' names. CheckpointError names a tensor that has no place in StyleGAN2."""
    tensors: dict[str, Tensor] = {}
    kernel: Tensor | None = None
    for name, tensor in all_numbers(stored).items():
        if name.endswith(".kernel"):
            kernel = tensor if kernel is None else kernel
            continue
        new = new_name(name)
        if new is None:
            raise CheckpointError(f"has {name[:80]!r}, which is no part of this layout's StyleGAN2")
        tensors[new] = _shaped(new, tensor)
    found = FoundGenerator("rosinality checkpoint", tensors, {"resample_filter": filter_taps(kernel)})
    _add_noise(found)
    return found


_BLOCK_PART = {
    "conv.weight": "weight", "conv.modulation.weight": "affine.weight", "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength", "activate.bias": "bias", "bias": "bias",
}  # fmt: skip


def new_name(name: str) -> str | None:
    """NVlabs' name of a tensor, None for one that StyleGAN2 does not have."""
    if match := re.fullmatch(r"style\.(\d{1,2})\.(weight|bias)", name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    if name == "input.input":
        return "synthesis.b4.const"
    if match := re.fullmatch(r"noises\.noise_(\d{1,2})", name):
        return f"{_layer(int(match[1]))}.noise_const"
    for pattern, place in (
        (r"conv1\.(.*)", lambda k: _layer(0)),
        (r"convs\.(\d{1,2})\.(.*)", lambda k: _layer(k + 1)),
        (r"to_rgb1\.(.*)", lambda k: "synthesis.b4.torgb"),
        (r"to_rgbs\.(\d{1,2})\.(.*)", lambda k: f"synthesis.b{8 * 2**k}.torgb"),
    ):
        if (match := re.fullmatch(pattern, name)) and match.groups()[-1] in _BLOCK_PART:
            return f"{place(int(match[1]) if len(match.groups()) == 2 else 0)}.{_BLOCK_PART[match.groups()[-1]]}"
    return None


def _layer(index: int) -> str:
    """Layer 0 is conv1 of the 4 px block; then conv0 and conv1 of each larger block."""
    return f"synthesis.b{4 * 2 ** ((index + 1) // 2)}.conv{(index + 1) % 2}"


def _shaped(name: str, tensor: Tensor) -> Tensor:
    """Without the leading and trailing ones that this layout keeps."""
    if name.endswith(".noise_const"):
        return tensor[0, 0] if tensor.ndim == 4 and tensor.shape[:2] == (1, 1) else tensor
    if name.endswith(("const", "conv0.weight", "conv1.weight", "torgb.weight")):
        return tensor[0] if tensor.ndim and tensor.shape[0] == 1 else tensor
    if name.endswith(".noise_strength"):
        return tensor.reshape([]) if tensor.numel() == 1 else tensor
    return tensor.reshape(-1) if name.endswith(".bias") else tensor


def _add_noise(found: FoundGenerator) -> None:
    """Early files have no constant noise."""
    tensors = found.tensors
    const = tensors.get("synthesis.b4.const")
    layers = [name.removesuffix(".noise_strength") for name in tensors if name.endswith(".noise_strength")]
    lacking = [layer for layer in layers if f"{layer}.noise_const" not in tensors]
    if const is None or const.ndim != 3:
        raise CheckpointError("is not a StyleGAN2 generator as published: it lacks its learned constant")
    for layer in lacking:
        factor = int(layer.split(".")[1][1:]) // 4
        if factor * max(const.shape[-2:]) <= 4096:
            tensors[f"{layer}.noise_const"] = torch.zeros(const.shape[-2] * factor, const.shape[-1] * factor)
    if lacking:
        found.notes.append("the file holds no constant noise; it is zero now, seeded noise works as ever")
