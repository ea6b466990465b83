"""Fine-tuning of the demo autoencoder as a whole, at full size: more of the picture fits into the same 16 x 16 latents.

Progressive growing froze the inner levels, so what 64 pixels had not shown never reached the latents. Here encoder and
decoder learn together. The latents move a little, and the denoiser has to follow (`denoiser`).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ....demo.portraits.factors import factors_from_z
from ....demo.portraits.render import render
from ....demo.readers import PortraitReader
from ....editing.common.similarity import psnr
from ..common import TrainingRun, gradient_energy, sample_z, set_rate
from ..data_parallel import ThreadedDataParallel
from ..diffusion_growth import varied_factors
from ..diffusion_pictures import LATENT_CHANNELS, SCALING, centre_latents, reconstruct
from ..losses import detail_weights, feature_loss, picture_loss
from ..resumable import Resumable
from ..sheet import save_sheet
from .muon import Muon
from .sharpen import hold_then_cosine

SIZE = 128
_BATCH = 8
_KL = 1e-4
_NOISE = 0.05  # of the latents' deviation: what a denoiser leaves
_WARM_STEPS = 50
_SAY_SECONDS = 120.0


@dataclass(frozen=True)
class AutoencoderPhase:
    """How long the autoencoder learns, and how fast."""

    minutes: float
    rate: float = 1.5e-3
    hold: float = 0.6  # share of the time at the full rate; a cosine to zero follows
    steps: int | None = None  # instead of the minutes


def sharpen_autoencoder(
    run: TrainingRun,
    start: nn.Module,
    reader: PortraitReader,
    phase: AutoencoderPhase,
    parallel: ThreadedDataParallel,
) -> nn.Module:
    """Train all of ``start``, an AutoencoderKL of 128 px, and return its average with centred latents."""
    model = copy.deepcopy(start).float().train().requires_grad_(True)
    optimizer = Muon(*split_autoencoder(model), phase.rate, parallel)
    state = Resumable(run, run.out / "state_sharp_vae.safetensors", model, phase.rate, 0.998, optimizer)
    rng = state.generator()
    held_out = render(factors_from_z(sample_z(4 if run.smoke else 64, torch.Generator().manual_seed(0))), SIZE).images
    count, last_said, totals = 0, -math.inf, torch.zeros(2)

    def loss(images: Tensor, weights: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            posterior = model.encode(images).latent_dist
            deviation = (posterior.var.float() + (_NOISE / SCALING) ** 2).sqrt()
            painted = model.decode(posterior.mean.float() + deviation * noise).sample.float()
        features = feature_loss(reader, painted, images)
        kl = posterior.kl().float().mean() / posterior.mean[0].numel() * LATENT_CHANNELS
        pictures = picture_loss(painted, images, weights) + features
        return pictures + _KL * kl, torch.stack([pictures.detach(), features.detach()])

    while (progress := state.progress(phase.minutes, phase.steps)) < 1:
        rate = phase.rate * hold_then_cosine(progress, phase.hold, 0.0)
        set_rate(optimizer, rate * min(1.0, (state.step + 1) / _WARM_STEPS))
        batch = _batch(2 if run.smoke else _BATCH, rng, parallel)
        totals += parallel.gradients(loss, state.trained, *batch, chunks_per_worker=1)
        nn.utils.clip_grad_norm_(state.trained, 1.0)
        state.advance()
        count += 1
        if state.seconds() - last_said > _SAY_SECONDS or state.progress(phase.minutes, phase.steps) >= 1:
            painted = reconstruct(state.average, held_out)
            detail = gradient_energy(painted) / gradient_energy(held_out)
            mean_loss, features = (totals / count).tolist()
            run.say(
                f"sharp pictures, step {state.step}: loss {mean_loss:.4f}, features {features:.4f}, PSNR "
                f"{psnr(painted, held_out).mean():.2f}, gradient energy {detail:.3f}, rate {rate:.1e}, "
                f"{state.seconds():.0f} s"
            )
            save_sheet(run.out / "sheet_sharp_vae.png", torch.cat([held_out[:12], painted[:12]]), len(held_out[:12]))
            last_said, count = state.seconds(), 0
            totals.zero_()
        if state.due():
            state.save()
    state.save()
    centre_latents(state.average, held_out if run.smoke else _many(512))
    return state.average


def split_autoencoder(vae: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters that learn by Muon (inner kernels and matrices), and by Adam (all others)."""
    matrices, others = [], []
    for name, parameter in vae.named_parameters():
        hidden = parameter.ndim > 1 and not any(end in name for end in ("conv_in", "conv_out", "quant_conv"))
        (matrices if hidden else others).append(parameter)
    return matrices, others


def _batch(count: int, rng: torch.Generator, parallel: ThreadedDataParallel) -> tuple[Tensor, Tensor, Tensor]:
    """Render pictures [B, 3, H, W] and their weights, half of them with details at rest moved, and draw noise."""
    chunks = varied_factors(count, rng).chunk(parallel.workers)
    portraits = parallel.map(lambda factors: render(factors, SIZE, parts=True), chunks)
    images = torch.cat([each.images for each in portraits])
    weights = torch.cat([detail_weights(each.parts) for each in portraits])
    cells = SIZE // 8
    return images, weights, torch.randn(count, LATENT_CHANNELS, cells, cells, generator=rng)


def _many(count: int) -> Tensor:
    return render(factors_from_z(sample_z(count, torch.Generator().manual_seed(1))), SIZE).images
