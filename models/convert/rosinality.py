"""Reader of generators in the layout of rosinality's stylegan2-pytorch.

The files are {"g_ema": state dict, "latent_avg"}, or whole modules. The values are NVlabs' own, only the names and a
few leading ones in the shapes differ. The decoders inside e4e and pSp checkpoints have the same layout under
"state_dict", with a "decoder." in front.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .assemble import GeneratorWeights, check_size, filter_taps, float_tensor, float_tensors
from .modules import Stored, inner_state_dicts, is_module, named_tensors, submodule, unwrap
from .stored import StoredArray, StoredTensor, plain_number

_PREFIXES = ("", "decoder.", "generator.", "g_ema.", "G.")
_KEYS = ("g_ema", "g", "state_dict", "params_ema", "generator", "model")


def find_rosinality(content: Any) -> GeneratorWeights | None:
    """Read the moving-average generator, or the only one; None when no known key holds this layout."""
    for key, value in inner_state_dicts(content, _KEYS):
        stored = _without_prefix(named_tensors(value))
        if stored is None:
            continue
        weights = read_rosinality(stored)
        if key == "g":
            weights.notes.append("the file has no moving average (g_ema); the generator in training was taken")
        _add_mean(weights, content)
        weights.config["lr_multiplier"] = _lr_multiplier(value)
        return weights
    return None


def _without_prefix(stored: dict[str, Stored]) -> dict[str, Stored] | None:
    for prefix in _PREFIXES:
        if f"{prefix}style.1.weight" in stored and f"{prefix}conv1.conv.weight" in stored:
            return {name[len(prefix) :]: value for name, value in stored.items() if name.startswith(prefix)}
    return None


def _lr_multiplier(value: Any) -> float:
    """Return the mapping's learning-rate multiplier: 0.01 unless a whole module says otherwise."""
    value = unwrap(value)
    layer = submodule(value, "style.1") if is_module(value) else None
    return float(plain_number(layer.get("lr_mul")) or 0.01) if layer is not None else 0.01


def _add_mean(weights: GeneratorWeights, content: Any) -> None:
    """Add the mean of W [D] that lies beside the state dict."""
    mean = content.get("latent_avg") if isinstance(content, dict) else None
    if isinstance(mean, StoredTensor | StoredArray):
        values = float_tensor(mean, "latent_avg")
        check_size(values, "latent_avg")
        # e4e keeps one mean per row of W+, all equal
        weights.tensors["mapping.w_avg"] = values[0].clone() if values.ndim == 2 and len(values) else values


def read_rosinality(stored: dict[str, Stored]) -> GeneratorWeights:
    """Rename a state dict to NVlabs' names.

    Raises:
        CheckpointError: names a tensor that StyleGAN2 does not have.
    """
    tensors: dict[str, Tensor] = {}
    kernel: Tensor | None = None
    for name, tensor in float_tensors(stored).items():
        if name.endswith(".kernel"):
            kernel = tensor if kernel is None else kernel
            continue
        target = nvlabs_name(name)
        if target is None:
            raise CheckpointError(f"has {name[:80]!r}, which is no part of this layout's StyleGAN2")
        tensors[target] = _squeeze_ones(target, tensor)
    weights = GeneratorWeights("rosinality checkpoint", tensors, {"resample_filter": filter_taps(kernel)})
    _add_noise(weights)
    return weights


_LAYER_TENSORS = {
    "conv.weight": "weight", "conv.modulation.weight": "affine.weight", "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength", "activate.bias": "bias", "bias": "bias",
}  # fmt: skip


def nvlabs_name(name: str) -> str | None:
    """Return NVlabs' name of a tensor, None for one that StyleGAN2 does not have."""
    if match := re.fullmatch(r"style\.(\d{1,2})\.(weight|bias)", name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    if name == "input.input":
        return "synthesis.b4.const"
    if match := re.fullmatch(r"noises\.noise_(\d{1,2})", name):
        return f"{_layer(int(match[1]))}.noise_const"
    for pattern, layer_name in (
        (r"conv1\.(.*)", lambda k: _layer(0)),
        (r"convs\.(\d{1,2})\.(.*)", lambda k: _layer(k + 1)),
        (r"to_rgb1\.(.*)", lambda k: "synthesis.b4.torgb"),
        (r"to_rgbs\.(\d{1,2})\.(.*)", lambda k: f"synthesis.b{8 * 2**k}.torgb"),
    ):
        if (match := re.fullmatch(pattern, name)) and match.groups()[-1] in _LAYER_TENSORS:
            index = int(match[1]) if len(match.groups()) == 2 else 0
            return f"{layer_name(index)}.{_LAYER_TENSORS[match.groups()[-1]]}"
    return None


def _layer(index: int) -> str:
    """Name a layer: 0 is conv1 of the 4 px block; then come conv0 and conv1 of each larger block."""
    return f"synthesis.b{4 * 2 ** ((index + 1) // 2)}.conv{(index + 1) % 2}"


def _squeeze_ones(name: str, tensor: Tensor) -> Tensor:
    """Remove the leading and trailing ones that this layout keeps in its shapes."""
    if name.endswith(".noise_const"):
        return tensor[0, 0] if tensor.ndim == 4 and tensor.shape[:2] == (1, 1) else tensor
    if name.endswith(("const", "conv0.weight", "conv1.weight", "torgb.weight")):
        return tensor[0] if tensor.ndim and tensor.shape[0] == 1 else tensor
    if name.endswith(".noise_strength"):
        return tensor.reshape([]) if tensor.numel() == 1 else tensor
    return tensor.reshape(-1) if name.endswith(".bias") else tensor


def _add_noise(weights: GeneratorWeights) -> None:
    """Add the constant noise [H, W] of each layer, zero, which early files do not have."""
    tensors = weights.tensors
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
        weights.notes.append("the file holds no constant noise; it is zero now, seeded noise works as ever")
