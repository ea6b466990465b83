"""Checks of pair edits against ComfyUI's own functions: gradients by merged weights, references by its own sampler.

Not collected by pytest; imported inside ComfyUI's Python by pair_inside_comfyui.py.
"""

import contextlib
import importlib

import comfy.sample
import comfy.samplers
import torch
from comfy_extras.nodes_edit_model import ReferenceLatent
from small_models import conditioning_of, latent_of, native

REFERENCED = (("flux", "offset"), ("flux2", "index"), ("qwen", "index"), ("qwen", "index_timestep_zero"))
TOLERANCE = 1e-5
_CPU = torch.device("cpu")


def editing(pack, path):
    return importlib.import_module(f"{pack}.editing.{path}")


@contextlib.contextmanager
def merged(network, loras, strength):
    """The network with W + s up down in place of its weights, open to gradients."""
    kept = {name: network.get_submodule(name)._parameters.pop("weight") for name in loras}
    try:
        for name, weight in kept.items():
            network.get_submodule(name).weight = weight + strength * loras[name].delta
        yield
    finally:
        for name, weight in kept.items():
            layer = network.get_submodule(name)
            del layer.weight
            layer._parameters = {"weight": weight, **layer._parameters}


def check_gradient(pack, backend, kind, method=None):
    """The gradient of one step against the formula: one picture at a time, merged weights, core's own arguments."""
    inference = importlib.import_module(f"{pack}.models.inference")
    lora, hooks = editing(pack, "common.diffusion.lora"), editing(pack, "pair.multiplier")
    settings = editing(pack, "pair.settings").PairSettings(draws=2, reference=method is not None)
    trial = editing(pack, "common.diffusion.trial_gradient")
    out_of_place = editing(pack, "common.diffusion.autograd.out_of_place").out_of_place
    model = native(kind)
    (entry,) = conditioning_of(kind)
    embedding, extras = entry[0], {**entry[1], **({"reference_latents_method": method} if method else {})}
    denoiser, base = backend.denoiser(model), model.model
    with inference.enable_training(), denoiser.training():
        embedding = inference.clone_from_inference(embedding)
        extras = {
            key: inference.clone_from_inference(item) if isinstance(item, torch.Tensor) else item
            for key, item in extras.items()
        }
        layers = lora.select_layers(denoiser.network, ("all",))
        sides = [latent_of(kind, seed) for seed in (1, 2)]
        a, b = (denoiser.latent_in(side) for side in sides)
        pairs = editing(pack, "pair.pairs").pair_latents(denoiser, *sides, (embedding, extras), settings, None, layers)
        loras = lora.init_loras(layers, 2, torch.Generator().manual_seed(5))
        rng = torch.Generator().manual_seed(6)
        with torch.no_grad():
            for change in loras.values():
                change.up.copy_(torch.randn(change.up.shape, generator=rng) * 0.1)
        tensors = [tensor for change in loras.values() for tensor in (change.up, change.down)]
        draws = pairs.draw(settings, torch.Generator().manual_seed(7))
        with hooks.scaled_hooks(layers, loras) as slider:

            def loss():
                return sum(pairs.slider_terms(draws, settings, slider))

            gradients, overwrites = trial.trial_gradients(denoiser, loss, tensors)
        flow = "FLOW" in base.model_type.name or "FLUX" in base.model_type.name
        errors = []
        with out_of_place(denoiser.network, overwrites):
            for k, sigma in enumerate(draws.noise.sigma):
                for sign, x0, reference in ((-1.0, a, b), (1.0, b, a)):
                    noise = draws.noise.noise[k : k + 1]
                    x = (1 - sigma) * x0 + sigma * noise if flow else x0 + sigma * noise
                    arguments = {**extras, "cross_attn": embedding, "device": _CPU, "noise": torch.zeros_like(x0)}
                    arguments |= {"latent_image": arguments["noise"], "width": 128, "height": 128}
                    arguments |= {"prompt_type": "positive"}
                    if method:
                        arguments["reference_latents"] = [base.process_latent_out(reference)]
                    conds = {
                        name: cond.process_cond(batch_size=1, device=_CPU, area=None).cond
                        for name, cond in base.extra_conds(**arguments).items()
                    }
                    with merged(denoiser.network, loras, sign):
                        options = {"cond_or_uncond": [0], "sigmas": sigma[None]}
                        denoised = base.apply_model(x, sigma[None], transformer_options=options, **conds)
                    gain = sigma / (sigma**2 + 1) ** 0.5 if kind == "v" else sigma
                    errors.append(((denoised - x0) / gain).square().mean())
            expected = torch.autograd.grad(sum(errors) / len(errors), tensors, allow_unused=True)
    present = [(ours, theirs) for ours, theirs in zip(gradients, expected, strict=True) if theirs is not None]
    difference = sum(float((ours - theirs).square().sum()) for ours, theirs in present) ** 0.5
    size = sum(float(theirs.square().sum()) for _, theirs in present) ** 0.5
    assert size > 0 and difference <= TOLERANCE * size, f"{kind}: {difference / size:.1e} of the gradient"
    return difference / size


def check_reference(pack, run, kind, method, learning, vae_of):
    """Photos as references: learned and applied by the nodes; strength 0 is what core's sampler makes of them."""
    model = native(kind)
    state = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    conditioning, before = conditioning_of(kind), latent_of(kind)
    conditioning[0][1]["reference_latents_method"] = method
    instruction = conditioning_of(kind, other=True)
    picture = torch.zeros(1, 128, 128, 3)
    common = {"model": model, "conditioning": conditioning}
    photos = {"samples": torch.cat([latent_of(kind, seed) for seed in (1, 2, 3)])}
    strengths = editing(pack, "common.types").EditStrength(torch.tensor([0.0, 0.5, -0.5]))
    for loss in ("content first", "SliderEdit"):
        more = {"instruction": instruction} if loss == "SliderEdit" else {}
        edit = run(
            "LearnPairEdit", **common, vae=vae_of(before, before + 0.5), before=picture, after=picture, reference=True,
            **{**learning, "loss": loss}, **more,
        )[0]  # fmt: skip
        applying = {**common, "edit": edit, "steps": 4}
        edited = run("ApplyPairEdit", **applying, latent=photos, strength=0.0, strengths=strengths)[0]["samples"]
        for k, strength in enumerate((0.0, 0.5, -0.5)):
            one = {"samples": photos["samples"][k : k + 1]}
            alone = run("ApplyPairEdit", **applying, latent=one, strength=strength)[0]["samples"]
            assert float((alone[0] - edited[k]).abs().max()) <= 1e-5 * float(edited.abs().max()), (kind, k)
        zero = run("ApplyPairEdit", **applying, latent=photos, strength=0.0)[0]["samples"]
        assert torch.allclose(zero[0], edited[0], atol=1e-5) and float((zero[1] - edited[1]).abs().max()) > 1e-5, kind
    sampled = sample_as_core_does(model, conditioning, photos["samples"][:1], 4)
    assert torch.allclose(sampled.reshape(edited[:1].shape), edited[:1], atol=1e-3 * float(edited.abs().max())), kind
    after = model.model.state_dict()
    assert all(torch.equal(state[name], after[name]) for name in state), "not one weight is another"


def sample_as_core_does(model, conditioning, photo, steps):
    """Euler from the seed's noise, by ComfyUI's sampler and its own node for references."""
    if getattr(model.get_model_object("latent_format"), "latent_dimensions", 2) == 3:
        photo = photo[:, :, None]  # as its VAE gives them
    conditioning = ReferenceLatent.execute(conditioning, {"samples": photo}).result[0]
    sampling = model.get_model_object("model_sampling")
    shares = (1 - torch.linspace(1, 0, steps)).clamp(1e-4, 1 - 1e-4)
    sigmas = [float(sampling.percent_to_sigma(float(share))) for share in shares]
    sigmas = torch.tensor(sigmas).clamp(float(sampling.sigma_min), float(sampling.sigma_max))
    sigmas = torch.cat([sigmas, torch.zeros(1)])
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    sampler = comfy.samplers.sampler_object("euler")
    return comfy.sample.sample_custom(
        model, noise, 1.0, sampler, sigmas, conditioning, conditioning, torch.zeros_like(photo), disable_pbar=True
    )
