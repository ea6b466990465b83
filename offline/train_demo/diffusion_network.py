"""Denoiser of the demo diffusion model: a UNet of two levels on 16 x 16 latents, epsilon prediction."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.loading.libraries import import_diffusers
from .common import TrainingRun, set_rate, warm_cosine
from .diffusion_pictures import LATENT_CHANNELS
from .diffusion_text import WIDTH as TEXT_WIDTH
from .diffusion_text import random_description, token_ids
from .resumable import Resumable

CHANNELS = (64, 128)
LATENT_SIZE = 16
_BATCH = 32
_RATE = 1.2e-3
UNCONDITIONAL = 0.12  # share of portraits shown without a sentence, for classifier-free guidance (2207.12598)
SCHEDULE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def build_denoiser() -> nn.Module:
    """Build an untrained UNet2DConditionModel."""
    return import_diffusers().UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        # Sentences are heard at 8 x 8 only: at 16 x 16 attention doubles the time of a step.
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # the NUMBER of heads: the library keeps an old name
        norm_num_groups=32,
    )


@cache
def alphas_cumprod() -> Tensor:
    """Compute the share of the signal's variance that is left at each of the 1000 timesteps, ``[1000]``."""
    roots = torch.linspace(SCHEDULE["beta_start"] ** 0.5, SCHEDULE["beta_end"] ** 0.5, 1000, dtype=torch.float64)
    return (1 - roots.square()).cumprod(0).float()


def draw_noise(latents: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw the noise of latents ``[B, C, h, w]``, and their timesteps ``[B]``."""
    noise = torch.randn(latents.shape, generator=rng)
    return noise, torch.randint(0, SCHEDULE["num_train_timesteps"], (len(latents),), generator=rng)


def noise_loss(unet: nn.Module, text: nn.Module, latents: Tensor, noise: Tensor, times: Tensor, ids: Tensor) -> Tensor:
    """Compute the simple loss of DDPM (2006.11239, Eq. 14).

    Args:
        unet: predicts the noise.
        text: frozen.
        latents: ``[B, C, h, w]`` of unit variance.
        noise: like ``latents``.
        times: timesteps ``[B]``.
        ids: tokens of the sentences ``[B, 77]``.

    Returns:
        A scalar.
    """
    alphas = rearrange(alphas_cumprod()[times], "b -> b 1 1 1")
    noisy = alphas.sqrt() * latents + (1 - alphas).sqrt() * noise
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            embedding = text(ids).last_hidden_state
        predicted = unet(noisy, times, embedding).sample
    return F.mse_loss(predicted.float(), noise)


class DenoiserTraining:
    """The denoiser, its frozen text encoder, and the portraits it learns from."""

    def __init__(self, run: TrainingRun, text: nn.Module, tokenizer):
        self.run, self.text, self.tokenizer = run, text, tokenizer
        self.state = Resumable(run, run.out / "state_unet.safetensors", build_denoiser(), _RATE)
        self.rng = self.state.generator()

    def train(
        self,
        latents: Tensor,  # [N, 4, 16, 16] of unit variance
        attributes: list[dict[str, str]],  # attribute -> phrase, of each portrait
        steps: int,
        save: Callable[[nn.Module], None],  # called with the network whenever there is a new version
    ) -> nn.Module:
        """Train to ``steps`` and return the averaged network."""
        state, total = self.state, 0.0
        while state.step < steps:
            set_rate(state.optimizer, _RATE * warm_cosine(state.step, steps, 100, 0.4))
            index = torch.randint(0, len(attributes), (_BATCH,), generator=self.rng)
            loss = self._loss(latents[index].float(), [attributes[i] for i in index.tolist()])
            state.update(loss)
            total += loss.item()
            if state.step % 100 == 0 or state.step == steps:
                self.run.say(f"denoiser, step {state.step} of {steps}: loss {total / 100:.4f}, {state.seconds():.0f} s")
                total = 0.0
                if state.due() or state.step == steps:
                    state.save()
                    save(state.average)
        return state.average

    def _loss(self, latents: Tensor, attributes: list[dict[str, str]]) -> Tensor:
        """Compute the simple loss of DDPM (2006.11239, Eq. 14) of one batch."""
        noise, times = draw_noise(latents, self.rng)
        ids = token_ids(self.tokenizer, [self._sentence(portrait) for portrait in attributes])
        return noise_loss(self.state.model, self.text, latents, noise, times, ids)

    def _sentence(self, attributes: dict[str, str]) -> str:
        if float(torch.rand((), generator=self.rng)) < UNCONDITIONAL:
            return ""
        return random_description(attributes, self.rng).text
