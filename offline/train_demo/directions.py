"""Attribute directions of the demo generator: sliders such as more smile or longer hair, as files.

What labels the samples is the feature regressor that the generator's training used, never the oracle: what grades an
edit must not have made it.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ...demo.portraits.factors import LIVE_NAMES
from ...demo.readers import load_reader
from ...editing.common.fit import fit_attribute
from ...editing.one_for_all.attributes import fit_to_generator
from ...editing.one_for_all.library import before_after_strip
from ...models.files.direction import read_direction, write_direction, write_thumbnail
from ...models.gan.generator import GanGenerator, load_generator
from .common import TrainingRun, sample_z

# File name: factor. A direction is one standard deviation of its attribute long.
ATTRIBUTES = {
    "turn_head": "yaw",
    "smile": "smile",
    "open_mouth": "mouth_open",
    "open_eyes": "eye_open",
    "long_hair": "hair_len",
    "light_hair": "hair_light",
    "wide_face": "face_w",
    "glasses": "glasses",
    "hat": "hat",
}
SAMPLES = 4000
_THUMBNAIL_AMOUNT = 2.5  # standard deviations
_THUMBNAIL_SEED, _THUMBNAIL_TRUNCATION = 10, 0.6


def train_directions(run: TrainingRun) -> None:
    """Fit every attribute on sampled pictures of ``portraits.safetensors``, labelled by ``features.safetensors``."""
    generator = load_generator(run.out / "portraits.safetensors")
    codes, labels = label_samples(generator, run, 64 if run.smoke else SAMPLES)
    for name, factor in ATTRIBUTES.items():
        fitted = fit_attribute(codes, labels[:, LIVE_NAMES.index(factor)])
        path = write_direction(
            run.out / "directions" / f"{name}.safetensors",
            fitted.direction[None],
            fitted.normal[None],
            method="regression on sampled pictures",
            family=generator.family,
            name=name.replace("_", " "),
            provenance=run.provenance(samples=len(codes), held_out_r2=round(fitted.r2, 4)),
        )
        draw_thumbnail(generator, path)
        run.say(f"{name}: linear probe R2 {fitted.r2:.3f}")


def draw_thumbnail(generator: GanGenerator, path: Path) -> Path:
    """Draw one portrait before and after the direction of a file, as a picture beside the file; return its path."""
    z = sample_z(1, torch.Generator().manual_seed(_THUMBNAIL_SEED))
    edit = fit_to_generator(generator, **read_direction(path))
    with torch.no_grad():
        code = generator.map(z, truncation=_THUMBNAIL_TRUNCATION)
        return write_thumbnail(path, before_after_strip(generator, edit, code, _THUMBNAIL_AMOUNT))


def label_samples(generator: GanGenerator, run: TrainingRun, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample N codes [N, D] and let the regressor read the factors [N, factors] of their pictures."""
    reader = load_reader(run.out / "features.safetensors", "features")
    rng = torch.Generator().manual_seed(run.seed)
    codes, labels = [], []
    with torch.no_grad():
        for z in sample_z(count, rng).split(64):
            w = generator.map(z)
            codes.append(w[:, 0])
            labels.append(reader(generator.synthesize(w)))
    return torch.cat(codes), torch.cat(labels)
