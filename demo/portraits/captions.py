"""Sentences about a portrait: one to eight attributes in the words a person would use."""

from __future__ import annotations

import torch
from torch import Tensor

from .factors import INDEX

# factor: phrases from its smallest to its largest values, each with the largest value it covers.
_NOUN_PHRASES: dict[str, tuple[tuple[float, str], ...]] = {
    "hair_len": ((0.33, "short hair"), (0.62, "medium hair"), (1.01, "long hair")),
    "hair_hue": ((0.12, "brown hair"), (0.37, "auburn hair"), (0.62, "ginger hair"), (0.87, "blond hair"),
                 (1.01, "silver hair")),
    "hair_light": ((0.33, "dark hair"), (0.67, ""), (1.01, "light hair")),
    "skin": ((0.30, "light skin"), (0.65, "tanned skin"), (1.01, "dark skin")),
    "face_w": ((0.33, "a narrow face"), (0.67, ""), (1.01, "a wide face")),
    "brow": ((-0.40, "low brows"), (0.40, ""), (1.01, "raised brows")),
    "eye_open": ((0.35, "closed eyes"), (0.75, "half open eyes"), (1.01, "wide open eyes")),
    "glasses": ((0.5, "no glasses"), (1.01, "glasses")),
    "shirt_hue": ((0.10, "a red shirt"), (0.26, "an orange shirt"), (0.42, "a green shirt"), (0.58, "a teal shirt"),
                  (0.75, "a blue shirt"), (0.92, "a purple shirt"), (1.01, "a pink shirt")),
}  # fmt: skip
_VERB_PHRASES: dict[str, tuple[tuple[float, str], ...]] = {
    "smile": ((-0.35, "frowning"), (0.30, ""), (1.01, "smiling")),
    "mouth_open": ((0.25, "with the mouth closed"), (0.55, ""), (1.01, "with the mouth open")),
    "yaw": ((-0.30, "looking left"), (0.30, "looking ahead"), (0.81, "looking right")),
}
_HUES = ((0.10, "red"), (0.26, "orange"), (0.42, "green"), (0.58, "teal"), (0.75, "blue"), (0.92, "purple"),
         (1.01, "pink"))  # fmt: skip
_BACKGROUNDS = ((0.10, "peach"), (0.25, "yellow"), (0.42, "green"), (0.58, "turquoise"), (0.75, "blue"),
                (0.92, "purple"), (1.01, "pink"))  # fmt: skip
ATTRIBUTES: tuple[str, ...] = (*_VERB_PHRASES, *_NOUN_PHRASES, "hat", "bg_hue")


def phrases(factors: Tensor) -> dict[str, str]:
    """What can be said of one portrait, ``[K]``: attribute to phrase; middling values say nothing and are left out."""
    said = {name: _choose(table, float(factors[INDEX[name]])) for name, table in _VERB_PHRASES.items()}
    said |= {name: _choose(table, float(factors[INDEX[name]])) for name, table in _NOUN_PHRASES.items()}
    hue = _choose(_HUES, float(factors[INDEX["hat_hue"]]))
    said["hat"] = f"a {hue} hat".replace("a orange", "an orange") if factors[INDEX["hat"]] > 0.5 else "no hat"
    said["bg_hue"] = f"a {_choose(_BACKGROUNDS, float(factors[INDEX['bg_hue']]))} background"
    return {name: phrase for name, phrase in said.items() if phrase}


def caption(
    factors: Tensor,
    generator: torch.Generator | None = None,
    attributes: int | tuple[str, ...] = (1, 8),  # type: ignore[assignment]
) -> str:
    """A sentence about one portrait ``[K]``.

    ``attributes``: how many (a number, or the smallest and largest for a random choice), or which by name.
    """
    known = phrases(factors)
    if isinstance(attributes, int):
        chosen = _some(known, attributes, generator)
    elif all(isinstance(entry, str) for entry in attributes):
        chosen = [name for name in attributes if name in known]
    else:
        low, high = attributes
        chosen = _some(known, int(torch.randint(low, high + 1, (), generator=generator)), generator)
    doing = [known[name] for name in chosen if name in _VERB_PHRASES]
    having = [known[name] for name in chosen if name not in _VERB_PHRASES]
    sentence = "a portrait of a person"
    if having:
        sentence += " with " + _join(having)
    if doing:
        sentence += (", " if having else " ") + _join(doing)
    return sentence


def captions(factors: Tensor, generator: torch.Generator | None = None, attributes=(1, 8)) -> list[str]:
    """One sentence for each portrait of ``[B, K]``; see ``caption``."""
    return [caption(row, generator, attributes) for row in factors]


def _choose(table: tuple[tuple[float, str], ...], value: float) -> str:
    return next((phrase for limit, phrase in table if value <= limit), table[-1][1])


def _some(known: dict[str, str], count: int, generator: torch.Generator | None) -> list[str]:
    order = torch.randperm(len(known), generator=generator)[: max(1, count)].tolist()
    names = list(known)
    return [names[i] for i in order]


def _join(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
