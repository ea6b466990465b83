"""A reader from an example pair: whitened feature change in any frozen network's features.

    r(x) = n . (phi(x) - phi(before)),  n ~ mean(phi(after) - phi(before)) / variance of phi over pictures

So the picture before reads 0, and the picture after reads 1, as n is scaled: that is the state to reach. A feature in
which pictures differ anyway counts less.

Several networks read together, by the mean of their readings: what one of them takes for the edit in somebody's face,
another does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError
from .picture_noise import disturbed_copies, with_measured_noise
from .reader import StateReader, check_picture_batch, digest_of

__all__ = ["discriminant_normal", "reader_from_example"]

_FEW = 8  # pictures below which copies of the example tell the spread of the features
_COPIES = 16
_FLOOR = 0.3  # of the mean variance, added to each: a feature that hardly varies decides nothing
_UNCHANGED = 1e-6  # of the features' own size: a smaller change is none
_PER_PASS = 16  # pictures

Features = Callable[[Tensor], Tensor]  # pictures [B, 3, H, W] in -1..1 -> [B, ...]


def reader_from_example(
    features: Features | Sequence[Features],
    before: Tensor,
    after: Tensor,
    pictures: Tensor | None = None,
    name: str = "example",
    kind: str = "example pair",
) -> StateReader:
    """Learn to read what one edit, or a few of the same kind, changes.

    Args:
        features: any frozen network: open_clip, ComfyUI's CLIP vision, an encoder, the diffusion network's own middle;
            or several, which read together.
        before: [K, 3, H, W] in -1..1.
        after: [K, 3, H, W], the same pictures edited.
        pictures: [N, 3, H, W], others of the kind that will be read, 8 or more, best 50: what they differ in counts
            less, and the noise is measured on them. Without them, moved copies of the example serve.
        name: of the number.
        kind: for people, such as "example pair, read by open_clip".

    Returns:
        A reader whose number is 0 for the pictures before, and 1, its target, for those after (in the mean of pairs).

    Raises:
        InputError: pairs of different sizes, no network, features that are not finite, or a change that a network does
            not see.
    """
    networks = [features] if callable(features) else list(features)
    if not networks:
        raise InputError("No network reads the example; give one or more.")
    check_picture_batch(before)
    check_picture_batch(after)
    if before.shape != after.shape:
        raise InputError(
            f"The example's pictures before have shape {list(before.shape)}, those after {list(after.shape)}; they "
            "must be pairs of one size."
        )
    scales = [_scale_of(network, before, after, pictures) for network in networks]

    def read(batch: Tensor) -> Tensor:
        rows = [
            features_of(network, batch) @ normal - offset
            for network, (normal, offset) in zip(networks, scales, strict=True)
        ]
        return torch.stack(rows).mean(dim=0)[:, None].float()

    key = digest_of(*(part for scale in scales for part in scale))
    reader = StateReader(read, (name,), ("of the example's edit",), kind=kind, target=torch.ones(1), key=key)
    return with_measured_noise(reader, before if pictures is None else pictures)


def _scale_of(features: Features, before: Tensor, after: Tensor, pictures: Tensor | None) -> tuple[Tensor, float]:
    """Return a network's normal [F] and the offset behind it, so that the pictures before read 0 and those after 1."""
    start, end = features_of(features, before), features_of(features, after)
    if pictures is not None and len(pictures) >= _FEW:
        spread = features_of(features, pictures)
    else:  # what changes between copies that show the same says nothing of the edit
        rounds = max(1, _COPIES // (2 * len(before)))
        copies = [torch.cat([disturbed_copies(x, k) for x in (before, after)]) for k in range(rounds)]
        spread = torch.cat([features_of(features, copy) for copy in copies]) - torch.cat([start, end]).repeat(rounds, 1)
    normal = discriminant_normal(end - start, spread)
    return normal, float((start @ normal).mean())


def discriminant_normal(changes: Tensor, spread: Tensor) -> Tensor:
    """Divide the mean change d by the features' variances, n ~ d / (var + floor), with n . d = 1.

    The whole covariance is no better guide where there are fewer pictures than features: on demo portraits it took the
    correlation of readings with the truth from .97 to between .6 and .9.

    Args:
        changes: [K, F], of the features by an edit.
        spread: [N, F], features of other pictures.

    Returns:
        [F], float64 on the CPU.

    Raises:
        InputError: the features do not change.
    """
    change = changes.mean(dim=0)
    if not float(change.norm()) > _UNCHANGED * float(spread.norm(dim=1).mean() + 1e-12):
        raise InputError(
            "The features see no difference between the example before and after. Make a larger edit, or choose "
            "another network to read with."
        )
    variance = spread.var(dim=0) if len(spread) > 1 else torch.zeros_like(change)
    normal = change / (variance + _FLOOR * variance.mean()).clamp(min=1e-30)
    return normal / (normal @ change)


def features_of(features: Features, pictures: Tensor) -> Tensor:
    """Read features [B, F] of pictures [B, 3, H, W], float64 on the CPU.

    Raises:
        InputError: another number of rows than pictures, or numbers that are not finite.
    """
    with torch.no_grad():
        rows = torch.cat([torch.as_tensor(features(batch)).detach().cpu() for batch in pictures.split(_PER_PASS)])
    if len(rows) != len(pictures) or rows.ndim < 2:
        raise InputError(
            f"The network gave features of shape {list(rows.shape)} for {len(pictures)} pictures; expected [B, ...]."
        )
    rows = rearrange(rows, "b ... -> b (...)").double()
    if not bool(torch.isfinite(rows).all()):
        raise InputError("The network's features of the pictures are not all finite numbers.")
    return rows
