"""Short sentences about portraits, each with what makes it true, so that a batch knows all of its matching pairs.

Many portraits wear glasses. A contrastive loss that takes every other picture of the batch for a wrong answer to "a
person with glasses" teaches little; so each sentence carries its conditions, and `matches` compares them with pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...demo.portraits.captions import phrases

OPENINGS = ("a portrait of a person", "a photo of a person", "a person", "a face", "a picture of a person", "")
_DOING = ("smile", "mouth_open", "yaw")
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


def spoken_of(factors: Tensor) -> list[dict[str, str]]:
    """Attribute to phrase, for each portrait of ``[B, K]``."""
    return [phrases(row) for row in factors]


def sentence(known: dict[str, str], rng: torch.Generator, most: int = 8, brief: float = 0.75) -> Sentence:
    """A sentence of 0 to ``most`` attributes of one portrait, a share of ``brief`` with at most 3: edits are short."""
    few = torch.rand((), generator=rng) < brief
    count = int(torch.randint(0 if few else 4, (3 if few else most) + 1, (), generator=rng))
    names = list(known)
    chosen = [names[i] for i in torch.randperm(len(names), generator=rng)[:count].tolist()]
    conditions = {name: known[name] for name in chosen}
    if conditions.get("hat", "no hat") != "no hat" and _half(rng):
        conditions["hat"] = "a hat"
    opening = OPENINGS[int(torch.randint(len(OPENINGS) - (not conditions), (), generator=rng))]
    doing = [_worded(phrase, rng) for name, phrase in conditions.items() if name in _DOING]
    having = _things({name: phrase for name, phrase in conditions.items() if name not in _DOING}, rng)
    return Sentence(_joined(opening, having, doing), tuple(conditions.items()))


def matches(portraits: list[dict[str, str]], sentences: list[Sentence]) -> Tensor:
    """``[B, N]`` bool: which sentence holds for which portrait."""
    return torch.tensor([[_holds(known, entry) for entry in sentences] for known in portraits])


def _holds(known: dict[str, str], entry: Sentence) -> bool:
    for name, phrase in entry.conditions:
        said = known.get(name, "")
        if said != phrase and not (phrase == "a hat" and said.endswith(" hat") and said != "no hat"):
            return False
    return True


def _things(having: dict[str, str], rng: torch.Generator) -> list[str]:
    hair = [name for name in _HAIR if name in having]
    things = [_worded(phrase, rng) for name, phrase in having.items() if name not in hair]
    if len(hair) > 1 and _half(rng):  # "long dark brown hair"
        return [*things, " ".join(having[name].removesuffix(" hair") for name in hair) + " hair"]
    return [*things, *(having[name] for name in hair)]


def _joined(opening: str, having: list[str], doing: list[str]) -> str:
    # "without" says by itself what "with" would introduce.
    bare = [thing for thing in having if thing.startswith("without ")]
    listed = [thing for thing in having if not thing.startswith("without ")]
    text = opening
    if listed:
        joined = listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + " and " + listed[-1]
        text = f"{text} with {joined}" if text else joined
    for part in bare + doing:
        text = f"{text}, {part}" if text and (listed or text != opening) else f"{text} {part}".strip()
    return text


def _worded(phrase: str, rng: torch.Generator) -> str:
    words = _SYNONYMS.get(phrase, (phrase,))
    return words[int(torch.randint(len(words), (), generator=rng))]


def _half(rng: torch.Generator) -> bool:
    return bool(torch.rand((), generator=rng) < 0.5)
