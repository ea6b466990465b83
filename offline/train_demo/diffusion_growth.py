"""One more level round the demo autoencoder: 128 pixels out of and into the same 16 x 16 latents.

The latents stay what they were, so a denoiser trained on them stays as well. The new encoder level learns what the old
first convolution gave for the halved picture; the new decoder level starts as an enlargement of the old picture and
learns what is lost in it. Everything between is frozen, which makes this cheap.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...demo.portraits.factors import FACTORS, INDEX, factors_from_z
from ...demo.portraits.render import render
from ...demo.readers import PortraitReader
from .common import Job, psnr, sample_z, set_rate, warm_cosine
from .data_parallel import Crew
from .diffusion_pictures import SCALING, autoencoder, reconstructed
from .losses import detail_weights, feature_loss, picture_loss
from .render_cache import RenderCache
from .resumable import Resumable
from .sheet import save_sheet

_BATCH = 8
_RATE = 1e-3
_ENCODER_WEIGHT = 0.3
_POLISH_RATE = 7e-4
_NOISE = 0.05  # of the latents' deviation


def grown(inner: nn.Module, size: int) -> nn.Module:
    """An autoencoder of ``size`` pixels with one level more; enlarges what the inner one decodes until trained."""
    levels = len(inner.config.block_out_channels)
    outer = autoencoder(levels + 1, size)
    moved = {}
    for name, tensor in inner.state_dict().items():
        part = name.split(".")
        if name.startswith("encoder.down_blocks."):
            name = ".".join([*part[:2], str(int(part[2]) + 1), *part[3:]])
        if not name.startswith("encoder.conv_in."):
            moved[name] = tensor
    outer.load_state_dict(moved, strict=False)
    first, last = outer.encoder.down_blocks[0], outer.decoder.up_blocks[levels]
    with torch.no_grad():
        for block in (*first.resnets, *last.resnets):
            block.conv2.weight.zero_()  # nothing is added yet
            block.conv2.bias.zero_()
        enlarge = outer.decoder.up_blocks[levels - 1].upsamplers[0].conv
        nn.init.dirac_(enlarge.weight)
        enlarge.bias.zero_()
    return outer


def new_parts(vae: nn.Module) -> list[nn.Module]:
    """What `grown` added, and the last convolution, which now works at twice the size."""
    decoder = vae.decoder
    outside = [decoder.up_blocks[-2].upsamplers, decoder.up_blocks[-1], decoder.conv_norm_out, decoder.conv_out]
    return [vae.encoder.conv_in, vae.encoder.down_blocks[0], *outside]


def train_outer(job: Job, inner: nn.Module, reader: PortraitReader, steps: int, size: int) -> nn.Module:
    """The grown autoencoder, its new level trained."""
    inner = inner.eval().requires_grad_(False)
    model = grown(inner, size).requires_grad_(False)
    for part in new_parts(model):
        part.requires_grad_(True)
    state = Resumable(job, job.out / "state_outer.safetensors", model, _RATE, 0.995)
    rng = state.generator()
    cache = RenderCache(size, 64 if job.smoke else 1536, 3, rng, Crew(1))
    factors = factors_from_z(sample_z(4 if job.smoke else 48, torch.Generator().manual_seed(0)))
    held = render(factors, size).images
    totals = torch.zeros(2)
    while state.step < steps:
        set_rate(state.optimizer, _RATE * warm_cosine(state.step, steps, 30, 0.3))
        _, images, weights = cache.batch(2 if job.smoke else _BATCH)
        halved = F.avg_pool2d(images, 2)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                latents = inner.encode(halved).latent_dist.mean
                wanted = inner.encoder.conv_in(halved).float()
            entered = model.encoder.down_blocks[0](model.encoder.conv_in(images)).float()
            painted = model.decode(latents).sample.float()
        apart = F.mse_loss(entered, wanted) / wanted.var()
        drawn = picture_loss(painted, images, weights) + feature_loss(reader, painted, images)
        state.update(drawn + _ENCODER_WEIGHT * apart)
        totals += torch.stack([drawn.detach(), apart.detach()])
        if state.step % 50 == 0 or state.step == steps:
            drawn_mean, apart_mean = (totals / 50).tolist()
            job.say(
                f"pictures of {size}, step {state.step} of {steps}: loss {drawn_mean:.4f}, entering {apart_mean:.5f}, "
                f"PSNR {psnr(reconstructed(state.average, held), held):.2f}, {state.seconds():.0f} s"
            )
            totals.zero_()
            if state.due() or state.step == steps:
                state.save()
                some = held[:12]
                save_sheet(
                    job.out / "sheet_outer.png", torch.cat([some, reconstructed(state.average, some)]), len(some)
                )
    job.say(f"latents differ from the inner ones by {latent_change(inner, state.average, held):.4f} of their deviation")
    return state.average


def polish_decoder(job: Job, vae: nn.Module, reader: PortraitReader, steps: int, size: int) -> nn.Module:
    """The whole decoder once more, at full size and from slightly noisy latents, as a denoiser leaves them. The encoder
    stays, and so do the latents. Half of the portraits have resting factors moved, as photos have."""
    model = copy.deepcopy(vae).requires_grad_(False)
    for part in (model.decoder, model.post_quant_conv):
        part.requires_grad_(True)
    state = Resumable(job, job.out / "state_decoder.safetensors", model, _POLISH_RATE, 0.995)
    rng = state.generator()
    held = render(factors_from_z(sample_z(4 if job.smoke else 48, torch.Generator().manual_seed(0))), size).images
    total = 0.0
    while state.step < steps:
        set_rate(state.optimizer, _POLISH_RATE * warm_cosine(state.step, steps, 20, 0.3))
        portraits = render(_varied(2 if job.smoke else _BATCH, rng), size, parts=True)
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
            quality = psnr(reconstructed(state.average, held), held)
            done = f"decoder, step {state.step} of {steps}"
            job.say(f"{done}: loss {total / 50:.4f}, PSNR {quality:.2f}, {state.seconds():.0f} s")
            total = 0.0
            if state.due() or state.step == steps:
                state.save()
                shown = torch.cat([held[:12], reconstructed(state.average, held[:12])])
                save_sheet(job.out / "sheet_decoder.png", shown, len(shown) // 2)
    return state.average


def _varied(count: int, rng: torch.Generator) -> Tensor:
    """Factors of random portraits, of every other one two resting factors moved."""
    factors = factors_from_z(sample_z(count, rng))
    resting = [factor for factor in FACTORS if not factor.live]
    for row in factors[::2]:
        for i in torch.randperm(len(resting), generator=rng)[:2].tolist():
            share = float(torch.rand((), generator=rng))
            row[INDEX[resting[i].name]] = resting[i].low + (resting[i].high - resting[i].low) * share
    return factors


@torch.no_grad()
def latent_change(inner: nn.Module, outer: nn.Module, images: Tensor) -> float:
    """Root mean square difference of the latents of both autoencoders, over their deviation."""
    before = torch.cat([inner.encode(F.avg_pool2d(part, 2)).latent_dist.mean for part in images.split(16)])
    after = torch.cat([outer.encode(part).latent_dist.mean for part in images.split(16)])
    return float((after - before).square().mean().sqrt() / before.std())
