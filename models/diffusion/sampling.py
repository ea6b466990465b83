"""Sampling in sigma space, with ComfyUI's noise, step sizes and guidance, so that one seed gives one picture in both.

Samplers: Euler and Euler ancestral (2206.00364 and its k-diffusion variant), DDIM (2010.02502; in sigma it is Euler's
step) and DPM-Solver++ 2M (2211.01095). Schedules: the ones of ComfyUI that need the model's own noise levels only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from .model import DiffusionModel

__all__ = ["SAMPLERS", "SCHEDULES", "noise_like", "noise_levels", "sample"]

SAMPLERS = ("euler", "euler_ancestral", "ddim", "dpmpp_2m")
SCHEDULES = ("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "normal")
# What a conditioning may carry besides its embedding; anything else would change the picture in ComfyUI.
_KNOWN = {"pooled_output", "width", "height", "crop_w", "crop_h", "target_width", "target_height", "prompt_type"}

Conditioning = list[list]  # [[embedding, extras], ...]


def noise_like(latent: Tensor, seed: int, indices: list[int] | None = None) -> Tensor:
    """ComfyUI's noise for a latent [B, ...] and a seed, on the CPU.

    Args:
        indices: the place of each latent in the batch that it comes from; the noise is that batch's.
    """
    rng = torch.Generator().manual_seed(seed)
    if indices is None:
        return torch.randn(latent.shape, generator=rng)
    each = [torch.randn(1, *latent.shape[1:], generator=rng) for _ in range(max(indices) + 1)]
    return torch.cat([each[index] for index in indices])


def noise_levels(model: DiffusionModel, scheduler: str, steps: int, denoise: float = 1.0) -> Tensor:
    """Falling noise levels [steps + 1], the last one 0; empty where ``denoise`` is 0.

    Raises:
        InputError: an unknown schedule.
    """
    if scheduler not in SCHEDULES:
        raise InputError(
            f"The scheduler '{scheduler}' is not offered outside ComfyUI; choose one of {', '.join(SCHEDULES)}."
        )
    if denoise <= 0:
        return torch.zeros(0)
    if denoise > 0.9999:
        return _levels(model, scheduler, steps)
    return _levels(model, scheduler, int(steps / denoise))[-(steps + 1) :]


def sample(
    model: DiffusionModel,
    latent: Tensor,
    positive: Conditioning,
    negative: Conditioning,
    sampler: str = "euler",
    scheduler: str = "normal",
    steps: int = 20,
    cfg: float = 8.0,
    denoise: float = 1.0,
    seed: int = 0,
    mask: Tensor | None = None,
    indices: list[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """What ComfyUI's KSampler makes of the same inputs: raw latents [B, C, h, w] on the CPU.

    Args:
        latent: raw latents to start from; all zero for a new picture.
        positive, negative: conditionings of one entry each.
        cfg: guidance; at 1 the negative one is not looked at.
        denoise: 1 starts from noise alone, less from the latent.
        mask: [B or 1, H, W], 1 where the latent may change; None for everywhere.
        indices: see `noise_like`.
        progress: called with (step, steps); may raise to stop.

    Raises:
        InputError: an unknown sampler or schedule, a conditioning that does not fit or asks for more than this does.
    """
    _check(model, sampler, positive, negative)
    levels = noise_levels(model, scheduler, steps, denoise)
    if not len(levels):
        return latent
    noise = noise_like(latent, seed, indices)
    device = model.device
    levels = levels.to(device)
    # ComfyUI leaves an all-zero latent as it is: zero is also where the model's own shift begins.
    x0 = model.latent_in(latent) if bool((latent != 0).any()) else latent.to(device, torch.float32)
    guided = _Guided(model, x0.shape, positive, negative, cfg)
    start = noise.to(device)
    full = math.isclose(float(levels[0]), model.sigma_max, rel_tol=1e-5) or float(levels[0]) > model.sigma_max
    if full and not model.schedule.is_flow:
        x = start * (1 + levels[0] ** 2).sqrt() + x0
    else:
        x = model.noised(x0, start, levels[:1])
    denoised: Callable[[Tensor, Tensor], Tensor] = guided
    if mask is not None:
        kept = noise_like(latent, (seed + 1) % 2**64).to(device) if sampler == "ddim" else start
        denoised = _masked(model, guided, mask, x0, kept)
    # ComfyUI steps aside from the first noise where both are made on the CPU (versions since late 2025).
    rng = torch.Generator(device).manual_seed((seed + (device.type == "cpu")) % 2**64)
    x = _STEPS[sampler](denoised, x, levels, rng, progress or (lambda step, total: None))
    return model.latent_out(x).cpu()


class _Guided:
    """Classifier-free guidance (2207.12598) round a model."""

    def __init__(self, model: DiffusionModel, shape, positive: Conditioning, negative: Conditioning, cfg: float):
        self.model, self.cfg = model, cfg
        (embedding, extras), (other, other_extras) = positive[0], negative[0]
        self.positive = model.condition(embedding, extras, tuple(shape))
        self.negative = None if math.isclose(cfg, 1.0) else model.condition(other, other_extras, tuple(shape))

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.model.denoise(x, sigma.expand(len(x)), self.positive)
            if self.negative is None:
                return wanted
            other = self.model.denoise(x, sigma.expand(len(x)), self.negative)
        return other + (wanted - other) * self.cfg


def _masked(model: DiffusionModel, guided: _Guided, mask: Tensor, x0: Tensor, noise: Tensor):
    mask = mask.reshape(-1, 1, *mask.shape[-2:]).to(x0)
    mask = F.interpolate(mask, x0.shape[-2:], mode="bilinear")
    mask = mask[torch.arange(len(x0), device=x0.device) % len(mask)]

    def denoised(x: Tensor, sigma: Tensor) -> Tensor:
        x = x * mask + model.noised(x0, noise, sigma.expand(len(x))) * (1 - mask)
        return guided(x, sigma) * mask + x0 * (1 - mask)

    return denoised


def _euler(denoised, x: Tensor, levels: Tensor, rng: torch.Generator, progress) -> Tensor:
    for step in range(len(levels) - 1):
        slope = (x - denoised(x, levels[step : step + 1])) / levels[step]
        x = x + slope * (levels[step + 1] - levels[step])
        progress(step + 1, len(levels) - 1)
    return x


def _euler_ancestral(denoised, x: Tensor, levels: Tensor, rng: torch.Generator, progress) -> Tensor:
    for step in range(len(levels) - 1):
        here, there = levels[step], levels[step + 1]
        clean = denoised(x, levels[step : step + 1])
        fresh = min(there, (there**2 * (here**2 - there**2) / here**2).sqrt())
        down = (there**2 - fresh**2).sqrt()
        if there == 0:
            x = clean
        else:
            noise = torch.randn(x.shape, generator=rng, device=x.device)
            x = x + (x - clean) / here * (down - here) + noise * fresh
        progress(step + 1, len(levels) - 1)
    return x


def _dpmpp_2m(denoised, x: Tensor, levels: Tensor, rng: torch.Generator, progress) -> Tensor:
    before, times = None, -levels.log()
    for step in range(len(levels) - 1):
        clean = denoised(x, levels[step : step + 1])
        width, aim = times[step + 1] - times[step], clean
        if before is not None and levels[step + 1] > 0:
            half = width / (2 * (times[step] - times[step - 1]))
            aim = (1 + half) * clean - half * before
        x = levels[step + 1] / levels[step] * x - (-width).expm1() * aim
        before = clean
        progress(step + 1, len(levels) - 1)
    return x


_STEPS: dict[str, Any] = {
    "euler": _euler,
    "euler_ancestral": _euler_ancestral,
    "ddim": _euler,
    "dpmpp_2m": _dpmpp_2m,
}


def _levels(model: DiffusionModel, scheduler: str, steps: int) -> Tensor:
    known = model.schedule.sigmas.float().cpu()
    zero = torch.zeros(1)
    if scheduler == "simple":
        stride = len(known) / steps  # divided first, as in ComfyUI: elsewhere the last bit decides which level it is
        picked = [-(1 + int(step * stride)) for step in range(steps)]
        return torch.cat([known[picked], zero])
    if scheduler == "karras":
        ends = torch.tensor([model.sigma_max, model.sigma_min], dtype=torch.float64) ** (1 / 7)
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
        return torch.cat([((ends[0] + ramp * (ends[1] - ends[0])) ** 7).float(), zero])
    if scheduler == "exponential":
        return torch.cat([torch.linspace(math.log(model.sigma_max), math.log(model.sigma_min), steps).exp(), zero])
    if scheduler == "ddim_uniform":
        picked = torch.arange(1, len(known), max(len(known) // steps, 1)).flip(0)
        return torch.cat([known[picked], zero])
    count = steps + 1 if scheduler == "sgm_uniform" else steps
    places = torch.linspace(len(known) - 1, 0, count)[:steps]
    return torch.cat([model.schedule.at(places / (len(known) - 1)), zero])


def _check(model: DiffusionModel, sampler: str, positive: Conditioning, negative: Conditioning) -> None:
    if sampler not in SAMPLERS:
        raise InputError(
            f"The sampler '{sampler}' is not offered outside ComfyUI; choose one of {', '.join(SAMPLERS)}."
        )
    if sampler == "euler_ancestral" and model.schedule.is_flow:
        raise InputError("The sampler 'euler_ancestral' is offered for flow models in ComfyUI only; choose euler.")
    for name, conditioning in (("positive", positive), ("negative", negative)):
        if len(conditioning) != 1:
            raise InputError(
                f"The {name} conditioning has {len(conditioning)} entries; outside ComfyUI exactly one is sampled."
            )
        beyond = sorted(set(conditioning[0][1]) - _KNOWN)
        if beyond:
            raise InputError(
                f"The {name} conditioning carries {', '.join(beyond)}, which takes effect in ComfyUI only."
            )
