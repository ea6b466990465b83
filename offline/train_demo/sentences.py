"""Captions of portraits, each with the conditions that make it true, so that a batch knows all its matching pairs.

Many portraits wear glasses. A contrastive loss that takes every other picture of the batch for a wrong answer to "a
person with glasses" teaches little; so each sentence carries its conditions, and `match_matrix` compares them with
pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...demo.portraits.captions import attribute_phrases

OPENINGS = ("a portrait of a person", "a photo of a person", "a person", "a face", "a picture of a person", "")
ACTIONS = ("smile", "mouth_open", "yaw")
_HAIR = ("hair_len", "hair_light", "hair_hue")
_SYNONYMS = {
    "smiling": ("smiling", "with a smile", "with a big smile"),
    "frowning": ("frowning", "with a frown"),
    "with the mouth open": ("with the mouth open", "with an open mouth"),
    "with the mouth closed": ("with the mouth closed", "with a closed mouth"),
    "looking ahead": ("looking ahead", "looking straight ahead"),
    "glasses": ("glasses", "eyeglasses"),
    "no glasses": ("no glasses", "without glasses"),
    "no hat": ("no hat", "without a hat"),
    "wide open eyes": ("wide open eyes", "open eyes"),
}


@dataclass(frozen=True)
class Sentence:
    """A text, and the phrase that each attribute it speaks of must have; "hat" alone takes any colour."""

    text: str
    conditions: tuple[tuple[str, str], ...]  # attribute, phrase ("a hat": whatever its colour)


def portrait_phrases(factors: Tensor) -> list[dict[str, str]]:
    """Return attribute -> phrase for each portrait of ``[B, K]``."""
    return [attribute_phrases(row) for row in factors]


def random_sentence(attributes: dict[str, str], rng: torch.Generator, limit: int = 8, brief: float = 0.75) -> Sentence:
    """Draw a sentence about one portrait.

    Args:
        attributes: attribute -> phrase.
        rng: makes every choice.
        limit: the largest number of attributes, from 4.
        brief: share of sentences with at most 3 attributes, since edits are short.
    """
    few = torch.rand((), generator=rng) < brief
    count = int(torch.randint(0 if few else 4, (3 if few else limit) + 1, (), generator=rng))
    names = list(attributes)
    conditions = {names[i]: attributes[names[i]] for i in torch.randperm(len(names), generator=rng)[:count].tolist()}
    if conditions.get("hat", "no hat") != "no hat" and _half(rng):
        conditions["hat"] = "a hat"
    opening = OPENINGS[int(torch.randint(len(OPENINGS) - (not conditions), (), generator=rng))]
    actions = [_synonym(phrase, rng) for name, phrase in conditions.items() if name in ACTIONS]
    features = _feature_phrases({name: phrase for name, phrase in conditions.items() if name not in ACTIONS}, rng)
    return Sentence(_join(opening, features, actions), tuple(conditions.items()))


def match_matrix(portraits: list[dict[str, str]], sentences: list[Sentence]) -> Tensor:
    """Return ``[B, N]`` bool: which of N sentences holds for which of B portraits (attribute -> phrase)."""
    return torch.tensor([[_holds(attributes, sentence) for sentence in sentences] for attributes in portraits])


def _holds(attributes: dict[str, str], sentence: Sentence) -> bool:
    for name, phrase in sentence.conditions:
        actual = attributes.get(name, "")
        if actual != phrase and not (phrase == "a hat" and actual.endswith(" hat") and actual != "no hat"):
            return False
    return True


def _feature_phrases(features: dict[str, str], rng: torch.Generator) -> list[str]:
    hair = [name for name in _HAIR if name in features]
    phrases = [_synonym(phrase, rng) for name, phrase in features.items() if name not in hair]
    if len(hair) > 1 and _half(rng):  # "long dark brown hair"
        return [*phrases, " ".join(features[name].removesuffix(" hair") for name in hair) + " hair"]
    return [*phrases, *(features[name] for name in hair)]


def _join(opening: str, features: list[str], actions: list[str]) -> str:
    # "without" says by itself what "with" would introduce.
    bare = [phrase for phrase in features if phrase.startswith("without ")]
    listed = [phrase for phrase in features if not phrase.startswith("without ")]
    text = opening
    if listed:
        joined = listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + " and " + listed[-1]
        text = f"{text} with {joined}" if text else joined
    for phrase in bare + actions:
        text = f"{text}, {phrase}" if text and (listed or text != opening) else f"{text} {phrase}".strip()
    return text


def _synonym(phrase: str, rng: torch.Generator) -> str:
    words = _SYNONYMS.get(phrase, (phrase,))
    return words[int(torch.randint(len(words), (), generator=rng))]


def _half(rng: torch.Generator) -> bool:
    return bool(torch.rand((), generator=rng) < 0.5)
