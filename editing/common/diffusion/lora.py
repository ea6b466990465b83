"""LoRA (2106.09685): low-rank changes of a network's layers, added by hooks; the user's weights are never written."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....models.errors import InputError

__all__ = [
    "BLOCKS",
    "HookSwitch",
    "Lora",
    "check_unquantised",
    "in_blocks",
    "init_loras",
    "is_quantised",
    "lora_hooks",
    "lora_output",
    "select_layers",
    "weight_shape",
]

# Marks of the levels in layers' names, in ComfyUI's and in diffusers' spelling, U-shaped and transformer networks.
_LEVELS = {
    "encoder": ("input_blocks.", "down_blocks."),
    "middle": ("middle_block.", "mid_block."),
    "decoder": ("output_blocks.", "up_blocks."),
}
_ATTENTION = ("attn", "qkv", "to_q", "to_k", "to_v", "to_out", "proj_out", "linear1", "linear2")
_CROSS_ATTENTION = ("attn2.", "add_q", "add_k", "add_v", "txt_attn", "context_block", "cross_attn")
_DOTTED = ("input_blocks", "middle_block", "output_blocks", "down_blocks", "mid_block", "up_blocks", "attn1", "attn2")
_PLAIN = (torch.float32, torch.float16, torch.bfloat16)
BLOCKS = ("attention", "cross attention", "encoder", "middle", "decoder", "all")


@dataclass(frozen=True, eq=False)
class Lora:
    """One layer's change ``up @ down``.

    Args:
        up: [out, r] or [out, r, 1, 1], float32.
        down: [r, in] or [r, in, k, k], float32.
    """

    up: Tensor
    down: Tensor

    @property
    def delta(self) -> Tensor:
        """Return the change in the layer's own shape, [out, in] or [out, in, k, k]."""
        product = self.up.flatten(1) @ self.down.flatten(1)
        return product.reshape(self.up.shape[0], *self.down.shape[1:])


def in_blocks(layer: str, blocks: str) -> bool:
    """Tell whether a layer lies in one of BLOCKS, by its name in any tool's spelling."""
    layer = _canonical_name(layer)
    if blocks == "all":
        return True
    if blocks == "attention":
        return any(mark in layer for mark in _ATTENTION)
    if blocks == "cross attention":
        return any(mark in f"{layer}." for mark in _CROSS_ATTENTION)
    return any(mark in f".{layer}" for mark in _LEVELS[blocks])


def select_layers(network: nn.Module, blocks: Sequence[str]) -> dict[str, nn.Module]:
    """Return the linear and convolutional layers that lie in any of ``blocks``, by name, in the network's order.

    Quantised ones are among them: what is added to a layer's output needs nothing of its weights.

    Raises:
        InputError: when a block is unknown, there is none at all, or one is a grouped convolution.
    """
    unknown = [name for name in blocks if name not in BLOCKS]
    if unknown or not blocks:
        raise InputError(f"The blocks are {', '.join(blocks) or 'empty'}; expected some of {', '.join(BLOCKS)}.")
    layers = {name: module for name, module in network.named_modules() if _is_linear(module) or _is_conv(module)}
    selected = {name: module for name, module in layers.items() if any(in_blocks(name, block) for block in blocks)}
    if not selected:
        raise InputError(
            f"No layer of this model lies in {', '.join(blocks)}: it has {len(layers)} layers, such as "
            f"{', '.join(list(layers)[:3])}. Set blocks to 'attention' or 'all'."
        )
    for name, module in selected.items():
        if module.weight is None:
            raise InputError(f"The layer '{name}' has no weight; set blocks to 'attention'.")
        if _is_conv(module) and module.groups != 1:
            raise InputError(f"The layer '{name}' is a grouped convolution; set blocks to 'attention'.")
    return selected


def check_unquantised(layers: Mapping[str, nn.Module]) -> None:
    """Refuse layers whose weights cannot be changed by gradients.

    Raises:
        InputError: when one is stored in another type than plain numbers of 16 or 32 bits.
    """
    for name, module in layers.items():
        if is_quantised(module.weight):
            kind = str(module.weight.dtype).removeprefix("torch.")
            raise InputError(
                f"The layer '{name}' is stored as {kind} ({type(module.weight.data).__name__}), which cannot be tuned "
                "itself: use the method LoRA, or load the model unquantised (float16, bfloat16 or float32)."
            )


def is_quantised(weight: Tensor) -> bool:
    """Tell whether a weight is stored in other numbers than plain ones of 16 or 32 bits."""
    return weight.dtype not in _PLAIN or type(weight.data) is not Tensor


def _is_linear(module: nn.Module) -> bool:
    """Tell linear layers, of torch or of a host's quantised kind, which need not derive from torch's."""
    return isinstance(module, nn.Linear) or (
        hasattr(module, "weight")
        and all(isinstance(getattr(module, side, None), int) for side in ("in_features", "out_features"))
    )


def _is_conv(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d)


def weight_shape(layer: nn.Module) -> tuple[int, ...]:
    """Return the shape of a layer's weight, which a quantised one stores in another."""
    if _is_linear(layer):
        return layer.out_features, layer.in_features
    return tuple(layer.weight.shape)


def init_loras(layers: Mapping[str, nn.Module], rank: int, rng: torch.Generator) -> dict[str, Lora]:
    """Make trainable changes that are zero at first: down random, up zero.

    Args:
        rank: at most; a layer with a smaller side takes that.
        rng: on the CPU.

    Raises:
        InputError: when the rank is below 1.
    """
    if rank < 1:
        raise InputError(f"The rank is {rank}; expected 1 or more.")
    loras = {}
    for name, layer in layers.items():
        shape = weight_shape(layer)
        fan_in = math.prod(shape[1:])
        layer_rank = min(rank, shape[0], fan_in)
        bound = 1 / math.sqrt(fan_in)
        down = (torch.rand(layer_rank, *shape[1:], generator=rng) * 2 - 1) * bound
        up = torch.zeros(shape[0], layer_rank, *[1] * (len(shape) - 2))
        loras[name] = Lora(*(tensor.to(layer.weight.device).requires_grad_(True) for tensor in (up, down)))
    return loras


@contextlib.contextmanager
def lora_hooks(layers: Mapping[str, nn.Module], loras: Mapping[str, Lora]) -> Iterator[HookSwitch]:
    """Add these changes to the layers' outputs while inside; the switch turns them off for a moment."""
    switch = HookSwitch()
    hooks = [
        layers[name].register_forward_hook(_LoraHook(lora, switch), with_kwargs=True) for name, lora in loras.items()
    ]
    try:
        yield switch
    finally:
        for hook in hooks:
            hook.remove()


def _canonical_name(name: str) -> str:
    """Write a layer's name with dots, and without the lists that diffusers counts transformers in."""
    name = name.removeprefix("lora_unet_")
    for block in _DOTTED:
        name = name.replace(f"{block}_", f"{block}.")
    return re.sub(r"attentions[._]\d+[._]", "", name)


class HookSwitch:
    """Turns changes off and on."""

    def __init__(self) -> None:
        self.on = True

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """Run the network as it was, while inside."""
        self.on = False
        try:
            yield
        finally:
            self.on = True


class _LoraHook:
    """A forward hook that adds ``up(down(x))`` to a layer's output."""

    def __init__(self, lora: Lora, switch: HookSwitch) -> None:
        self.lora, self.switch = lora, switch

    def __call__(self, layer: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor:
        if not self.switch.on:
            return output
        return output + lora_output(layer, self.lora, args[0] if args else kwargs["input"])


def lora_output(layer: nn.Module, lora: Lora, x: Tensor) -> Tensor:
    """Return what a change adds to a layer's output for its input x, in the type of x."""
    down, up = lora.down.to(x.dtype), lora.up.to(x.dtype)
    if _is_linear(layer):
        return F.linear(F.linear(x, down), up)
    return F.conv2d(F.conv2d(x, down, None, layer.stride, layer.padding, layer.dilation), up)
