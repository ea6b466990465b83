"""Looks at a model before and after the work: whether it has gradients, and what it loses on fixed noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...models.errors import InputError
from .autograd.out_of_place import out_of_place
from .conditioning import Entry
from .denoiser import Denoiser
from .loss import Photo, denoising_loss, seen_photo

__all__ = ["Gained", "Probe", "Reporter", "check_gradient", "weight_storages"]

_DRAWS = 16


class Probe:
    """The denoising loss over the same draws each time, so that two values differ by what was learned alone."""

    def __init__(self, denoiser: Denoiser, photo: Photo, levels: tuple[float, float], seed: int) -> None:
        self.denoiser, self.photo = denoiser, photo
        self.draws = photo.draws(denoiser, _DRAWS, levels, torch.Generator().manual_seed((seed + 1) % 2**64))

    def loss(self, entry: Entry) -> float:
        """The mean loss of one entry."""
        with torch.no_grad():
            parts = [denoising_loss(self.denoiser, self.photo, part, entry) for part in self.draws.parts(4)]
        return float(torch.stack(parts).mean())


class Gained:
    """What has a loss over the same fixed noise draws ``before`` and ``after``."""

    before: float
    after: float

    @property
    def gain(self) -> float:
        """The share of the loss that is gone."""
        return 1 - self.after / max(self.before, 1e-12)


class Reporter:
    """Passes progress on, now and then with a glimpse of the photo as the model sees it through half of the noise."""

    def __init__(self, denoiser: Denoiser, photo: Photo, progress: Callable[..., None], glimpses: int = 8) -> None:
        self.denoiser, self.photo, self.progress, self.glimpses = denoiser, photo, progress, glimpses
        self.draw = photo.draws(denoiser, 1, (0.55, 0.65), torch.Generator().manual_seed(0))

    def step(self, step: int, total: int, entry: Entry) -> None:
        """Report that ``step`` of ``total`` steps are done."""
        if step % max(total // self.glimpses, 1):
            self.progress(step, total)
            return
        with torch.no_grad():
            seen = seen_photo(self.denoiser, self.photo, self.draw, entry)
            self.progress(step, total, preview=self.denoiser.preview(seen))


def check_gradient(denoiser: Denoiser, photo: Photo, entry: Entry) -> bool:
    """Refuse a model that cannot tell which embedding would be better.

    Returns:
        Whether the network overwrites what it needs, and has gradients under `out_of_place` alone.

    Raises:
        InputError: no gradient reaches the embedding (a quantised model, an attention backend made for sampling), or
            it is zero or not finite.
    """
    draw = photo.draws(denoiser, 1, (0.3, 0.7), torch.Generator().manual_seed(0))
    advice = "Use unquantised weights and the standard attention (no --use-sage-attention or --use-flash-attention)."
    half = denoiser.dtype == torch.float16

    def gradient_of() -> Tensor | None:
        loss = denoising_loss(denoiser, photo, draw, entry) * (2.0**12 if half else 1.0)
        return torch.autograd.grad(loss, [entry.embedding], allow_unused=True)[0]

    overwrites = False
    try:
        try:
            gradient = gradient_of()
        except RuntimeError as error:
            if "inplace operation" not in str(error):
                raise
            overwrites = True
            with out_of_place(denoiser.network):
                gradient = gradient_of()
    except (RuntimeError, NotImplementedError) as error:
        if "out of memory" in str(error).lower() or "interrupt" in type(error).__name__.lower():
            raise
        raise InputError(f"'{denoiser.name}' gives no gradient: {str(error).splitlines()[0]}. {advice}") from error
    if gradient is None or not bool(torch.isfinite(gradient).all()) or not bool(gradient.any()):
        kind = "no gradient" if gradient is None else "a gradient of zeros or of values that are not finite"
        raise InputError(f"'{denoiser.name}' gives {kind} for its text conditioning. {advice}")
    return overwrites


def weight_storages(network: nn.Module) -> set[int]:
    """Addresses of the network's own memory."""
    tensors: list[Tensor] = [*network.parameters(), *network.buffers()]
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}
