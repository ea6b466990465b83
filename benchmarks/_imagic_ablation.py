"""What separates ways to learn a photo: one thing changed at a time, on pairs that the table does not hold.

Every variant learns eight development pairs and paints six etas of each; "chosen" is the eta of the six that is nearest
to the automatic one. Rows lie in a file and the pictures in a folder beside it, so that a stopped run goes on, and
another rule of the choice can be judged without painting again. Variants whose first stage is the same share it: its
seconds count in each.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from _edit_methods import ETAS, Edits, Learned, Workshop, settings_from
from _edit_pairs_demo import DEVELOPMENT, Pair, deviations, graded, held_out_pairs
from _harness import say, table
from semantic_edit.editing.common.progress import silent
from semantic_edit.editing.imagic.embedding import EmbeddingFit, EmbeddingSettings, optimize_embedding
from semantic_edit.editing.imagic.tuning import tune_model
from semantic_edit.models.diffusion.lora import with_lora
from torch import Tensor

PAIRS = (0, 3, 10, 6, 7, 13, 18, 2)  # of twenty development pairs: glasses, colours, hat, eyes, pose, length, smile


@dataclass(frozen=True)
class Variant:
    """One way to learn.

    Args:
        settings: as `settings_from`; "stop" stops early, "caption" starts the embedding from the photo's caption,
            "one_stage" leaves the first stage out.
    """

    settings: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Variant:
        """Read settings from one line."""
        return cls(tuple(text.split()))

    def has(self, flag: str) -> bool:
        """Tell whether a flag is among the settings."""
        return flag in self.settings

    @property
    def numbers(self) -> list[str]:
        """Return the settings that are no flags."""
        return [setting for setting in self.settings if "=" in setting]


_BASE = "embedding.steps=40 embedding.rate=0.02 tuning.steps=60"
_ALL = f"{_BASE} tuning.method=all_weights tuning.rate=1e-4"
_LORA = f"{_BASE} tuning.rate=1e-3"
_HIGH = "embedding.levels=0.25,1 tuning.levels=0.25,1"
VARIANTS = {
    "LoRA": _LORA,
    "all weights": _ALL,
    "all weights, 3x rate, falling": f"{_ALL} tuning.rate=3e-4 tuning.schedule=cosine",
    "noise from .25": f"{_ALL} {_HIGH}",
    "embedding goes on in stage two": f"{_ALL} tuning.joint=1 tuning.embedding_rate=0.01",
    "all weights, 2x rate": f"{_ALL} tuning.rate=2e-4",
    "embedding 20 steps, tuning 75": f"{_ALL} embedding.steps=20 tuning.steps=75",
    "embedding 100 steps at half the rate": f"{_ALL} embedding.steps=100 embedding.rate=0.01",
    "embedding from a caption": f"{_ALL} caption",
    "one stage from a caption": f"{_ALL} one_stage tuning.joint=1 tuning.steps=85",
    "2x rate, noise from .25": f"{_ALL} {_HIGH} tuning.rate=2e-4",
    "4x rate, noise from .25": f"{_ALL} {_HIGH} tuning.rate=4e-4",
    "2x rate, noise from .4": f"{_ALL} embedding.levels=0.4,1 tuning.levels=0.4,1 tuning.rate=2e-4",
    "2x rate, 120 steps": f"{_ALL} tuning.rate=2e-4 tuning.steps=120",
    "2x rate, noise from .25, 120 steps": f"{_ALL} {_HIGH} tuning.rate=2e-4 tuning.steps=120",
    "2x rate, noise from .25, embedding 20": f"{_ALL} {_HIGH} tuning.rate=2e-4 embedding.steps=20 tuning.steps=75",
    "2x rate, noise from .25, averaged": f"{_ALL} {_HIGH} tuning.rate=2e-4 tuning.average=0.9",
    "2x rate, noise from .25, 120 steps, stop": f"{_ALL} {_HIGH} tuning.rate=2e-4 tuning.steps=120 stop",
    "LoRA, noise from .25": f"{_LORA} {_HIGH} tuning.rate=2e-3",
    "all weights, 2x rate, averaged": f"{_ALL} tuning.rate=2e-4 tuning.average=0.9",
    "2 draws, more steps": f"{_ALL} tuning.draws=2 tuning.steps=90",
    "8 draws, fewer steps": f"{_ALL} tuning.draws=8 tuning.steps=38",
    "attention alone": f"{_ALL} tuning.blocks=attention",
    "decoder alone": f"{_ALL} tuning.blocks=decoder",
    "LoRA, 3x rate, falling": f"{_LORA} tuning.rate=3e-3 tuning.schedule=cosine",
    "LoRA, 3x rate": f"{_LORA} tuning.rate=3e-3",
    "LoRA, rank 64": f"{_LORA} tuning.rank=64",
    "LoRA, rank 4": f"{_LORA} tuning.rank=4",
    "twice the steps": f"{_ALL} tuning.steps=120",
    "twice the steps, falling": f"{_ALL} tuning.rate=2e-4 tuning.steps=120 tuning.schedule=cosine",
    "twice the steps, stopping by loss": f"{_ALL} tuning.steps=120 stop",
}


class Ablation:
    """Runs variants on pairs, and keeps first stages that several share."""

    def __init__(self, workshop: Workshop, rows: Any) -> None:
        self.workshop, self.rows, self.spread = workshop, rows, deviations()
        self.pairs = [held_out_pairs(max(PAIRS) + 1, workshop.side, DEVELOPMENT)[k] for k in PAIRS]
        self._fits: dict[tuple[str, EmbeddingSettings, bool], tuple[EmbeddingFit, float]] = {}

    def run(self, variants: Mapping[str, str], count: int = len(PAIRS)) -> None:
        """Measure what the rows do not hold yet."""
        for name, text in variants.items():
            for pair in self.pairs[:count]:
                if not self.rows.has(pair.task.name, name):
                    self.rows.add(self._row(name, Variant.of(text), pair))

    def _row(self, name: str, variant: Variant, pair: Pair) -> dict[str, Any]:
        settings = settings_from([text.replace("all_weights", "all weights") for text in variant.numbers])
        bundle, task = self.workshop.bundle, pair.task
        entry, first = self.workshop.said(task.source), 0.0
        if not variant.has("one_stage"):
            fit, first = self._fit(pair, settings["embedding"], variant.has("caption"))
            entry = fit.conditioning
        started = time.process_time()
        tuned = tune_model(
            bundle.model, bundle.vae.encode(task.photo), entry, settings["tuning"], progress=silent,
            stop_early=variant.has("stop"),
        )  # fmt: skip
        second = time.process_time() - started
        learned = Learned(with_lora(bundle.model, tuned.lora), tuned.conditioning, first + second)
        sweep = self.workshop.swept(learned, task, ETAS)
        self._keep(name, pair, sweep.images[:, 0])
        figures = graded(pair, Edits(sweep.etas, sweep.images[:, 0], None, 0.0, 0.0), self.spread)
        chosen = sweep.best_index
        row = {
            "method": name, "pair": task.name, "places": sweep.etas, "chosen": chosen, "figures": figures,
            "learning": first + second, "painting": 0.0, "first": first, "steps": len(tuned.losses),
            "loss": (tuned.loss_before, tuned.loss_after), "recall": tuned.recall, "eta": sweep.best_eta,
            "scores": sweep.scores, "besides": sweep.besides,
            "photo_score": sweep.photo_score, "distances": sweep.distances, "moved": [m.moved for m in sweep.moves],
        }  # fmt: skip
        at = figures[chosen]
        say(f"{name} | {task.name} | {at['success']:.0f} {at['outcome']:.2f} {at['identity']:.2f} | best "
            f"{max(f['outcome'] for f in figures):.2f} | {first + second:.1f} s")  # fmt: skip
        return row

    def _keep(self, name: str, pair: Pair, pictures: Tensor) -> None:
        """Write the pictures [E, H, W, 3] beside the rows, in eight bits."""
        folder = self.rows.path.with_suffix("")
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}, {pair.task.name}.npy", (pictures * 255).round().byte().numpy())

    def _fit(self, pair: Pair, settings: EmbeddingSettings, caption: bool) -> tuple[EmbeddingFit, float]:
        key = (pair.task.name, settings, caption)
        if key not in self._fits:
            latent, target = self.workshop.bundle.vae.encode(pair.task.photo), self.workshop.said(pair.task.target)
            start = self.workshop.said(pair.task.source) if caption else None
            started = time.process_time()
            fit = optimize_embedding(self.workshop.bundle.model, latent, target, settings, start)
            self._fits[key] = fit, time.process_time() - started
        return self._fits[key]


def ablation_table(rows: Any) -> str:
    """Return a row per variant."""
    head = ("variant", "pairs", "chosen: success", "identity", "outcome", "at best: success", "outcome",
            "near hindsight", "loss left", "CPU s")  # fmt: skip
    names = dict.fromkeys(line["method"] for line in rows.lines)
    return table(head, [_cells(name, rows.of(name)) for name in names])


def _cells(name: str, lines: Sequence[dict[str, Any]]) -> list[str]:
    chosen = [line["figures"][line["chosen"]] for line in lines]
    best = [max(line["figures"], key=lambda f: (f["success"], f["outcome"])) for line in lines]
    highest = [max(f["outcome"] for f in line["figures"]) for line in lines]
    near = mean(c["outcome"] >= 0.95 * h for c, h in zip(chosen, highest, strict=True))
    return [
        name, str(len(lines)),
        f"{mean(f['success'] for f in chosen):.2f}", f"{mean(f['identity'] for f in chosen):.2f}",
        f"{mean(f['outcome'] for f in chosen):.3f}", f"{mean(f['success'] for f in best):.2f}",
        f"{mean(highest):.3f}", f"{near:.2f}", f"{mean(line['loss'][1] / line['loss'][0] for line in lines):.2f}",
        f"{mean(line['learning'] for line in lines):.1f}",
    ]  # fmt: skip
