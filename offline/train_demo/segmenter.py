"""Training of the part segmenter on renders and photos with their exact parts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...demo.portraits.factors import sample_factors
from ...demo.portraits.photos import paint_photo, random_photo
from ...demo.portraits.render import render
from ...demo.portraits.scene import PART_NAMES
from ...demo.segmenter import SEGMENTER_SIZE, PartSegmenter, save_segmenter
from .augment import heavy_disturbance, light_disturbance
from .common import TrainingRun, from_bytes, set_rate, to_bytes, warm_cosine


def train_segmenter(run: TrainingRun) -> None:
    """Minimise the cross-entropy to the part that covers most of each pixel."""
    torch.manual_seed(run.seed)
    generator = torch.Generator().manual_seed(run.seed)
    renders, photos, held_out, steps = (24, 8, 16, 2) if run.smoke else (1500, 250, 200, 450)
    images, labels = _labelled(renders, photos, run.seed, generator)
    run.say(f"rendered {len(images)} portraits in {run.seconds():.0f} s")
    segmenter = PartSegmenter(8 if run.smoke else 24)
    optimizer = torch.optim.AdamW(segmenter.parameters(), 2e-3, weight_decay=1e-3)
    order = torch.randperm(len(images), generator=generator)
    images, labels = images[order], labels[order]
    total = 0.0
    for step in range(steps):
        set_rate(optimizer, 2e-3 * warm_cosine(step, steps, 50))
        index = torch.randint(held_out, len(images), (16,), generator=generator)
        disturb = heavy_disturbance if step % 3 == 0 else light_disturbance
        pictures, targets = from_bytes(images[index]), labels[index].long()
        if torch.rand((), generator=generator) < 0.5:
            pictures, targets = pictures.flip(-1), targets.flip(-1)
        with torch.autocast("cpu", torch.bfloat16):
            logits = segmenter(disturb(pictures, generator))
        loss = F.cross_entropy(logits.float(), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.item()
        if (step + 1) % 100 == 0:
            run.say(f"step {step + 1} of {steps}: loss {total / 100:.4f}, {run.seconds():.0f} s")
            total = 0.0
    segmenter.eval()
    overlap = _intersection_over_union(
        segmenter.masks(from_bytes(images[:held_out])).argmax(1), labels[:held_out].long()
    )
    figures = {name: round(value, 3) for name, value in zip(PART_NAMES, overlap, strict=True)}
    run.say(f"held-out intersection over union: {figures}")
    save_segmenter(run.out / "portraits.safetensors", segmenter, run.provenance(held_out_iou=figures))


def _labelled(renders: int, photos: int, seed: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Render pictures [N, 3, H, W] uint8 and the index of each pixel's part [N, H, W] uint8."""
    images, labels = [], []
    batches = [render(factors, SEGMENTER_SIZE, True) for factors in sample_factors(renders, generator).split(32)]
    batches += [paint_photo(random_photo(1000 * seed + k), SEGMENTER_SIZE, True) for k in range(photos)]
    for batch in batches:
        images.append(to_bytes(batch.images))
        labels.append(batch.parts.argmax(1).to(torch.uint8))
    return torch.cat(images), torch.cat(labels)


def _intersection_over_union(predicted: Tensor, labels: Tensor) -> list[float]:
    """Compute the IoU of each part between two maps of part indices [N, H, W]."""
    values = []
    for index in range(len(PART_NAMES)):
        a, b = predicted == index, labels == index
        values.append(float((a & b).sum() / (a | b).sum().clamp(min=1)))
    return values
