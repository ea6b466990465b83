"""Where a default will not suit a generator: a sentence each, with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...models.gan.generator import GanGenerator
from .samples import SampleStatistics
from .weights import LOOKS_RANDOM

__all__ = ["Times", "warnings_of"]

_SLOW = 600.0  # seconds that a person may take for a hang
_STEPS = 150  # of an inversion
_OFFSET = 0.5  # deviations of W
_FEW = 4.0  # dimensions
_BEYOND = 0.1  # share of pixels
_NOISY, _SMOOTH = 0.6, 0.85  # correlation of neighbours: below the first no picture, below the second a rough one
_ALIKE = 0.1  # distance of samples
_UNLIKE = 18.0  # dB


@dataclass(frozen=True)
class Times:
    """Seconds of a picture, and of a step with a gradient."""

    picture: float
    step: float


def warnings_of(
    generator: GanGenerator,
    statistics: SampleStatistics,
    random: float,  # share of the layers that look freshly drawn
    times: Times,
    likeness: Sequence[float],  # dB of inverted photos
) -> list[str]:
    """List what to mind, the gravest first."""
    warnings = []
    if random >= LOOKS_RANDOM:
        warnings.append(
            f"The weights look random: {random:.0%} of the layers are as freshly drawn. Times and sizes are true; "
            "pictures and likeness say nothing. Is this the trained file (G_ema)?"
        )
    else:
        warnings += _about_pictures(statistics)
        worst = min(likeness, default=_UNLIKE)
        if worst < _UNLIKE:
            warnings.append(
                f"A photo is drawn at {worst:.1f} dB only: photos have to be framed as the training pictures were. "
                "Align Crop does it for faces."
            )
    return warnings + _about_layout(generator) + _about_codes(generator, statistics) + _about_times(generator, times)


def _about_pictures(statistics: SampleStatistics) -> list[str]:
    warnings = []
    if statistics.smoothness < _NOISY:
        warnings.append("Neighbouring pixels of samples hardly agree: these are no pictures. Convert the file again.")
    elif statistics.smoothness < _SMOOTH:
        warnings.append("Samples are rough from pixel to pixel: look at them before you trust a figure.")
    if statistics.beyond > _BEYOND:
        warnings.append(
            f"{statistics.beyond:.0%} of the pixels lie beyond black and white: the file expects another range, or "
            "truncation 0.7 suits it better."
        )
    if statistics.diversity < _ALIKE:
        warnings.append("All samples are nearly the same picture: the mapping has collapsed, or z does not reach it.")
    return warnings


def _about_layout(generator: GanGenerator) -> list[str]:
    warnings = []
    if generator.codes_are_noise:
        warnings.append(
            "A Progressive GAN has one code for all layers: text edits and rows of W+ do not apply; painting does."
        )
    if generator.label_dim:
        warnings.append(
            f"It knows {generator.label_dim} classes: choose one in Sample Latents, since a batch of all classes "
            "shares no state to bring pictures to."
        )
    height, width = generator.resolution
    if height != width:
        warnings.append(
            f"Pictures are {width} x {height}: aligned crops of faces are square; give photos of this shape, or 'fit'."
        )
    channels = getattr(generator.network.config, "img_channels", 3)
    if channels != 3:
        warnings.append(f"It draws {channels} channels: grey is shown as grey, and a fourth one is left out.")
    return warnings


def _about_codes(generator: GanGenerator, statistics: SampleStatistics) -> list[str]:
    warnings = []
    if statistics.mean_offset > _OFFSET:
        warnings.append(
            f"The file's mean of W lies {statistics.mean_offset:.1f} deviations from that of samples: truncation pulls "
            "toward another picture than the average one."
        )
    if statistics.dimensions < _FEW and not generator.codes_are_noise:
        warnings.append(
            f"W fills {statistics.dimensions:.1f} dimensions only: text edits move along its spread, so set a smaller "
            "'L2 weight' where nothing changes."
        )
    return warnings


def _about_times(generator: GanGenerator, times: Times) -> list[str]:
    seconds = _STEPS * times.step
    if seconds < _SLOW:
        return []
    return [
        f"On this machine an inversion takes {seconds / 60:.0f} min a photo and a text edit as long: use a GPU, an "
        "encoder's codes (Encode Images), fewer steps, or 'picture_height' where a node has it."
    ]
