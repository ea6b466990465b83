"""SDEdit and DDIB on a small random network, and against what is known of them in closed form."""

from __future__ import annotations

import pytest
import torch
from baselines.diffusion import ddib, sdedit
from semantic_edit.editing.imagic.conditioning import Conditioning
from semantic_edit.models.errors import InputError


class Gaussian:
    """The exact denoiser of latents that are normal with deviation 1 about a mean that the text gives."""

    device, dtype, sigma_min, sigma_max = torch.device("cpu"), torch.float32, 0.03, 14.0

    def latent_in(self, latent):
        return latent * 0.5

    def latent_out(self, x):
        return x / 0.5

    def sigmas_at(self, u):
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** u

    def noised(self, x0, noise, sigma):
        return x0 + sigma.reshape(-1, 1, 1, 1) * noise

    def condition(self, embedding, extras, shape):
        return embedding.mean()

    def denoise(self, x, sigma, condition):
        s = sigma.reshape(-1, 1, 1, 1) ** 2
        return (x + s * condition) / (1 + s)


def said(mean):
    return Conditioning(torch.full((1, 3, 8), float(mean)), {})


@pytest.fixture
def latent():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def test_ddib_carries_the_photo_from_one_mean_to_the_other(latent):
    moved = ddib(Gaussian(), latent, said(0), said(1.5), said(0), steps=400, cfg=1.0)
    shift = 1.5 / 0.5 * (1 - (1 + Gaussian.sigma_max**2) ** -0.5)  # at the most noise the means still differ a little
    assert torch.allclose(moved, latent + shift, atol=0.1)
    back = ddib(Gaussian(), latent, said(0), said(0), said(0), steps=400, cfg=1.0)
    assert torch.allclose(back, latent, atol=0.1)


def test_guidance_goes_beyond_the_sentence(latent):
    once = ddib(Gaussian(), latent, said(0), said(1), said(0), steps=100, cfg=1.0)
    twice = ddib(Gaussian(), latent, said(0), said(1), said(0), steps=100, cfg=2.0)
    assert float((twice - latent).mean()) == pytest.approx(2 * float((once - latent).mean()), rel=0.05)


def test_sdedit_forgets_the_photo_with_more_noise(latent):
    correlations = [
        float(torch.corrcoef(torch.stack([sdedit(Gaussian(), latent, said(0), said(0), denoise, 50, 1.0).flatten(),
                                          latent.flatten()]))[0, 1])
        for denoise in (0.2, 0.6, 1.0)
    ]  # fmt: skip
    assert correlations[0] > 0.97 and correlations[0] > correlations[1] > correlations[2]
    assert abs(correlations[2]) < 0.2


def test_on_a_network_they_repeat_to_the_byte_and_report(tiny_denoiser, latent):
    rng = torch.Generator().manual_seed(2)
    target, source, negative = (Conditioning(torch.randn(1, 7, 32, generator=rng), {}) for _ in range(3))
    steps = []
    first = sdedit(tiny_denoiser, latent, target, negative, 0.5, 4, seed=3, progress=lambda *at, **_: steps.append(at))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert first.shape == latent.shape and torch.equal(
        first, sdedit(tiny_denoiser, latent, target, negative, 0.5, 4, seed=3)
    )
    assert not torch.equal(first, sdedit(tiny_denoiser, latent, target, negative, 0.5, 4, seed=4))
    steps.clear()
    crossed = ddib(tiny_denoiser, latent, source, target, negative, 4, progress=lambda *at, **_: steps.append(at))
    assert steps[-1] == (8, 8) and torch.isfinite(crossed).all()
    assert torch.equal(crossed, ddib(tiny_denoiser, latent, source, target, negative, 4))


@pytest.mark.parametrize(
    ("change", "words"),
    [({"denoise": 0.0}, "denoise is 0"), ({"denoise": 1.5}, "denoise is 1.5"), ({"steps": 0}, "1 or more steps")],
)
def test_sdedit_refuses(change, words, latent):
    with pytest.raises(InputError, match=words):
        sdedit(Gaussian(), latent, said(0), said(0), **change)


def test_several_photos_are_refused(latent):
    with pytest.raises(InputError, match="2 photos"):
        ddib(Gaussian(), latent.repeat(2, 1, 1, 1), said(0), said(0), said(0))
