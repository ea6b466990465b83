"""Checks of what a pair edit is learned from and applied to, before the work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.inference import clone_from_inference

__all__ = ["check_inverted", "check_latents", "check_pairs", "check_strengths", "region_of", "text_entry"]

_SMALLEST_DIFFERENCE = 1e-3  # root mean square, as a share of the picture's own
_CONTRADICTION = -0.5  # cosine of a pair's difference and that of all others together


def check_latents(latents: Any, name: str) -> Tensor:
    """Return latents [B, C, h, w] as a normal float32 tensor.

    Raises:
        InputError: when they are no such tensor, empty, or not finite.
    """
    if not isinstance(latents, Tensor) or latents.ndim not in (4, 5) or 0 in latents.shape:
        form = f"shape {list(latents.shape)}" if isinstance(latents, Tensor) else type(latents).__name__
        raise InputError(f"The {name} latents have {form}; expected [pictures, channels, h, w] from the VAE.")
    if not latents.is_floating_point() or not bool(torch.isfinite(latents).all()):
        raise InputError(f"The {name} latents hold values that are not finite numbers; encode the pictures again.")
    return clone_from_inference(latents.detach()).float()


def check_inverted(inverted: Any, photos: Tensor, reference: bool) -> None:
    """Check the noise of photos [B, C, h, w], where there is some.

    Args:
        reference: whether the pair edit takes photos as reference latents, which need none.

    Raises:
        InputError: when it is not of these photos, or not needed.
    """
    if inverted is None:
        return
    if check_latents(inverted, "inverted").shape != photos.shape:
        raise InputError(
            f"The inverted latents have shape {list(inverted.shape)} and the photos {list(photos.shape)}; connect "
            "Invert To Noise of these very photos."
        )
    if reference:
        raise InputError(
            "This pair edit takes the photos as reference latents and needs no inverted ones; disconnect Invert To "
            "Noise."
        )


def check_pairs(before: Any, after: Any) -> tuple[Tensor, Tensor]:
    """Return both sides of K pairs as normal float32 latents [K, C, h, w].

    Raises:
        InputError: when counts or sizes differ, values are not finite, a pair shows no difference, or one pair says the
            opposite of the others.
    """
    before, after = check_latents(before, "before"), check_latents(after, "after")
    if len(before) != len(after):
        raise InputError(f"There are {len(before)} pictures before and {len(after)} after; expected as many of both.")
    if before.shape != after.shape:
        raise InputError(
            f"The pictures before have latents of {list(before.shape[1:])} and those after {list(after.shape[1:])}; "
            "both have to be of one size: crop or scale them alike."
        )
    difference = (after - before).flatten(1)
    sizes = difference.square().mean(1).sqrt() / before.flatten(1).square().mean(1).sqrt().clamp(min=1e-12)
    same = [str(k + 1) for k, size in enumerate(sizes.tolist()) if size < _SMALLEST_DIFFERENCE]
    if same:
        raise InputError(
            f"Pair {', '.join(same)} shows no difference between before and after; connect the edited picture as after."
        )
    if len(difference) > 1:
        _check_agreement(difference)
    return before, after


def _check_agreement(difference: Tensor) -> None:
    """Refuse K pairs of differences [K, N] where one points against all others together."""
    unit = F.normalize(difference, dim=1)
    others = F.normalize(unit.sum(0, keepdim=True) - unit, dim=1)
    cosine = (unit * others).sum(1)
    if bool((cosine < _CONTRADICTION).any()):
        k = int(cosine.argmin())
        raise InputError(
            f"The pairs contradict each other: what pair {k + 1} changes is the opposite of what the others change "
            f"(cosine {float(cosine[k]):.2f}). Swap its before and after, or leave it out."
        )


def check_strengths(strengths: Any, count: int) -> Tensor:
    """Return strengths [B] for B pictures; one plain number stands for all.

    Raises:
        InputError: when there are fewer or more, or they are not finite.
    """
    strengths = torch.as_tensor(strengths, dtype=torch.float32).detach()
    strengths = clone_from_inference(strengths.expand(count) if strengths.ndim == 0 else strengths)
    if strengths.ndim != 1 or len(strengths) != count:
        raise InputError(
            f"There are {strengths.numel()} strengths, of shape {list(strengths.shape)}, for {count} pictures; "
            "expected one for each picture, or one number for all."
        )
    if not bool(torch.isfinite(strengths).all()):
        raise InputError("The strengths hold values that are not finite numbers.")
    return strengths


def text_entry(entry: Any) -> tuple[Tensor, dict[str, Any]]:
    """Return one conditioning entry as (embedding [1, T, D], extras).

    Args:
        entry: (embedding, extras), a CONDITIONING of one entry, or anything with both as attributes.

    Raises:
        InputError: when it is none of these, of several sentences, or not finite.
    """
    embedding, extras = getattr(entry, "embedding", None), getattr(entry, "extras", None)
    if embedding is None and isinstance(entry, Sequence) and len(entry) == 1:
        entry = entry[0]
    if embedding is None and isinstance(entry, Sequence) and len(entry) == 2:
        embedding, extras = entry
    if not isinstance(embedding, Tensor) or not isinstance(extras, Mapping | None):
        raise InputError("The conditioning is no single entry; connect CLIP Text Encode directly.")
    if embedding.ndim != 3 or len(embedding) != 1:
        raise InputError(
            f"The conditioning has shape {list(embedding.shape)}; expected one sentence, [1, tokens, dim]."
        )
    if not bool(torch.isfinite(embedding).all()):
        raise InputError("The conditioning has values that are not finite.")
    normal = {
        key: clone_from_inference(item) if isinstance(item, Tensor) else item for key, item in (extras or {}).items()
    }
    return clone_from_inference(embedding.detach()), normal


def region_of(mask: Tensor | None, x0: Tensor) -> Tensor | None:
    """Return masks [B or 1, H, W] or [H, W] in 0..1 in the size of the latents x0 [B, C, (1,) h, w]; None stays.

    Raises:
        InputError: when there are neither as many as pictures nor one for all, or values are not finite.
    """
    if mask is None:
        return None
    mask = clone_from_inference(mask.detach())
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or len(mask) not in (1, len(x0)) or not bool(torch.isfinite(mask).all()):
        raise InputError(
            f"The mask has shape {list(mask.shape)}; expected finite [H, W], or one for each of {len(x0)} pictures."
        )
    cells = F.interpolate(mask[:, None].to(x0), size=x0.shape[-2:], mode="area").clamp(0, 1)
    return cells if x0.ndim == 4 else cells[:, :, None]
