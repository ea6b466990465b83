"""The VAE: pictures to latents and back on a diffusers AutoencoderKL, in the shape of ComfyUI's VAE object."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import InputError

__all__ = ["VAE"]

_BATCH = 8  # pictures at once


class VAE:
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
        """Return the pixels of one latent cell, along each side; ComfyUI's spelling."""
        return self.downscale_ratio

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode pictures [B, H, W, 3] in 0..1 as raw latents [B, C, h, w], float32 on the CPU: means, not yet scaled.

        Sides that the VAE does not divide are cropped about the middle, as in ComfyUI.

        Raises:
            InputError: when the shape is another, or smaller than a latent cell.
        """
        if pixels.ndim != 4 or pixels.shape[-1] < 3 or min(pixels.shape[1:3]) < self.downscale_ratio:
            raise InputError(
                f"The pictures have shape {list(pixels.shape)}; '{self.name}' takes [B, H, W, 3] of at least "
                f"{self.downscale_ratio} pixels a side."
            )
        pixels = rearrange(self._center_crop(pixels[..., :3]), "b h w c -> b c h w") * 2 - 1
        with torch.no_grad():
            latents = [self.network.encode(self._to_network(batch)).latent_dist.mean for batch in pixels.split(_BATCH)]
        return torch.cat(latents).float().cpu()

    def decode(self, latents: Tensor) -> Tensor:
        """Decode raw latents [B, C, h, w] to pictures [B, H, W, 3] in 0..1, float32 on the CPU.

        Raises:
            InputError: when the number of channels is another.
        """
        if latents.ndim != 4 or latents.shape[1] != self.latent_channels:
            raise InputError(
                f"The latent has shape {list(latents.shape)}; '{self.name}' takes [B, {self.latent_channels}, h, w]: "
                "use the VAE of the model that made it."
            )
        with torch.no_grad():
            pixels = [self.network.decode(self._to_network(batch)).sample.float() for batch in latents.split(_BATCH)]
        return rearrange(((torch.cat(pixels) + 1) / 2).clamp(0, 1), "b c h w -> b h w c").cpu()

    def _center_crop(self, pixels: Tensor) -> Tensor:
        for axis in (1, 2):
            remainder = pixels.shape[axis] % self.downscale_ratio
            pixels = pixels.narrow(axis, remainder // 2, pixels.shape[axis] - remainder)
        return pixels

    def _to_network(self, tensor: Tensor) -> Tensor:
        weight = next(self.network.parameters())
        return tensor.to(weight.device, weight.dtype)
