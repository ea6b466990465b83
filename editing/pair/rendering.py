"""A pair edit as an editor that `reach_state` knows: photos drawn at a strength each, some of them or all."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import torch
from torch import Tensor

from ..common.diffusion.denoiser import Denoiser
from ..common.progress import Progress, silent, stage
from .applying import apply_pair_edit, photos_to_noise
from .edit import PairEdit
from .inputs import check_inverted, check_latents, region_of
from .settings import PairSampling

__all__ = ["pair_renderer"]


def pair_renderer(
    denoiser: Denoiser,
    photos: Tensor,  # [B, C, h, w], from the VAE
    edit: PairEdit,
    entry: Any,  # (embedding [1, T, D], extras), or a CONDITIONING of one entry
    decode: Callable[[Tensor], Tensor],  # latents [M, C, h, w] -> pictures [M, 3, H, W] in -1..1
    sampling: PairSampling | None = None,
    *,
    mask: Tensor | None = None,  # [B or 1, H, W], 1 where the edit acts
    inverted: Tensor | None = None,  # [B, C, h, w] from `photos_to_noise` with the same sampling
    drawings: int = 1,
    progress: Progress = silent,
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return what draws photos with a slider, for ``render_some`` of `reach_state`.

    Args:
        drawings: how often photos will be drawn, for the progress; more or fewer do no harm.
        progress: counts the sampler's steps over all drawings; may raise to stop.

    Returns:
        (strengths [M], index [M] of photos) -> pictures [M, 3, H, W] in -1..1. Photos without inverted noise are
        inverted before it is returned, once.

    Raises:
        InputError: as `apply_pair_edit`, before the work.
    """
    sampling = sampling or PairSampling()
    photos = check_latents(photos, "photos")
    region_of(mask, photos)  # what does not fit is refused before the work starts
    check_inverted(inverted, photos, edit.reference)
    edit.loras_for(denoiser)
    steps = -(-len(photos) // sampling.at_once) * sampling.steps
    inverts = inverted is None and not edit.reference
    begun = count()

    def next_stage() -> Progress:
        return stage(progress, steps * next(begun), steps * (inverts + drawings))

    if inverts:
        inverted = photos_to_noise(denoiser, photos, entry, sampling, next_stage())

    def render_some(strengths: Tensor, index: Tensor) -> Tensor:
        area = mask if mask is None or mask.ndim == 2 or len(mask) == 1 else mask[index.to(mask.device)]
        noise = None if inverted is None else inverted[index.to(inverted.device)]
        latents = apply_pair_edit(
            denoiser, photos[index.to(photos.device)], edit, strengths, entry, sampling, area, noise, next_stage()
        )
        return torch.cat([decode(batch) for batch in latents.split(sampling.at_once)]).clamp(-1, 1)

    return render_some
