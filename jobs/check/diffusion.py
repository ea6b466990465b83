"""The check-up of a diffusers folder: layout, VAE, a few samples, gradients, times; and what to mind."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from ...editing.common.figures import contact_sheet
from ...editing.common.progress import Progress, silent
from ...editing.common.similarity import psnr
from ...models.diffusion.folder import DiffusionBundle
from ...models.diffusion.sampling import sample
from ...models.inference import no_inference_mode
from .clock import machine, peak_memory, timed
from .report import CheckReport, Sheet, tiles
from .weights import LOOKS_RANDOM, random_share

__all__ = ["check_diffusion"]

_PROMPTS = ("", "a portrait of a person", "a house in a landscape")
_PHOTOS = 4  # at most
_FEWEST_STEPS, _STEPS, _SECONDS = 4, 20, 90.0  # of a sample
_CFG = 7.0
_LIKENESS = 24.0  # dB of a VAE's round trip, below which fine edits are lost in it
_DEVIATION = (0.4, 2.5)  # of scaled latents: the schedule expects about 1
_SLOW = 1200.0  # seconds
_IMAGIC_STEPS, _IMAGIC_DRAWS = 200, 4  # of both stages, at our defaults
_CELLS = 64  # of a latent's side, when the network does not say


def check_diffusion(
    bundle: DiffusionBundle,
    photos: Tensor | None = None,  # [B, H, W, 3] in 0..1; the first four count
    seed: int = 0,
    progress: Progress | None = None,  # previews [3, h, w] in 0..1
) -> CheckReport:
    """Measure a diffusion model at its own size. Random weights are measured as well, and said to look random."""
    progress, total = progress or silent, 4 + len(_PROMPTS)
    model, vae = bundle.model, bundle.vae
    cells = _cells(bundle)
    report = CheckReport(f"Check-up of a diffusion model, {cells[1] * _factor(bundle)} x {cells[0] * _factor(bundle)}")
    warnings = report.warnings
    with no_inference_mode(), torch.no_grad():
        share = random_share(model.network)
        report.add("Layout", _layout(bundle, share))
        entries = {
            prompt: bundle.clip.encode_from_tokens_scheduled(bundle.clip.tokenize(prompt)) for prompt in _PROMPTS
        }
        report.add("Text", [_text_line(prompt, entry) for prompt, entry in entries.items()])
        progress(1, total, None)
        latent = torch.zeros(1, model.latent.channels, *cells)
        _, seconds = timed(lambda: _denoise(bundle, latent, entries[_PROMPTS[1]]), model.device)
        step, problem = _gradient_seconds(bundle, latent, entries[_PROMPTS[1]])
        progress(2, total, None)
        steps = max(_FEWEST_STEPS, min(_STEPS, int(_SECONDS / max(2 * seconds * len(_PROMPTS), 1e-6))))
        pictures = []
        for k, prompt in enumerate(_PROMPTS):
            drawn = sample(model, latent, entries[prompt], entries[""], steps=steps, cfg=_CFG, seed=seed)
            pictures.append(vae.decode(drawn)[0])
            progress(3 + k, total, rearrange(pictures[-1], "h w c -> c h w"))
        samples = torch.stack(pictures)
        labels = ", ".join(f"'{prompt}'" for prompt in _PROMPTS)
        report.sheets.append(Sheet(f"{steps} steps of Euler, cfg {_CFG:g}: {labels}", contact_sheet([tiles(samples)])))
        given = samples if photos is None else photos[:_PHOTOS, ..., :3].float().cpu()
        lines, likeness, deviation, sheet = _round_trip(bundle, given, photos is not None)
        report.add("The VAE", lines)
        report.sheets.append(sheet)
    peak = peak_memory(model.device)
    report.add("Times at full size", [
        f"a denoising {seconds:.2f} s: 20 steps with guidance {40 * seconds / 60:.1f} min",
        f"with a gradient {step:.2f} s: Imagic at the defaults some "
        f"{_IMAGIC_STEPS * _IMAGIC_DRAWS * step / 60:.0f} min a photo" if step else "",
        machine(model.device), "" if peak is None else f"most memory of this check {peak:.1f} GB",
    ])  # fmt: skip
    if share >= LOOKS_RANDOM:
        warnings.append(
            f"The weights look random: {share:.0%} of the network's layers are as freshly drawn. Times and sizes are "
            "true; pictures say nothing. Is this the trained model?"
        )
    elif likeness < _LIKENESS:
        warnings.append(
            f"Pictures come back from the VAE at {likeness:.1f} dB: small changes, such as a smile, are lost there "
            "before any edit."
        )
    if not _DEVIATION[0] < deviation < _DEVIATION[1]:
        warnings.append(
            f"Scaled latents have a deviation of {deviation:.2f}, and the schedule expects about 1: the VAE belongs to "
            "another model, or its scaling factor is wrong."
        )
    if problem:
        warnings.append(f"It gives no gradient, so Imagic and pair sliders cannot learn on it: {problem}")
    if _IMAGIC_STEPS * _IMAGIC_DRAWS * step > _SLOW:
        warnings.append("On this machine Imagic takes more than 20 minutes a photo: use a GPU, or fewer noise samples.")
    progress(total, total, None)
    return report


def _factor(bundle: DiffusionBundle) -> int:
    return bundle.model.latent.downscale


def _cells(bundle: DiffusionBundle) -> tuple[int, int]:
    """Return the latent's height and width that the network was made for."""
    size = getattr(bundle.model.network.config, "sample_size", None) or _CELLS
    return (size, size) if isinstance(size, int) else tuple(size)


def _layout(bundle: DiffusionBundle, share: float) -> list[str]:
    model, config = bundle.model, bundle.model.network.config
    numbers = [sum(p.numel() for p in network.parameters()) / 1e6 for network in (model.network, bundle.vae.network)]
    text = sum(p.numel() for network in bundle.clip.networks() for p in network.parameters()) / 1e6
    return [
        f"{type(model.network).__name__}: {numbers[0]:.1f} million numbers, {str(model.dtype).removeprefix('torch.')}",
        f"VAE {numbers[1]:.1f} million, {len(bundle.clip.towers)} text encoders {text:.1f} million",
        f"latents of {model.latent.channels} channels, 1/{model.latent.downscale} of a side, scale "
        f"{model.latent.scale:g}, shift {model.latent.shift:g}",
        f"predicts {model.prediction}, noise from {model.sigma_min:.3g} to {model.sigma_max:.3g}",
        f"text {getattr(config, 'cross_attention_dim', None) or getattr(config, 'joint_attention_dim', '?')} wide",
        f"layers that look freshly drawn: {share:.0%} (random weights: {LOOKS_RANDOM:.0%} and more)",
    ]


def _text_line(prompt: str, entry: list[list]) -> str:
    embedding, extras = entry[0]
    size = float(embedding.square().mean().sqrt())
    pooled = extras.get("pooled_output")
    words = "" if pooled is None else f", pooled {pooled.shape[-1]} wide"
    return f"'{prompt}': {embedding.shape[1]} tokens of {embedding.shape[2]}, size {size:.2f}{words}"


def _denoise(bundle: DiffusionBundle, latent: Tensor, entry: list[list], embedding: Tensor | None = None) -> Tensor:
    """Denoise noise in the middle of the schedule, once."""
    model = bundle.model
    text, extras = entry[0]
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0)).to(model.device)
    sigma = model.sigmas_at(torch.tensor([0.5])).to(model.device)
    x = model.noised(latent.to(model.device), noise, sigma)
    condition = model.condition(text if embedding is None else embedding, extras, tuple(latent.shape))
    return model.denoise(x, sigma, condition)


def _gradient_seconds(bundle: DiffusionBundle, latent: Tensor, entry: list[list]) -> tuple[float, str]:
    """Time a denoising with a gradient of its text; 0 and the reason where there is none."""
    model = bundle.model

    def work() -> Tensor:
        embedding = entry[0][0].clone().to(model.device).requires_grad_(True)
        loss = _denoise(bundle, latent, entry, embedding).square().mean()
        return torch.autograd.grad(loss, embedding)[0]

    try:
        with model.training(), torch.enable_grad():
            gradient, seconds = timed(work, model.device)
    except RuntimeError as error:
        return 0.0, str(error).splitlines()[0]
    if not bool(torch.isfinite(gradient).all()):
        return 0.0, "the gradient is not finite."
    return seconds, ""


def _round_trip(bundle: DiffusionBundle, pictures: Tensor, are_photos: bool) -> tuple[list[str], float, float, Sheet]:
    """Encode pictures [B, H, W, 3] and decode them; return lines, dB, the deviation of scaled latents, and a sheet."""
    latents = bundle.vae.encode(pictures)
    decoded = bundle.vae.decode(latents)
    cropped = bundle.vae.decode(latents).shape[1:3]
    top, left = ((a - b) // 2 for a, b in zip(pictures.shape[1:3], cropped, strict=True))
    original = pictures[:, top : top + cropped[0], left : left + cropped[1]]
    likeness = psnr(*(rearrange(x, "b h w c -> b c h w") * 2 - 1 for x in (decoded, original)))
    scaled = bundle.model.latent_in(latents)
    deviation = float(scaled.std())
    what = "photos" if are_photos else "its own samples"
    lines = [
        f"{what} come back at {float(likeness.mean()):.1f} dB ({float(likeness.min()):.1f} the worst)",
        f"scaled latents: mean {float(scaled.mean()):+.2f}, deviation {deviation:.2f}",
    ]
    rows = [tiles(original), tiles(decoded)]
    sheet = Sheet(f"Through the VAE and back: {what}", contact_sheet(rows, ("before", "after")), are_photos)
    return lines, float(likeness.mean()), deviation, sheet
