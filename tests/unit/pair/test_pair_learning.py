"""Learning a pair edit on a small random network: the losses by their formulas, bytes by seed, the model as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.editing import PairSettings, learn_pair_edit
from semantic_edit.editing.common.diffusion.lora import init_loras, select_layers
from semantic_edit.editing.pair.losses import PairLatents, content_loss, slider_loss
from semantic_edit.editing.pair.multiplier import Multiplier, scaled_hooks
from semantic_edit.editing.pair.settings import LOSSES as ALL_LOSSES
from semantic_edit.models.diffusion.lora import with_lora
from semantic_edit.models.diffusion.model import DiffusionModel
from semantic_edit.models.diffusion.schedule import PREDICTIONS, NoiseSchedule
from semantic_edit.models.errors import InputError

LOSSES = [loss for loss in ALL_LOSSES if loss != "SliderEdit"]  # which takes other inputs: test_pair_reference
SETTINGS = PairSettings(steps=4, content_steps=3, rate=1e-2, rank=4, draws=3)


def model_of(prediction, network):
    schedule = NoiseSchedule.flow(shift=3.0) if prediction == "flow" else NoiseSchedule.discrete(prediction)
    return DiffusionModel(network, schedule)


@pytest.fixture
def pairs():
    rng = torch.Generator().manual_seed(1)
    before = torch.randn(2, 4, 8, 8, generator=rng)
    return before, before + 0.5 * torch.randn(1, 4, 8, 8, generator=rng)


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def untouched(state, model):
    after = model.network.state_dict()
    hooked = [m for m in model.network.modules() if m._forward_hooks or "forward" in m.__dict__]
    return not hooked and list(state) == list(after) and all(torch.equal(state[name], after[name]) for name in state)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_each_loss_is_its_formula(loss, prediction, tiny_unet, pairs, entry):
    """Against merged weights: W + s up down in another model, one picture at a time, in the network's own target."""
    model = model_of(prediction, tiny_unet)
    settings = replace(SETTINGS, loss=loss, eta=3.0)
    before, after = (model.latent_in(side) for side in pairs)
    latents = PairLatents(model, before, after, model.condition(*entry, (1, 4, 8, 8)))
    layers = select_layers(model.network, ("all",))
    loras = init_loras(layers, 2, torch.Generator().manual_seed(5))
    with torch.no_grad():
        for lora in loras.values():
            lora.up.normal_(generator=torch.Generator().manual_seed(6)).mul_(0.1)
    draws = latents.draw(settings, torch.Generator().manual_seed(7))
    with torch.no_grad(), scaled_hooks(layers, loras) as slider:
        value = float(slider_loss(latents, draws, settings, slider))

    def output_error(x0, noise, sigma, scale, target, at=None):
        merged = model.patched({f"{name}.weight": lora.delta.detach() for name, lora in loras.items()}, scale)
        x = model.noised(x0[None], noise[None], sigma[None])
        denoised = merged.denoise(x, sigma[None], merged.condition(*entry, (1, 4, 8, 8)))[0]
        s = float(sigma)
        if target is None:  # what the model itself makes of it, moved
            target = model.denoise(x, sigma[None], model.condition(*entry, (1, 4, 8, 8)))[0] + at
        gain = s / (s**2 + 1) ** 0.5 if prediction == "v_prediction" else s
        return float(((denoised - target) / gain).square().mean())

    errors = []
    with torch.no_grad():
        for k, (pair, share) in enumerate(zip(draws.pairs, draws.shares, strict=True)):
            a, b, noise, sigma = before[pair], after[pair], draws.noise.noise[k], draws.noise.sigma[k]
            if loss == "PairEdit":
                errors.append(output_error(a, noise, sigma, 1.0, a + 3.0 * (b - a)))
            elif loss == "residual":
                between, half = a + share * (b - a), 1.5 * (b - a)
                errors += [output_error(between, noise, sigma, s, None, s * half) for s in (1.0, -1.0)]
            else:
                errors += [output_error(a, noise, sigma, -1.0, a), output_error(b, noise, sigma, 1.0, b)]
    assert value == pytest.approx(sum(errors) / len(errors), rel=2e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "flow"])
def test_the_gradient_of_a_step_is_that_of_the_formula(prediction, tiny_unet, pairs, entry):
    """The slope along random changes of the LoRA, by finite differences of the loss in float64 steps."""
    model = model_of(prediction, tiny_unet)
    before, after = (model.latent_in(side) for side in pairs)
    latents = PairLatents(model, before, after, model.condition(*entry, (1, 4, 8, 8)))
    layers = select_layers(model.network, ("attention",))
    loras = init_loras(layers, 2, torch.Generator().manual_seed(5))
    tensors = [tensor for lora in loras.values() for tensor in (lora.up, lora.down)]
    draws = latents.draw(SETTINGS, torch.Generator().manual_seed(7))
    with scaled_hooks(layers, loras) as slider:
        gradients = torch.autograd.grad(slider_loss(latents, draws, SETTINGS, slider), tensors)
        rng = torch.Generator().manual_seed(8)
        change = [torch.randn(tensor.shape, generator=rng) for tensor in tensors]
        slope = float(sum((g * c).sum() for g, c in zip(gradients, change, strict=True)))
        losses = []
        with torch.no_grad():
            for step in (5e-3, -5e-3):
                for tensor, c in zip(tensors, change, strict=True):
                    tensor.add_(c, alpha=step)
                losses.append(float(slider_loss(latents, draws, SETTINGS, slider)))
                for tensor, c in zip(tensors, change, strict=True):
                    tensor.sub_(c, alpha=step)
    assert slope == pytest.approx((losses[0] - losses[1]) / 1e-2, rel=2e-2)


@pytest.mark.parametrize("loss", LOSSES)
def test_it_learns_repeats_to_the_byte_and_leaves_the_model(loss, tiny_denoiser, pairs, entry):
    state, settings = state_of(tiny_denoiser), replace(SETTINGS, loss=loss, rate=2e-3)
    global_state = torch.get_rng_state()
    with torch.inference_mode():
        edit = learn_pair_edit(tiny_denoiser, *pairs, entry, settings)
        again = learn_pair_edit(tiny_denoiser, *(side.clone() for side in pairs), [list(entry)], settings)
    assert list(edit.lora) == list(again.lora) and all(torch.equal(edit.lora[k], again.lora[k]) for k in edit.lora)
    assert edit.provenance["loss_after"] < edit.provenance["loss_before"]
    other = learn_pair_edit(tiny_denoiser, *pairs, entry, replace(settings, seed=1))
    assert not all(torch.equal(edit.lora[k], other.lora[k]) for k in edit.lora)
    assert untouched(state, tiny_denoiser) and torch.equal(global_state, torch.get_rng_state())


def test_the_content_is_thrown_away(tiny_denoiser, pairs, entry):
    """The slider alone is in the edit: as many numbers as one LoRA, and none where nothing is learned of it."""
    edit = learn_pair_edit(tiny_denoiser, *pairs, entry, SETTINGS)
    plain = learn_pair_edit(tiny_denoiser, *pairs, entry, replace(SETTINGS, loss="two-sided"))
    assert {key: tensor.shape for key, tensor in edit.lora.items()} == {
        key: tensor.shape for key, tensor in plain.lora.items()
    }
    assert any(not torch.equal(edit.lora[key], plain.lora[key]) for key in edit.lora)


def test_content_loss_sees_both_pictures(tiny_denoiser, pairs, entry):
    before, after = (tiny_denoiser.latent_in(side) for side in pairs)
    latents = PairLatents(tiny_denoiser, before, after, tiny_denoiser.condition(*entry, (1, 4, 8, 8)))
    draws = latents.draw(SETTINGS, torch.Generator().manual_seed(7))
    with torch.no_grad():
        value = content_loss(latents, draws, SETTINGS)
        slider = Multiplier()
        assert float(value) == pytest.approx(float(slider_loss(latents, draws, SETTINGS, slider)), rel=1e-6)


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_stopping_leaves_the_model_as_it_was(stop, tiny_denoiser, pairs, entry):
    class StopError(Exception):
        pass

    def progress(step, total, preview=None):
        assert total == 7
        if step == stop:
            raise StopError

    state = state_of(tiny_denoiser)
    with pytest.raises(StopError), torch.inference_mode():
        learn_pair_edit(tiny_denoiser, *pairs, entry, replace(SETTINGS, checkpointing=True), progress=progress)
    assert untouched(state, tiny_denoiser)


def test_too_little_memory_is_told_before_the_work(tiny_denoiser, pairs, entry):
    with pytest.raises(InputError, match="Learning a pair edit needs about .* MB are free"):
        learn_pair_edit(tiny_denoiser, *pairs, entry, SETTINGS, free=1000)
    steps = []

    def progress(step, total, preview=None):
        steps.append(step)

    learn_pair_edit(tiny_denoiser, *pairs, entry, SETTINGS, free=10**9, progress=progress)
    assert steps == list(range(1, 8))


def test_the_file_of_a_slider_is_a_lora_of_constant_strength(tiny_denoiser, pairs, entry):
    """What other tools do with the tensors, W + up down, is the slider at +1."""
    edit = learn_pair_edit(tiny_denoiser, *pairs, entry, SETTINGS)
    merged, loras = with_lora(tiny_denoiser, dict(edit.lora)), edit.loras_for(tiny_denoiser)
    layers = {name: tiny_denoiser.network.get_submodule(name) for name in loras}
    x, sigma = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3)), torch.tensor([0.5, 3.0])
    condition = tiny_denoiser.condition(*entry, (2, 4, 8, 8))
    with torch.no_grad(), scaled_hooks(layers, loras) as slider:
        expected = merged.denoise(x, sigma, condition)
        with slider.at(torch.ones(2)):
            assert torch.allclose(tiny_denoiser.denoise(x, sigma, condition), expected, atol=1e-5)


def test_wrong_pairs_are_refused_with_a_sentence(tiny_denoiser, pairs, entry):
    before, after = pairs
    broken = after.clone()
    broken[0, 0, 0, 0] = float("nan")
    wrong = {
        "2 pictures before and 1 after": (before, after[:1]),
        r"before have latents of \[4, 8, 8\] and those after \[4, 8, 16\]": (before, torch.cat([after, after], dim=3)),
        "Pair 2 shows no difference": (before, torch.cat([after[:1], before[1:]])),
        "Pair 1, 2 shows no difference": (before, before.clone()),
        "after latents hold values that are not finite": (before, broken),
        r"before latents have shape \[4, 8, 8\]": (before[0], after[0]),
        "before latents have shape": (before[:0], after[:0]),
        "The pairs contradict each other": (torch.stack([before[0], after[0]]), torch.stack([after[0], before[0]])),
        "works on": (before.repeat(1, 2, 1, 1), after.repeat(1, 2, 1, 1)),
    }
    state = state_of(tiny_denoiser)
    for words, sides in wrong.items():
        with pytest.raises(InputError, match=words):
            learn_pair_edit(tiny_denoiser, *sides, entry, SETTINGS)
    for words, sentence in {"single entry": None, "one sentence": (torch.ones(2, 7, 32), {})}.items():
        with pytest.raises(InputError, match=words):
            learn_pair_edit(tiny_denoiser, *pairs, sentence, SETTINGS)
    with pytest.raises(InputError, match="32"):
        learn_pair_edit(tiny_denoiser, *pairs, (torch.ones(1, 7, 24), {}), SETTINGS)
    assert untouched(state, tiny_denoiser)


def test_a_quantised_model_is_refused(tiny_unet, pairs, entry):
    import copy

    network = copy.deepcopy(tiny_unet)
    layer = next(m for m in network.modules() if isinstance(m, torch.nn.Linear))
    layer.weight = torch.nn.Parameter(layer.weight.to(torch.float8_e4m3fn), requires_grad=False)
    with pytest.raises(InputError, match="Float8_e4m3fn.*unquantised"):
        learn_pair_edit(DiffusionModel(network, NoiseSchedule.discrete()), *pairs, entry, SETTINGS)


@pytest.mark.parametrize(
    "fields",
    [{"loss": "none"}, {"steps": 0}, {"rank": 0}, {"rate": 2.0}, {"levels": (0.5, 0.2)}, {"eta": 0.0}, {"seed": -1}],
)
def test_wrong_settings_are_refused(fields):
    with pytest.raises(InputError, match=next(iter(fields)).removesuffix("s")):
        PairSettings(**fields)


def test_the_report_warns_of_next_to_nothing(tiny_denoiser, pairs, entry):
    edit = learn_pair_edit(tiny_denoiser, *pairs, entry, replace(SETTINGS, rate=1e-6))
    assert "next to nothing" in edit.report() and "loss on fixed noise" in edit.report()
