"""The picture codes of the demo diffusion model: an AutoencoderKL whose latents look like Stable Diffusion's.

The inner autoencoder learns 64 pixels and 16 x 16 latents. Its latents are then centred and scaled by folding the
change into the two 1 x 1 convolutions next to them, so that SD 1.x's factor of 0.18215 gives unit variance and any
program that knows SD 1.x's latents knows these.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ...demo.portraits.factors import factors_from_z
from ...demo.portraits.render import render
from ...demo.readers import PortraitReader
from ...models.loading.libraries import import_diffusers
from .common import Job, psnr, sample_z, set_rate, warm_cosine
from .data_parallel import Crew
from .losses import feature_loss, picture_loss
from .render_cache import RenderCache
from .resumable import Resumable
from .sheet import save_sheet

INNER_SIZE = 64
LATENT_CHANNELS = 4
SCALING = 0.18215
WIDTH = 64
_BATCH = 8
_RATE = 1.5e-3
_KL = 1e-4


def autoencoder(levels: int, size: int) -> nn.Module:
    """An untrained AutoencoderKL of ``levels`` resolutions, the factor of its latents 2 ** (levels - 1)."""
    return import_diffusers().AutoencoderKL(
        block_out_channels=(WIDTH,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=32,
        sample_size=size,
        scaling_factor=SCALING,
    )


def train_inner(job: Job, reader: PortraitReader, steps: int) -> nn.Module:
    """The autoencoder of 64 pixels, with centred latents."""
    state = Resumable(job, job.out / "state_vae.safetensors", autoencoder(3, INNER_SIZE), _RATE)
    rng = state.generator()
    cache = RenderCache(INNER_SIZE, 64 if job.smoke else 4096, 3, rng, Crew(1))
    held = _held(INNER_SIZE, 4 if job.smoke else 64)
    total = 0.0
    while state.step < steps:
        set_rate(state.optimizer, _RATE * warm_cosine(state.step, steps, 50, 0.3))
        _, images, weights = cache.batch(2 if job.smoke else _BATCH)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = state.model.encode(images).latent_dist
            painted = state.model.decode(posterior.sample(rng)).sample
        painted = painted.float()
        loss = picture_loss(painted, images, weights) + feature_loss(reader, painted, images)
        state.update(loss + _KL * posterior.kl().float().mean() / posterior.mean[0].numel() * LATENT_CHANNELS)
        total += loss.item()
        if state.step % 100 == 0 or state.step == steps:
            quality = psnr(reconstructed(state.average, held), held)
            job.say(
                f"pictures, step {state.step} of {steps}: loss {total / 100:.4f}, PSNR {quality:.2f}, "
                f"{state.seconds():.0f} s"
            )
            total = 0.0
            if state.due() or state.step == steps:
                state.save()
                _show(job, state.average, held)
    centre_latents(state.average, held if job.smoke else _held(INNER_SIZE, 512))
    return state.average


@torch.no_grad()
def centre_latents(vae: nn.Module, images: Tensor) -> None:
    """Fold a shift and a scale of each latent channel into the convolutions beside the latents, in place."""
    means = torch.cat([vae.encode(part).latent_dist.mean for part in images.split(64)])
    shift = means.mean((0, 2, 3))
    scale = means.std((0, 2, 3)) * SCALING  # new = (old - shift) / scale has a deviation of 1 / SCALING
    channels = len(shift)
    before, after = vae.quant_conv, vae.post_quant_conv
    before.bias[:channels] -= shift
    before.bias[:channels] /= scale
    before.weight[:channels] /= scale[:, None, None, None]
    before.bias[channels:] -= 2 * scale.log()  # the other half are logarithms of variances
    after.bias += after.weight[:, :, 0, 0] @ shift
    after.weight *= scale[None, :, None, None]


@torch.no_grad()
def reconstructed(vae: nn.Module, images: Tensor) -> Tensor:
    """There and back ``[B, 3, H, W]``."""
    return torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in images.split(32)])


@torch.no_grad()
def codes(vae: nn.Module, pictures: Iterator[Tensor]) -> Tensor:
    """Scaled latents ``[N, 4, 16, 16]`` of pictures in -1..1, which come in batches."""
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat([vae.encode(part).latent_dist.mean.float() * SCALING for part in pictures])


def _held(size: int, count: int) -> Tensor:
    return render(factors_from_z(sample_z(count, torch.Generator().manual_seed(0))), size).images


def _show(job: Job, vae: nn.Module, held: Tensor) -> None:
    some = held[:16] if len(held) >= 16 else held
    save_sheet(job.out / "sheet_vae.png", torch.cat([some, reconstructed(vae, some)]), len(some))
