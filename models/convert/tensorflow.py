"""Reader of legacy TensorFlow pickles: the original StyleGAN2 releases and StyleGAN2-ADA.

They are tuples (G, D, Gs) of tflib networks. Each network is a state of names and numpy arrays: `variables`, nested
`components` (mapping, synthesis), and the arguments it was built with. TensorFlow keeps kernels as [height, width, in,
out] and runs its up-convolutions flipped against torch's; its style bias is an offset from 1. Names and arithmetic:
NVlabs' public converter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from einops import rearrange
from torch import Tensor

from ..errors import CheckpointError
from .assemble import GeneratorWeights, float_tensors
from .modules import Stored
from .stored import Opaque, StoredArray, plain_number

NETWORK = "dnnlib.tflib.network.Network"
OLDEST_VERSION = 4  # StyleGAN2; version 3 is StyleGAN1
MAX_COMPONENTS = 64
# Arguments that steer training or sampling only, or that the tensors' shapes repeat.
_HARMLESS = {
    "latent_size", "label_size", "dlatent_size", "resolution", "num_channels", "mapping_layers", "mapping_fmaps",
    "fmap_base", "fmap_max", "fmap_min", "fmap_decay", "num_fp16_res", "truncation_psi", "truncation_cutoff",
    "truncation_psi_val", "truncation_cutoff_val", "dlatent_avg_beta", "w_avg_beta", "style_mixing_prob", "structure",
    "randomize_noise", "func_name", "dtype", "label_fmaps", "latent_fmaps", "fused_modconv", "mapping_func",
    "synthesis_func", "is_training", "is_validation", "return_dlatents", "is_template_graph", "force_clean_graph",
    "dlatent_broadcast",
}  # fmt: skip


def find_tensorflow(content: Any) -> GeneratorWeights | None:
    """Read Gs, the moving average, of a tuple (G, D, Gs), or a generator saved alone; None for other content."""
    networks = list(content) if isinstance(content, tuple | list) else [content]
    if not networks or not all(isinstance(n, Opaque) and n.name == NETWORK for n in networks):
        return None
    return read_tensorflow(networks[-1])


def read_tensorflow(network: Opaque) -> GeneratorWeights:
    """Rename the variables of a generator to NVlabs' torch names.

    Raises:
        CheckpointError: for other networks and for unknown variables.
    """
    version = plain_number(network.get("version"))
    if version is None or version < OLDEST_VERSION:
        raise CheckpointError("is a TensorFlow network older than StyleGAN2 (StyleGAN1 is not read)")
    variables = network_variables(network)
    if "synthesis/4x4/Const/const" not in variables:
        raise CheckpointError("is a TensorFlow network, but no StyleGAN2 generator (config-e, -f or ADA)")
    if "mapping/LabelConcat/weight" in variables:
        raise CheckpointError(
            "is an original StyleGAN2 generator with labels, which embeds them in a way not read here"
        )
    weights = GeneratorWeights("TensorFlow pickle", {}, _config(network))
    size = max(int(m[1]) for name in variables if (m := re.match(r"synthesis/(\d{1,5})x\d{1,5}/", name)))
    for name, tensor in float_tensors(variables).items():
        target, value = _translate(
            re.sub(r"ToRGB_lod(\d)", lambda m: f"{size >> int(m[1])}x{size >> int(m[1])}/ToRGB", name), tensor
        )
        if target is not None:
            weights.tensors[target] = value.contiguous()
    return weights


def network_variables(network: Opaque) -> dict[str, Stored]:
    """Return every variable of the network and its components, under "component/name"."""
    tensors: dict[str, Stored] = {}
    queue, visited = [("", network)], 0
    while queue:
        prefix, current = queue.pop()
        visited += 1
        if visited > MAX_COMPONENTS:
            raise CheckpointError("has more nested networks than any generator")
        variables = current.get("variables")
        for entry in variables if isinstance(variables, list | tuple) else ():
            if isinstance(entry, tuple | list) and len(entry) == 2 and isinstance(entry[1], StoredArray):
                tensors[f"{prefix}{entry[0]}"] = entry[1]
        components = current.get("components")
        for name, component in components.items() if isinstance(components, dict) else ():
            if isinstance(component, Opaque):
                queue.append((f"{prefix}{name}/", component))
    return tensors


def _config(network: Opaque) -> dict[str, Any]:
    """Read the config fields that only the arguments know; CheckpointError for one whose meaning is unknown."""
    arguments = network.get("static_kwargs")
    arguments = dict(arguments) if isinstance(arguments, dict) else {}
    config: dict[str, Any] = {"lr_multiplier": 0.01}
    for name, value in arguments.items():
        if value is None or name in _HARMLESS or name in ("architecture", "use_noise"):
            continue  # architecture and use of noise show in the variables
        if name in ("nonlinearity", "mapping_nonlinearity") and isinstance(value, str):
            if config.setdefault("activation", value) != value:
                raise CheckpointError("uses different activations in mapping and synthesis, which is not read")
        elif name == "mapping_lrmul" and plain_number(value):
            config["lr_multiplier"] = float(plain_number(value))
        elif name == "conv_clamp" and plain_number(value):
            config["conv_clamp"] = float(plain_number(value))
        elif name == "normalize_latents":
            config["normalize_z"] = bool(plain_number(value))
        elif name == "resample_kernel" and isinstance(value, list | tuple) and 1 <= len(value) <= 64:
            config["resample_filter"] = tuple(float(plain_number(v) or 0) for v in value)
        else:
            raise CheckpointError(f"was built with the argument {str(name)[:60]!r}, whose meaning is not known here")
    return config


def _same(x: Tensor) -> Tensor:
    return x


def _transpose(x: Tensor) -> Tensor:
    return x.t() if x.ndim == 2 else x


def torch_kernel(x: Tensor) -> Tensor:
    """Reorder a TensorFlow kernel [kh, kw, in, out] to [out, in, kh, kw]; other ranks stay as they are."""
    return rearrange(x, "kh kw in_channels out -> out in_channels kh kw") if x.ndim == 4 else x


def _flipped_kernel(x: Tensor) -> Tensor:
    return torch_kernel(x.flip(0, 1) if x.ndim == 4 else x)


def _plus_one(x: Tensor) -> Tensor:
    return x + 1


def _first(x: Tensor) -> Tensor:
    return x[0] if x.ndim == 4 and x.shape[0] == 1 else x


def _plane(x: Tensor) -> Tensor:
    return x[0, 0] if x.ndim == 4 and x.shape[:2] == (1, 1) else x


_LAYER_TENSORS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "weight": ("weight", torch_kernel),
    "bias": ("bias", _same),
    "noise_strength": ("noise_strength", _same),
    "mod_weight": ("affine.weight", _transpose),
    "mod_bias": ("affine.bias", _plus_one),
}
_LAYER = {"Conv": "conv1", "Conv1": "conv1", "Conv0_up": "conv0", "ToRGB": "torgb", "Skip": "skip"}
_DROPPED = ("lod", "synthesis/lod")


def _translate(name: str, x: Tensor) -> tuple[str | None, Tensor]:
    """Return NVlabs' torch name and value of a variable, None for counters; CheckpointError for an unknown one."""
    if name in _DROPPED:
        return None, x
    if name == "dlatent_avg":
        return "mapping.w_avg", x
    if match := re.fullmatch(r"mapping/LabelEmbed/(weight|bias)", name):
        return f"mapping.embed.{match[1]}", _transpose(x)
    if match := re.fullmatch(r"mapping/Dense(\d{1,2})/(weight|bias)", name):
        return f"mapping.fc{int(match[1])}.{match[2]}", _transpose(x)
    if name == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", _first(x)
    if match := re.fullmatch(r"synthesis/noise(\d{1,2})", name):
        layer = int(match[1])
        return f"synthesis.b{4 * 2 ** ((layer + 1) // 2)}.conv{(layer + 1) % 2}.noise_const", _plane(x)
    match = re.fullmatch(r"synthesis/(\d{1,5})x\d{1,5}/(Conv|Conv1|Conv0_up|ToRGB|Skip)/(\w+)", name)
    if match is None or match[3] not in _LAYER_TENSORS:
        raise CheckpointError(f"has the variable {name[:80]!r}, which is no part of StyleGAN2's generator")
    suffix, convert = _LAYER_TENSORS[match[3]]
    if match[2] in ("Conv0_up", "Skip") and suffix == "weight":
        convert = _flipped_kernel
    return f"synthesis.b{match[1]}.{_LAYER[match[2]]}.{suffix}", convert(x)
