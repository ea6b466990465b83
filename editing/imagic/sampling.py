"""What sampling needs to know: the settings of ComfyUI's KSampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ...models.errors import InputError

__all__ = ["Sampling", "Studio"]


@dataclass(frozen=True)
class Sampling:
    """How a latent is sampled, in KSampler's terms.

    Args:
        steps: sampling steps.
        cfg: classifier-free guidance.
        sampler, scheduler: names that the host knows.
        denoise: 1 starts from noise alone, less from the latent given (SDEdit).
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
class Studio:
    """What turns a conditioning into a picture; the host makes it from MODEL, VAE and the other inputs.

    Args:
        sample: (conditioning, seed) -> a latent [1, C, h, w].
        decode: a latent -> pictures [B, H, W, 3] in 0..1.
    """

    sample: Callable[[list, int], Tensor]
    decode: Callable[[Tensor], Tensor]

    def paint(self, conditioning: list, seed: int) -> Tensor:
        """One picture [H, W, 3] in 0..1."""
        return self.decode(self.sample(conditioning, seed))[0]
