"""Published settings beside ours, by node: the presets of `presets.py`.

Read in the authors' released code where there is any; what a paper leaves open stays as it is set. Names are those of
the nodes' inputs, and of settings that have none: `coordinates`, `rate`, `batch`, `l2_of` and `identity` of a text
edit, `rate_of` of an embedding, `layers`.
"""

from __future__ import annotations

from ...editing.imagic.presets import PRESETS
from .presets import Presets

__all__ = ["ADAPTATION", "DIRECTION", "DRAG", "EMBEDDING", "TEXT_EDIT", "TUNING"]

# Edit One for All (2401.10219): AdamW at 0.001, the direction is its own normal, strength 1 is its length. Drags and
# single images change the first six rows, StyleCLIP's edits all.
_RELEASED = {
    "steps": 0, "learning_rate": 0.001, "picture_height": 0, "landing": "direction", "normal": "direction",
    "search": "adam",
}  # fmt: skip
DIRECTION: Presets = {
    "ours": {
        "variant": "example", "steps": 0, "learning_rate": 0.001, "picture_height": 0, "landing": "example",
        "normal": "automatic", "search": "adam", "layers": "all",
    },
    "Edit One for All, one image": {**_RELEASED, "variant": "single", "layers": "first six"},
    "Edit One for All, batch": {**_RELEASED, "variant": "batch", "layers": "first six"},
    "Edit One for All, StyleCLIP edits": {**_RELEASED, "variant": "text", "layers": "all"},
}  # fmt: skip

# DragGAN (2305.10973): features of 128 px, the first six rows, lambda 20.
_OWN_LENGTHS = {"steps": 0, "tolerance": 0.0, "keep": 1.0, "learning_rate": 0.001, "rows": "auto", "feature_height": 0}
DRAG: Presets = {
    "ours": {"method": "least change", **_OWN_LENGTHS},
    "DragGAN": {"method": "published", **_OWN_LENGTHS},
}

# GANPaint (2005.07727): the perturbation network on the layers behind n - 5, Adam at 0.1, details stay in place.
ADAPTATION: Presets = {
    "ours": {"method": "residual", "steps": 0, "learning_rate": 0.0, "regularizer": 0.1, "follow": True, "layers": 0},
    "GANPaint": {
        "method": "network", "steps": 1000, "learning_rate": 0.1, "regularizer": 0.1, "follow": False, "layers": 5,
    },
}  # fmt: skip

# CoralStyleCLIP (2303.05031) gives neither weights nor steps: they stay as set. Whole pictures are scored, so that the
# rows of fine layers train too, masks mix the layers and nothing else, and the search starts from nothing.
_CORAL = {
    "changes": "direction", "score": "cosine", "wording": "as written", "copies": 0, "rows": "all", "threshold": 0.0,
    "samples": 0, "outside": "free", "picture_height": 4096, "coordinates": "plain",
}  # fmt: skip
# StyleCLIP (2103.17249): the optimisation of its released code takes the sum of squares of the change of W, its mapper
# the mean. The mapper's optimiser (Ranger at 0.5 on weights at a hundredth) has no counterpart here: our rate stays.
_STYLECLIP = {
    "masks": "none", "score": "cosine", "wording": "as written", "copies": 0, "rows": "all", "samples": 0,
    "picture_height": 4096, "coordinates": "plain",
}  # fmt: skip
TEXT_EDIT: Presets = {
    "ours": {
        "masks": "regions", "changes": "direction", "steps": 40, "area": 0.15, "gentleness": 0.01, "score": "both",
        "wording": "as written", "copies": 0, "rows": "all", "picture_height": 0, "threshold": 0.1, "smoothness": 0.02,
        "samples": 256, "outside": "kept",
    },
    "CoralStyleCLIP, segments": {**_CORAL, "masks": "regions"},
    "CoralStyleCLIP, attention": {**_CORAL, "masks": "attention"},
    "StyleCLIP, optimisation": {
        **_STYLECLIP, "changes": "direction", "steps": 300, "gentleness": 0.008, "l2_of": "sum", "rate": 0.1,
    },
    "StyleCLIP, mapper": {
        **_STYLECLIP, "changes": "mapper", "steps": 50_000, "gentleness": 0.8, "l2_of": "mean", "batch": 2,
        "identity": 0.1,
    },
}  # fmt: skip


# Imagic by names of how long it may take; "joint" stays as set.
def _embedding(name: str) -> dict[str, object]:
    settings = PRESETS[name].embedding
    return {
        "steps": settings.steps, "rate": settings.rate, "draws": settings.draws, "pooled": settings.pooled,
        "noise_from": settings.levels[0], "noise_to": settings.levels[1], "schedule": settings.schedule,
    }  # fmt: skip


def _tuning(name: str) -> dict[str, object]:
    settings = PRESETS[name].tuning
    return {
        "method": settings.method, "steps": settings.steps, "rate": settings.rate, "rank": settings.rank,
        "draws": settings.draws, "blocks": settings.blocks[0], "noise_from": settings.levels[0],
        "noise_to": settings.levels[1], "schedule": settings.schedule, "reference_rate": settings.reference_rate,
        "average": settings.average, "stop_early": PRESETS[name].stop_early,
    }  # fmt: skip


# Imagic (2210.09276): Adam at 0.001 on Imagen's embeddings and at 0.002 on Stable Diffusion's, one draw a step. These
# rates are of the embedding's numbers; ours are shares of its size.
EMBEDDING: Presets = {
    **{name: _embedding(name) for name in PRESETS},
    "ours": {"steps": 100, "rate": 0.01, "draws": 4, "pooled": True, "noise_from": 0.0, "noise_to": 1.0},
    "Imagic, Stable Diffusion": {
        "steps": 1000, "rate": 0.002, "rate_of": "numbers", "draws": 1, "pooled": False, "noise_from": 0.0,
        "noise_to": 1.0,
    },
    "Imagic, Imagen": {
        "steps": 100, "rate": 0.001, "rate_of": "numbers", "draws": 1, "pooled": False, "noise_from": 0.0,
        "noise_to": 1.0,
    },
}  # fmt: skip
TUNING: Presets = {
    **{name: _tuning(name) for name in PRESETS},
    "ours": {
        "method": "LoRA", "steps": 100, "rate": 0.0, "rank": 16, "draws": 4, "blocks": "all", "joint": False,
        "noise_from": 0.0, "noise_to": 1.0,
    },
    "Imagic, Stable Diffusion": {
        "method": "all weights", "steps": 1500, "rate": 5e-7, "draws": 1, "blocks": "all", "joint": False,
        "noise_from": 0.0, "noise_to": 1.0,
    },
}  # fmt: skip
