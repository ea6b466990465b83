"""Sampling: new codes from a generator's own distribution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from .types import GanLatent

__all__ = ["ANY_CLASS", "draw", "random_labels", "sample"]

ANY_CLASS = -1


def sample(
    generator: GanGenerator,
    count: int,
    seed: int,
    truncation: float = 1.0,
    truncation_layers: int = 0,
    label: int = ANY_CLASS,
) -> GanLatent:
    """Draw codes. The same seed gives the same codes on every device, and a larger count only adds to them.

    Args:
        count: B, at least 1.
        seed: any integer; callers may count on from it.
        truncation: 1 keeps the codes, 0 gives the mean picture (1812.04948, appendix B).
        truncation_layers: how many rows from the first are pulled; 0 means all.
        label: class of a generator with labels; -1 draws one for each picture. Generators without labels take -1 alone.

    Raises:
        InputError: no pictures asked for, more rows than there are, or a class that does not exist.
    """
    if count < 1:
        raise InputError(f"Ask for at least one code; got {count}.")
    if not 0 <= truncation_layers <= generator.num_layers:
        raise InputError(
            f"truncation_layers is {truncation_layers}; the generator '{generator.name}' has {generator.num_layers} "
            "rows. Use 0 for all."
        )
    z, labels = draw(generator, count, seed, label)
    codes = generator.map(z, labels, truncation, truncation_layers or None)
    return GanLatent(codes, [f"seed {seed} #{k + 1}" for k in range(count)], generator.family)


def draw(generator: GanGenerator, count: int, seed: int, label: int = ANY_CLASS) -> tuple[Tensor, Tensor | None]:
    """Draw z [B, Z] and, for generators with labels, one-hot labels [B, C]; both on the CPU.

    Args:
        count: B.
        label: as in :func:`sample`.

    Raises:
        InputError: a class that does not exist.
    """
    num_classes = generator.label_dim
    if label != ANY_CLASS and not 0 <= label < num_classes:
        classes = f"has the classes 0 to {num_classes - 1}" if num_classes else "has no classes"
        raise InputError(f"The generator '{generator.name}' {classes}; label is {label}. Use -1 for any.")
    rng = torch.Generator().manual_seed(seed % 2**64)  # callers count on from a seed that may be the last
    # One picture after the other: drawn as a block, a picture would depend on how many come after it.
    z, labels = [], []
    for _ in range(count):
        z.append(torch.randn(generator.z_dim, generator=rng))
        if num_classes:
            drawn = int(torch.randint(num_classes, (), generator=rng))
            labels.append(drawn if label == ANY_CLASS else label)
    one_hot = F.one_hot(torch.tensor(labels), num_classes).float() if num_classes else None
    return torch.stack(z), one_hot


def random_labels(generator: GanGenerator, count: int, rng: torch.Generator) -> Tensor | None:
    """Draw one-hot labels [count, C] as a block, on the CPU; None for a generator without labels."""
    if not generator.label_dim:
        return None
    return F.one_hot(torch.randint(generator.label_dim, (count,), generator=rng), generator.label_dim).float()
