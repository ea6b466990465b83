"""Settings of a text edit's training: every choice with its default, which the benchmark of text edits measures."""

from __future__ import annotations

from dataclasses import dataclass

from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ..common.types import check_rows

__all__ = ["CHANGES", "COORDINATES", "MASKS", "TextEditSettings", "l2_weight", "trained_rows"]

MASKS = ("regions", "attention", "attention in regions", "none")
CHANGES = ("direction", "mapper")
COORDINATES = ("spread of W", "plain")


@dataclass(frozen=True)
class TextEditSettings:
    """Loss weights, rates and masks of a training; every weight multiplies a mean, so none depends on sizes.

    Raises:
        InputError: an unknown kind of masks, changes or coordinates, no steps, or an empty batch.
    """

    masks: str = "regions"
    changes: str = "direction"
    coordinates: str = "spread of W"  # what a step and the l2 term are measured in, see `w_basis`
    steps: int = 40
    batch: int = 4
    rate: float = 0.03  # of the change, in standard deviations of W per row and step
    mask_rate: float = 0.4
    full: float = 0.5  # share of the sentence's loss that the whole edit takes
    l2: float = 0.01
    area: float = 0.15
    smoothness: float = 0.02
    identity: float = 0.0
    start: int = 256  # sampled pictures that tell where to start, see `initial_direction`; 0: near nothing
    rows: tuple[int, ...] = ()  # rows that may change; none: all
    threshold: float = 0.1
    keep_outside: bool = True  # where no mask reaches, every layer stays the unedited picture's
    stop_resolution: int | None = None  # height of the pictures that are scored; None: whole pictures
    patience: int = 0  # stop when the loss has not fallen for as many steps; 0: never
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("masks", self.masks, MASKS)
        check_choice("changes", self.changes, CHANGES)
        check_choice("coordinates", self.coordinates, COORDINATES)
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"The {name} of a text edit must be at least 1; got {getattr(self, name)}.")


def l2_weight(generator: GanGenerator, weight: float, reduction: str, rows: int) -> float:
    """Convert the weight of a squared change of W to that of `TextEditSettings.l2` with plain coordinates.

    Args:
        generator: whose W it is.
        weight: lambda of the published loss.
        reduction: "sum" or "mean" over all numbers [L, D], as the published loss takes it.
        rows: that may change.

    Raises:
        InputError: another reduction.
    """
    check_choice("reduction", reduction, ("sum", "mean"))
    variance = float(generator.w_covariance.diagonal().mean())
    count = 1 if reduction == "sum" else generator.num_layers * generator.w_dim
    return weight * variance * rows / count


def trained_rows(generator: GanGenerator, settings: TextEditSettings) -> tuple[int, ...]:
    """Return the rows asked for that the scored pictures depend on.

    Raises:
        InputError: rows that do not exist, or none that the scored pictures depend on.
    """
    count = generator.num_layers
    rows = check_rows(settings.rows or range(count), count, "The text edit")
    if settings.stop_resolution in (None, generator.resolution[0]):
        return rows
    synthesis = generator.network.synthesis
    layers = [k for k in range(len(synthesis.layers)) if synthesis.layer_size(k)[1] <= settings.stop_resolution]
    # A row also styles the colours of the layer before it; trained there alone it would be wrong in its own layer.
    scored_rows = tuple(row for row in rows if row <= max(layers, default=-1))
    if not scored_rows:
        raise InputError(f"No chosen row changes pictures of {settings.stop_resolution} pixels; score larger ones.")
    return scored_rows
