"""Statistics of W and of sampled pictures, beside those of the generator that our defaults were chosen on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.gan.generator import GanGenerator

__all__ = ["DEMO", "SampleStatistics", "measure_samples"]


@dataclass(frozen=True)
class SampleStatistics:
    """What codes and pictures of a generator are like.

    Args:
        deviation: of W, the mean over its axes.
        dimensions: that W fills: (sum of variances)^2 / sum of their squares.
        largest: share of W's variance along its first principal axis.
        mean_offset: of the tracked mean of W from that of samples, in deviations.
        brightness, contrast: mean and deviation of pixels in -1..1.
        beyond: share of pixels out of -1..1 by more than a tenth.
        smoothness: correlation of neighbouring pixels.
        colour: correlation of red, green and blue.
        diversity: mean distance of two samples, in deviations of their pixels; two unrelated pictures have 1.
    """

    deviation: float
    dimensions: float
    largest: float
    mean_offset: float
    brightness: float
    contrast: float
    beyond: float
    smoothness: float
    colour: float
    diversity: float

    def lines(self, other: SampleStatistics) -> list[str]:
        """Describe them beside another's."""
        return [
            f"deviation of W {self.deviation:.3g} (demo generator {other.deviation:.3g}); rates are shares of it",
            f"W fills {self.dimensions:.1f} dimensions ({other.dimensions:.1f}), the first holds "
            f"{self.largest:.0%} ({other.largest:.0%})",
            f"tracked mean of W {self.mean_offset:.2f} deviations from the samples' ({other.mean_offset:.2f})",
            f"brightness {self.brightness:+.2f} ({other.brightness:+.2f}), contrast {self.contrast:.2f} "
            f"({other.contrast:.2f}), beyond white and black {self.beyond:.1%} ({other.beyond:.1%})",
            f"neighbouring pixels alike {self.smoothness:.3f} ({other.smoothness:.3f}), colours "
            f"{self.colour:.2f} ({other.colour:.2f})",
            f"two samples differ by {self.diversity:.2f} ({other.diversity:.2f}) of unrelated pictures",
        ]


# The shipped demo generator, 16 samples of seed 0 (a test measures it again).
DEMO = SampleStatistics(
    deviation=0.2197, dimensions=9.888, largest=0.1789, mean_offset=0.0266, brightness=0.0059, contrast=0.4711,
    beyond=0.0, smoothness=0.9706, colour=0.5782, diversity=0.797,
)  # fmt: skip


def measure_samples(generator: GanGenerator, codes: Tensor, pictures: Tensor) -> SampleStatistics:
    """Measure a generator's W, and sampled pictures [B, 3, H, W] about -1..1 of codes [B, L, D]."""
    covariance = generator.w_covariance.double().cpu()
    variances = torch.linalg.eigvalsh(covariance).clamp(min=0)
    deviation = float(covariance.diagonal().mean().sqrt())
    count = 1024
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(1))
    offset = 0.0
    if not generator.codes_are_noise and not generator.label_dim:
        sampled = generator.map(z)[:, 0].mean(dim=0)
        offset = float((generator.w_mean - sampled).square().mean().sqrt()) / max(deviation, 1e-12)
    x = pictures.double().cpu()
    flat = x.flatten(1)
    return SampleStatistics(
        deviation=deviation,
        dimensions=float(variances.sum().square() / variances.square().sum().clamp(min=1e-30)),
        largest=float(variances.max() / variances.sum().clamp(min=1e-30)),
        mean_offset=offset,
        brightness=float(x.mean()),
        contrast=float(x.std()),
        beyond=float((x.abs() > 1.1).double().mean()),
        smoothness=_correlation(x[..., 1:], x[..., :-1]),
        colour=sum(_correlation(x[:, a], x[:, b]) for a, b in ((0, 1), (1, 2), (0, 2))) / 3,
        diversity=float((flat[1:] - flat[:-1]).square().mean().sqrt() / (2**0.5 * x.std().clamp(min=1e-12))),
    )


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt().clamp(min=1e-12))
