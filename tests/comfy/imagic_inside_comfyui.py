"""Runs inside ComfyUI's Python, without its server: the Imagic nodes on native models made of small random weights.

Not collected by pytest; test_comfy_imagic.py starts it. The last line it writes is "all good".
"""

import asyncio
import dataclasses
import importlib.util
import sys
from pathlib import Path

checkout, pack, base = sys.argv.pop(1), Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
sys.path.insert(0, checkout)
sys.argv += ["--cpu", "--base-directory", str(base)]

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.model_base  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.supported_models  # noqa: E402
import torch  # noqa: E402
from comfy.ldm.flux.model import FluxParams  # noqa: E402

import nodes  # noqa: E402, F401  (what tells the pack that ComfyUI is there)

spec = importlib.util.spec_from_file_location(str(pack).replace(".", "_x_"), pack / "__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
extension = asyncio.run(module.comfy_entrypoint())
NODES = {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}
backend = module.host.current().diffusion
CPU = torch.device("cpu")


_SUPPORTED = {"sdxl": comfy.supported_models.SDXL, "pix2pix": comfy.supported_models.SD15_instructpix2pix}


def native(kind):
    """A MODEL of a kind, as a checkpoint loader would make it under inference mode."""
    if kind == "flux":
        return filled(comfy.supported_models.Flux(FLUX))
    if kind == "qwen":  # its latents have a third side, as those of films
        return filled(comfy.supported_models.QwenImage(QWEN))
    large = kind == "sdxl"
    config = dict(
        image_size=32, out_channels=4, in_channels={"inpaint": 9, "pix2pix": 8}.get(kind, 4),
        model_channels=64 if large else 32, num_res_blocks=[1, 1], channel_mult=[1, 2], transformer_depth=[1, 0],
        transformer_depth_output=[1, 1, 0, 0], transformer_depth_middle=1, context_dim=32, num_heads=-1 if large else 2,
        num_head_channels=16 if large else -1, use_linear_in_transformer=large, dtype=torch.float32,
        use_spatial_transformer=True, legacy=False, adm_in_channels=16 + 6 * 256 if large else None,
        num_classes="sequential" if large else None, use_temporal_attention=False,
    )  # fmt: skip
    supported = _SUPPORTED.get(kind, comfy.supported_models.SD15)(config)
    types = {"v": comfy.model_base.ModelType.V_PREDICTION, "flow": comfy.model_base.ModelType.FLOW}
    return filled(supported, types.get(kind))


def filled(config, model_type=None):
    """The model of a configuration, with weights that no kind of layer makes vanish."""
    config.set_inference_dtype(torch.float32, None)
    if model_type is None:
        model = config.get_model({}, "", device="cpu")
    else:
        model = comfy.model_base.BaseModel(config, model_type=model_type, device="cpu")
    rng = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if weight.numel():
            scale = 0.05 if weight.ndim < 2 else weight[0].numel() ** -0.5
            offset = 1.0 if weight.ndim == 1 and name.endswith(("weight", "scale")) else 0.0
            weight.copy_(torch.randn(weight.shape, generator=rng) * scale + offset)
    return comfy.model_patcher.ModelPatcher(model, CPU, CPU)


FLUX = dict(
    image_model="flux", in_channels=16, out_channels=16, vec_in_dim=16, context_in_dim=32, hidden_size=64,
    mlp_ratio=2.0, num_heads=4, depth=1, depth_single_blocks=1, axes_dim=[4, 6, 6], theta=10000, patch_size=2,
    qkv_bias=True, guidance_embed=True, dtype=torch.float32,
)  # fmt: skip
if "txt_ids_dims" in {field.name for field in dataclasses.fields(FluxParams)}:  # newer cores have Flux 2 as well
    FLUX["txt_ids_dims"] = []
QWEN = dict(
    image_model="qwen_image", patch_size=2, in_channels=64, out_channels=16, num_layers=1, attention_head_dim=16,
    num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=(4, 6, 6), dtype=torch.float32,
)  # fmt: skip


def run(node, **inputs):
    return NODES[f"SemanticEdit{node}"].execute(**inputs).result


def painted(model, conditioning, negative):
    channels = model.get_model_object("latent_format").latent_channels
    sampling = importlib.import_module(f"{spec.name}.editing.imagic.sampling").Sampling(3, 2.0)
    return backend.sample(model, conditioning, negative, torch.zeros(1, channels, 16, 16), sampling, 5)


def check(kind):
    model = native(kind)
    state = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    pooled = kind in ("sdxl", "flux")
    extras = {"pooled_output": torch.randn(1, 16) if pooled else None, "guidance": 3.5}
    target = [[torch.randn(1, 77, 32), extras]]
    negative = [[torch.zeros(1, 77, 32), {"pooled_output": torch.zeros(1, 16)} if pooled else {}]]
    latent = {"samples": torch.randn(1, 16 if kind in ("flux", "qwen") else 4, 16, 16)}
    before = painted(model, target, negative)
    optimised, _, report = run(
        "OptimizeEmbedding", model=model, latent=latent, target=target, steps=4, rate=0.05, draws=2, seed=0
    )
    assert "embedding moved" in report and set(optimised[0][1]) == set(extras)
    if pooled:
        assert not torch.equal(optimised[0][1]["pooled_output"], extras["pooled_output"]), "pooled output learns too"
    for method in ("LoRA", "all weights"):
        tuned, lora, _, _, report = run(
            "TuneModel", model=model, latent=latent, conditioning=optimised, method=method, steps=4,
            rate=1e-2 if method == "LoRA" else 1e-3, rank=4, draws=2, blocks="all", seed=0, checkpointing=True,
        )  # fmt: skip
        changed = painted(tuned, target, negative)
        assert float((changed - before).abs().max()) > 1e-3, "the tuned model paints something else"
        for _ in range(2):
            assert torch.equal(painted(model, target, negative), before), "the model itself paints what it did"
        again = painted(run("ApplyTuning", model=model, lora=lora, strength=1.0, forget="nothing")[0], target, negative)
        assert torch.equal(changed, again)
        none = painted(run("ApplyTuning", model=model, lora=lora, strength=0.0, forget="nothing")[0], target, negative)
        assert torch.equal(none, before)
    halfway = run("InterpolateEmbedding", optimised=optimised, target=target, eta=0.5, form="linear")[0][0]
    assert painted(tuned, halfway, negative).shape == before.shape
    painted(
        model, target, negative
    )  # ComfyUI keeps one set of weights, and takes the change out when asked for the model
    after = model.model.state_dict()
    assert all(torch.equal(state[name], after[name]) for name in state), "not one weight is another"
    refusals(kind, model, latent, target)
    sys.stdout.write(f"{kind}: {report}\n")


def refusals(kind, model, latent, target):
    settings = dict(steps=1, rate=0.01, draws=1, seed=0)
    wrong = {"samples": torch.randn(1, 7, 16, 16)}
    refused(
        "VAE of the same model", lambda: run("OptimizeEmbedding", model=model, latent=wrong, target=target, **settings)
    )
    refused(
        "another model",
        lambda: run(
            "ApplyTuning", model=model, lora={"lora_unet_x.diff": torch.ones(1)}, strength=1.0, forget="nothing"
        ),
    )
    if kind == "sd":
        eighth = native(kind)
        for weight in eighth.model.diffusion_model.parameters():
            weight.data = weight.data.to(torch.float8_e4m3fn)
        refused(
            "float8_e4m3fn", lambda: run("OptimizeEmbedding", model=eighth, latent=latent, target=target, **settings)
        )
        half = native(kind)
        half.model.diffusion_model.to(torch.bfloat16)
        half.model.diffusion_model.dtype = torch.bfloat16
        assert "embedding moved" in run("OptimizeEmbedding", model=half, latent=latent, target=target, **settings)[2]


def refused(words, work):
    try:
        work()
    except ValueError as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"nothing was said of {words}")


with torch.inference_mode():
    for kind in ("sd", "v", "flow", "sdxl", "flux", "qwen", "inpaint", "pix2pix"):
        check(kind)
sys.stdout.write("all good\n")
