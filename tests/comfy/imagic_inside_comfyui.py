"""Runs inside ComfyUI's Python, without its server: the Imagic nodes on native models made of small random weights.

Not collected by pytest; test_comfy_imagic.py starts it. The last line it writes is "all good".
"""

import asyncio
import importlib.util
import sys
from pathlib import Path

checkout, pack, base = sys.argv.pop(1), Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
sys.path.insert(0, checkout)
only, sys.argv[1:] = sys.argv[1:], []
sys.argv += ["--cpu", "--base-directory", str(base)]

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.samplers  # noqa: E402
import torch  # noqa: E402
from small_models import conditioning_of, kinds, latent_of, native, quantised, text_of  # noqa: E402

import nodes  # noqa: E402, F401  (what tells the pack that ComfyUI is there)

spec = importlib.util.spec_from_file_location(str(pack).replace(".", "_x_"), pack / "__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
extension = asyncio.run(module.comfy_entrypoint())
NODES = {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}
backend = module.host.current().diffusion


def run(node, **inputs):
    return NODES[f"SemanticEdit{node}"].execute(**inputs).result


def painted(model, conditioning, negative):
    empty = torch.zeros_like(latent_of(model.kind))
    sampling = importlib.import_module(f"{spec.name}.editing.imagic.sampling").Sampling(3, 2.0)
    return backend.sample(model, conditioning, negative, empty, sampling, 5)


def made(kind, *args, **kwargs):
    model = native(kind, *args, **kwargs)
    model.kind = kind
    return model


def check(kind, model, methods=("LoRA", "all weights")):
    state = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    text, target = text_of(kind), conditioning_of(kind)
    zeros = {"pooled_output": torch.zeros(1, 16)} if text.pooled else {}
    if text.llama:
        zeros["conditioning_llama3"] = torch.zeros(1, 2, 9, 32)
    negative = [[torch.zeros(1, text.tokens, 32), zeros]]
    latent = {"samples": latent_of(kind)}
    before = painted(model, target, negative)
    optimised, _, report = run(
        "OptimizeEmbedding", model=model, latent=latent, target=target, steps=4, rate=0.05, draws=2, seed=0
    )
    assert "embedding moved" in report and set(optimised[0][1]) == set(target[0][1])
    for key, tensor in target[0][1].items():
        if isinstance(tensor, torch.Tensor):
            assert not torch.equal(optimised[0][1][key], tensor), f"{key} learns too"
    for method in methods:
        tuned, lora, _, _, report = run(
            "TuneModel", model=model, latent=latent, conditioning=optimised, method=method, steps=4,
            rate=1e-2 if method == "LoRA" else 1e-3, rank=4, draws=2, blocks="all", seed=0, checkpointing=True,
        )  # fmt: skip
        tuned.kind = kind
        changed = painted(tuned, target, negative)
        assert float((changed - before).abs().max()) > 1e-3, "the tuned model paints something else"
        for _ in range(2):
            assert torch.equal(painted(model, target, negative), before), "the model itself paints what it did"
        for strength, expected in ((1.0, changed), (0.0, before)):
            again = run("ApplyTuning", model=model, lora=lora, strength=strength, forget="nothing")[0]
            again.kind = kind
            assert torch.equal(painted(again, target, negative), expected)
    other = conditioning_of(kind, other=True)
    for eta in (0.0, 0.5, 1.0):
        mixed = run("InterpolateEmbedding", optimised=optimised, target=other, eta=eta, form="linear")[0][0]
        assert painted(tuned, mixed, negative).shape == before.shape
        end = {0.0: optimised, 1.0: other}.get(eta)
        assert end is None or torch.equal(painted(tuned, mixed, negative), painted(tuned, end, negative)), eta
    check_held(kind, tuned, optimised, negative)
    check_photo_noise(tuned, target, negative, latent)
    joint = run(
        "TuneModel", model=model, latent=latent, conditioning=other, method="LoRA", steps=2, rate=1e-2, rank=4, draws=2,
        blocks="attention", seed=0, joint=True, embedding_rate=0.05,
    )[2]  # fmt: skip
    mixed = run("InterpolateEmbedding", optimised=joint, target=target, eta=0.5, form="projection")[0][0]
    assert bool(painted(tuned, mixed, negative).isfinite().all()), "from a caption of another length"
    painted(
        model, target, negative
    )  # ComfyUI keeps one set of weights, and takes the change out when asked for the model
    after = model.model.state_dict()
    assert all(torch.equal(plain(state[name]), plain(after[name])) for name in state), "not one weight is another"
    refusals(kind, model, latent, target)
    sys.stdout.write(f"{kind}: {report}\n")


def check_held(kind, tuned, optimised, negative):
    """Attention as under the photo's embedding: it changes an edit, and nothing of the photo."""
    mixed = run("InterpolateEmbedding", optimised=optimised, target=conditioning_of(kind, other=True), eta=0.8,
                form="linear")[0][0]  # fmt: skip
    none, held = (run("HoldLayout", model=tuned, optimised=optimised, share=share)[0] for share in (0.0, 0.6))
    none.kind = held.kind = kind
    edit, photo = painted(tuned, mixed, negative), painted(tuned, optimised, negative)
    assert torch.equal(painted(none, mixed, negative), edit)
    changed = painted(held, mixed, negative)
    assert bool(changed.isfinite().all()) and float((changed - edit).abs().max()) > 1e-3
    assert torch.allclose(painted(held, optimised, negative), photo, atol=1e-4 * float(photo.abs().max()))
    assert torch.equal(painted(tuned, mixed, negative), edit), "the model that came in paints what it did"


def check_photo_noise(model, target, negative, latent):
    """The ODE solved backwards inside of ComfyUI's sampling, against the network asked directly."""
    ode = importlib.import_module(f"{spec.name}.editing.common.diffusion.ode_inversion")
    sampling = importlib.import_module(f"{spec.name}.editing.imagic.sampling").Sampling(3, 2.0)
    noise = backend.photo_noise(model, negative, latent["samples"], sampling)
    denoiser = backend.denoiser(model)
    levels = comfy.samplers.calculate_sigmas(denoiser.sampling, sampling.scheduler, sampling.steps)
    levels = ode.down_to_least_noise(levels, denoiser.sigma_min)
    x0 = denoiser.latent_in(latent["samples"])
    condition = denoiser.condition(negative[0][0], negative[0][1], tuple(x0.shape))
    start = denoiser.noised(x0, torch.zeros_like(x0), levels[-2:-1])
    x = ode.invert_to_noise(lambda x, sigma: denoiser.denoise(x, sigma[None], condition), start, levels)
    first = denoiser.sampling.noise_scaling(levels[0], denoiser.latent_in(latent["samples"]) * 0 + noise, x0, True)
    assert torch.allclose(first, x, atol=2e-3 * float(x.abs().max())), float((first - x).abs().max())
    edited = run(
        "SampleFromPhotoNoise", model=model, positive=target, negative=negative, latent=latent, seed=5, steps=3,
        cfg=2.0, sampler_name="euler", scheduler="normal",
    )[0]["samples"]  # fmt: skip
    again = backend.sample(model, target, negative, latent["samples"], sampling, 5, noise=noise)
    assert torch.equal(edited, again) and bool(edited.isfinite().all())


def plain(tensor):
    """The bytes of a weight: eight bits compare as numbers nowhere."""
    return tensor.view(torch.uint8) if tensor.dtype.itemsize == 1 else tensor


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


def check_eight_bits(kind):
    """A model of eight bits a weight learns through what is added to its layers' outputs, and keeps every bit."""
    model = made(kind, torch.float8_e4m3fn)
    check(kind, model, methods=("LoRA",))
    latent, target = {"samples": latent_of(kind)}, conditioning_of(kind)
    settings = dict(model=model, latent=latent, conditioning=target, steps=6, draws=2, seed=0, blocks="all", rank=4)
    tuning = importlib.import_module(f"{spec.name}.editing.imagic.tuning")
    loss = importlib.import_module(f"{spec.name}.editing.imagic.fixed_noise_loss")
    photo = importlib.import_module(f"{spec.name}.editing.imagic.loss").TargetLatent
    entry = importlib.import_module(f"{spec.name}.editing.imagic.conditioning").single_conditioning(target)
    with torch.inference_mode(False):
        learned = tuning.tune_model(
            backend.denoiser(model), latent["samples"], entry, tuning.TuneSettings(steps=6, rate=1e-2, rank=4, draws=2)
        )
        denoiser = backend.denoiser(backend.apply_lora(model, learned.lora))
        again = loss.FixedNoiseLoss(denoiser, photo.from_vae(denoiser, latent["samples"]), (0.0, 1.0), 0)(entry)
    assert learned.gain > 0.01 and abs(again - learned.loss_after) < 1e-4 * again, "sampled as it was learned"
    refused("use the method LoRA", lambda: run("TuneModel", method="all weights", rate=1e-3, **settings))


with torch.inference_mode():
    for kind in only or kinds():  # names of kinds behind the folders: those alone
        check(kind, made(kind))
    if only:
        raise SystemExit(0)
    for kind in ("sd", "flux"):
        check_eight_bits(kind)
    for form in ("float8_e4m3fn", "int8_tensorwise"):
        model = quantised("flux", form)
        if model is not None:
            model.kind = "flux"
            check("flux", model, methods=("LoRA",))
sys.stdout.write("all good\n")
