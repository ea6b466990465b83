"""Applying a slider to other photos: guidance by its odd part, a strength for each picture of one batch.

D = D0 + s (D+ - D-) / 2, with D0 the model as it is and D+, D- with the slider at +1 and -1: what both signs share, the
pair's own content, cancels, so that people stay who they are. Of that part, with an edit threshold, only what is large
in its picture is taken: elsewhere it is what came along. A slider of an edit model takes the photo as a reference
latent and begins with any noise; every other one begins with the photo's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...models.diffusion.guidance import euler_step
from ...models.inference import no_inference_mode
from ..common.diffusion.denoiser import Denoiser
from ..common.diffusion.ode_inversion import invert_to_noise, noise_levels
from ..common.importance import above_threshold
from ..common.progress import Progress, silent
from .edit import PairEdit
from .inputs import check_inverted, check_latents, check_strengths, region_of, text_entry
from .multiplier import MixedRowsError, Multiplier, scaled_hooks
from .separate_passes import referenced_condition
from .settings import PairSampling

__all__ = ["apply_pair_edit", "photos_to_noise"]


def apply_pair_edit(
    denoiser: Denoiser,
    photos: Tensor,  # [B, C, h, w], from the VAE
    edit: PairEdit,
    strengths: Tensor | float,  # [B], or one number for all
    entry: Any,  # (embedding [1, T, D], extras), or a CONDITIONING of one entry
    sampling: PairSampling | None = None,
    mask: Tensor | None = None,  # [B or 1, H, W], 1 where the edit acts
    inverted: Tensor | None = None,  # [B, C, h, w] from `photos_to_noise` with the same sampling
    progress: Progress = silent,
) -> Tensor:
    """Turn each photo into its own noise and back, moved along the slider by its own strength.

    A slider that was learned with references begins with one noise by seed for every photo, and the photo beside it.

    Returns:
        Latents [B, C, h, w] for the VAE; at strength 0 a photo is the model's reconstruction of it.

    Raises:
        InputError: when strengths or masks are not as many as pictures, values are not finite, or the slider belongs
            to another model, or needs no inverted photos and got some.
    """
    sampling = sampling or PairSampling()
    photos = check_latents(photos, "photos")
    strengths = check_strengths(strengths, len(photos))
    embedding, extras = text_entry(entry)
    check_inverted(inverted, photos, edit.reference)
    inverts = inverted is None and not edit.reference
    results, counter = [], _Counter(len(photos), sampling, inverts, progress)
    with no_inference_mode():
        loras = edit.loras_for(denoiser)
        layers = {name: denoiser.network.get_submodule(name) for name in loras}
        x0 = denoiser.latent_in(photos)
        start = None if inverted is None else denoiser.latent_in(inverted)
        region = region_of(mask, x0)
        embedding = embedding.to(denoiser.device)
        with scaled_hooks(layers, loras) as slider:
            # In one pass pictures share a batch at strengths of their own, which references do not allow.
            at_once = 1 if sampling.one_pass and edit.reference else sampling.at_once
            for first in range(0, len(photos), at_once):
                batch = slice(first, first + at_once)
                sampler = _Sampler(denoiser, x0[batch], embedding, extras, sampling, slider, counter, edit.reference)
                x = sampler.start() if start is None else start[batch]
                area = region if region is None or len(region) == 1 else region[batch]
                results.append(sampler.sample(x, strengths[batch].to(x0), area))
        return denoiser.latent_out(torch.cat(results)).reshape(photos.shape).to(photos.device)


def photos_to_noise(
    denoiser: Denoiser,
    photos: Tensor,  # [B, C, h, w], from the VAE
    entry: Any,
    sampling: PairSampling | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Return each photo's own noise [B, C, h, w], in the VAE's scale, from which the model makes the photo again.

    Raises:
        InputError: when latents or conditioning do not fit the model.
    """
    sampling = sampling or PairSampling()
    photos = check_latents(photos, "photos")
    embedding, extras = text_entry(entry)
    with no_inference_mode():
        x0 = denoiser.latent_in(photos)
        counter = _Counter(len(photos), sampling, True, progress, ways=1)
        noises = [
            _Sampler(denoiser, batch, embedding.to(denoiser.device), extras, sampling, Multiplier(), counter).invert()
            for batch in x0.split(sampling.at_once)
        ]
        return denoiser.latent_out(torch.cat(noises)).reshape(photos.shape).to(photos.device)


class _Counter:
    """Counts the steps of all batches, both ways."""

    def __init__(self, photos: int, sampling: PairSampling, inverts: bool, progress: Progress, ways: int = 2) -> None:
        batches = -(-photos // sampling.at_once)
        self.progress, self.step = progress, 0
        self.total = batches * ((sampling.steps - 1) * inverts + sampling.steps * (ways - 1))

    def __call__(self, preview: Tensor | None = None) -> None:
        self.step += 1
        self.progress(self.step, max(self.total, self.step), preview=preview)


class _Sampler:
    """One batch on its way to noise and back."""

    def __init__(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        embedding: Tensor,
        extras: dict[str, Any],
        sampling: PairSampling,
        slider: Multiplier,
        counter: _Counter,
        reference: bool = False,
    ) -> None:
        self.denoiser, self.x0, self.sampling = denoiser, x0, sampling
        self.slider, self.counter = slider, counter
        self.levels = noise_levels(denoiser, sampling.steps)
        self.reference = self.separate = reference
        if reference:
            self.condition = referenced_condition(denoiser, embedding, extras, x0)
        else:
            self.condition = denoiser.condition(embedding, extras, (1, *x0.shape[1:]))

    def start(self) -> Tensor:
        """Return the noise that the batch begins with: its own, or one by seed that is the same for every picture."""
        if not self.reference:
            return self.invert()
        rng = torch.Generator().manual_seed(self.sampling.seed)
        noise = torch.randn((1, *self.x0.shape[1:]), generator=rng).to(self.x0).expand_as(self.x0)
        return self.denoiser.noised(torch.zeros_like(noise), noise, self.levels[:1].expand(len(noise)))

    def invert(self) -> Tensor:
        """Return the batch's own noise."""
        return invert_to_noise(
            self._denoise, self.x0, self.levels, self.sampling.refinements, lambda denoised: self.counter()
        )

    def sample(self, x: Tensor, strengths: Tensor, region: Tensor | None) -> Tensor:
        """Return the pictures of noise x [B, C, h, w] under strengths [B], inside the region [B or 1, 1, h, w]."""
        first_edited = round(self.sampling.unedited * self.sampling.steps)
        weights = strengths.reshape(-1, *[1] * (x.ndim - 1))
        weights = weights if region is None else weights * region
        for step, (sigma, sigma_next) in enumerate(zip(self.levels[:-1], self.levels[1:], strict=True)):
            edits = step >= first_edited and bool(strengths.any())
            if edits and self.sampling.one_pass:
                denoised = self._in_one_pass(x, sigma, strengths / 2, region)
            elif edits:
                denoised = self._guided(x, sigma, weights)
            else:
                denoised = self._denoise(x, sigma)
            x = euler_step(x, denoised, sigma, sigma_next)
            self.counter(self.denoiser.preview(denoised[:1]))
        return x

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.denoiser.denoise(x, sigma.expand(len(x)), self.condition)

    def _guided(self, x: Tensor, sigma: Tensor, weights: Tensor) -> Tensor:
        """Compute D0 + s (D+ - D-) / 2: in one pass of a batch three times as large, or in three passes."""
        if not self.separate:
            signs = torch.tensor([0.0, 1.0, -1.0]).repeat_interleave(len(x))
            try:
                with self.slider.at(signs.to(x)):
                    original, plus, minus = self._denoise(torch.cat([x, x, x]), sigma).chunk(3)
                return original + weights * self._acting(plus - minus) / 2
            except MixedRowsError:
                self.separate = True
        original, plus, minus = (self._at(sign, x, sigma) for sign in (0.0, 1.0, -1.0))
        return original + weights * self._acting(plus - minus) / 2

    def _acting(self, change: Tensor) -> Tensor:
        """Return a change [B, C, (f,) h, w] where it is large in its picture, and little of it elsewhere."""
        threshold = self.sampling.edit_threshold
        return change * above_threshold(change, threshold) if threshold else change

    def _in_one_pass(self, x: Tensor, sigma: Tensor, strengths: Tensor, region: Tensor | None) -> Tensor:
        """Return what the network makes with the slider at strengths [B]; where it does not act, without it."""
        try:
            with self.slider.at(strengths):
                edited = self._denoise(x, sigma)
        except MixedRowsError:
            parts = zip(strengths.tolist(), x.split(1), strict=True)
            edited = torch.cat([self._at(strength, picture, sigma) for strength, picture in parts])
        if region is None and not self.sampling.edit_threshold:
            return edited
        original = self._denoise(x, sigma)
        if self.sampling.edit_threshold:
            edited = original + self._acting(edited - original)
        return edited if region is None else torch.lerp(original, edited, region)

    def _at(self, strength: float, x: Tensor, sigma: Tensor) -> Tensor:
        with self.slider.at(torch.tensor([strength])):
            return self._denoise(x, sigma)
