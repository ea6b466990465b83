"""LoRA files (2106.09685) as changes of a diffusers network's weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from torch import Tensor

from ..errors import InputError
from .model import DiffusionModel

__all__ = ["with_lora"]

_UP, _DOWN, _ALPHA = ".lora_up.weight", ".lora_down.weight", ".alpha"
_DIFFS = {".diff": "weight", ".diff_b": "bias"}
_SUFFIXES = (_UP, _DOWN, _ALPHA, *_DIFFS)


def with_lora(model: DiffusionModel, lora: Mapping[str, Tensor], strength: float = 1.0) -> DiffusionModel:
    """Return the model with the changes of a LoRA file, ``up @ down * alpha / rank`` or full differences.

    Args:
        lora: by name: up [out, r] or [out, r, 1, 1], down [r, in] or [r, in, k, k], alpha [], and differences in the
            shape of the weight or bias.
        strength: any number.

    Raises:
        InputError: when tensors name no layer of this model, one of up and down is missing, or shapes do not fit.
    """
    layers = _layer_names(model)
    by_layer: dict[str, dict[str, Tensor]] = defaultdict(dict)
    unmatched = []
    for key, tensor in lora.items():
        suffix = next((suffix for suffix in _SUFFIXES if key.endswith(suffix)), None)
        layer = None if suffix is None else layers.get(key.removesuffix(suffix))
        if suffix is None or layer is None:
            unmatched.append(key)
        else:
            by_layer[layer][suffix] = tensor
    if unmatched:
        raise InputError(
            f"{len(unmatched)} of {len(lora)} tensors of the LoRA belong to no layer of '{model.name}', such as "
            f"'{unmatched[0]}': it was made for another model."
        )
    deltas = {}
    for layer, tensors in by_layer.items():
        deltas.update(_deltas(layer, tensors))
    return model.patched(deltas, strength)


def _layer_names(model: DiffusionModel) -> dict[str, str]:
    """Return the layers of a network by their names in LoRA files, in every spelling that is read."""
    layers = {}
    for parameter in dict(model.network.named_parameters()):
        layer, _, kind = parameter.rpartition(".")
        if kind == "weight":
            for name in (model.lora_name(layer), layer, f"unet.{layer}"):
                layers[name] = layer
    return layers


def _deltas(layer: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a layer's changes by parameter, in the parameters' shapes."""
    deltas = {f"{layer}.{kind}": tensors[suffix] for suffix, kind in _DIFFS.items() if suffix in tensors}
    up, down = tensors.get(_UP), tensors.get(_DOWN)
    if (up is None) != (down is None):
        raise InputError(f"The LoRA has only one of the two halves of '{layer}'.")
    if up is not None and down is not None:
        if up.shape[1] != down.shape[0]:
            raise InputError(f"The halves of '{layer}' have ranks {up.shape[1]} and {down.shape[0]}.")
        rank = down.shape[0]
        scale = float(tensors[_ALPHA]) / rank if _ALPHA in tensors else 1.0
        product = (up.float().flatten(1) @ down.float().flatten(1)) * scale
        deltas[f"{layer}.weight"] = product.reshape(up.shape[0], *down.shape[1:])
    return deltas
