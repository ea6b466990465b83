"""A LoRA on ComfyUI's MODEL: merged into plain weights, added to the outputs of quantised layers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ..editing.common.diffusion.lora import Lora, is_quantised, lora_hooks
from ..models.errors import InputError

__all__ = ["apply_lora"]

_UP, _DOWN, _ALPHA = ".lora_up.weight", ".lora_down.weight", ".alpha"


def apply_lora(model: Any, lora: Mapping[str, Tensor], strength: float) -> Any:
    """Return a new MODEL with ``strength`` times the changes of a LoRA; the one given stays as it was.

    A quantised weight cannot hold a small change: rounded to eight bits or fewer, most of it is gone. So there the
    change is computed beside the layer, as it was when it was learned.

    Args:
        model: a ModelPatcher.
        lora: tensors of a LoRA file by their names.
        strength: any number; 0 changes nothing.

    Raises:
        InputError: when tensors belong to no weight of this model.
    """
    import comfy.lora
    import comfy.lora_convert

    names = comfy.lora.model_lora_keys_unet(model.model, {})
    unmatched = [key for key in lora if not any(stem in names for stem in _stems(key))]
    if unmatched:
        raise InputError(
            f"{len(unmatched)} of {len(lora)} tensors of the LoRA belong to no weight of this model, such as "
            f"'{unmatched[0]}': it was made for another model."
        )
    patched = model.clone()
    beside = _quantised_layers(model.model, lora, names)
    merged = {key: tensor for key, tensor in lora.items() if not any(stem in beside for stem in _stems(key))}
    patched.add_patches(comfy.lora.load_lora(merged, names), strength)
    if beside and strength != 0:
        _add_beside(patched, [(*beside[name], _change(lora, name, strength)) for name in beside])
    return patched


def _stems(key: str) -> list[str]:
    """Return the names that a tensor of a LoRA may belong to: "a.b.c" may be of "a" or of "a.b"."""
    steps = key.split(".")
    return [".".join(steps[:count]) for count in range(1, len(steps))]


def _quantised_layers(
    network: nn.Module, lora: Mapping[str, Tensor], names: Mapping[str, Any]
) -> dict[str, tuple[str, slice]]:
    """Return the low-rank changes of quantised layers: name in the file -> (layer, rows of its weight)."""
    layers = {}
    for name in (key.removesuffix(_UP) for key in lora if key.endswith(_UP)):
        key = names.get(name)
        if key is None or name + _DOWN not in lora:
            continue
        weight, rows = key if isinstance(key, str) else key[0], slice(None)
        if not isinstance(key, str):  # several of a file's layers are rows of one: (weight, (axis, first, count))
            axis, first, count = key[1]
            if axis != 0:
                continue
            rows = slice(first, first + count)
        layer = weight.removesuffix(".weight")
        if is_quantised(network.get_submodule(layer).weight):
            layers[name] = layer, rows
    return layers


def _change(lora: Mapping[str, Tensor], name: str, strength: float) -> Lora:
    up, down = lora[name + _UP].float(), lora[name + _DOWN].float()
    alpha = lora.get(name + _ALPHA)
    scale = strength if alpha is None else strength * float(alpha) / down.shape[0]
    return Lora(up * scale, down)


def _add_beside(patched: Any, changes: list[tuple[str, slice, Lora]]) -> None:
    """Let a MODEL add changes to its layers' outputs for as long as it is loaded."""
    from comfy.patcher_extension import PatcherInjection

    beside = _Beside(changes)
    # ComfyUI takes two MODELs with injections of the same names for one.
    patched.set_injections(f"semantic_edit_{uuid.uuid4().hex}", [PatcherInjection(beside.inject, beside.eject)])


class _Beside:
    """Hooks that come and go with a MODEL that shares its network with others."""

    def __init__(self, changes: list[tuple[str, slice, Lora]]) -> None:
        self.changes, self.hooks = changes, ExitStack()

    def inject(self, patcher: Any) -> None:
        """Add the changes to the network of a patcher that is being loaded."""
        for layer, rows, lora in self.changes:
            module, device = patcher.model.get_submodule(layer), patcher.load_device
            up = lora.up.to(device)
            if rows != slice(None):
                full = torch.zeros(module.out_features, *up.shape[1:], device=device)
                full[rows] = up
                up = full
            self.hooks.enter_context(lora_hooks({layer: module}, {layer: Lora(up, lora.down.to(device))}))

    def eject(self, patcher: Any) -> None:
        """Leave the network as it was."""
        self.hooks.close()
