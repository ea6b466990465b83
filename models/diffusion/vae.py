"""Pictures to latents and back, as ComfyUI's VAE object does it on an AutoencoderKL."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError

__all__ = ["PictureCoder"]

_AT_ONCE = 8  # pictures


class PictureCoder:
    """A diffusers AutoencoderKL in the shape of ComfyUI's VAE.

    Args:
        network: the autoencoder, frozen, in evaluation mode.
        name: for messages.
    """

    def __init__(self, network: nn.Module, name: str = "VAE") -> None:
        self.network, self.name = network, name
        self.latent_channels = int(network.config.latent_channels)
        self.downscale_ratio = 2 ** (len(network.config.block_out_channels) - 1)

    def spacial_compression_encode(self) -> int:
        """Pixels of one latent cell, along each side; ComfyUI's spelling."""
        return self.downscale_ratio

    def encode(self, pixels: Tensor) -> Tensor:
        """Pictures [B, H, W, 3] in 0..1 to raw latents [B, C, h, w], float32 on the CPU: means, not yet scaled.

        Sides that the VAE does not divide are cropped about the middle, as in ComfyUI.

        Raises:
            InputError: no picture, or one smaller than a latent cell.
        """
        if pixels.ndim != 4 or pixels.shape[-1] < 3 or min(pixels.shape[1:3]) < self.downscale_ratio:
            raise InputError(
                f"The pictures have shape {list(pixels.shape)}; '{self.name}' takes [B, H, W, 3] of at least "
                f"{self.downscale_ratio} pixels a side."
            )
        pixels = self._cropped(pixels[..., :3]).movedim(-1, 1) * 2 - 1
        with torch.no_grad():
            parts = [self.network.encode(self._own(part)).latent_dist.mean for part in pixels.split(_AT_ONCE)]
        return torch.cat(parts).float().cpu()

    def decode(self, latents: Tensor) -> Tensor:
        """Raw latents [B, C, h, w] to pictures [B, H, W, 3] in 0..1, float32 on the CPU.

        Raises:
            InputError: another number of channels.
        """
        if latents.ndim != 4 or latents.shape[1] != self.latent_channels:
            raise InputError(
                f"The latent has shape {list(latents.shape)}; '{self.name}' takes [B, {self.latent_channels}, h, w]: "
                "use the VAE of the model that made it."
            )
        with torch.no_grad():
            parts = [self.network.decode(self._own(part)).sample.float() for part in latents.split(_AT_ONCE)]
        return ((torch.cat(parts) + 1) / 2).clamp(0, 1).movedim(1, -1).cpu()

    def _cropped(self, pixels: Tensor) -> Tensor:
        for side in (1, 2):
            left_over = pixels.shape[side] % self.downscale_ratio
            pixels = pixels.narrow(side, left_over // 2, pixels.shape[side] - left_over)
        return pixels

    def _own(self, tensor: Tensor) -> Tensor:
        weight = next(self.network.parameters())
        return tensor.to(weight.device, weight.dtype)
