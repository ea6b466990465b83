"""Applying a pair edit: inversion and its way back, strengths of one batch, regions, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from semantic_edit.editing import PairEdit, PairSettings, apply_pair_edit, learn_pair_edit
from semantic_edit.editing.common.diffusion.ode_inversion import noise_levels
from semantic_edit.editing.common.importance import above_threshold
from semantic_edit.editing.pair.applying import photos_to_noise
from semantic_edit.editing.pair.settings import PairSampling
from semantic_edit.models.errors import InputError

SAMPLING = PairSampling(steps=6, refinements=2)


@pytest.fixture
def edit(tiny_denoiser, entry):
    rng = torch.Generator().manual_seed(1)
    before = torch.randn(1, 4, 8, 8, generator=rng)
    after = before + 0.5 * torch.randn(1, 4, 8, 8, generator=rng)
    settings = PairSettings(steps=6, content_steps=2, rate=2e-2, draws=2)
    return learn_pair_edit(tiny_denoiser, before, after, entry, settings)


def test_strengths_of_one_batch_are_those_of_single_runs(tiny_denoiser, edit, photos, entry):
    strengths = torch.tensor([0.0, 1.5, -2.0])
    together = apply_pair_edit(tiny_denoiser, photos, edit, strengths, entry, SAMPLING)
    for k, strength in enumerate(strengths):
        alone = apply_pair_edit(tiny_denoiser, photos[k : k + 1], edit, strength[None], entry, SAMPLING)
        assert torch.equal(together[k], alone[0])
    in_parts = apply_pair_edit(tiny_denoiser, photos, edit, strengths, entry, replace(SAMPLING, at_once=2))
    assert torch.allclose(together, in_parts, atol=1e-3 * float(together.std()))
    same = apply_pair_edit(tiny_denoiser, photos, edit, 0.0, entry, SAMPLING)
    assert torch.allclose(together[0], same[0], atol=1e-5) and float((together[1] - same[1]).abs().max()) > 1e-2


def test_the_odd_part_is_the_guidance(tiny_denoiser, edit, photos, entry):
    """Against three models with merged weights, and a sampler written out."""
    strengths = torch.tensor([0.5, 1.0, -1.0])
    noise = photos_to_noise(tiny_denoiser, photos, entry, SAMPLING)
    result = apply_pair_edit(tiny_denoiser, photos, edit, strengths, entry, SAMPLING, inverted=noise)
    deltas = {f"{name}.weight": lora.delta for name, lora in edit.loras_for(tiny_denoiser).items()}
    models = [tiny_denoiser, tiny_denoiser.patched(deltas), tiny_denoiser.patched(deltas, -1.0)]
    condition, levels = tiny_denoiser.condition(*entry, (1, 4, 8, 8)), noise_levels(tiny_denoiser, 6)
    x = tiny_denoiser.latent_in(noise)
    with torch.no_grad():
        for sigma, sigma_next in zip(levels[:-1], levels[1:], strict=True):
            original, plus, minus = (model.denoise(x, sigma.expand(3), condition) for model in models)
            denoised = original + strengths[:, None, None, None] * (plus - minus) / 2
            x = x + (x - denoised) / sigma * (sigma_next - sigma)
    assert torch.allclose(result, tiny_denoiser.latent_out(x), atol=1e-4)


def test_the_edit_changes_sign_with_its_strength(tiny_denoiser, edit, photos, entry):
    zero, plus, minus = (
        apply_pair_edit(tiny_denoiser, photos, edit, strength, entry, SAMPLING) for strength in (0.0, 0.05, -0.05)
    )
    assert torch.nn.functional.cosine_similarity((plus - zero).flatten(), (minus - zero).flatten(), dim=0) < -0.9


def test_a_region_and_the_first_steps_are_left_alone(tiny_denoiser, edit, photos, entry):
    zero, edited = (apply_pair_edit(tiny_denoiser, photos, edit, s, entry, SAMPLING) for s in (0.0, 1.0))
    untouched = apply_pair_edit(tiny_denoiser, photos, edit, 1.0, entry, replace(SAMPLING, unedited=1.0))
    assert torch.allclose(untouched, zero, atol=1e-2)
    nowhere, everywhere, left = torch.zeros(64, 64), torch.ones(1, 64, 64), torch.zeros(3, 64, 64)
    left[..., :32] = 1
    assert torch.allclose(apply_pair_edit(tiny_denoiser, photos, edit, 1.0, entry, SAMPLING, nowhere), zero, atol=1e-2)
    masked = apply_pair_edit(tiny_denoiser, photos, edit, 1.0, entry, SAMPLING, everywhere)
    assert torch.allclose(masked, edited, atol=1e-2)
    change = (apply_pair_edit(tiny_denoiser, photos, edit, 1.0, entry, SAMPLING, left) - zero).abs().mean(dim=(0, 1, 2))
    assert float(change[:3].mean()) > 2 * float(change[5:].mean())


def test_nothing_is_left_behind(tiny_denoiser, edit, photos, entry):
    class StopError(Exception):
        pass

    def progress(step, total, preview=None):
        if step == 8:
            raise StopError

    state = {name: tensor.clone() for name, tensor in tiny_denoiser.network.state_dict().items()}
    with torch.inference_mode():
        apply_pair_edit(tiny_denoiser, photos, edit, 1.0, entry, SAMPLING)
        with pytest.raises(StopError):
            apply_pair_edit(tiny_denoiser, photos, edit, 1.0, entry, SAMPLING, progress=progress)
    assert all(torch.equal(state[name], tensor) for name, tensor in tiny_denoiser.network.state_dict().items())
    assert not [module for module in tiny_denoiser.network.modules() if module._forward_hooks]


def test_progress_ends_at_its_total(tiny_denoiser, edit, photos, entry):
    reports = []

    def progress(step, total, preview=None):
        reports.append((step, total))

    sampling = replace(SAMPLING, at_once=2)
    apply_pair_edit(tiny_denoiser, photos, edit, 1.0, entry, sampling, progress=progress)
    assert reports[-1] == (22, 22) and [step for step, _ in reports] == list(range(1, 23))


def test_wrong_input_is_refused_with_a_sentence(tiny_denoiser, edit, photos, entry):
    broken = photos.clone()
    broken[1, 0, 0, 0] = float("inf")
    for words, strengths, pictures in (
        ("2 strengths, .* for 3 pictures", torch.ones(2), photos),
        ("4 strengths, .* for 3 pictures", torch.ones(4), photos),
        ("1 strengths, .* for 3 pictures", torch.ones(1), photos),
        ("not finite", torch.tensor([1.0, float("nan"), 0.0]), photos),
        ("photos latents hold values that are not finite", torch.ones(3), broken),
        ("photos latents have shape", torch.ones(3), photos[0]),
        ("works on", torch.ones(3), photos[:, :3]),
    ):
        with pytest.raises(InputError, match=words):
            apply_pair_edit(tiny_denoiser, pictures, edit, strengths, entry, SAMPLING)
    with pytest.raises(InputError, match="inverted latents have shape"):
        apply_pair_edit(tiny_denoiser, photos, edit, 1.0, entry, SAMPLING, inverted=photos[:2])
    with pytest.raises(InputError, match="mask has shape"):
        apply_pair_edit(tiny_denoiser, photos, edit, 1.0, entry, SAMPLING, torch.ones(2, 8, 8))
    with pytest.raises(InputError, match="steps"):
        PairSampling(steps=0)


def test_an_edit_of_another_model_is_refused(tiny_denoiser, edit, photos, entry):
    renamed = {key.replace("lora_unet_", "lora_unet_x_"): tensor for key, tensor in edit.lora.items()}
    wider = {
        key: torch.cat([tensor, tensor]) if key.endswith("up.weight") else tensor for key, tensor in edit.lora.items()
    }
    for lora, words in ((renamed, "has no layer"), (wider, "has weights")):
        other = PairEdit(lora, "another tiny model")
        with pytest.raises(InputError, match=f"learned on 'another tiny model' and does not fit .*{words}"):
            apply_pair_edit(tiny_denoiser, photos, other, 1.0, entry, SAMPLING)
    with pytest.raises(InputError, match="no low-rank pair edit"):
        PairEdit({key: tensor for key, tensor in edit.lora.items() if "down" not in key})


def test_one_pass_is_the_lora_at_half_the_strength(tiny_denoiser, edit, photos, entry):
    """Against merged weights, by Euler's steps; with a mask, only inside of it."""
    sampling, strengths = replace(SAMPLING, one_pass=True), torch.tensor([0.0, 1.0, -2.0])
    noise = photos_to_noise(tiny_denoiser, photos, entry, SAMPLING)
    edited = apply_pair_edit(tiny_denoiser, photos, edit, strengths, entry, sampling, inverted=noise)
    together = apply_pair_edit(
        tiny_denoiser, photos, edit, strengths, entry, replace(sampling, at_once=3), inverted=noise
    )
    assert torch.allclose(together, edited, atol=1e-3)
    changes = {f"{name}.weight": lora.delta for name, lora in edit.loras_for(tiny_denoiser).items()}
    levels = noise_levels(tiny_denoiser, SAMPLING.steps)
    for k, strength in enumerate(strengths.tolist()):
        model, x = tiny_denoiser.patched(changes, strength / 2), tiny_denoiser.latent_in(noise[k : k + 1])
        condition = model.condition(*entry, (1, 4, 8, 8))
        with torch.no_grad():
            for sigma, sigma_next in zip(levels[:-1], levels[1:], strict=True):
                x = x + (x - model.denoise(x, sigma[None], condition)) / sigma * (sigma_next - sigma)
        assert torch.allclose(tiny_denoiser.latent_out(x)[0], edited[k], atol=2e-3 * float(edited[k].abs().max()))
    nowhere = apply_pair_edit(tiny_denoiser, photos, edit, 2.0, entry, sampling, torch.zeros(1, 8, 8), noise)
    plain = apply_pair_edit(tiny_denoiser, photos, edit, 0.0, entry, sampling, inverted=noise)
    assert torch.allclose(nowhere, plain, atol=1e-4)


@pytest.mark.parametrize("one_pass", [False, True])
def test_below_its_threshold_an_edit_leaves_a_picture_alone(tiny_denoiser, edit, photos, entry, one_pass):
    """Against merged weights and a sampler written out: of the change, what is large in its picture."""
    threshold, strengths = 0.8, torch.tensor([0.0, 1.0, -2.0])
    sampling = replace(SAMPLING, edit_threshold=threshold, one_pass=one_pass)
    noise = photos_to_noise(tiny_denoiser, photos, entry, SAMPLING)
    edited = apply_pair_edit(tiny_denoiser, photos, edit, strengths, entry, sampling, inverted=noise)
    changes = {f"{name}.weight": lora.delta for name, lora in edit.loras_for(tiny_denoiser).items()}
    levels, condition = noise_levels(tiny_denoiser, SAMPLING.steps), tiny_denoiser.condition(*entry, (1, 4, 8, 8))
    for k, strength in enumerate(strengths.tolist()):
        shares = (0.0, strength / 2) if one_pass else (0.0, 1.0, -1.0)
        models = [tiny_denoiser.patched(changes, share) for share in shares]
        x = tiny_denoiser.latent_in(noise[k : k + 1])
        with torch.no_grad():
            for sigma, sigma_next in zip(levels[:-1], levels[1:], strict=True):
                original, *others = (model.denoise(x, sigma[None], condition) for model in models)
                change = others[0] - original if one_pass else strength * (others[0] - others[1]) / 2
                local = torch.nn.functional.avg_pool2d(
                    change.abs().mean(dim=1, keepdim=True), 3, 1, 1, count_include_pad=False
                ).square()
                weights = local / (local + local.flatten().quantile(threshold)).clamp(min=1e-20)
                x = x + (x - original - change * weights / weights.max().clamp(min=1e-20)) / sigma * (
                    sigma_next - sigma
                )
        assert torch.allclose(tiny_denoiser.latent_out(x)[0], edited[k], atol=2e-3 * float(edited[k].abs().max()))
    everywhere = apply_pair_edit(tiny_denoiser, photos, edit, strengths, entry, replace(sampling, edit_threshold=0.0))
    plain = apply_pair_edit(tiny_denoiser, photos, edit, 0.0, entry, SAMPLING)
    assert (edited - plain)[1:].abs().mean() < (everywhere - plain)[1:].abs().mean()


@given(st.integers(0, 99), st.floats(0.05, 0.95))
def test_a_threshold_keeps_what_is_large_in_its_picture(seed, threshold):
    change = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(seed))
    change[0, :, 8:16, 8:16] *= 20
    weights = above_threshold(change, threshold)
    assert weights.shape == (2, 1, 32, 32) and weights.min() >= 0 and weights.amax(dim=(2, 3)).allclose(torch.ones(1))
    torch.testing.assert_close(above_threshold(-7 * change, threshold), weights)
    torch.testing.assert_close(above_threshold(change[:1], threshold), weights[:1])
    assert weights[0, 0, 9:15, 9:15].min() > 0.6
    higher = above_threshold(change, min(threshold + 0.04, 0.99))
    assert (higher <= weights + 1e-5).all(), "a higher threshold leaves more alone"
    assert above_threshold(torch.full((1, 4, 8, 8), 0.3), threshold).allclose(torch.ones(1)), "a change of all is kept"
    assert not above_threshold(torch.zeros(1, 4, 8, 8), threshold).isnan().any()


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_a_threshold_is_a_share_below_one(threshold):
    with pytest.raises(InputError, match="edit threshold has to be 0 or more and below 1"):
        PairSampling(edit_threshold=threshold)
