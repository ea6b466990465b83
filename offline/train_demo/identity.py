"""Contrastive training of the identity embedding.

One person stays one point under another pose, expression, glasses, hat, shirt or light.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ...demo.portraits.factors import FACTORS, INDEX, Z_DIM, sample_factors
from ...demo.readers import READER_SIZE, PortraitReader, ReaderConfig, save_reader
from .augment import heavy_disturbance
from .common import TrainingRun, from_bytes, rendered, set_rate, warm_cosine

IDENTITY = ReaderConfig("residual", 24, Z_DIM)
# Factors of a person. Everything else is a moment: pose, expression, clothes, light.
PERSON = (
    "skin",
    "face_w",
    "hair_hue",
    "hair_light",
    "hair_len",
    "eye_hue",
    "eye_size",
    "lip",
    "freckle",
    "curl",
    "part",
)
_VIEWS = 3
_TEMPERATURE = 0.1


def train_identity(run: TrainingRun) -> None:
    """Contrast 48 people at a time, two renders of each (SimCLR 2002.05709, NT-Xent loss)."""
    torch.manual_seed(run.seed)
    generator = torch.Generator().manual_seed(run.seed)
    people, held_out, steps = (96, 32, 3) if run.smoke else (4000, 256, 800)
    factors = people_factors(people + held_out, _VIEWS, generator)
    images = rearrange(rendered(factors, READER_SIZE), "(people views) ... -> people views ...", views=_VIEWS)
    run.say(f"rendered {people + held_out} people in {run.seconds():.0f} s")
    reader = PortraitReader(IDENTITY)
    optimizer = torch.optim.AdamW(reader.parameters(), 1.5e-3, weight_decay=1e-3)
    for step in range(steps):
        set_rate(optimizer, 1.5e-3 * warm_cosine(step, steps, 50))
        index = torch.randperm(people, generator=generator)[:48]
        views = torch.randperm(_VIEWS, generator=generator)[:2]
        pictures = from_bytes(rearrange(images[index][:, views], "people views ... -> (views people) ..."))
        with torch.autocast("cpu", torch.bfloat16):
            embedded = reader(heavy_disturbance(pictures, generator))
        loss = _nt_xent(F.normalize(embedded.float(), dim=1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % 200 == 0:
            run.say(f"step {step + 1} of {steps}: loss {loss.item():.3f}, {run.seconds():.0f} s")
    reader.eval()
    figures = _figures(reader, images[people:])
    run.say(", ".join(f"{name} {value}" for name, value in figures.items()))
    save_reader(run.out / "portraits.safetensors", reader, "identity", run.provenance(**figures))


def people_factors(people: int, views: int, generator: torch.Generator) -> Tensor:
    """Sample factors ``[people * views, K]``: views of one person follow each other and share what makes the person."""
    factors = rearrange(sample_factors(people * views, generator), "(people views) k -> people views k", views=views)
    for factor in FACTORS:
        column = INDEX[factor.name]
        if not factor.live:
            values = factor.low + (factor.high - factor.low) * torch.rand(people, views, generator=generator)
            moved = torch.rand(people, views, generator=generator) < 0.4
            factors[..., column] = torch.where(moved, values, factors[..., column])
        if factor.name in PERSON:
            factors[..., column] = factors[:, :1, column]
    return rearrange(factors, "people views k -> (people views) k")


def _nt_xent(embedded: Tensor) -> Tensor:
    """Compute NT-Xent (Eq. 1) over ``[2 N, D]`` unit vectors, the second half the other views of the first."""
    count = len(embedded)
    similarity = embedded @ embedded.t() / _TEMPERATURE
    similarity = similarity.masked_fill(torch.eye(count, dtype=torch.bool), -1e9)
    partner = (torch.arange(count) + count // 2) % count
    return F.cross_entropy(similarity, partner)


def _figures(reader: PortraitReader, images: Tensor) -> dict[str, float]:
    """Measure how well two views of a person find each other among held-out people, [people, views, 3, H, W]."""
    people = len(images)
    with torch.no_grad():
        first, second = (F.normalize(reader(from_bytes(images[:, view])), dim=1) for view in (0, 1))
    similarity = first @ second.t()
    same = similarity.diagonal()
    others = similarity[~torch.eye(people, dtype=torch.bool)]
    return {
        "people": people,
        "found_among_all": round((similarity.argmax(1) == torch.arange(people)).float().mean().item(), 3),
        "same_similarity": round(same.mean().item(), 3),
        "other_similarity": round(others.mean().item(), 3),
        "pairs_ordered": round((same[:, None] > others[None]).float().mean().item(), 4),
    }
