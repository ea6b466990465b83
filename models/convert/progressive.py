"""Progressive GANs: gandissect's and GANPaint's .pth, its older names, and the original TensorFlow pickles.

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
from torch import Tensor

from ..errors import CheckpointError
from ..gan.progan import ProgressiveConfig, ProgressiveGAN
from .assemble import all_numbers
from .modules import Stored, tensors_of
from .stored import Opaque, plain_number
from .tensorflow import NETWORK, network_variables

_TENSORFLOW = (NETWORK, "tfutil.Network")  # the second is the name of the original release
_PLACES = ("state_dict", "model", "g_ema", "generator")
_PREFIXES = ("", "module.", "generator.", "model.")
_MAX_LAYERS = 24
# Arguments of the TensorFlow networks that change the arithmetic, with the one value that is read.
_DEMANDED = {
    "label_size": 0, "normalize_latents": True, "use_wscale": True, "use_pixelnorm": True, "use_leakyrelu": True,
    "pixelnorm_epsilon": 1e-8, "tanh_at_end": None,
}  # fmt: skip


@dataclass(eq=False)
class FoundProgressive:
    """What a reader found: tensors under this pack's names."""

    layout: str
    tensors: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)


def find_progressive(content: Any) -> FoundProgressive | None:
    """The generator in a file's content; None when no known place holds one."""
    networks = list(content) if isinstance(content, tuple | list) else [content]
    if networks and all(isinstance(n, Opaque) and n.name in _TENSORFLOW for n in networks):
        variables = network_variables(networks[-1])
        return _read_tensorflow(networks[-1], variables) if "4x4/Dense/weight" in variables else None
    places = [content[key] for key in _PLACES if key in content] if isinstance(content, dict) else []
    for value in [*places, content]:
        stored = tensors_of(value)
        for prefix in _PREFIXES:
            for first in ("layer1", "features.0"):
                if f"{prefix}{first}.conv.weight" in stored and f"{prefix}{first}.wscale.b" in stored:
                    return _read_torch({n[len(prefix) :]: v for n, v in stored.items() if n.startswith(prefix)})
    return None


def build_progressive(found: FoundProgressive) -> ProgressiveGAN:
    """The network with the found weights. CheckpointError names what is missing, left over, or of another shape."""
    tensors = found.tensors
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
    """Widths from the shapes: the first kernel's input is z, every second layer gives a block's channels."""
    weights = [tensors[name] for k in range(_MAX_LAYERS) if (name := f"synthesis.layer{k + 1}.weight") in tensors]
    if any(weight.ndim != 4 for weight in weights) or len(weights) % 2 or not weights:
        raise CheckpointError(f"is not a Progressive GAN as published: it has {len(weights)} convolutions in its row")
    colours = tensors.get("synthesis.output.bias", torch.zeros(3)).numel()
    return ProgressiveConfig(int(weights[0].shape[1]), tuple(int(w.shape[0]) for w in weights[::2]), colours)


def _read_torch(stored: dict[str, Stored]) -> FoundProgressive:
    """gandissect's names, or the older ``features.N`` and ``output``."""
    tensors: dict[str, Tensor] = {}
    outputs: set[str] = set()
    for name, tensor in all_numbers(stored).items():
        match = re.fullmatch(r"(layer(\d{1,2})|features\.(\d{1,2})|output(_(\d{1,5})x\5)?)\.(.+)", name)
        part = {"conv.weight": "weight", "wscale.b": "bias", "wscale.scale": "scale"}.get(match[6] if match else "")
        if match is None or part is None:
            raise CheckpointError(f"has {name[:80]!r}, which is no part of a Progressive GAN")
        index = int(match[2]) if match[2] else int(match[3]) + 1 if match[3] else 0
        if match[1].startswith("output"):
            outputs.add(match[1])
        place = f"synthesis.layer{index}" if index else "synthesis.output"
        tensors[f"{place}.{part}"] = tensor.reshape(-1) if part == "bias" else tensor
    if len(outputs) > 1:
        raise CheckpointError(f"has several outputs ({', '.join(sorted(outputs)[:4])}); keep the largest alone")
    _check_scales(tensors)
    return FoundProgressive("gandissect Progressive GAN", tensors)


def _check_scales(tensors: dict[str, Tensor]) -> None:
    """Old files store each layer's scale, which is a constant of the architecture; another one would be lost."""
    for name in [name for name in tensors if name.endswith(".scale")]:
        given, weight = tensors.pop(name), tensors.get(name.replace(".scale", ".weight"))
        gain = 1.0 if name.startswith("synthesis.output") else math.sqrt(2)
        fan_in = math.prod(weight.shape[1:]) if weight is not None else 0
        if given.numel() != 1 or not fan_in or abs(float(given) - gain / math.sqrt(fan_in)) > 1e-4:
            raise CheckpointError(f"{name} is another scale than this architecture has")


def _read_tensorflow(network: Opaque, variables: dict[str, Stored]) -> FoundProgressive:
    given = network.get("static_kwargs")
    for name, value in given.items() if isinstance(given, dict) else ():
        if name in _DEMANDED and value is not None and plain_number(value) != _DEMANDED[name]:
            raise CheckpointError(f"is a Progressive GAN built with {name} = {str(value)[:40]}, which is not read")
    tensors: dict[str, Tensor] = {}
    colours = [name for name in variables if re.match(r"ToRGB_lod[1-9]", name)]  # of the smaller pictures
    kept = {name: value for name, value in variables.items() if name not in (*colours, "lod")}
    for name, tensor in all_numbers(kept).items():
        match = re.fullmatch(r"(?:(\d{1,5})x\1/(\w{1,12})|(ToRGB_lod0))/(weight|bias)", name)
        kind = (match[2] or match[3]) if match else ""
        if kind not in _KERNELS:
            raise CheckpointError(f"has the variable {name[:80]!r}, which is no part of a Progressive GAN")
        second, change = _KERNELS[kind]
        place = f"layer{2 * (int(match[1]).bit_length() - 3) + 1 + second}" if match[1] else "output"
        if match[4] == "weight" and tensor.ndim not in (2, 4):
            raise CheckpointError(f"{name} has the shape {list(tensor.shape)}, which is no kernel")
        tensors[f"synthesis.{place}.{match[4]}"] = change(tensor) if match[4] == "weight" else tensor
    return FoundProgressive("TensorFlow Progressive GAN", tensors)


def _dense(x: Tensor) -> Tensor:
    """[Z, C * 16] -> the kernel that lays the same 4 x 4 pixels around a single one."""
    if x.ndim != 2 or x.shape[1] % 16:
        raise CheckpointError(f"4x4/Dense/weight has the shape {list(x.shape)}; expected [Z, C * 16]")
    return x.reshape(x.shape[0], -1, 4, 4).permute(1, 0, 2, 3).flip(2, 3)


def _kernel(x: Tensor) -> Tensor:
    return x.permute(3, 2, 0, 1) if x.ndim == 4 else x


def _up_kernel(x: Tensor) -> Tensor:
    return x.permute(2, 3, 0, 1).flip(2, 3) if x.ndim == 4 else x


# Variable's layer -> (whether it is the second of its block, what makes a torch kernel of its weight).
_KERNELS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "Dense": (0, _dense),
    "Conv": (1, _kernel),
    "Conv0_up": (0, _up_kernel),  # doubling and convolution in one
    "Conv0": (0, _kernel),  # doubling on its own
    "Conv1": (1, _kernel),
    "ToRGB_lod0": (0, _kernel),
}
