"""Text edit networks: a latent mapper (StyleCLIP, 2103.17249) and layer attention (CoralStyleCLIP, 2303.05031)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["LatentMapper", "LayerAttention", "group_sizes", "third_sizes"]

_GROUP = 4  # coarse rows, and as many of medium ones; the others are fine
_HIDDEN = 32  # channels of the attention, as published
_OUTPUT_SCALE = 0.1  # what a mapper of unit output adds, in standard deviations: starts near nothing


class LatentMapper(nn.Module):
    """Codes [B, L, D] -> their changes [B, L, D]: one small network each for coarse, medium and fine rows.

    Coarse and medium are four rows each and fine the others, as published, whatever the size of the picture.
    Each row is normalised to unit mean square before it enters (StyleCLIP's mapper, 2103.17249), and the output is
    measured in ``scale``, the standard deviation of W.
    """

    def __init__(
        self,
        num_layers: int,  # L
        w_dim: int,  # D
        scale: float = 1.0,  # of W
        rng: torch.Generator | None = None,  # of the weights
        sizes: Sequence[int] | None = None,  # rows of each network; None: `group_sizes`
    ) -> None:
        super().__init__()
        self.num_layers, self.w_dim = num_layers, w_dim
        self.sizes = tuple(group_sizes(num_layers) if sizes is None else sizes)
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.bounds = [(sum(self.sizes[:k]), sum(self.sizes[: k + 1])) for k in range(len(self.sizes))]
        self.groups = nn.ModuleList(
            nn.Sequential(
                nn.Linear(w_dim, w_dim), nn.LeakyReLU(0.2), nn.Linear(w_dim, w_dim), nn.LeakyReLU(0.2),
                nn.Linear(w_dim, w_dim),
            )
            for _ in self.bounds
        )  # fmt: skip
        _init_weights(self, rng)

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes [B, L, D] to their changes [B, L, D]."""
        normed = codes * (codes.square().mean(dim=-1, keepdim=True) + 1e-8).rsqrt()
        changes = [group(normed[:, a:b]) for group, (a, b) in zip(self.groups, self.bounds, strict=True)]
        return torch.cat(changes, dim=1) * (self.scale * _OUTPUT_SCALE)

    def add_bias(self, change: Tensor) -> None:
        """Add a change [D] to every output, in place."""
        with torch.no_grad():
            for group in self.groups:
                group[-1].bias.add_(change / (self.scale * _OUTPUT_SCALE))

    def fold_linear(self, matrix: Tensor) -> None:
        """Fold a linear map [D, D] of the outputs into the last layers, in place."""
        with torch.no_grad():
            for group in self.groups:
                last = group[-1]
                last.weight.copy_(matrix @ last.weight)
                last.bias.copy_(matrix @ last.bias)


def group_sizes(num_layers: int) -> tuple[int, ...]:
    """Split rows as StyleCLIP does: 4, 4 and the rest (4, 4 and 10 of 18); by thirds where there are fewer than 12."""
    group = min(_GROUP, -(-num_layers // 3))
    sizes = (group, min(group, num_layers - group), num_layers - 2 * group)
    return tuple(size for size in sizes if size > 0)


def third_sizes(num_layers: int) -> tuple[int, ...]:
    """Split rows by thirds (6, 6 and 6 of 18), as files do that name no split."""
    bounds = [round(k * num_layers / 3) for k in range(4)]
    return tuple(b - a for a, b in zip(bounds, bounds[1:], strict=False) if b > a)


class LayerAttention(nn.Module):
    """Features of a layer [B, C, h, w] -> its mask [B, 1, h, w] in 0..1, a pair of convolutions for each layer."""

    def __init__(self, channels: Sequence[int], rng: torch.Generator | None = None) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, width), nn.Conv2d(width, _HIDDEN, 3, 1, 1), nn.ReLU(), nn.Conv2d(_HIDDEN, 1, 3, 1, 1)
            )
            for width in self.channels
        )
        _init_weights(self, rng)

    def init_masks(self, logit: float) -> None:
        """Let every mask start near ``sigmoid(logit)``, in place."""
        with torch.no_grad():
            for layer in self.layers:
                layer[-1].bias.fill_(logit)

    def forward(self, layer: int, features: Tensor) -> Tensor:
        """Compute the mask of a layer, by its place among those of the attention: [B, C, h, w] -> [B, 1, h, w]."""
        # torch 2.13's GroupNorm of a few channels crashes in backward in channels-last memory on the CPU.
        return torch.sigmoid(self.layers[layer](features.float().contiguous()))


def _init_weights(module: nn.Module, rng: torch.Generator | None) -> None:
    """Draw weights from ``rng`` (LeCun's scale), biases 0: torch's own drawing would touch the global random state."""
    if any(parameter.is_meta for parameter in module.parameters()):
        return  # a file will replace them
    rng = rng or torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                fan = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=rng) * fan**-0.5)
            elif parameter.ndim == 1 and not bool((parameter == 1).all()):
                parameter.zero_()
