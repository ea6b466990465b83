"""Training of the encoder into W+ of the demo generator, on the generator's own samples and on renders."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from ...demo.assets import demo_file
from ...demo.portraits.factors import FACTORS
from ...editing.common.similarity import psnr
from ...models.encoders.encoder import Encoder, EncoderConfig, save_encoder
from ...models.gan.generator import GanGenerator, load_generator
from ...models.gan.synthesis_run import SynthesisOptions
from .augment import light_disturbance
from .common import TrainingRun, from_bytes, rendered, sample_z, set_rate, to_bytes, warm_cosine
from .data_parallel import ThreadedDataParallel
from .diffusion_growth import varied_factors

_BATCH = 32
_LATENT_WEIGHT = 0.5  # of the squared code error, in standard deviations, beside the picture error


def train_encoder(run: TrainingRun) -> None:
    """Train in two stretches: codes alone, which is cheap, then codes and pictures through the frozen generator.

    In half of the renders details are moved that no sample of the generator has, as photos have them.

    Uses OUT/generator.safetensors when it is there, else the shipped generator.
    """
    torch.manual_seed(run.seed)
    rng = torch.Generator().manual_seed(run.seed)
    parallel = ThreadedDataParallel(torch.get_num_threads())
    path: Path = run.out / "generator.safetensors"
    generator = load_generator(path if path.is_file() else demo_file("generators"))
    size = generator.resolution[0]
    samples, renders, steps, fine_steps = (64, 64, 3, 2) if run.smoke else (4500, 3200, 1100, 500)

    codes = _codes(generator, samples, rng)
    images = torch.cat(parallel.map(partial(_paint, generator), codes.split(64)))
    painted = rendered(varied_factors(renders, rng), size)
    run.say(f"{samples} samples and {renders} renders in {run.seconds():.0f} s")

    encoder = Encoder(EncoderConfig(min(size, 64), 16 if run.smoke else 32, generator.num_layers, generator.w_dim))
    encoder.family = generator.family
    with torch.no_grad():
        encoder.w_mean.copy_(generator.w_mean)
        encoder.w_scale.copy_(generator.w_covariance.diagonal().mean().sqrt())
    optimizer = torch.optim.AdamW(encoder.parameters(), 1.5e-3, (0.9, 0.99), weight_decay=1e-3)
    parameters = list(encoder.parameters())
    held_out = samples // 16  # samples that only measure
    for step in range(steps + fine_steps):
        fine = step >= steps
        fine_rate = 5e-4 * warm_cosine(step - steps, fine_steps, 20)
        set_rate(optimizer, fine_rate if fine else 1.5e-3 * warm_cosine(step, steps, 50) + 1e-4)
        index = torch.randint(held_out, samples, (_BATCH // 2 if fine else _BATCH,), generator=rng)
        pictures, targets = from_bytes(images[index]), codes[index]
        if fine:
            index = torch.randint(renders // 16, renders, (_BATCH // 2,), generator=rng)
            pictures, targets = _interleave_renders(pictures, targets, from_bytes(painted[index]))
        task = partial(_loss, encoder, generator if fine else None)
        figures = parallel.gradients(task, parameters, pictures, light_disturbance(pictures, rng), targets)
        optimizer.step()
        if (step + 1) % 100 == 0 or fine and (step + 1) % 20 == 0:
            run.say(
                f"step {step + 1}: code error {figures[0]:.4f}, picture error {figures[1]:.4f}, {run.seconds():.0f} s"
            )
    encoder.eval()
    report = {
        "held_out_psnr_samples": _psnr(encoder, generator, from_bytes(images[:held_out])),
        "held_out_psnr_renders": _psnr(encoder, generator, from_bytes(painted[: renders // 16])),
    }
    run.say(", ".join(f"{name} {value}" for name, value in report.items()))
    save_encoder(run.out / "portraits.safetensors", encoder, run.provenance(factors=len(FACTORS), **report))


def _codes(generator: GanGenerator, count: int, rng: torch.Generator) -> Tensor:
    """Sample codes ``[N, L, D]``; in a third of them the last rows come from another sample, as in an edit."""
    codes, others = generator.map(sample_z(count, rng)), generator.map(sample_z(count, rng))
    rows = torch.arange(generator.num_layers)[None, :, None]
    first = torch.randint(2, generator.num_layers, (count, 1, 1), generator=rng)
    mixed = (torch.rand(count, 1, 1, generator=rng) < 1 / 3) & (rows >= first)
    return torch.where(mixed, others, codes)


def _interleave_renders(pictures: Tensor, codes: Tensor, renders: Tensor) -> tuple[Tensor, Tensor]:
    """Mix samples with as many renders, so that each worker gets both; nobody knows a render's code: NaN."""
    targets = torch.stack([codes, torch.full_like(codes, float("nan"))])
    pictures = rearrange(torch.stack([pictures, renders]), "source b ... -> (b source) ...")
    return pictures, rearrange(targets, "source b ... -> (b source) ...")


def _paint(generator: GanGenerator, codes: Tensor) -> Tensor:
    with torch.no_grad():
        return to_bytes(generator.network.synthesis(codes, SynthesisOptions(dtype=torch.bfloat16)).image)


def _loss(
    encoder: Encoder, generator: GanGenerator | None, pictures: Tensor, disturbed: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the loss, and the errors of codes and pictures [2]; targets [B, L, D] are NaN where nobody knows them."""
    with torch.autocast("cpu", torch.bfloat16):
        codes = encoder(disturbed)
    codes = codes.float()
    has_code = ~targets[:, 0, 0].isnan()
    code_error = ((codes[has_code] - targets[has_code]) / encoder.w_scale).square().mean()
    picture_error = code_error.new_zeros(())
    if generator is not None:
        error = generator.network.synthesis(codes, SynthesisOptions(dtype=torch.bfloat16)).image - pictures
        picture_error = error.abs().mean() + 2 * error.square().mean()
    loss = (_LATENT_WEIGHT if generator is not None else 1.0) * code_error + 4 * picture_error
    return loss, torch.stack([code_error.detach(), picture_error.detach()])


def _psnr(encoder: Encoder, generator: GanGenerator, pictures: Tensor) -> float:
    with torch.no_grad():
        codes = torch.cat([encoder(chunk) for chunk in pictures.split(64)])
        painted = torch.cat([generator.synthesize(chunk) for chunk in codes.split(64)])
    return round(float(psnr(painted, pictures).mean()), 2)
