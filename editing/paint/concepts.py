"""Concept units (GAN dissection, 1811.10597): which units of a layer stand for which concepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError

__all__ = ["ConceptUnits"]

MIN_IOU = 0.05  # IoU above which a unit counts as one of the concept's, as published
LEVELS = {"low": 4, "medium": 10, "high": 15}  # units painted at once, as published


@dataclass(frozen=True, eq=False)
class ConceptUnits:
    """The dissection of one layer (socket CONCEPT_UNITS): which of its C units stand for which of P concepts.

    Args:
        layer: the dissected layer of the generator.
        names: P names of concepts.
        iou: [P, C], how well each unit's thresholded activation covers each concept, 0..1.
        effect: [P, C], how much of the concept each unit causes, larger is more; what units are ranked by.
        top: [C], the 99 % quantile of each unit.
        inside: [P, C], the mean of each unit where its concept is.
        outside: [P, C], the mean of each unit where its concept is not, on pictures without it where there are such.
        threshold: [P, C], the activation above which a unit counts as on.
        share: [P], how much of the pictures each concept covers on average.
        steps: [P, R, D] or None: the step in W (R = L rows, or 1 for all alike) from pictures without the concept to
            pictures with it; zero where the concept is in every picture.
        normals: [P, D] or None, and levels [P, 2]: w . normal is about levels[0] without and levels[1] with it.
        family: the generator family, "" when unknown.

    Raises:
        InputError: shapes that do not belong together.
    """

    layer: int
    names: Sequence[str]
    iou: Tensor
    effect: Tensor
    top: Tensor
    inside: Tensor
    outside: Tensor
    threshold: Tensor
    share: Tensor
    steps: Tensor | None = None
    normals: Tensor | None = None
    levels: Tensor | None = None
    family: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(str(name) for name in self.names))
        if self.iou.ndim != 2 or 0 in self.iou.shape:
            raise InputError(f"The scores of units have shape {list(self.iou.shape)}; expected [concepts, units].")
        P, C = self.iou.shape
        if len(self.names) != P or len(set(self.names)) != P:
            raise InputError(f"{P} concepts need as many names that differ; got {', '.join(self.names)}.")
        shapes = dict.fromkeys(("iou", "effect", "inside", "outside", "threshold"), (P, C))
        shapes.update(top=(C,), share=(P,))
        for name, shape in shapes.items():
            tensor = getattr(self, name)
            if tuple(tensor.shape) != shape or not bool(torch.isfinite(tensor).all()):
                raise InputError(f"'{name}' of the concepts must be finite numbers {list(shape)}; got a tensor "
                                 f"{list(tensor.shape)}.")  # fmt: skip
        known = [tensor is not None for tensor in (self.steps, self.normals, self.levels)]
        if any(known) and not all(known):
            raise InputError("Steps, normals and levels of concepts come together, or not at all.")
        if all(known):
            fits = self.steps.ndim == 3 and len(self.steps) == P and self.levels.shape == (P, 2)
            if not fits or self.normals.shape != (P, self.steps.shape[2]):
                raise InputError("The steps in W do not fit the concepts: expected [P, R, D], [P, D] and [P, 2].")

    @property
    def num_units(self) -> int:
        """C, the channels of the layer."""
        return self.iou.shape[1]

    def index(self, concept: str) -> int:
        """Return the position of a concept.

        Raises:
            InputError: it was not dissected; the sentence lists the concepts there are.
        """
        if concept not in self.names:
            raise InputError(
                f"The concept '{concept}' was not dissected; there are: {', '.join(self.names)}. Choose one of "
                "them, or dissect again with part labels that contain it."
            )
        return self.names.index(concept)

    def ranked(self, concept: str, count: int | str | None = None) -> tuple[int, ...]:
        """Rank the units of a concept by their effect, the strongest first.

        Args:
            concept: its name.
            count: how many units, or "low", "medium" or "high" (4, 10, 15); None: all.

        Raises:
            InputError: the concept was not dissected.
        """
        count = LEVELS.get(count, count) if isinstance(count, str) else count
        order = self.effect[self.index(concept)].argsort(descending=True, stable=True).tolist()
        return tuple(order if count is None else order[: int(count)])

    def report(self, count: int = 5) -> str:
        """Describe each concept on a line: how many units overlap it, and its ``count`` strongest units with IoU."""
        lines = []
        for p, name in enumerate(self.names):
            units = ", ".join(f"{unit} ({float(self.iou[p, unit]):.2f})" for unit in self.ranked(name, count))
            overlapping = int((self.iou[p] > MIN_IOU).sum())
            lines.append(f"{name}: {overlapping} units with IoU above {MIN_IOU}; strongest (IoU): {units}")
        return "\n".join([f"layer {self.layer}, {self.num_units} units", *lines])
