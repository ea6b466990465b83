"""The encoder from portraits to W+ of the demo generator, trained on the generator's own samples and on renders."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ...demo.assets import demo_file
from ...demo.portraits.factors import FACTORS
from ...models.encoders.encoder import Encoder, EncoderConfig, save_encoder
from ...models.gan.generator import GanGenerator, load_generator
from .augment import light_disturbance
from .common import Job, from_bytes, psnr, rendered_z, sample_z, set_rate, to_bytes, warm_cosine
from .data_parallel import Crew

_BATCH = 32
_LATENT_WEIGHT = 0.5  # of the squared code error, in standard deviations, beside the picture error


def train_encoder(job: Job) -> None:
    """Two stretches: codes alone, which is cheap, then codes and pictures through the frozen generator.

    Uses OUT/generator.safetensors when it is there, else the shipped generator.
    """
    torch.manual_seed(job.seed)
    rng = torch.Generator().manual_seed(job.seed)
    crew = Crew(torch.get_num_threads())
    own: Path = job.out / "generator.safetensors"
    generator = load_generator(own if own.is_file() else demo_file("generators"))
    size = generator.resolution[0]
    samples, renders, steps, fine_steps = (64, 64, 3, 2) if job.smoke else (4500, 1200, 1100, 120)

    codes = _codes(generator, samples, rng)
    images = torch.cat(crew.map(partial(_paint, generator), codes.split(64)))
    factors, painted = rendered_z(renders, size, rng)
    job.say(f"{samples} samples and {renders} renders in {job.seconds():.0f} s")

    encoder = Encoder(EncoderConfig(min(size, 64), 16 if job.smoke else 32, generator.num_layers, generator.w_dim))
    encoder.family = generator.family
    with torch.no_grad():
        encoder.w_mean.copy_(generator.w_mean)
        encoder.w_scale.copy_(generator.w_covariance.diagonal().mean().sqrt())
    optimizer = torch.optim.AdamW(encoder.parameters(), 1.5e-3, (0.9, 0.99), weight_decay=1e-3)
    parameters = list(encoder.parameters())
    held = samples // 16  # samples that only measure
    for step in range(steps + fine_steps):
        fine = step >= steps
        rate = (
            5e-4 * warm_cosine(step - steps, fine_steps, 20) if fine else 1.5e-3 * warm_cosine(step, steps, 50) + 1e-4
        )
        set_rate(optimizer, rate)
        index = torch.randint(held, samples, (_BATCH // 2 if fine else _BATCH,), generator=rng)
        pictures, wanted = from_bytes(images[index]), codes[index]
        if fine:
            other = torch.randint(renders // 16, renders, (_BATCH // 2,), generator=rng)
            pictures = torch.cat([pictures, from_bytes(painted[other])])
            unknown = torch.full_like(wanted, float("nan"))  # nobody knows the code of a render
            wanted = torch.cat([wanted, unknown])
            order = torch.arange(_BATCH).view(2, -1).t().flatten()  # each worker gets as many of both
            pictures, wanted = pictures[order], wanted[order]
        task = partial(_loss, encoder, generator if fine else None)
        figures = crew.gradients(task, parameters, pictures, light_disturbance(pictures, rng), wanted)
        optimizer.step()
        if (step + 1) % 100 == 0 or fine and (step + 1) % 20 == 0:
            job.say(
                f"step {step + 1}: code error {figures[0]:.4f}, picture error {figures[1]:.4f}, {job.seconds():.0f} s"
            )
    encoder.eval()
    report = {
        "held_out_psnr_samples": _psnr(encoder, generator, from_bytes(images[:held])),
        "held_out_psnr_renders": _psnr(encoder, generator, from_bytes(painted[: renders // 16])),
    }
    job.say(", ".join(f"{name} {value}" for name, value in report.items()))
    save_encoder(job.out / "portraits.safetensors", encoder, job.provenance(factors=len(FACTORS), **report))


def _codes(generator: GanGenerator, count: int, rng: torch.Generator) -> Tensor:
    """Codes ``[N, L, D]``; in every third the rows from a random one on come from another sample, as an edit would."""
    codes, others = generator.map(sample_z(count, rng)), generator.map(sample_z(count, rng))
    rows = torch.arange(generator.num_layers)[None, :, None]
    first = torch.randint(2, generator.num_layers, (count, 1, 1), generator=rng)
    mixed = (torch.rand(count, 1, 1, generator=rng) < 1 / 3) & (rows >= first)
    return torch.where(mixed, others, codes)


def _paint(generator: GanGenerator, codes: Tensor) -> Tensor:
    with torch.no_grad():
        return to_bytes(generator.network.synthesis(codes, dtype=torch.bfloat16).image)


def _loss(
    encoder: Encoder, generator: GanGenerator | None, pictures: Tensor, seen: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        codes = encoder(seen)
    codes = codes.float()
    known = ~wanted[:, 0, 0].isnan()
    code_error = ((codes[known] - wanted[known]) / encoder.w_scale).square().mean()
    picture_error = code_error.new_zeros(())
    if generator is not None:
        error = generator.network.synthesis(codes, dtype=torch.bfloat16).image - pictures
        picture_error = error.abs().mean() + 2 * error.square().mean()
    loss = (_LATENT_WEIGHT if generator is not None else 1.0) * code_error + 4 * picture_error
    return loss, torch.stack([code_error.detach(), picture_error.detach()])


def _psnr(encoder: Encoder, generator: GanGenerator, pictures: Tensor) -> float:
    with torch.no_grad():
        codes = torch.cat([encoder(part) for part in pictures.split(64)])
        painted = torch.cat([generator.synthesize(part) for part in codes.split(64)])
    return round(psnr(painted, pictures), 2)
