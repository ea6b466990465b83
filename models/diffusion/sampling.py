"""k-diffusion's samplers, with ComfyUI's noise, step sizes and guidance, so that one seed gives one picture in both.

Samplers: Euler and Euler ancestral (2206.00364 and its k-diffusion variant), DDIM (2010.02502; in sigma it is Euler's
step) and DPM-Solver++ 2M (2211.01095). Schedules: the ones of ComfyUI that need the model's own noise levels only.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from ..progress import Progress, silent
from .guidance import CFGDenoiser, euler_step
from .model import DiffusionModel

__all__ = [
    "SAMPLERS",
    "SCHEDULES",
    "calculate_sigmas",
    "check_conditioning",
    "initial_noise",
    "prepare_noise",
    "sample",
]

SAMPLERS = ("euler", "euler_ancestral", "ddim", "dpmpp_2m")
SCHEDULES = ("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "normal")
# What a conditioning may carry besides its embedding; anything else would change the picture in ComfyUI.
_KNOWN = {"pooled_output", "width", "height", "crop_w", "crop_h", "target_width", "target_height", "prompt_type"}
_KARRAS_RHO = 7

Conditioning = list[list]  # [[embedding, extras], ...]
Denoise = Callable[[Tensor, Tensor], Tensor]  # (x [B, C, h, w], sigma []) -> denoised [B, C, h, w]


def prepare_noise(latent: Tensor, seed: int, indices: list[int] | None = None) -> Tensor:
    """Draw ComfyUI's noise for a latent [B, ...] and a seed, on the CPU: [B, ...].

    Args:
        indices: the index of each latent in the batch that it comes from; the noise is that batch's.
    """
    rng = torch.Generator().manual_seed(seed)
    if indices is None:
        return torch.randn(latent.shape, generator=rng)
    batch = [torch.randn(1, *latent.shape[1:], generator=rng) for _ in range(max(indices) + 1)]
    return torch.cat([batch[index] for index in indices])


def calculate_sigmas(model: DiffusionModel, scheduler: str, steps: int, denoise: float = 1.0) -> Tensor:
    """Return falling noise levels [steps + 1], the last one 0; empty where ``denoise`` is 0.

    Args:
        scheduler: one of SCHEDULES.
        denoise: share of a longer schedule that is left: its last ``steps``.

    Raises:
        InputError: when the schedule is unknown.
    """
    if scheduler not in SCHEDULES:
        raise InputError(
            f"The scheduler '{scheduler}' is not offered outside ComfyUI; choose one of {', '.join(SCHEDULES)}."
        )
    if denoise <= 0:
        return torch.zeros(0)
    if denoise > 0.9999:
        return _full_schedule(model, scheduler, steps)
    return _full_schedule(model, scheduler, int(steps / denoise))[-(steps + 1) :]


def sample(
    model: DiffusionModel,
    latent: Tensor,  # [B, C, h, w]
    positive: Conditioning,
    negative: Conditioning,
    sampler: str = "euler",
    scheduler: str = "normal",
    steps: int = 20,
    cfg: float = 8.0,
    denoise: float = 1.0,
    seed: int = 0,
    mask: Tensor | None = None,  # [B or 1, H, W]
    indices: list[int] | None = None,
    progress: Progress = silent,
    noise: Tensor | None = None,  # [B, C, h, w]
) -> Tensor:
    """Sample as ComfyUI's KSampler does: raw latents [B, C, h, w] on the CPU.

    Args:
        latent: raw latents to start from; all zero for a new picture.
        positive, negative: conditionings of one entry each.
        cfg: guidance; at 1 the negative one is not looked at.
        denoise: 1 starts from noise alone, less from the latent.
        mask: 1 where the latent may change; None for everywhere.
        indices: see `prepare_noise`.
        progress: called with (step, steps); may raise to stop.
        noise: in place of the seed's, such as a photo's own.

    Raises:
        InputError: when the sampler or schedule is unknown, or a conditioning does not fit or asks for more than this
            does.
    """
    _check(model, sampler, positive, negative)
    sigmas = calculate_sigmas(model, scheduler, steps, denoise)
    if not len(sigmas):
        return latent
    device = model.device
    sigmas = sigmas.to(device)
    noise = (prepare_noise(latent, seed, indices) if noise is None else noise.expand(latent.shape)).to(device)
    # ComfyUI leaves an all-zero latent as it is: zero is also where the model's own shift begins.
    x0 = model.latent_in(latent) if bool((latent != 0).any()) else latent.to(device, torch.float32)
    denoiser: Denoise = CFGDenoiser(model, tuple(positive[0]), tuple(negative[0]), cfg, x0.shape)
    if mask is not None:
        # ComfyUI's DDIM draws other noise for what is masked.
        mask_noise = prepare_noise(latent, (seed + 1) % 2**64).to(device) if sampler == "ddim" else noise
        denoiser = _masked_denoiser(model, denoiser, mask, x0, mask_noise)
    # ComfyUI steps aside from the first noise where both are made on the CPU (versions since late 2025).
    rng = torch.Generator(device).manual_seed((seed + (device.type == "cpu")) % 2**64)
    x = _SAMPLERS[sampler](denoiser, initial_noise(model, x0, noise, sigmas[0]), sigmas, rng, progress)
    return model.latent_out(x).cpu()


def initial_noise(model: DiffusionModel, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Add noise of the first level sigma [] to latents, both [B, C, h, w]; at full noise scaled as ComfyUI's."""
    full = math.isclose(float(sigma), model.sigma_max, rel_tol=1e-5) or float(sigma) > model.sigma_max
    if full and not model.schedule.is_flow:
        return noise * (1 + sigma**2).sqrt() + x0
    return model.noised(x0, noise, sigma[None])


def _masked_denoiser(model: DiffusionModel, denoiser: Denoise, mask: Tensor, x0: Tensor, noise: Tensor) -> Denoise:
    """Hold x0 [B, C, h, w], under this noise, where the mask [B or 1, H, W] is 0."""
    mask = mask.reshape(-1, 1, *mask.shape[-2:]).to(x0)
    mask = F.interpolate(mask, x0.shape[-2:], mode="bilinear")
    mask = mask[torch.arange(len(x0), device=x0.device) % len(mask)]

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        x = x * mask + model.noised(x0, noise, sigma.expand(len(x))) * (1 - mask)
        return denoiser(x, sigma) * mask + x0 * (1 - mask)

    return denoise


def _sample_euler(denoiser: Denoise, x: Tensor, sigmas: Tensor, rng: torch.Generator, progress: Progress) -> Tensor:
    """Follow the ordinary differential equation of 2206.00364 (Algorithm 2 without its correction)."""
    for i in range(len(sigmas) - 1):
        x = euler_step(x, denoiser(x, sigmas[i]), sigmas[i], sigmas[i + 1])
        progress(i + 1, len(sigmas) - 1)
    return x


def _sample_euler_ancestral(
    denoiser: Denoise, x: Tensor, sigmas: Tensor, rng: torch.Generator, progress: Progress
) -> Tensor:
    """Step below the next level and add noise up to it."""
    for i in range(len(sigmas) - 1):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        denoised = denoiser(x, sigma)
        sigma_up = min(sigma_next, (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2).sqrt())
        sigma_down = (sigma_next**2 - sigma_up**2).sqrt()
        if sigma_next == 0:
            x = denoised
        else:
            noise = torch.randn(x.shape, generator=rng, device=x.device)
            x = euler_step(x, denoised, sigma, sigma_down) + noise * sigma_up
        progress(i + 1, len(sigmas) - 1)
    return x


def _sample_dpmpp_2m(denoiser: Denoise, x: Tensor, sigmas: Tensor, rng: torch.Generator, progress: Progress) -> Tensor:
    """DPM-Solver++(2M): a multistep solver in t = -log(sigma) (2211.01095, Algorithm 2)."""
    t, old_denoised = -sigmas.log(), None
    for i in range(len(sigmas) - 1):
        denoised = denoiser(x, sigmas[i])
        h = t[i + 1] - t[i]
        denoised_d = denoised
        if old_denoised is not None and sigmas[i + 1] > 0:
            half_r = h / (2 * (t[i] - t[i - 1]))  # 1 / (2 r), with r of the paper
            denoised_d = (1 + half_r) * denoised - half_r * old_denoised
        x = sigmas[i + 1] / sigmas[i] * x - (-h).expm1() * denoised_d
        old_denoised = denoised
        progress(i + 1, len(sigmas) - 1)
    return x


_SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "euler": _sample_euler,
    "euler_ancestral": _sample_euler_ancestral,
    "ddim": _sample_euler,
    "dpmpp_2m": _sample_dpmpp_2m,
}


def _full_schedule(model: DiffusionModel, scheduler: str, steps: int) -> Tensor:
    trained = model.schedule.sigmas.float().cpu()
    if scheduler == "simple":
        stride = len(trained) / steps  # divided first, as in ComfyUI: elsewhere the last bit decides which level it is
        sigmas = trained[[-(1 + int(i * stride)) for i in range(steps)]]
    elif scheduler == "karras":
        first, last = torch.tensor([model.sigma_max, model.sigma_min], dtype=torch.float64) ** (1 / _KARRAS_RHO)
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
        sigmas = ((first + ramp * (last - first)) ** _KARRAS_RHO).float()
    elif scheduler == "exponential":
        sigmas = torch.linspace(math.log(model.sigma_max), math.log(model.sigma_min), steps).exp()
    elif scheduler == "ddim_uniform":
        sigmas = trained[torch.arange(1, len(trained), max(len(trained) // steps, 1)).flip(0)]
    else:
        count = steps + 1 if scheduler == "sgm_uniform" else steps
        timesteps = torch.linspace(len(trained) - 1, 0, count)[:steps]
        sigmas = model.schedule.sigmas_at(timesteps / (len(trained) - 1))
    return torch.cat([sigmas, torch.zeros(1)])


def _check(model: DiffusionModel, sampler: str, positive: Conditioning, negative: Conditioning) -> None:
    if sampler not in SAMPLERS:
        raise InputError(
            f"The sampler '{sampler}' is not offered outside ComfyUI; choose one of {', '.join(SAMPLERS)}."
        )
    if sampler == "euler_ancestral" and model.schedule.is_flow:
        raise InputError("The sampler 'euler_ancestral' is offered for flow models in ComfyUI only; choose euler.")
    check_conditioning("positive", positive)
    check_conditioning("negative", negative)


def check_conditioning(name: str, conditioning: Conditioning) -> None:
    """Refuse a CONDITIONING that would be sampled in another way inside ComfyUI.

    Raises:
        InputError: when it has several entries, or keys beside those of texts and sizes.
    """
    if len(conditioning) != 1:
        raise InputError(
            f"The {name} conditioning has {len(conditioning)} entries; outside ComfyUI exactly one is sampled."
        )
    beyond = sorted(set(conditioning[0][1]) - _KNOWN)
    if beyond:
        raise InputError(f"The {name} conditioning carries {', '.join(beyond)}, which takes effect in ComfyUI only.")
