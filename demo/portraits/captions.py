"""Captions of portraits: one to eight attributes in the words a person would use."""

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


def attribute_phrases(factors: Tensor) -> dict[str, str]:
    """Return attribute -> phrase of one portrait's factors ``[K]``; middling values say nothing and are left out."""
    phrases = {name: _phrase_for(table, float(factors[INDEX[name]])) for name, table in _VERB_PHRASES.items()}
    phrases |= {name: _phrase_for(table, float(factors[INDEX[name]])) for name, table in _NOUN_PHRASES.items()}
    hue = _phrase_for(_HUES, float(factors[INDEX["hat_hue"]]))
    phrases["hat"] = f"a {hue} hat".replace("a orange", "an orange") if factors[INDEX["hat"]] > 0.5 else "no hat"
    phrases["bg_hue"] = f"a {_phrase_for(_BACKGROUNDS, float(factors[INDEX['bg_hue']]))} background"
    return {name: phrase for name, phrase in phrases.items() if phrase}


def caption(
    factors: Tensor,
    generator: torch.Generator | None = None,
    attributes: int | tuple[str, ...] = (1, 8),  # type: ignore[assignment]
) -> str:
    """Write a sentence about one portrait.

    Args:
        factors: ``[K]``.
        generator: of every random choice.
        attributes: how many (a number, or the smallest and largest for a random choice), or which by name.
    """
    phrases = attribute_phrases(factors)
    if isinstance(attributes, int):
        names = _random_names(phrases, attributes, generator)
    elif all(isinstance(entry, str) for entry in attributes):
        names = [name for name in attributes if name in phrases]
    else:
        low, high = attributes
        names = _random_names(phrases, int(torch.randint(low, high + 1, (), generator=generator)), generator)
    verbs = [phrases[name] for name in names if name in _VERB_PHRASES]
    nouns = [phrases[name] for name in names if name not in _VERB_PHRASES]
    sentence = "a portrait of a person"
    if nouns:
        sentence += " with " + _join(nouns)
    if verbs:
        sentence += (", " if nouns else " ") + _join(verbs)
    return sentence


def captions(factors: Tensor, generator: torch.Generator | None = None, attributes=(1, 8)) -> list[str]:
    """Write one sentence for each portrait of ``[B, K]``; see ``caption``."""
    return [caption(row, generator, attributes) for row in factors]


def _phrase_for(table: tuple[tuple[float, str], ...], value: float) -> str:
    return next((phrase for limit, phrase in table if value <= limit), table[-1][1])


def _random_names(phrases: dict[str, str], count: int, generator: torch.Generator | None) -> list[str]:
    order = torch.randperm(len(phrases), generator=generator)[: max(1, count)].tolist()
    names = list(phrases)
    return [names[i] for i in order]


def _join(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
