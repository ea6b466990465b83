"""LoRA tensors as changes of a diffusers network's weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..errors import InputError
from .model import DiffusionModel

__all__ = ["with_lora"]

_PARTS = (".lora_up.weight", ".lora_down.weight", ".alpha", ".diff", ".diff_b")


def with_lora(model: DiffusionModel, lora: Mapping[str, Tensor], strength: float = 1.0) -> DiffusionModel:
    """The model with the changes of a LoRA file, as ``up @ down * alpha / rank`` or as whole differences.

    Raises:
        InputError: tensors that name no layer of this model, parts that are missing, or shapes that do not fit.
    """
    layers = {}
    for parameter in dict(model.network.named_parameters()):
        layer, _, kind = parameter.rpartition(".")
        if kind == "weight":
            for name in (model.lora_name(layer), layer, f"unet.{layer}"):
                layers[name] = layer
    found: dict[str, dict[str, Tensor]] = {}
    strange = []
    for key, tensor in lora.items():
        part = next((part for part in _PARTS if key.endswith(part)), None)
        name = key.removesuffix(part) if part else key
        if part is None or name not in layers:
            strange.append(key)
        else:
            found.setdefault(layers[name], {})[part] = tensor
    if strange:
        raise InputError(
            f"{len(strange)} of {len(lora)} tensors of the LoRA belong to no layer of '{model.name}', such as "
            f"'{strange[0]}': it was made for another model."
        )
    deltas = {}
    for layer, parts in found.items():
        deltas.update(_deltas(layer, parts))
    return model.patched(deltas, strength)


def _deltas(layer: str, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    deltas = {
        f"{layer}.{kind}": parts[part] for part, kind in ((".diff", "weight"), (".diff_b", "bias")) if part in parts
    }
    up, down = parts.get(".lora_up.weight"), parts.get(".lora_down.weight")
    if (up is None) != (down is None):
        raise InputError(f"The LoRA has only one of the two halves of '{layer}'.")
    if up is not None and down is not None:
        if up.shape[1] != down.shape[0]:
            raise InputError(f"The halves of '{layer}' have ranks {up.shape[1]} and {down.shape[0]}.")
        rank = down.shape[0]
        scale = float(parts[".alpha"]) / rank if ".alpha" in parts else 1.0
        product = (up.float().flatten(1) @ down.float().flatten(1)) * scale
        deltas[f"{layer}.weight"] = product.reshape(up.shape[0], *down.shape[1:])
    return deltas
