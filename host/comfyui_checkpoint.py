"""Converts a diffusers folder of a small Stable Diffusion 1.x with its own vocabulary to ComfyUI's MODEL, CLIP, VAE.

ComfyUI recognises models by their sizes, and knows none as small as the demo model. So what its loaders do after
recognition is done here: the weights get ComfyUI's names, the sizes come from the folder's configs. Loaded by
`host` inside ComfyUI only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comfy.model_management as memory
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import comfy.utils
import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor

from ..models.errors import InputError

_WEIGHTS = "diffusion_pytorch_model.safetensors"
# diffusers' names in an AutoencoderKL -> ComfyUI's; the attention's own after the rest.
_VAE_NAMES = (
    (".resnets.", ".block."),
    (".conv_shortcut.", ".nin_shortcut."),
    (".conv_norm_out.", ".norm_out."),
    (".downsamplers.0.", ".downsample."),
    (".upsamplers.0.", ".upsample."),
    (".mid_block.attentions.0.", ".mid.attn_1."),
    (".group_norm.", ".norm."),
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    (".to_out.0.", ".proj_out."),
)


def load_pipeline(folder: Path) -> tuple[Any, Any, Any]:
    """Return MODEL, CLIP and VAE of the folder.

    Raises:
        InputError: when a file is missing, or a weight has no counterpart in ComfyUI's networks.
    """
    return _model(folder), _clip(folder), _vae(folder)


def _model(folder: Path) -> Any:
    config, weights = _config(folder / "unet"), _weights(folder / "unet" / _WEIGHTS)
    sizes = unet_sizes(config)
    names = comfy.utils.unet_to_diffusers(sizes)
    renamed = {names[name]: tensor for name, tensor in weights.items() if name in names}
    dtype = memory.unet_dtype(model_params=comfy.utils.calculate_parameters(renamed), weight_dtype=torch.float32)
    recognised = _SmallSD15(sizes)
    cast = memory.unet_manual_cast(dtype, memory.get_torch_device(), recognised.supported_inference_dtypes)
    recognised.set_inference_dtype(dtype, cast)
    offload = memory.unet_offload_device()
    model = recognised.get_model(renamed, "").to(offload)
    _check("unet", weights, renamed, model.diffusion_model)
    model.load_model_weights(renamed, "")
    return comfy.model_patcher.ModelPatcher(model, load_device=memory.get_torch_device(), offload_device=offload)


class _SmallSD15(comfy.supported_models.SD15):
    """Stable Diffusion 1.x of any size: latents, schedule and prediction are SD 1.x's, the sizes the folder's."""

    unet_config: dict = {}
    unet_extra_config: dict = {}


def unet_sizes(config: dict) -> dict:
    """Translate diffusers' description of a UNet2DConditionModel into ComfyUI's."""
    channels, depth = config["block_out_channels"], config["layers_per_block"]
    has_attention = [kind.startswith("CrossAttn") for kind in config["down_block_types"]]
    return {
        "image_size": config["sample_size"],
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "model_channels": channels[0],
        "channel_mult": [width // channels[0] for width in channels],
        "num_res_blocks": [depth] * len(channels),
        "transformer_depth": [int(level) for level in has_attention for _ in range(depth)],
        "transformer_depth_output": [int(level) for level in has_attention for _ in range(depth + 1)],
        "transformer_depth_middle": 1,
        "num_heads": config["attention_head_dim"],  # diffusers' old name for the number of heads
        "num_head_channels": -1,
        "context_dim": config["cross_attention_dim"],
        "use_spatial_transformer": True,
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
        "legacy": False,
    }


def _clip(folder: Path) -> Any:
    config, weights = _config(folder / "text_encoder"), _weights(folder / "text_encoder" / "model.safetensors")
    tokens = {kind: config[f"{long}_token_id"] for kind, long in (("start", "bos"), ("end", "eos"), ("pad", "pad"))}

    class Tokenizer(comfy.sd1_clip.SDTokenizer):
        def __init__(self, embedding_directory=None, tokenizer_data=None, **_):
            super().__init__(
                tokenizer_path=str(folder / "tokenizer"),
                embedding_directory=embedding_directory,
                embedding_size=config["hidden_size"],
                tokenizer_data=tokenizer_data or {},
            )

    class TokenizerSD1(comfy.sd1_clip.SD1Tokenizer):
        def __init__(self, embedding_directory=None, tokenizer_data=None):
            super().__init__(embedding_directory, tokenizer_data or {}, tokenizer=Tokenizer)

    class Encoder(comfy.sd1_clip.SDClipModel):
        def __init__(self, device="cpu", dtype=None, model_options=None):
            super().__init__(
                device=device,
                dtype=dtype,
                textmodel_json_config=config,
                special_tokens=tokens,
                return_projected_pooled=False,
                model_options=model_options or {},
            )

    class ModelSD1(comfy.sd1_clip.SD1ClipModel):
        def __init__(self, device="cpu", dtype=None, model_options=None):
            super().__init__(device=device, dtype=dtype, model_options=model_options or {}, clip_model=Encoder)

    target = comfy.supported_models_base.ClipTarget(TokenizerSD1, ModelSD1)
    clip = comfy.sd.CLIP(target, parameters=comfy.utils.calculate_parameters(weights))
    network = clip.cond_stage_model.clip_l.transformer
    # ComfyUI makes room for CLIP's 49408 words whatever the config says; the rest are never looked up.
    table = "text_model.embeddings.token_embedding.weight"
    vocabulary = torch.zeros(network.state_dict()[table].shape)
    vocabulary[: len(weights[table])] = weights[table]
    weights = {**weights, table: vocabulary, "text_projection.weight": torch.eye(config["hidden_size"])}
    _check("text_encoder", weights, weights, network)
    network.load_state_dict(weights, strict=False)
    return clip


def _vae(folder: Path) -> Any:
    config, weights = _config(folder / "vae"), _weights(folder / "vae" / _WEIGHTS)
    channels = config["block_out_channels"]
    sizes = {
        "double_z": True,
        "z_channels": config["latent_channels"],
        "resolution": config["sample_size"],
        "in_channels": config["in_channels"],
        "out_ch": config["out_channels"],
        "ch": channels[0],
        "ch_mult": [width // channels[0] for width in channels],
        "num_res_blocks": config["layers_per_block"],
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    renamed = dict(_vae_weight(name, tensor, len(channels)) for name, tensor in weights.items())
    vae = comfy.sd.VAE(renamed, config={"params": {"ddconfig": sizes, "embed_dim": config["latent_channels"]}})
    _check("vae", weights, renamed, vae.first_stage_model)
    vae.latent_channels = config["latent_channels"]
    vae.downscale_ratio = vae.upscale_ratio = 2 ** (len(channels) - 1)
    return vae


def _vae_weight(name: str, tensor: Tensor, levels: int) -> tuple[str, Tensor]:
    """Rename a weight of diffusers' AutoencoderKL; ComfyUI's attention is convolutions [out, in, 1, 1]."""
    for theirs, ours in _VAE_NAMES:
        name = name.replace(theirs, ours)
    for theirs, ours in (("encoder.down_blocks.", "encoder.down."), ("decoder.up_blocks.", "decoder.up.")):
        if name.startswith(theirs):
            level, layer = name[len(theirs) :].split(".", 1)
            # The decoder's levels are counted from the finest in ComfyUI.
            name = f"{ours}{level if 'down' in theirs else levels - 1 - int(level)}.{layer}"
    for index in (0, 1):
        name = name.replace(f".mid_block.block.{index}.", f".mid.block_{index + 1}.")
    is_attention = any(f".attn_1.{layer}.weight" in name for layer in ("q", "k", "v", "proj_out"))
    return name, rearrange(tensor, "o i -> o i 1 1") if is_attention else tensor


def _check(network_name: str, weights: dict[str, Tensor], renamed: dict[str, Tensor], network: torch.nn.Module) -> None:
    """Refuse weights that lack one of the network's, in its shape, or hold one that it does not use."""
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    shapes = {name: tensor.shape for name, tensor in renamed.items()}
    unmatched = [name for name, shape in expected.items() if shapes.get(name) != shape]
    if unmatched or len(shapes) != len(weights):
        raise InputError(
            f"The demo model's {network_name} does not fit this ComfyUI: {len(unmatched)} of {len(expected)} weights "
            f"have no match ({', '.join(unmatched[:3]) or 'others are left over'}). Install the pack again, or report "
            "your version."
        )


def _config(folder: Path) -> dict:
    return json.loads(_existing(folder / "config.json").read_text(encoding="utf-8"))


def _weights(path: Path) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in load_file(str(_existing(path))).items()}


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"The demo model lacks {path.parent.name}/{path.name}: install the pack again.")
    return path
