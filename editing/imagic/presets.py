"""Settings of both stages by how long they may take, chosen by ablation (benchmarks/imagic.py --ablate).

Steps and shares of noise are the same for every model; the embedding's rate is a share of its size, and the network's
follows its size by `rates.scaled_rate`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .embedding import EmbeddingSettings
from .tuning import METHODS, TuneSettings

__all__ = ["PRESETS", "LearningPreset"]


@dataclass(frozen=True)
class LearningPreset:
    """Settings that belong together.

    Args:
        embedding: of the first stage.
        tuning: of the second.
        stop_early: whether the second stops where the loss over fixed noise no longer falls.
    """

    embedding: EmbeddingSettings
    tuning: TuneSettings
    stop_early: bool = False


def _preset(embedding_steps: int, tuning_steps: int, stop_early: bool = False) -> LearningPreset:
    return LearningPreset(
        EmbeddingSettings(steps=embedding_steps, rate=0.02),
        TuneSettings(method=METHODS[2], steps=tuning_steps, reference_rate=1e-4),
        stop_early,
    )


PRESETS = {"quick": _preset(20, 30), "standard": _preset(40, 60), "thorough": _preset(80, 120, stop_early=True)}
