"""The loss in the network's own units, for every kind of prediction."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.editing.imagic.conditioning import Conditioning
from semantic_edit.editing.imagic.loss import NoiseBatch, TargetLatent, denoising_loss
from semantic_edit.models.diffusion.model import DiffusionModel
from semantic_edit.models.diffusion.schedule import PREDICTIONS, NoiseSchedule
from semantic_edit.models.errors import InputError


def schedule_of(prediction: str) -> NoiseSchedule:
    return NoiseSchedule.flow(shift=3.0) if prediction == "flow" else NoiseSchedule.discrete(prediction)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_loss_is_the_one_the_network_was_trained_on(prediction, tiny_unet):
    """Against the textbook losses, written out: noise, velocity and flow."""
    model = DiffusionModel(tiny_unet, schedule_of(prediction))
    rng = torch.Generator().manual_seed(3)
    target = TargetLatent(torch.randn(1, 4, 8, 8, generator=rng))
    entry = Conditioning(torch.randn(1, 7, 32, generator=rng), {})
    sigma, noise = model.sigmas_at(torch.tensor([0.1, 0.5, 0.9])), torch.randn(3, 4, 8, 8, generator=rng)
    with torch.no_grad():
        loss = denoising_loss(model, target, NoiseBatch(sigma, noise), entry)
        s, x0 = sigma[:, None, None, None], target.x0.expand(3, -1, -1, -1)
        if prediction == "flow":
            x, expected = (1 - s) * x0 + s * noise, noise - x0
        else:
            signal, noise_share = 1 / (s**2 + 1).sqrt(), s / (s**2 + 1).sqrt()
            x = signal * x0 + noise_share * noise  # variance preserving, as these networks are fed
            expected = noise if prediction == "epsilon" else signal * noise - noise_share * x0
        time = model.schedule.timestep(sigma)
        output = tiny_unet(x, time, encoder_hidden_states=entry.embedding.expand(3, -1, -1)).sample
    assert float(loss) == pytest.approx(float((output - expected).square().mean()), rel=1e-4)


@given(st.sampled_from(PREDICTIONS), st.floats(0.0, 1.0), st.integers(0, 2**20))
@settings(max_examples=40, deadline=None)
def test_the_gain_is_the_slope_of_the_picture(prediction, share, seed):
    schedule = schedule_of(prediction)
    rng = torch.Generator().manual_seed(seed)
    x, output = torch.randn(1, 2, 3, 3, generator=rng).double(), torch.randn(1, 2, 3, 3, generator=rng).double()
    sigma = schedule.sigmas_at(torch.tensor([share])).double()
    slope = schedule.denoised(x, output + 1, sigma) - schedule.denoised(x, output, sigma)
    assert torch.allclose(slope, schedule.output_gain(sigma).expand_as(slope), rtol=1e-6, atol=1e-9)


@given(st.sampled_from(PREDICTIONS), st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_perfect_output_gives_back_the_picture(prediction, share):
    schedule = schedule_of(prediction)
    rng = torch.Generator().manual_seed(1)
    x0, noise = torch.randn(1, 2, 3, 3, generator=rng).double(), torch.randn(1, 2, 3, 3, generator=rng).double()
    sigma = schedule.sigmas_at(torch.tensor([share])).double()
    root = (sigma**2 + 1).sqrt()
    answer = {"epsilon": noise, "v_prediction": (noise - sigma * x0) / root, "flow": noise - x0}[prediction]
    assert torch.allclose(schedule.denoised(schedule.noised(x0, noise, sigma), answer, sigma), x0, atol=1e-6)


def test_levels_rise_and_stay_in_range():
    schedule = NoiseSchedule.discrete()
    levels = schedule.sigmas_at(torch.linspace(0, 1, 50))
    assert bool((levels.diff() > 0).all())
    assert float(levels[0]) == pytest.approx(float(schedule.sigmas[0])) and float(levels[-1]) == pytest.approx(
        14.6146, rel=1e-4
    )
    assert schedule.timestep(schedule.sigmas[[0, 400, 999]]).tolist() == [0.0, 400.0, 999.0]


def test_draws_cover_all_levels_in_pairs(tiny_denoiser):
    target = TargetLatent(torch.zeros(1, 4, 8, 8))
    noise = target.draw_noise(tiny_denoiser, 8, (0.0, 1.0), torch.Generator().manual_seed(0))
    assert torch.equal(noise.noise[0::2], -noise.noise[1::2])
    shares = tiny_denoiser.schedule.timestep(noise.sigma).sort().values / 999
    assert all(k / 8 - 0.002 <= share <= (k + 1) / 8 + 0.002 for k, share in enumerate(shares.tolist()))


def test_a_mask_moves_the_weight_and_keeps_the_mean(tiny_denoiser):
    mask = torch.zeros(1, 32, 32)
    mask[:, :16] = 1
    target = TargetLatent.from_vae(tiny_denoiser, torch.randn(1, 4, 8, 8), mask, 3.0)
    assert float(target.weight.mean()) == pytest.approx(1.0)
    assert float(target.weight[0, 0, 0, 0] / target.weight[0, 0, -1, -1]) == pytest.approx(3.0)


def test_several_photos_and_other_channels_are_refused(tiny_denoiser):
    with pytest.raises(InputError, match="Got 2 photos"):
        TargetLatent.from_vae(tiny_denoiser, torch.zeros(2, 4, 8, 8))
    with pytest.raises(InputError, match=r"\[1, 3, 8, 8\].*4, h, w"):
        TargetLatent.from_vae(tiny_denoiser, torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match="expected one of|works with"):
        NoiseSchedule("sample", torch.tensor([0.1, 1.0]))


def test_a_transformer_with_a_pooled_output_denoises_as_a_flow():
    from semantic_edit.models.loading.libraries import import_diffusers

    pytest.importorskip("transformers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = import_diffusers().SD3Transformer2DModel(
            sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
            num_attention_heads=2, joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=6,
        )  # fmt: skip
    model = DiffusionModel(network.eval().requires_grad_(False), NoiseSchedule.flow(3.0))
    entry = Conditioning(torch.randn(1, 7, 32), {"pooled_output": torch.randn(1, 6)})
    x0, noise, sigma = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([0.3, 0.8])
    with torch.no_grad():
        x = model.noised(x0, noise, sigma)
        denoised = model.denoise(x, sigma, model.condition(entry.embedding, entry.extras, x.shape))
        output = network(x, entry.embedding.expand(2, -1, -1), entry.pooled.expand(2, -1), timestep=sigma * 1000).sample
    assert torch.allclose(denoised, x - sigma[:, None, None, None] * output, atol=1e-5)
    with pytest.raises(InputError, match="needs a pooled output"):
        model.condition(entry.embedding, {}, x.shape)
