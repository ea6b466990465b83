"""Diffusion features (DIFT, 2306.03881; h-space, 2210.10960): a diffusion network's own middle as frozen features.

A picture is encoded by the VAE, takes noise of one fixed level and fixed draws, and goes through the network; what its
middle block gives out is read. So the model that edits reads the example pair itself, without another network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ...models.errors import InputError
from ...models.inference import clone_from_inference
from ..common.diffusion.denoiser import Denoiser

__all__ = ["middle_block", "middle_features"]

NOISE_LEVEL = 0.15  # share of the trained timesteps; on demo portraits .05 to .15 read alike
DRAWS = 1
_MIDDLES = ("mid_block", "middle_block")  # of U-shaped networks, in diffusers' and in ComfyUI's spelling
_CELLS = 4  # places along each side that are kept apart; 8 read a smile worse, and hair, turn and mouth no better
_PATCHES = (1, 2, 4)  # latent cells per token, along each side
_PER_PASS = 8  # pictures


def middle_features(
    denoiser: Denoiser,
    encode: Callable[[Tensor], Tensor],
    entry: tuple[Tensor, Mapping[str, Any]],
    level: float = NOISE_LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Callable[[Tensor], Tensor]:
    """Return the features of `reader_from_example`, read from a diffusion network's middle block.

    Args:
        denoiser: any diffusion model; its weights and its other hooks stay as they are.
        encode: pictures [B, 3, H, W] in -1..1 -> the VAE's latents [B, C, h, w].
        entry: one CONDITIONING entry (embedding [1, T, D], extras), of what all pictures show.
        level: of the noise, 0..1, a share of the trained timesteps.
        draws: noises whose features are averaged; the same ones for every picture.
        seed: of the noises.

    Returns:
        pictures [B, 3, H, W] -> [B, F]: means over 4 x 4 places; mean and deviation of tokens that are no map.

    Raises:
        InputError: a level outside of 0..1, no draws, or a network without blocks.
    """
    if not 0 <= level <= 1 or draws < 1:
        raise InputError(f"The level of noise must be in 0..1, with one draw or more; got {level:g} and {draws}.")
    block = middle_block(denoiser.network)

    def features(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            rows = [
                _batch_features(denoiser, block, encode(x), entry, level, draws, seed)
                for x in pictures.split(_PER_PASS)
            ]
        return torch.cat(rows)

    return features


def middle_block(network: nn.Module) -> nn.Module:
    """Return the middle of a U-shaped network, or the middle block of a transformer's largest stack.

    Raises:
        InputError: a network that is no stack of blocks.
    """
    for name in _MIDDLES:
        middle = getattr(network, name, None)
        if isinstance(middle, nn.Sequential) and len(middle):
            return middle[-1]  # ComfyUI runs the layers of its sequences one by one
        if isinstance(middle, nn.Module):
            return middle
    stacks = [module for module in network.modules() if isinstance(module, nn.ModuleList) and len(module)]
    if not stacks:
        raise InputError(f"The {type(network).__name__} has no stack of blocks whose middle could be read.")
    largest = max(stacks, key=lambda stack: sum(weight.numel() for weight in stack.parameters()))
    return largest[len(largest) // 2]


def _batch_features(
    denoiser: Denoiser,
    block: nn.Module,
    latents: Tensor,
    entry: tuple[Tensor, Mapping[str, Any]],
    level: float,
    draws: int,
    seed: int,
) -> Tensor:
    """Return the features [B, F], float32 on the CPU, of latents [B, C, h, w]."""
    x0 = clone_from_inference(denoiser.latent_in(latents))
    sigma = denoiser.sigmas_at(torch.full((len(x0),), level)).to(x0.device)
    generator = torch.Generator().manual_seed(seed)
    condition = denoiser.condition(*entry, tuple(x0.shape))
    rows = []
    for _ in range(draws):
        noise = torch.randn(x0.shape[1:], generator=generator).to(x0).expand_as(x0)
        with _recorded(block) as outputs:
            denoiser.denoise(denoiser.noised(x0, noise, sigma), sigma, condition)
        rows.append(torch.cat([_pooled(output, x0.shape[-2:]) for output in _largest(outputs, len(x0))], dim=1))
    return torch.stack(rows).mean(dim=0).cpu()


@contextlib.contextmanager
def _recorded(block: nn.Module) -> Iterator[list[Any]]:
    """Record what a block gives out while inside."""
    outputs: list[Any] = []
    hook = block.register_forward_hook(lambda _, inputs, output: outputs.append(output))
    try:
        yield outputs
    finally:
        hook.remove()


def _largest(outputs: list[Any], batch: int) -> list[Tensor]:
    """Return the block's tensors of a batch; of a pair, as joint transformers have it, the one with more positions.

    Raises:
        InputError: the block was not run, or gave out nothing of the kind.
    """
    output = outputs[-1] if outputs else ()
    tensors = (
        list(output.values())
        if isinstance(output, Mapping)
        else list(output)
        if isinstance(output, tuple | list)
        else [output]
    )
    tensors = [x for x in tensors if isinstance(x, Tensor) and x.ndim >= 3 and len(x) == batch]
    if not tensors:
        raise InputError("The network's middle block gave out no features of the pictures; choose another reader.")
    return [max(tensors, key=lambda x: x[0].numel())]


def _pooled(output: Tensor, cells: tuple[int, int]) -> Tensor:
    """Pool a map [B, C, (f,) h, w], or tokens [B, T, D] of latents of h x w cells, to [B, F]."""
    output = output.float()
    if output.ndim == 3:
        height, width = cells
        grids = [(height // p, width // p) for p in _PATCHES if not height % p and not width % p]
        grid = next((grid for grid in grids if grid[0] * grid[1] == output.shape[1]), None)
        if grid is None:  # text and picture in one row, or a grid of another kind
            return torch.cat([output.mean(dim=1), output.std(dim=1)], dim=1)
        output = rearrange(output, "b (h w) d -> b d h w", h=grid[0])
    if output.ndim == 5:
        output = output.mean(dim=2)
    if max(output.shape[-2:]) > _CELLS:
        output = F.adaptive_avg_pool2d(output, _CELLS)
    return output.flatten(1)
