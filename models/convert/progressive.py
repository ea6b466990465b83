"""Reader of Progressive GANs: gandissect's and GANPaint's .pth, its older names, the original TensorFlow pickles.

gandissect saves a state dict (or ``{"state_dict": ...}``) of ``layerN.conv.weight``, ``layerN.wscale.b`` and one
``output_RxR``; the sizes are in the shapes. The original release pickles (G, D, Gs) of TensorFlow networks, with a
dense start, kernels [height, width, in, out], and up-convolutions [height, width, out, in], flipped against torch's.
Names and arithmetic: gandissect's public converter (netdissect/proggan.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ..errors import CheckpointError
from ..gan.progan import ProgressiveConfig, ProgressiveGAN
from .assemble import float_tensors
from .modules import Stored, inner_state_dicts, named_tensors
from .stored import Opaque, plain_number
from .tensorflow import NETWORK, network_variables, torch_kernel

_TENSORFLOW = (NETWORK, "tfutil.Network")  # the second is the name of the original release
_KEYS = ("state_dict", "model", "g_ema", "generator")
_PREFIXES = ("", "generator.", "model.")
_MAX_LAYERS = 24
# Arguments of the TensorFlow networks that change the arithmetic, with the one value that is read.
_REQUIRED = {
    "label_size": 0, "normalize_latents": True, "use_wscale": True, "use_pixelnorm": True, "use_leakyrelu": True,
    "pixelnorm_epsilon": 1e-8, "tanh_at_end": None,
}  # fmt: skip


@dataclass(eq=False)
class ProgressiveWeights:
    """Weights of a Progressive GAN that a reader took from a file, under this pack's names."""

    layout: str  # whose file it is, in words
    tensors: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)  # for the user


def find_progressive(content: Any) -> ProgressiveWeights | None:
    """Read the generator in a file's content; None when no known key holds one."""
    networks = list(content) if isinstance(content, tuple | list) else [content]
    if networks and all(isinstance(n, Opaque) and n.name in _TENSORFLOW for n in networks):
        variables = network_variables(networks[-1])
        return _read_tensorflow(networks[-1], variables) if "4x4/Dense/weight" in variables else None
    for _, value in inner_state_dicts(content, _KEYS):
        stored = named_tensors(value)
        for prefix in _PREFIXES:
            for first in ("layer1", "features.0"):
                if f"{prefix}{first}.conv.weight" in stored and f"{prefix}{first}.wscale.b" in stored:
                    return _read_torch({n[len(prefix) :]: v for n, v in stored.items() if n.startswith(prefix)})
    return None


def build_progressive(weights: ProgressiveWeights) -> ProgressiveGAN:
    """Build the frozen network with these weights.

    Raises:
        CheckpointError: names the tensor that is missing, left over, or of another shape.
    """
    tensors = weights.tensors
    config = _config(tensors)
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):
            network = ProgressiveGAN(config)
        expected = network.state_dict()
        tensors["mapping.w_avg"] = torch.zeros(config.z_dim)
        missing = sorted(set(expected) - set(tensors))
        if missing:
            raise CheckpointError(f"is not a Progressive GAN as published: it lacks {', '.join(missing[:3])}")
        for name, tensor in expected.items():
            if tensors[name].shape != tensor.shape:
                raise CheckpointError(
                    f"{name} has shape {list(tensors[name].shape)} where {list(tensor.shape)} is expected"
                )
        network.load_state_dict({name: tensors[name].contiguous() for name in expected}, strict=True, assign=True)
    return network.requires_grad_(False).eval()


def _config(tensors: dict[str, Tensor]) -> ProgressiveConfig:
    """Read the widths from the shapes: the first kernel's input is z, every second layer gives a block's channels."""
    weights = [tensors[name] for k in range(_MAX_LAYERS) if (name := f"synthesis.layer{k + 1}.weight") in tensors]
    if any(weight.ndim != 4 for weight in weights) or len(weights) % 2 or not weights:
        raise CheckpointError(f"is not a Progressive GAN as published: it has {len(weights)} convolutions in its row")
    colours = tensors.get("synthesis.output.bias", torch.zeros(3)).numel()
    return ProgressiveConfig(int(weights[0].shape[1]), tuple(int(w.shape[0]) for w in weights[::2]), colours)


def _read_torch(stored: dict[str, Stored]) -> ProgressiveWeights:
    """Rename a state dict under gandissect's names, or the older ``features.N`` and ``output``."""
    tensors: dict[str, Tensor] = {}
    outputs: set[str] = set()
    for name, tensor in float_tensors(stored).items():
        match = re.fullmatch(r"(layer(\d{1,2})|features\.(\d{1,2})|output(_(\d{1,5})x\5)?)\.(.+)", name)
        suffix = {"conv.weight": "weight", "wscale.b": "bias", "wscale.scale": "scale"}.get(match[6] if match else "")
        if match is None or suffix is None:
            raise CheckpointError(f"has {name[:80]!r}, which is no part of a Progressive GAN")
        index = int(match[2]) if match[2] else int(match[3]) + 1 if match[3] else 0
        if match[1].startswith("output"):
            outputs.add(match[1])
        layer = f"synthesis.layer{index}" if index else "synthesis.output"
        tensors[f"{layer}.{suffix}"] = tensor.reshape(-1) if suffix == "bias" else tensor
    if len(outputs) > 1:
        raise CheckpointError(f"has several outputs ({', '.join(sorted(outputs)[:4])}); keep the largest alone")
    _check_scales(tensors)
    return ProgressiveWeights("gandissect Progressive GAN", tensors)


def _check_scales(tensors: dict[str, Tensor]) -> None:
    """Remove each layer's scale, which old files store; CheckpointError unless it is the architecture's constant."""
    for name in [name for name in tensors if name.endswith(".scale")]:
        scale, weight = tensors.pop(name), tensors.get(name.replace(".scale", ".weight"))
        gain = 1.0 if name.startswith("synthesis.output") else math.sqrt(2)
        fan_in = math.prod(weight.shape[1:]) if weight is not None else 0
        if scale.numel() != 1 or not fan_in or abs(float(scale) - gain / math.sqrt(fan_in)) > 1e-4:
            raise CheckpointError(f"{name} is another scale than this architecture has")


def _read_tensorflow(network: Opaque, variables: dict[str, Stored]) -> ProgressiveWeights:
    """Rename the variables of a TensorFlow network; CheckpointError for arguments that change the arithmetic."""
    arguments = network.get("static_kwargs")
    for name, value in arguments.items() if isinstance(arguments, dict) else ():
        if name in _REQUIRED and value is not None and plain_number(value) != _REQUIRED[name]:
            raise CheckpointError(f"is a Progressive GAN built with {name} = {str(value)[:40]}, which is not read")
    tensors: dict[str, Tensor] = {}
    small_outputs = [name for name in variables if re.match(r"ToRGB_lod[1-9]", name)]
    used = {name: value for name, value in variables.items() if name not in (*small_outputs, "lod")}
    for name, tensor in float_tensors(used).items():
        match = re.fullmatch(r"(?:(\d{1,5})x\1/(\w{1,12})|(ToRGB_lod0))/(weight|bias)", name)
        kind = (match[2] or match[3]) if match else ""
        if kind not in _KERNELS:
            raise CheckpointError(f"has the variable {name[:80]!r}, which is no part of a Progressive GAN")
        second, convert = _KERNELS[kind]
        layer = f"layer{2 * (int(match[1]).bit_length() - 3) + 1 + second}" if match[1] else "output"
        if match[4] == "weight" and tensor.ndim not in (2, 4):
            raise CheckpointError(f"{name} has the shape {list(tensor.shape)}, which is no kernel")
        tensors[f"synthesis.{layer}.{match[4]}"] = convert(tensor) if match[4] == "weight" else tensor
    return ProgressiveWeights("TensorFlow Progressive GAN", tensors)


def _dense(x: Tensor) -> Tensor:
    """Turn [Z, C * 16] into the kernel [C, Z, 4, 4] that lays the same 4 x 4 pixels around a single one."""
    if x.ndim != 2 or x.shape[1] % 16:
        raise CheckpointError(f"4x4/Dense/weight has the shape {list(x.shape)}; expected [Z, C * 16]")
    return rearrange(x, "z (c h w) -> c z h w", h=4, w=4).flip(2, 3)


def _up_kernel(x: Tensor) -> Tensor:
    """Turn an up-convolution's [kh, kw, out, in] into [out, in, kh, kw], flipped; other ranks stay as they are."""
    return rearrange(x, "kh kw out in_channels -> out in_channels kh kw").flip(2, 3) if x.ndim == 4 else x


# Variable's layer -> (1 for the second layer of its block, conversion of its weight to a torch kernel).
_KERNELS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "Dense": (0, _dense),
    "Conv": (1, torch_kernel),
    "Conv0_up": (0, _up_kernel),  # doubling and convolution in one
    "Conv0": (0, torch_kernel),  # doubling on its own
    "Conv1": (1, torch_kernel),
    "ToRGB_lod0": (0, torch_kernel),
}
