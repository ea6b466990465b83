"""Reader of generators of NVlabs' stylegan2-ada-pytorch and of the stylegan3 repository's StyleGAN2 (config-f).

Both pickle {"G", "D", "G_ema", ...} with modules rebuilt by a persistence hook. Their tensors have the same names; the
one nests the constructor's arguments, the other does not. Neither matters here, since each saved layer also carries the
attributes it computes with, and these are what is read. Plain state dicts under the same names are read as well.
"""

from __future__ import annotations

from typing import Any

from ..errors import CheckpointError
from .assemble import GeneratorWeights, filter_taps, float_tensors
from .modules import Stored, inner_state_dicts, is_module, named_tensors, state_dict, submodule, unwrap
from .stored import Opaque, plain_number

_KEYS = ("G_ema", "g_ema", "state_dict", "G", "generator", "model")  # of state dicts
_PREFIXES = ("", "G_ema.", "g_ema.", "G.", "generator.", "decoder.")


def find_nvlabs(content: Any) -> GeneratorWeights | None:
    """Read the moving-average generator of a training snapshot, or a generator saved alone; None when there is none."""
    for key in ("G_ema", "G"):
        module = unwrap(content.get(key)) if isinstance(content, dict) else None
        if is_module(module) and _is_generator(module):
            weights = read_module(module)
            if key == "G":
                weights.notes.append("the file has no moving average (G_ema); the generator in training was taken")
            return weights
    if is_module(unwrap(content)) and _is_generator(unwrap(content)):
        return read_module(unwrap(content))
    for _, value in inner_state_dicts(content, _KEYS):
        stored = named_tensors(value)
        for prefix in _PREFIXES:
            if f"{prefix}mapping.fc0.weight" in stored and any(n.startswith(f"{prefix}synthesis.b") for n in stored):
                # Whatever else has this prefix belongs to the network: it is refused by name when that is assembled.
                return read_state_dict({n[len(prefix) :]: v for n, v in stored.items() if n.startswith(prefix)})
    return None


def _is_generator(module: Opaque) -> bool:
    return submodule(module, "mapping") is not None and submodule(module, "synthesis") is not None


def read_module(module: Opaque) -> GeneratorWeights:
    """Read a saved generator module; its layers' attributes complete the config.

    Raises:
        CheckpointError: for a module that is no StyleGAN2 generator as published.
    """
    weights = read_state_dict(state_dict(module))
    weights.layout = "NVlabs pickle"
    weights.notes = []
    first, last = submodule(module, "mapping.fc0"), _last_layer(module)
    if first is None or last is None:
        raise CheckpointError("is not a StyleGAN2 generator as published: it has no mapping layers or no blocks")
    weights.config["lr_multiplier"] = _required(first, "bias_gain")
    clamp = last.get("conv_clamp")
    weights.config["conv_clamp"] = None if clamp is None else _required(last, "conv_clamp")
    mapping, synthesis = first.get("activation", "lrelu"), last.get("activation", "lrelu")
    if not isinstance(mapping, str) or mapping != synthesis:
        raise CheckpointError("uses different or unknown activations in mapping and synthesis, which is not read")
    weights.config["activation"] = mapping
    return weights


def read_state_dict(stored: dict[str, Stored]) -> GeneratorWeights:
    """Read a state dict under NVlabs' names. Config that only the training arguments know is assumed, and noted."""
    tensors = float_tensors(stored)
    kernel = next((t for n, t in tensors.items() if n.endswith(".resample_filter")), None)
    taps = filter_taps(kernel)
    return GeneratorWeights(
        "NVlabs state dict",
        tensors,
        {"resample_filter": taps, "lr_multiplier": 0.01, "conv_clamp": None},
        ["a bare state dict does not say its mapping's learning rate multiplier; 0.01 was assumed, and no clamp"],
    )


def _last_layer(module: Opaque) -> Opaque | None:
    synthesis = submodule(module, "synthesis")
    names = [n for n in (synthesis.get("_modules") if synthesis else {}) if isinstance(n, str) and n[1:].isdigit()]
    return submodule(module, f"synthesis.{max(names, key=lambda n: int(n[1:]))}.conv1") if names else None


def _required(layer: Opaque, attribute: str) -> float:
    value = plain_number(layer.get(attribute))
    if value is None or isinstance(value, bool):
        raise CheckpointError(f"damaged: a layer does not say its {attribute}")
    return float(value)
