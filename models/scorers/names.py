"""Tensor names of CLIP: from the transformers library's to open_clip's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..errors import CheckpointError

_RENAMED = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    # Their spelling.
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
_IN_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_TOWERS = {"text_model": "transformer", "vision_model": "visual.transformer"}


def is_transformers(names: Iterable[str]) -> bool:
    """Return whether these tensor names are the transformers library's."""
    return any(name.startswith(("text_model.", "vision_model.")) for name in names)


def from_transformers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors to open_clip's names; the three projections of an attention become one.

    Raises:
        CheckpointError: for a name that belongs to no CLIP model.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if name in _RENAMED:
            renamed[_RENAMED[name]] = tensor
        elif name in _TRANSPOSED:
            renamed[_TRANSPOSED[name]] = tensor.t().contiguous()
        elif ".encoder.layers." in name:
            _rename_layer(renamed, name, tensor, weights)
        elif not name.endswith("position_ids"):
            raise CheckpointError(f"The weights hold '{name}', which is no part of a CLIP model.")
    return renamed


def _rename_layer(renamed: dict[str, Tensor], name: str, tensor: Tensor, weights: Mapping[str, Tensor]) -> None:
    """Put one tensor of a transformer layer under open_clip's name."""
    tower, path = name.split(".encoder.layers.", 1)
    index, inner = path.split(".", 1)
    module, kind = inner.rsplit(".", 1)
    target = f"{_TOWERS.get(tower, '')}.resblocks.{index}"
    if module in _IN_LAYER:
        renamed[f"{target}.{_IN_LAYER[module]}.{kind}"] = tensor
    elif module == "self_attn.q_proj":
        projections = [weights.get(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        if any(projection is None for projection in projections):
            raise CheckpointError(f"The weights lack a part of the attention of layer {index} of {tower}.")
        renamed[f"{target}.attn.in_proj_{kind}"] = torch.cat(projections)  # type: ignore[arg-type]
    elif module not in ("self_attn.k_proj", "self_attn.v_proj"):
        raise CheckpointError(f"The weights hold '{name}', which is no part of a CLIP model.")
