"""The denoiser of the demo diffusion model: a UNet of two levels on 16 x 16 latents, epsilon prediction."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.loading.libraries import import_diffusers
from .common import Job, set_rate, warm_cosine
from .diffusion_pictures import LATENT_CHANNELS
from .diffusion_text import WIDTH as TEXT_WIDTH
from .diffusion_text import described, token_ids
from .resumable import Resumable

CHANNELS = (64, 128)
LATENT_SIZE = 16
_BATCH = 32
_RATE = 1.2e-3
_UNTOLD = 0.12  # share of portraits shown without a sentence, for classifier-free guidance
SCHEDULE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def denoiser() -> nn.Module:
    """An untrained UNet2DConditionModel."""
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


def signal_shares() -> Tensor:
    """The share of the signal's variance that is left at each of the 1000 timesteps."""
    roots = torch.linspace(SCHEDULE["beta_start"] ** 0.5, SCHEDULE["beta_end"] ** 0.5, 1000, dtype=torch.float64)
    return (1 - roots.square()).cumprod(0).float()


class DenoiserTraining:
    """The denoiser, its frozen text encoder, and the portraits it learns from."""

    def __init__(self, job: Job, text: nn.Module, tokenizer):
        self.job, self.text, self.tokenizer = job, text, tokenizer
        self.shares = signal_shares()
        self.state = Resumable(job, job.out / "state_unet.safetensors", denoiser(), _RATE)
        self.rng = self.state.generator()

    def train(self, latents: Tensor, known: list[dict[str, str]], steps: int, saved) -> nn.Module:
        """``latents [N, 4, 16, 16]`` of unit variance; ``saved(unet)`` is called whenever there is a new version."""
        state, total = self.state, 0.0
        while state.step < steps:
            set_rate(state.optimizer, _RATE * warm_cosine(state.step, steps, 100, 0.4))
            picked = torch.randint(0, len(known), (_BATCH,), generator=self.rng)
            loss = self._loss(latents[picked].float(), [known[i] for i in picked.tolist()])
            state.update(loss)
            total += loss.item()
            if state.step % 100 == 0 or state.step == steps:
                self.job.say(f"denoiser, step {state.step} of {steps}: loss {total / 100:.4f}, {state.seconds():.0f} s")
                total = 0.0
                if state.due() or state.step == steps:
                    state.save()
                    saved(state.average)
        return state.average

    def _loss(self, latents: Tensor, known: list[dict[str, str]]) -> Tensor:
        noise = torch.randn(latents.shape, generator=self.rng)
        times = torch.randint(0, 1000, (len(latents),), generator=self.rng)
        share = self.shares[times][:, None, None, None]
        noisy = share.sqrt() * latents + (1 - share).sqrt() * noise
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                told = self.text(token_ids(self.tokenizer, [self._sentence(entry) for entry in known]))
            predicted = self.state.model(noisy, times, told.last_hidden_state).sample
        return F.mse_loss(predicted.float(), noise)

    def _sentence(self, known: dict[str, str]) -> str:
        if float(torch.rand((), generator=self.rng)) < _UNTOLD:
            return ""
        return described(known, self.rng).text
