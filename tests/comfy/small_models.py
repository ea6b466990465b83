"""ComfyUI's own networks at small sizes with random weights, as a checkpoint loader would make them, and their texts.

Not collected by pytest; imported inside ComfyUI's Python, where `comfy` is.
"""

import dataclasses
from dataclasses import dataclass

import comfy.model_base
import comfy.model_patcher
import comfy.supported_models
import torch
from comfy.ldm.flux.model import FluxParams

CPU = torch.device("cpu")
_TYPES = {"v": comfy.model_base.ModelType.V_PREDICTION, "flow": comfy.model_base.ModelType.FLOW}
_U_SHAPED = {
    "sdxl": comfy.supported_models.SDXL,
    "pix2pix": comfy.supported_models.SD15_instructpix2pix,
    "v": comfy.supported_models.SD20,
}
_FLUX = dict(
    image_model="flux", in_channels=16, out_channels=16, vec_in_dim=16, context_in_dim=32, hidden_size=64,
    mlp_ratio=2.0, num_heads=4, depth=1, depth_single_blocks=1, axes_dim=[4, 6, 6], theta=10000, patch_size=2,
    qkv_bias=True, guidance_embed=True, dtype=torch.float32,
)  # fmt: skip
if "txt_ids_dims" in {field.name for field in dataclasses.fields(FluxParams)}:  # newer cores have Flux 2 as well
    _FLUX["txt_ids_dims"] = []
_TRANSFORMERS = {
    "flux": ("Flux", _FLUX),
    "flux2": ("Flux2", {
        **_FLUX, "image_model": "flux2", "in_channels": 128, "out_channels": 128, "vec_in_dim": None, "patch_size": 1,
        "axes_dim": [4, 4, 4, 4], "qkv_bias": False, "ops_bias": False, "txt_ids_dims": [3], "mlp_silu_act": True,
        "global_modulation": True,
    }),
    "sd3": ("SD3", dict(
        in_channels=16, patch_size=2, depth=2, input_size=None, adm_in_channels=16, num_patches=64, qkv_bias=True,
        pos_embed_max_size=8, pos_embed_scaling_factor=None, dtype=torch.float32,
        context_embedder_config={"target": "torch.nn.Linear", "params": {"in_features": 32, "out_features": 128}},
    )),
    "qwen": ("QwenImage", dict(  # its latents have a third side, as those of films
        image_model="qwen_image", patch_size=2, in_channels=64, out_channels=16, num_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=(4, 6, 6), dtype=torch.float32,
    )),
    "z-image": ("ZImage", dict(
        image_model="lumina2", patch_size=2, in_channels=16, dim=256, cap_feat_dim=32, n_layers=1, n_refiner_layers=1,
        n_heads=4, n_kv_heads=4, axes_dims=[16, 24, 24], axes_lens=[64, 64, 64], rope_theta=256.0, multiple_of=16,
        ffn_dim_multiplier=8 / 3, z_image_modulation=True, time_scale=1000.0, qk_norm=True, pad_tokens_multiple=32,
        dtype=torch.float32,
    )),
    "hidream": ("HiDream", dict(
        image_model="hidream", patch_size=2, in_channels=16, out_channels=16, num_layers=1, num_single_layers=1,
        attention_head_dim=16, num_attention_heads=2, caption_channels=[32, 32], text_emb_dim=16, num_routed_experts=2,
        num_activated_experts=1, axes_dims_rope=(8, 4, 4), max_resolution=(16, 16), llama_layers=[0, 1],
        dtype=torch.float32,
    )),
}  # fmt: skip
_POOLED = ("sdxl", "flux", "sd3", "hidream")


@dataclass(frozen=True)
class Text:
    """How long texts of a kind are, and what they carry."""

    tokens: int = 77
    other_tokens: int = 77  # of another text of the same kind
    pooled: bool = False
    llama: bool = False


def kinds():
    """The kinds that this core knows."""
    transformers = [kind for kind, (name, _) in _TRANSFORMERS.items() if hasattr(comfy.supported_models, name)]
    return ["sd", "v", "flow", "sdxl", "inpaint", "pix2pix", *transformers]


def text_of(kind):
    if kind in ("qwen", "z-image"):  # their tokenizers do not pad
        return Text(12, 17)
    return Text(pooled=kind in _POOLED, llama=kind == "hidream")


def conditioning_of(kind, other=False):
    text, rng = text_of(kind), torch.Generator().manual_seed(int(other))
    tokens = text.other_tokens if other else text.tokens
    extras = {"pooled_output": torch.randn(1, 16, generator=rng) if text.pooled else None, "guidance": 3.5}
    if text.llama:
        extras["conditioning_llama3"] = torch.randn(1, 2, 9 + 2 * other, 32, generator=rng)
    return [[torch.randn(1, tokens, 32, generator=rng), extras]]


def latent_of(kind, seed=0):
    channels = 4 if kind not in _TRANSFORMERS else 128 if kind == "flux2" else 16
    return torch.randn(1, channels, 16, 16, generator=torch.Generator().manual_seed(seed))


def native(kind, weight_dtype=torch.float32, prepare=lambda config: None):
    """A MODEL of a kind. Other weights than float32 are computed with in float32, as ComfyUI does on a CPU."""
    if kind in _TRANSFORMERS:
        name, settings = _TRANSFORMERS[kind]
        config, model_type = getattr(comfy.supported_models, name)(dict(settings)), None
    else:
        config, model_type = _U_SHAPED.get(kind, comfy.supported_models.SD15)(_unet(kind)), _TYPES.get(kind)
    config.set_inference_dtype(weight_dtype, None if weight_dtype == torch.float32 else torch.float32)
    config.unet_config["dtype"] = weight_dtype
    prepare(config)
    if model_type is None:
        model = config.get_model({}, "", device="cpu")
    else:
        model = comfy.model_base.BaseModel(config, model_type=model_type, device="cpu")
    fill(model)
    return comfy.model_patcher.ModelPatcher(model, CPU, CPU)


def _unet(kind):
    large = kind in ("sdxl", "v")
    return dict(
        image_size=32, out_channels=4, in_channels={"inpaint": 9, "pix2pix": 8}.get(kind, 4),
        model_channels=64 if large else 32, num_res_blocks=[1, 1], channel_mult=[1, 2], transformer_depth=[1, 0],
        transformer_depth_output=[1, 1, 0, 0], transformer_depth_middle=1, context_dim=32, num_heads=-1 if large else 2,
        num_head_channels=16 if large else -1, use_linear_in_transformer=large, dtype=torch.float32,
        use_spatial_transformer=True, legacy=False, adm_in_channels=16 + 6 * 256 if kind == "sdxl" else None,
        num_classes="sequential" if kind == "sdxl" else None, use_temporal_attention=False,
    )  # fmt: skip


def fill(model):
    """Give a model weights that no kind of layer makes vanish."""
    rng = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if weight.numel():
            scale = 0.05 if weight.ndim < 2 else weight[0].numel() ** -0.5
            offset = 1.0 if weight.ndim == 1 and name.endswith(("weight", "scale")) else 0.0
            weight.copy_(torch.randn(weight.shape, generator=rng) * scale + offset)
    for name, buffer in model.diffusion_model.named_buffers():
        if name.endswith("pos_embed"):  # of SD3: memory as it was, which a checkpoint fills
            buffer.copy_(torch.randn(buffer.shape, generator=rng) * 0.05)


def quantised(kind, form):
    """A MODEL whose linear layers are stored as a quantised checkpoint of ComfyUI has them; None before such were."""
    import importlib.util
    import json

    if importlib.util.find_spec("comfy.quant_ops") is None:
        return None
    import comfy.quant_ops

    algorithms = getattr(comfy.quant_ops, "QUANT_ALGOS", {})
    if form not in algorithms or not hasattr(comfy.quant_ops.QuantizedTensor, "from_float"):
        return None
    plain = native(kind)
    network = plain.model.diffusion_model
    state = network.state_dict()
    for name, layer in network.named_modules():
        if isinstance(layer, torch.nn.Linear) and layer.in_features % 32 == 0 and layer.out_features % 32 == 0:
            weight = comfy.quant_ops.QuantizedTensor.from_float(
                layer.weight.detach().clone(), algorithms[form]["comfy_tensor_layout"]
            )
            state[f"{name}.weight"], state[f"{name}.weight_scale"] = weight._qdata, weight._params.scale
            description = json.dumps({"format": form}).encode()
            state[f"{name}.comfy_quant"] = torch.tensor(list(description), dtype=torch.uint8)
    model = native(kind, prepare=lambda config: setattr(config, "quant_config", {"mixed_ops": True})).model
    model.diffusion_model.load_state_dict(state)
    return comfy.model_patcher.ModelPatcher(model, CPU, CPU)
