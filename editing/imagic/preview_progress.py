"""Progress with previews: the photo, and beside it as the model sees it through half of the noise (eta 0)."""

from __future__ import annotations

import torch

from ..common.diffusion.denoiser import Denoiser
from ..common.progress import Progress
from .conditioning import Conditioning
from .loss import TargetLatent, denoised_target

__all__ = ["PreviewProgress"]

_LEVELS = (0.55, 0.65)  # shares of the trained timesteps


class PreviewProgress:
    """Passes progress on, now and then with a preview.

    Args:
        previews: about so many in all: each costs a pass through the network.
    """

    def __init__(self, denoiser: Denoiser, target: TargetLatent, progress: Progress, previews: int = 8) -> None:
        self.denoiser, self.target, self.progress, self.previews = denoiser, target, progress, previews
        self.photo = denoiser.preview(target.x0)
        self.noise = target.draw_noise(denoiser, 1, _LEVELS, torch.Generator().manual_seed(0))

    def __call__(self, step: int, total: int, conditioning: Conditioning) -> None:
        """Report that ``step`` of ``total`` steps are done, with the conditioning as it is now."""
        if step % max(total // self.previews, 1):
            self.progress(step, total)
            return
        with torch.no_grad():
            denoised = denoised_target(self.denoiser, self.target, self.noise, conditioning)
            self.progress(step, total, preview=torch.cat([self.photo, self.denoiser.preview(denoised)], dim=-1))
