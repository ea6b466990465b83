"""Network dissection of the demo generator: which units stand for hats, glasses, hair and the other parts.

The part segmenter labels the samples and measures what units cause; the oracle, which grades paintings, is not asked.
"""

from __future__ import annotations

import torch

from ...demo.portraits.scene import PART_NAMES
from ...demo.segmenter import load_segmenter
from ...editing.paint.dissection import dissect_and_rank
from ...models.files.concepts import STEPS, TENSORS, write_concepts
from ...models.gan.generator import load_generator
from .common import TrainingRun, sample_z

SAMPLES = 2500


def train_concepts(run: TrainingRun) -> None:
    """Dissect ``portraits.safetensors`` with ``segmenter.safetensors``; both lie in OUT. Writes ``concepts/``."""
    generator = load_generator(run.out / "portraits.safetensors")
    segmenter = load_segmenter(run.out / "segmenter.safetensors")
    codes = generator.map(sample_z(64 if run.smoke else SAMPLES, torch.Generator().manual_seed(run.seed)))
    concepts = dissect_and_rank(
        generator,
        codes,
        lambda pictures, _: segmenter.masks(pictures),
        PART_NAMES,
        score=lambda pictures: segmenter(pictures).softmax(1),
        pictures=2 if run.smoke else 24,
        progress=lambda step, total, preview=None: run.say(f"{step} of {total}") if step % 512 == 0 else None,
    )
    run.say(concepts.report())
    write_concepts(
        run.out / "concepts" / "portraits.safetensors",
        {name: getattr(concepts, name) for name in (*TENSORS, *STEPS)},
        concepts.layer,
        concepts.names,
        generator.family,
        run.provenance(samples=len(codes)),
    )
