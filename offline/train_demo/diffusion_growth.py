"""Progressive growing of the demo autoencoder by one level: 128 pixels out of and into the same 16 x 16 latents.

The latents stay what they were, so a denoiser trained on them stays as well. The new encoder level learns what the old
first convolution gave for the halved picture; the new decoder level starts as an enlargement of the old picture and
learns what is lost in it. Everything between is frozen, which makes this cheap.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...demo.portraits.factors import FACTORS, INDEX, factors_from_z
from ...demo.portraits.render import render
from ...demo.readers import PortraitReader
from ...editing.common.similarity import psnr
from .common import TrainingRun, sample_z, set_rate, warm_cosine
from .data_parallel import ThreadedDataParallel
from .diffusion_pictures import SCALING, build_autoencoder, reconstruct
from .losses import detail_weights, feature_loss, picture_loss
from .render_cache import RenderCache
from .resumable import Resumable
from .sheet import save_sheet

_BATCH = 8
_RATE = 1e-3
_ENCODER_WEIGHT = 0.3
_POLISH_RATE = 7e-4
_NOISE = 0.05  # of the latents' deviation


def add_level(inner: nn.Module, size: int) -> nn.Module:
    """Build an autoencoder of ``size`` pixels with one level more; until trained it enlarges what ``inner`` decodes."""
    levels = len(inner.config.block_out_channels)
    outer = build_autoencoder(levels + 1, size)
    weights = {}
    for name, tensor in inner.state_dict().items():
        path = name.split(".")
        if name.startswith("encoder.down_blocks."):
            name = ".".join([*path[:2], str(int(path[2]) + 1), *path[3:]])
        if not name.startswith("encoder.conv_in."):
            weights[name] = tensor
    outer.load_state_dict(weights, strict=False)
    first, last = outer.encoder.down_blocks[0], outer.decoder.up_blocks[levels]
    with torch.no_grad():
        for block in (*first.resnets, *last.resnets):
            block.conv2.weight.zero_()  # nothing is added yet
            block.conv2.bias.zero_()
        enlarge = outer.decoder.up_blocks[levels - 1].upsamplers[0].conv
        nn.init.dirac_(enlarge.weight)
        enlarge.bias.zero_()
    return outer


def added_modules(vae: nn.Module) -> list[nn.Module]:
    """List what `add_level` added, and the last convolution, which now works at twice the size."""
    decoder = vae.decoder
    decoder_modules = [decoder.up_blocks[-2].upsamplers, decoder.up_blocks[-1], decoder.conv_norm_out, decoder.conv_out]
    return [vae.encoder.conv_in, vae.encoder.down_blocks[0], *decoder_modules]


def train_outer(run: TrainingRun, inner: nn.Module, reader: PortraitReader, steps: int, size: int) -> nn.Module:
    """Add a level to the autoencoder and train it; return the averaged network."""
    inner = inner.eval().requires_grad_(False)
    model = add_level(inner, size).requires_grad_(False)
    for module in added_modules(model):
        module.requires_grad_(True)
    state = Resumable(run, run.out / "state_outer.safetensors", model, _RATE, 0.995)
    rng = state.generator()
    cache = RenderCache(size, 64 if run.smoke else 1536, 3, rng, ThreadedDataParallel(1))
    factors = factors_from_z(sample_z(4 if run.smoke else 48, torch.Generator().manual_seed(0)))
    held_out = render(factors, size).images
    totals = torch.zeros(2)
    while state.step < steps:
        set_rate(state.optimizer, _RATE * warm_cosine(state.step, steps, 30, 0.3))
        _, images, weights = cache.batch(2 if run.smoke else _BATCH)
        halved = F.avg_pool2d(images, 2)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                latents = inner.encode(halved).latent_dist.mean
                target = inner.encoder.conv_in(halved).float()
            encoded = model.encoder.down_blocks[0](model.encoder.conv_in(images)).float()
            painted = model.decode(latents).sample.float()
        encoder_loss = F.mse_loss(encoded, target) / target.var()
        decoder_loss = picture_loss(painted, images, weights) + feature_loss(reader, painted, images)
        state.update(decoder_loss + _ENCODER_WEIGHT * encoder_loss)
        totals += torch.stack([decoder_loss.detach(), encoder_loss.detach()])
        if state.step % 50 == 0 or state.step == steps:
            decoder_mean, encoder_mean = (totals / 50).tolist()
            quality = psnr(reconstruct(state.average, held_out), held_out).mean()
            run.say(
                f"pictures of {size}, step {state.step} of {steps}: loss {decoder_mean:.4f}, "
                f"entering {encoder_mean:.5f}, PSNR {quality:.2f}, {state.seconds():.0f} s"
            )
            totals.zero_()
            if state.due() or state.step == steps:
                state.save()
                _save_samples(run.out / "sheet_outer.png", state.average, held_out[:12])
    run.say(
        f"latents differ from the inner ones by {latent_change(inner, state.average, held_out):.4f} of their deviation"
    )
    return state.average


def polish_decoder(run: TrainingRun, vae: nn.Module, reader: PortraitReader, steps: int, size: int) -> nn.Module:
    """Train the whole decoder once more, at full size and from slightly noisy latents, as a denoiser leaves them.

    The encoder stays, and so do the latents. Half of the portraits have resting factors moved, as photos have.
    """
    model = copy.deepcopy(vae).requires_grad_(False)
    for module in (model.decoder, model.post_quant_conv):
        module.requires_grad_(True)
    state = Resumable(run, run.out / "state_decoder.safetensors", model, _POLISH_RATE, 0.995)
    rng = state.generator()
    held_out = render(factors_from_z(sample_z(4 if run.smoke else 48, torch.Generator().manual_seed(0))), size).images
    total = 0.0
    while state.step < steps:
        set_rate(state.optimizer, _POLISH_RATE * warm_cosine(state.step, steps, 20, 0.3))
        portraits = render(varied_factors(2 if run.smoke else _BATCH, rng), size, parts=True)
        images, weights = portraits.images, detail_weights(portraits.parts)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                latents = vae.encode(images).latent_dist.mean.float()
                latents += _NOISE / SCALING * torch.randn(latents.shape, generator=rng)
            painted = model.decode(latents).sample.float()
        loss = picture_loss(painted, images, weights) + feature_loss(reader, painted, images)
        state.update(loss)
        total += loss.item()
        if state.step % 50 == 0 or state.step == steps:
            quality = psnr(reconstruct(state.average, held_out), held_out).mean()
            position = f"decoder, step {state.step} of {steps}"
            run.say(f"{position}: loss {total / 50:.4f}, PSNR {quality:.2f}, {state.seconds():.0f} s")
            total = 0.0
            if state.due() or state.step == steps:
                state.save()
                _save_samples(run.out / "sheet_decoder.png", state.average, held_out[:12])
    return state.average


def _save_samples(path: Path, vae: nn.Module, images: Tensor) -> None:
    """Write a row of pictures [B, 3, H, W], and their reconstructions below."""
    save_sheet(path, torch.cat([images, reconstruct(vae, images)]), len(images))


def varied_factors(count: int, rng: torch.Generator) -> Tensor:
    """Sample factors [count, K]; in every other portrait two resting factors are moved."""
    factors = factors_from_z(sample_z(count, rng))
    resting = [factor for factor in FACTORS if not factor.live]
    for row in factors[::2]:
        for i in torch.randperm(len(resting), generator=rng)[:2].tolist():
            share = float(torch.rand((), generator=rng))
            row[INDEX[resting[i].name]] = resting[i].low + (resting[i].high - resting[i].low) * share
    return factors


@torch.no_grad()
def latent_change(inner: nn.Module, outer: nn.Module, images: Tensor) -> float:
    """Compute the RMS difference of both autoencoders' latents of ``[B, 3, H, W]``, in standard deviations."""
    inner_latents = torch.cat([inner.encode(F.avg_pool2d(chunk, 2)).latent_dist.mean for chunk in images.split(16)])
    outer_latents = torch.cat([outer.encode(chunk).latent_dist.mean for chunk in images.split(16)])
    return float((outer_latents - inner_latents).square().mean().sqrt() / inner_latents.std())
