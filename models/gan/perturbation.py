"""The perturbation network R of GANPaint (2005.07727): a fixed noise map in, a delta for each late layer out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTH = 32  # channels, the paper's


class PerturbationNetwork(nn.Module):
    """Convolutions on noise, as in a deep image prior (1711.10925), at each layer's size, with a head for each layer.

    The heads start at zero, so that the first picture is the frozen generator's. Everything is drawn from ``seed``.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int, int]],  # (channels, height, width) of each layer, from small to large
        seed: int,  # of the noise map and the weights
    ) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed % 2**63)
        self.sizes = tuple(sizes)
        noise = torch.randn(1, _WIDTH, *self.sizes[0][1:], generator=rng)
        self.register_buffer("noise", noise, persistent=False)  # the seed is kept instead
        self.trunk = nn.ModuleList(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1) for _ in range(len(self.sizes) + 1))
        self.heads = nn.ModuleList(nn.Conv2d(_WIDTH, channels, 1) for channels, _, _ in self.sizes)
        with torch.no_grad():
            for conv in self.trunk:
                conv.weight.copy_(torch.randn(conv.weight.shape, generator=rng) * (2 / (9 * _WIDTH)) ** 0.5)
                conv.bias.zero_()
            for head in self.heads:
                head.weight.zero_()
                head.bias.zero_()

    def forward(self) -> list[Tensor]:
        """Compute the deltas, [1, C, h, w] for each layer."""
        x = _stage(self.trunk[0], self.noise)
        deltas = []
        for conv, head, (_, height, width) in zip(self.trunk[1:], self.heads, self.sizes, strict=True):
            if x.shape[2:] != (height, width):
                x = F.interpolate(x, (height, width), mode="bilinear", align_corners=False)
            x = _stage(conv, x)
            deltas.append(head(x))
        return deltas


def perturbation_shapes(sizes: Sequence[tuple[int, int, int]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of a `PerturbationNetwork` by their names, without building it."""
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(len(sizes) + 1):
        shapes |= {f"trunk.{k}.weight": (_WIDTH, _WIDTH, 3, 3), f"trunk.{k}.bias": (_WIDTH,)}
    for k, (channels, _, _) in enumerate(sizes):
        shapes |= {f"heads.{k}.weight": (channels, _WIDTH, 1, 1), f"heads.{k}.bias": (channels,)}
    return shapes


def perturbation_values(sizes: Sequence[tuple[int, int, int]]) -> int:
    """Return how many numbers the network's own maps and its deltas hold, for one photo."""
    return sum(max(channels, _WIDTH) * height * width for channels, height, width in sizes)


def perturbation_deltas(
    state: Mapping[str, Tensor],
    sizes: Mapping[int, tuple[int, int, int]],
    seed: int,
) -> dict[int, Tensor]:
    """Compute the deltas of trained networks.

    Args:
        state: parameters of B networks, stacked: [B, ...] each.
        sizes: layer -> (C, h, w).
        seed: of the networks' noise.

    Returns:
        layer -> [B, C, h, w].

    Raises:
        RuntimeError: weights that do not fit the sizes.
    """
    deltas: dict[int, list[Tensor]] = {layer: [] for layer in sizes}
    device = next(iter(state.values())).device
    with torch.no_grad():
        network = PerturbationNetwork(list(sizes.values()), seed).to(device)
        for k in range(len(next(iter(state.values())))):
            network.load_state_dict({name: tensor[k] for name, tensor in state.items()})
            for layer, delta in zip(sizes, network(), strict=True):
                deltas[layer].append(delta)
    return {layer: torch.cat(photos) for layer, photos in deltas.items()}


def _stage(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve, normalize and activate, [1, C, h, w] -> [1, C, h, w]."""
    return F.leaky_relu(F.instance_norm(conv(x)), 0.2)
