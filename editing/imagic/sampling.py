"""Sampling settings, in the terms of ComfyUI's KSampler, and the renderer that the host makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ...models.errors import InputError

__all__ = ["NOISES", "Renderer", "Sampling"]

NOISES = ("random", "the photo's own")


@dataclass(frozen=True)
class Sampling:
    """KSampler's settings.

    Args:
        steps: sampling steps.
        cfg: classifier-free guidance.
        sampler, scheduler: names that the host knows.
        denoise: 1 starts from noise alone, less from the latent given (SDEdit).

    Raises:
        InputError: when there is no step, or ``denoise`` lies outside 0..1.
    """

    steps: int = 20
    cfg: float = 4.0
    sampler: str = "euler"
    scheduler: str = "normal"
    denoise: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.denoise <= 1:
            raise InputError(f"Sampling needs 1 or more steps and denoise in 0..1; got {self.steps}, {self.denoise:g}.")


@dataclass(frozen=True, eq=False)
class Renderer:
    """Samples and decodes pictures; the host makes it from MODEL, VAE and the other inputs.

    Args:
        sample: (CONDITIONING, seed) -> a latent [1, C, h, w].
        decode: a latent -> pictures [B, H, W, 3] in 0..1.
        from_photo_noise: whether pictures begin with the photo's own noise, which holds the camera still.
    """

    sample: Callable[[list, int], Tensor]
    decode: Callable[[Tensor], Tensor]
    from_photo_noise: bool = False

    def render(self, conditioning: list, seed: int) -> Tensor:
        """Return one picture [H, W, 3] in 0..1 of a CONDITIONING."""
        return self.decode(self.sample(conditioning, seed))[0]
