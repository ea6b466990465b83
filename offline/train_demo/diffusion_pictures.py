"""Autoencoder of the demo diffusion model: an AutoencoderKL whose latents look like Stable Diffusion's.

The inner autoencoder learns 64 pixels and 16 x 16 latents. Its latents are then centred and scaled by folding the
change into the two 1 x 1 convolutions next to them, so that SD 1.x's factor of 0.18215 gives unit variance and any
program that knows SD 1.x's latents knows these.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor, nn

from ...demo.portraits.factors import factors_from_z
from ...demo.portraits.render import render
from ...demo.readers import PortraitReader
from ...editing.common.similarity import psnr
from ...models.loading.libraries import import_diffusers
from .common import TrainingRun, sample_z, set_rate, warm_cosine
from .data_parallel import ThreadedDataParallel
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


def build_autoencoder(levels: int, size: int) -> nn.Module:
    """Build an untrained AutoencoderKL of ``levels`` resolutions, whose latents are 2 ** (levels - 1) times smaller."""
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


def train_inner(run: TrainingRun, reader: PortraitReader, steps: int) -> nn.Module:
    """Train the autoencoder of 64 pixels and centre its latents."""
    state = Resumable(run, run.out / "state_vae.safetensors", build_autoencoder(3, INNER_SIZE), _RATE)
    rng = state.generator()
    cache = RenderCache(INNER_SIZE, 64 if run.smoke else 4096, 3, rng, ThreadedDataParallel(1))
    held_out = _held_out(INNER_SIZE, 4 if run.smoke else 64)
    total = 0.0
    while state.step < steps:
        set_rate(state.optimizer, _RATE * warm_cosine(state.step, steps, 50, 0.3))
        _, images, weights = cache.batch(2 if run.smoke else _BATCH)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = state.model.encode(images).latent_dist
            painted = state.model.decode(posterior.sample(rng)).sample
        painted = painted.float()
        loss = picture_loss(painted, images, weights) + feature_loss(reader, painted, images)
        state.update(loss + _KL * posterior.kl().float().mean() / posterior.mean[0].numel() * LATENT_CHANNELS)
        total += loss.item()
        if state.step % 100 == 0 or state.step == steps:
            quality = psnr(reconstruct(state.average, held_out), held_out).mean()
            run.say(
                f"pictures, step {state.step} of {steps}: loss {total / 100:.4f}, PSNR {quality:.2f}, "
                f"{state.seconds():.0f} s"
            )
            total = 0.0
            if state.due() or state.step == steps:
                state.save()
                _save_samples(run, state.average, held_out)
    centre_latents(state.average, held_out if run.smoke else _held_out(INNER_SIZE, 512))
    return state.average


@torch.no_grad()
def centre_latents(vae: nn.Module, images: Tensor) -> None:
    """Fold a shift and a scale of each latent channel into the convolutions beside the latents, in place.

    Args:
        vae: an AutoencoderKL.
        images: ``[B, 3, H, W]`` in -1..1, whose latents have mean 0 and deviation 1 / SCALING afterwards.
    """
    means = torch.cat([vae.encode(chunk).latent_dist.mean for chunk in images.split(64)])
    shift = means.mean((0, 2, 3))
    scale = means.std((0, 2, 3)) * SCALING  # new = (old - shift) / scale has a deviation of 1 / SCALING
    channels = len(shift)
    encoder_conv, decoder_conv = vae.quant_conv, vae.post_quant_conv
    encoder_conv.bias[:channels] -= shift
    encoder_conv.bias[:channels] /= scale
    encoder_conv.weight[:channels] /= rearrange(scale, "c -> c 1 1 1")
    encoder_conv.bias[channels:] -= 2 * scale.log()  # the other half are logarithms of variances
    decoder_conv.bias += decoder_conv.weight[:, :, 0, 0] @ shift
    decoder_conv.weight *= rearrange(scale, "c -> 1 c 1 1")


@torch.no_grad()
def reconstruct(vae: nn.Module, images: Tensor) -> Tensor:
    """Encode and decode ``[B, 3, H, W]``."""
    return torch.cat([vae.decode(vae.encode(chunk).latent_dist.mean).sample for chunk in images.split(32)])


@torch.no_grad()
def encode_latents(vae: nn.Module, batches: Iterator[Tensor]) -> Tensor:
    """Encode batches of pictures ``[B, 3, H, W]`` in -1..1 to scaled latents ``[N, 4, 16, 16]``."""
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat([vae.encode(batch).latent_dist.mean.float() * SCALING for batch in batches])


def _held_out(size: int, count: int) -> Tensor:
    return render(factors_from_z(sample_z(count, torch.Generator().manual_seed(0))), size).images


def _save_samples(run: TrainingRun, vae: nn.Module, images: Tensor) -> None:
    images = images[:16]
    save_sheet(run.out / "sheet_vae.png", torch.cat([images, reconstruct(vae, images)]), len(images))
