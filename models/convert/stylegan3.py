"""Reader of StyleGAN3 generators (configurations T and R) of NVlabs' stylegan3 repository, pickles and state dicts.

What shapes cannot tell is in the attributes of the saved layers; without those the published values are assumed, and
noted. A layer's filters and sampling are computed by the published formulas; where a file says otherwise it is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..gan.stylegan3 import StyleGAN3
from ..gan.stylegan3_config import StyleGAN3Config
from ..gan.stylegan3_layers import AliasFreeLayer
from .assemble import fill_network, float_tensors
from .modules import Stored, inner_state_dicts, is_module, named_tensors, submodule, unwrap
from .stored import Opaque, plain_number

_KEYS = ("G_ema", "g_ema", "state_dict", "G", "generator", "model")  # of modules and of state dicts
_PREFIXES = ("", "G_ema.", "g_ema.", "G.", "generator.")
_MARK = "synthesis.input.transform"
_LAYER = re.compile(r"synthesis\.L(\d{1,2})_(\d{1,5})_(\d{1,5})\.weight")
_FILTERS = (".up_filter", ".down_filter")


@dataclass(eq=False)
class StyleGAN3Weights:
    """Weights of a StyleGAN3 generator that a reader took from a file."""

    layout: str  # whose file it is, in words
    tensors: dict[str, Tensor]  # under NVlabs' names, without filters
    filters: dict[str, Tensor]  # of the layers, to be compared
    config: StyleGAN3Config
    module: Opaque | None = None  # with the layers' attributes
    notes: list[str] = field(default_factory=list)  # for the user


def find_stylegan3(content: Any) -> StyleGAN3Weights | None:
    """Read the moving-average generator of a training snapshot, or a generator saved alone; None when there is none.

    Raises:
        CheckpointError: when it is not as published.
    """
    for key, value in inner_state_dicts(content, _KEYS):
        stored = named_tensors(value)
        for prefix in _PREFIXES:
            if f"{prefix}{_MARK}" in stored:
                module = unwrap(value)
                tensors = {n[len(prefix) :]: v for n, v in stored.items() if n.startswith(prefix)}
                weights = _read(tensors, module if is_module(module) and not prefix else None)
                if key == "G" and isinstance(content, dict):
                    weights.notes.append("the file has no moving average (G_ema); the generator in training was taken")
                return weights
    return None


def build_stylegan3(weights: StyleGAN3Weights) -> StyleGAN3:
    """Build the frozen network with these weights; a note is added when its mean of W is missing.

    Raises:
        CheckpointError: names the tensor that is missing, left over, or of another shape, or the layer whose sampling
            is not as published.
    """
    tensors = dict(weights.tensors)
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):
            network = StyleGAN3(weights.config)
        if "mapping.w_avg" not in tensors:
            weights.notes.append("the file does not hold the mean of W; it will be computed from samples")
            tensors["mapping.w_avg"] = torch.zeros(weights.config.w_dim)
        fill_network(network, tensors, "a StyleGAN3 generator")
        for name, layer in network.synthesis.named_children():
            if isinstance(layer, AliasFreeLayer):
                _check_filters(weights, name, layer)
                # The layer takes any scale out again; at unit mean square the tiny number in its root stays tiny.
                scale = layer.weight.square().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30).rsqrt()
                layer.weight.mul_(scale)
        for name in [name for name in tensors if name.endswith("magnitude_ema")]:
            if not float(tensors[name]) > 0:
                raise CheckpointError(f"{name} holds {float(tensors[name]):g}, no mean of squares")
    return network.requires_grad_(False).eval()


def _read(stored: dict[str, Stored], module: Opaque | None) -> StyleGAN3Weights:
    """Read the tensors of a generator, and its config from their shapes and the module's attributes."""
    tensors = float_tensors(stored)
    filters = {name: tensor for name, tensor in tensors.items() if name.endswith(_FILTERS)}
    tensors = {name: tensor for name, tensor in tensors.items() if name not in filters}
    layers = sorted((int(m[1]), int(m[2]), name) for name in tensors if (m := _LAYER.fullmatch(name)))
    if len(layers) < 4 or [index for index, _, _ in layers] != list(range(len(layers))):
        raise CheckpointError(f"is not a StyleGAN3 generator as published: it has {len(layers)} layers in a row")
    weights = [tensors[name] for _, _, name in layers]
    mapping = [tensors[n] for k in range(64) if (n := f"mapping.fc{k}.weight") in tensors]
    if not mapping or any(w.ndim != 4 for w in weights) or any(w.ndim != 2 for w in mapping):
        raise CheckpointError("is not a StyleGAN3 generator as published: it has no mapping, or layers of other shapes")
    embed = tensors.get("mapping.embed.weight")
    labels = 0 if embed is None or embed.ndim != 2 else int(embed.shape[1])
    w_dim = int(mapping[-1].shape[0])
    first = layers[0][2].removesuffix(".weight")
    config = StyleGAN3Config(
        z_dim=int(mapping[0].shape[1]) - (w_dim if labels else 0),
        w_dim=w_dim,
        image_size=layers[-1][1],
        channels=(int(weights[0].shape[1]), *(int(w.shape[0]) for w in weights[:-1])),
        c_dim=labels,
        img_channels=int(weights[-1].shape[0]),
        mapping_layers=len(mapping),
        kernel=int(weights[0].shape[2]),
        radial=any(tensor.ndim == 2 for tensor in filters.values()),
        **_attributes(module, first, len(layers) - 1),
    )
    layout, notes = "NVlabs pickle", []
    if module is None:
        layout = "NVlabs state dict"
        notes.append("a bare state dict does not say its clamp, its margins and its scales; NVlabs' own were assumed")
        if not filters and config.kernel == 1:
            raise CheckpointError("is a StyleGAN3 generator whose filters are missing, so that its kind is not known")
    return StyleGAN3Weights(layout, tensors, filters, config, module, notes)


def _attributes(module: Opaque | None, first: str, layers: int) -> dict[str, Any]:
    """Return the fields that a module's attributes tell; {} without a module."""
    if module is None:
        return {}
    synthesis, layer, dense = (submodule(module, name) for name in ("synthesis", first, "mapping.fc0"))
    fields: dict[str, Any] = {}
    for owner, attribute, name, kind in (
        (dense, "bias_gain", "lr_multiplier", float),
        (synthesis, "num_critical", "critical_layers", int),
        (synthesis, "margin_size", "margin", int),
        (synthesis, "output_scale", "output_scale", float),
        (layer, "in_cutoff", "first_cutoff", float),
    ):
        value = None if owner is None else plain_number(owner.get(attribute))
        if value is None or isinstance(value, bool):
            raise CheckpointError(f"damaged: the generator does not say its {attribute}")
        fields[name] = kind(value)
    clamp = layer.get("conv_clamp")
    fields["conv_clamp"] = None if clamp is None else float(plain_number(clamp) or 0.0)
    return fields


def _check_filters(weights: StyleGAN3Weights, name: str, layer: AliasFreeLayer) -> None:
    """Compare a layer's filters and paddings with what the file says.

    Raises:
        CheckpointError: names the layer.
    """
    problem = CheckpointError(f"is a StyleGAN3 generator whose layer {name} is sampled in another way than published")
    for attribute in ("up_filter", "down_filter"):
        designed = getattr(layer, attribute)
        stored = weights.filters.get(f"synthesis.{name}.{attribute}")
        if stored is None:
            if weights.filters and designed.numel() > 1:
                raise problem
            continue
        if stored.shape != designed.shape or not torch.allclose(stored, designed, atol=1e-5):
            raise problem
    module = None if weights.module is None else submodule(weights.module, f"synthesis.{name}")
    padding = None if module is None else module.get("padding")
    if isinstance(padding, list | tuple) and list(padding) != [*layer.padding] * 2:
        raise problem
