"""The units of the demo generator: which of them stand for hats, glasses, hair and the other parts, as a file.

The part segmenter labels the samples and measures what units cause; the oracle, which grades paintings, is not asked.
"""

from __future__ import annotations

import torch

from ...demo.portraits.scene import PART_NAMES
from ...demo.segmenter import load_segmenter
from ...editing.paint.dissection import dissect_and_rank
from ...models.files.concepts import STEPS, TENSORS, write_concepts
from ...models.gan.generator import load_generator
from .common import Job, sample_z

SAMPLES = 2500


def train_concepts(job: Job) -> None:
    """Dissect ``portraits.safetensors`` with ``segmenter.safetensors``; both lie in OUT. Writes ``concepts/``."""
    generator = load_generator(job.out / "portraits.safetensors")
    segmenter = load_segmenter(job.out / "segmenter.safetensors")
    codes = generator.map(sample_z(64 if job.smoke else SAMPLES, torch.Generator().manual_seed(job.seed)))
    concepts = dissect_and_rank(
        generator,
        codes,
        lambda pictures, _: segmenter.masks(pictures),
        PART_NAMES,
        score=lambda pictures: segmenter(pictures).softmax(1),
        pictures=2 if job.smoke else 24,
        progress=lambda step, total, preview: job.say(f"{step} of {total}") if step % 512 == 0 else None,
    )
    job.say(concepts.report())
    write_concepts(
        job.out / "concepts" / "portraits.safetensors",
        {name: getattr(concepts, name) for name in (*TENSORS, *STEPS)},
        concepts.layer,
        concepts.names,
        generator.family,
        job.provenance(samples=len(codes)),
    )
