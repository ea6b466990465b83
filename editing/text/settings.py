"""How a text edit is trained: every choice with its default, which the benchmark of text edits measures."""

from __future__ import annotations

from dataclasses import dataclass

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.types import check_rows

__all__ = ["CHANGES", "COORDINATES", "MASKS", "TextEditSettings", "trained_rows"]

MASKS = ("regions", "attention", "attention in regions", "none")
CHANGES = ("direction", "mapper")
COORDINATES = ("spread of W", "plain")


@dataclass(frozen=True)
class TextEditSettings:
    """How a text edit is trained; every weight multiplies a mean, so none depends on sizes."""

    masks: str = "regions"
    changes: str = "direction"
    coordinates: str = "spread of W"  # what a step and the l2 term are measured in, see `_root`
    steps: int = 40
    batch: int = 4
    rate: float = 0.03  # of the change, in standard deviations of W per row and step
    mask_rate: float = 0.4
    full: float = 0.5  # share of the sentence's loss that the whole edit takes
    l2: float = 0.01
    area: float = 0.15
    smoothness: float = 0.02
    identity: float = 0.0
    start: int = 256  # sampled pictures that tell where to start, see `text_start`; 0: near nothing
    rows: tuple[int, ...] = ()  # rows that may change; none: all
    threshold: float = 0.1
    keep_outside: bool = True  # where no mask reaches, every layer stays the unedited picture's
    stop_resolution: int | None = None  # height of the pictures that are scored; None: whole pictures
    patience: int = 0  # stop when the loss has not fallen for as many steps; 0: never
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("masks", self.masks, MASKS),
            ("changes", self.changes, CHANGES),
            ("coordinates", self.coordinates, COORDINATES),
        ):
            if value not in known:
                raise InputError(f"Unknown {name} '{value}'; expected one of {', '.join(known)}.")
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"The {name} of a text edit must be at least 1; got {getattr(self, name)}.")


def trained_rows(generator: GanGenerator, settings: TextEditSettings) -> tuple[int, ...]:
    """The rows asked for that the scored pictures depend on."""
    count = generator.num_layers
    rows = check_rows(settings.rows or range(count), count, "The text edit")
    if settings.stop_resolution in (None, generator.resolution[0]):
        return rows
    synthesis = generator.network.synthesis
    made = [k for k in range(len(synthesis.layers)) if synthesis.layer_size(k)[1] <= settings.stop_resolution]
    # A row also styles the colours of the layer before it; trained there alone it would be wrong in its own layer.
    kept = tuple(row for row in rows if row <= max(made, default=-1))
    if not kept:
        raise InputError(f"No chosen row changes pictures of {settings.stop_resolution} pixels; score larger ones.")
    return kept
