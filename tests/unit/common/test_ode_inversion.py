"""DDIM inversion: closed forms, the way back, schedules that end early, and the host's own scaling of noise."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.common.diffusion.ode_inversion import (
    down_to_least_noise,
    invert_to_noise,
    noise_levels,
    unit_noise,
)
from semantic_edit.editing.imagic.sampling import Sampling
from semantic_edit.editing.pair.applying import photos_to_noise
from semantic_edit.editing.pair.settings import PairSampling
from semantic_edit.headless.host.diffusion import HeadlessDiffusion
from semantic_edit.models.diffusion.model import DiffusionModel
from semantic_edit.models.diffusion.sampling import SCHEDULES, calculate_sigmas, sample
from semantic_edit.models.diffusion.schedule import PREDICTIONS, NoiseSchedule
from semantic_edit.models.errors import InputError


@pytest.fixture
def entry():
    return torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(2)), {}


@pytest.fixture
def photos():
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(4))


def model_of(prediction, network):
    schedule = NoiseSchedule.flow(shift=3.0) if prediction == "flow" else NoiseSchedule.discrete(prediction)
    return DiffusionModel(network, schedule)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_noise_of_a_gaussian_is_known(prediction):
    """For pictures of a normal distribution the ODE has a closed form, which the inversion follows."""
    spread = 0.7
    schedule = NoiseSchedule.flow() if prediction == "flow" else NoiseSchedule.discrete(prediction)
    model = DiffusionModel(torch.nn.Linear(1, 1), schedule)

    def signal(sigma):
        return 1 - sigma if prediction == "flow" else torch.ones_like(sigma)

    def denoise(x, sigma):  # the posterior mean
        return x * signal(sigma) * spread**2 / ((signal(sigma) * spread) ** 2 + sigma**2)

    levels = noise_levels(model, 400)
    x0 = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(1)) * spread
    noise = invert_to_noise(denoise, x0, levels, 3)
    top, low = levels[0], levels[-2]
    deviation = ((signal(top) * spread) ** 2 + top**2).sqrt() / ((signal(low) * spread) ** 2 + low**2).sqrt()
    assert torch.allclose(noise, x0 * deviation, rtol=0.05)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_refined_steps_find_the_way_back(prediction, tiny_unet, photos, entry):
    schedule = NoiseSchedule.flow(shift=3.0) if prediction == "flow" else NoiseSchedule.discrete(prediction)
    model, errors = DiffusionModel(tiny_unet, schedule), []
    noise_scale = float(noise_levels(model, 8)[0])
    for refinements in (0, 4):
        sampling = PairSampling(steps=8, refinements=refinements)
        noise = model.latent_in(photos_to_noise(model, photos, entry, sampling))
        assert 0.2 < float(noise.std()) / noise_scale < 5
        x, levels = noise, noise_levels(model, 8)
        condition = model.condition(*entry, (1, 4, 8, 8))
        with torch.no_grad():
            for sigma, sigma_next in zip(levels[:-2], levels[1:-1], strict=True):
                x = x + (x - model.denoise(x, sigma.expand(3), condition)) / sigma * (sigma_next - sigma)
        errors.append(float((x - model.latent_in(photos)).abs().max()))
    assert errors[1] < 0.6 * errors[0]


class GaussianModel(DiffusionModel):
    """Denoises as if pictures were normally distributed with deviation 0.7: smooth, and known in closed form."""

    def condition(self, embedding, extras, shape):
        return None

    def denoise(self, x, sigma, condition):
        sigma = sigma[:, None, None, None]
        signal = 1 - sigma if self.schedule.is_flow else torch.ones_like(sigma)
        return x * signal * 0.7**2 / ((signal * 0.7) ** 2 + sigma**2)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("scheduler", ["karras", "simple", "sgm_uniform"])
def test_the_sampler_makes_the_photos_of_their_noise(headless_host, photos, entry, prediction, scheduler):
    """Also where a schedule begins below the most noise, and where it stops far above the least."""
    schedule = NoiseSchedule.flow(shift=3.0) if prediction == "flow" else NoiseSchedule.discrete(prediction)
    model = GaussianModel(torch.nn.Linear(1, 1), schedule)
    for denoise in (1.0, 0.6):
        sampling = Sampling(100, 1.0, "euler", scheduler, denoise)
        noise = HeadlessDiffusion().photo_noise(model, [list(entry)], photos, sampling)
        back = sample(model, photos, [list(entry)], [list(entry)], "euler", scheduler, 100, 1.0, denoise, noise=noise)
        assert noise.shape == photos.shape
        assert float((back - photos).abs().max()) < 0.06 * float(photos.abs().max()), denoise


def test_it_counts_its_steps_and_refuses_what_only_comfyui_samples(headless_host, tiny_unet, photos, entry):
    model, steps = model_of("epsilon", tiny_unet), []
    HeadlessDiffusion().photo_noise(
        model, [list(entry)], photos, Sampling(5, 1.0, "euler", "karras"), 0, lambda *step: steps.append(step)
    )
    assert steps == [(k, 4) for k in range(1, 5)]
    with pytest.raises(InputError, match="negative conditioning has 2 entries"):
        HeadlessDiffusion().photo_noise(model, [list(entry)] * 2, photos, Sampling())


@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_an_inversion_begins_at_the_least_noise(tiny_unet, scheduler):
    model = model_of("epsilon", tiny_unet)
    sigmas = calculate_sigmas(model, scheduler, 12)
    levels = down_to_least_noise(sigmas, model.sigma_min)
    assert torch.equal(levels[: len(sigmas) - 1], sigmas[:-1]) and levels[-1] == 0
    assert float(levels[-2]) <= 2.001 * model.sigma_min
    below = levels[len(sigmas) - 2 : -1]
    assert bool((below[:-1] / below[1:] < 2.001).all())


def test_unit_noise_undoes_what_a_sampler_begins_with():
    rng = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 4, 3, 3, generator=rng), torch.randn(2, 4, 3, 3, generator=rng)
    for initial_noise in (lambda x0, n: x0 + 14.6 * n, lambda x0, n: 0.1 * x0 + 0.9 * n, lambda x0, n: n):
        assert torch.allclose(unit_noise(initial_noise(x0, noise), x0, initial_noise), noise, atol=1e-5)
