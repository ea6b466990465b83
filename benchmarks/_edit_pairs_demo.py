"""Held-out portraits with one sentence each, and what came of an edit by the oracle.

The portraits are rendered from seeds that no training used; none shows yet what its sentence says. The oracle and the
identity network grade; no method sees them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from _edit_methods import Edits, Task, distance_from
from semantic_edit.demo.measure import identity, measure
from semantic_edit.demo.portraits.factors import FACTORS, INDEX, LIVE_NAMES, sample_factors
from semantic_edit.demo.portraits.render import render
from torch import Tensor

HELD_OUT, DEVELOPMENT = 20261121, 4711
SAME_PERSON = 0.5  # similarity to the true edit that goes as far; see `identity_scale`


@dataclass(frozen=True)
class Change:
    """One attribute, where it has to get to, where it comes from, and the words for both.

    A place is (low, high) in the factor's own range.
    """

    attribute: str
    there: tuple[float, float]
    here: tuple[float, float]
    target: str
    source: str


CHANGES = (
    Change("glasses", (0.5, 9), (-9, 0.5), "a person with glasses", "a person with no glasses"),
    Change("hat", (0.5, 9), (-9, 0.5), "a person with a hat", "a person with no hat"),
    Change("smile", (0.30, 9), (-9, -0.1), "a person smiling", "a person frowning"),
    Change("hair_hue", (0.62, 0.87), (-9, 0.37), "a person with blond hair", "a person with brown hair"),
    Change("hair_len", (0.62, 9), (-9, 0.3), "a person with long hair", "a person with short hair"),
    Change("bg_hue", (0.25, 0.42), (0.55, 1), "a person with a green background",
           "a person with a purple background"),
    Change("eye_open", (-9, 0.35), (0.7, 9), "a person with closed eyes", "a person with wide open eyes"),
    Change("yaw", (-9, -0.30), (-0.1, 9), "a person looking left", "a person looking ahead"),
    Change("mouth_open", (0.55, 9), (-9, 0.25), "a person with the mouth open", "a person with the mouth closed"),
    Change("glasses", (-9, 0.5), (0.5, 9), "a person with no glasses", "a person with glasses"),
    Change("hat", (-9, 0.5), (0.5, 9), "a person with no hat", "a person with a hat"),
    Change("smile", (-9, -0.35), (0.1, 9), "a person frowning", "a person smiling"),
    Change("hair_light", (-9, 0.33), (0.6, 9), "a person with dark hair", "a person with light hair"),
    Change("hair_len", (-9, 0.33), (0.6, 9), "a person with short hair", "a person with long hair"),
    Change("bg_hue", (0.58, 0.75), (0, 0.42), "a person with a blue background",
           "a person with a yellow background"),
    Change("eye_open", (0.75, 9), (-9, 0.4), "a person with wide open eyes", "a person with closed eyes"),
    Change("yaw", (0.30, 9), (-9, 0.1), "a person looking right", "a person looking ahead"),
    Change("hair_light", (0.67, 9), (-9, 0.4), "a person with light hair", "a person with dark hair"),
    Change("hair_hue", (0.37, 0.62), (0.75, 9), "a person with ginger hair", "a person with silver hair"),
    Change("mouth_open", (-9, 0.25), (0.5, 9), "a person with the mouth closed", "a person with the mouth open"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pair:
    """A task, its change, the photo's factors as the oracle reads them, and the factors [K] it was rendered of."""

    task: Task
    change: Change
    before: dict[str, Tensor]
    factors: Tensor

    def people(self, values: Tensor, side: int) -> Tensor:
        """Identities [E, 64] of the true edits that go as far as these values [E] of the attribute."""
        return people_as_far(self.factors.expand(len(values), -1), self.change.attribute, values, side)


def people_as_far(factors: Tensor, attribute: str, values: Tensor, side: int) -> Tensor:
    """Identities [B, 64] of portraits [B, K] with one attribute at values [B]: what a right edit is held against.

    The identity network reads hair as well: one person with hair of .62 and of .85, either long by the oracle, is .25
    to .35 alike, where strangers reach .5 in 1 of 100. So each picture is held against its own length.
    """
    factor, factors = FACTORS[INDEX[attribute]], factors.clone()
    values = values.round() if factor.binary else values
    factors[:, INDEX[attribute]] = values.clamp(factor.low, factor.high)
    return identity(render(factors, side).images)


def held_out_pairs(count: int, side: int, seed: int = HELD_OUT) -> list[Pair]:
    """Pairs in turn over all changes; photos of ``side`` pixels."""
    rng = torch.Generator().manual_seed(seed)
    pool = sample_factors(64 * max(1, -(-count // len(CHANGES))), rng)
    free, pairs = list(range(len(pool))), []
    for k in range(count):
        change = CHANGES[k % len(CHANGES)]
        value = pool[:, INDEX[change.attribute]]
        index = next(i for i in free if change.here[0] < float(value[i]) < change.here[1])
        free.remove(index)
        images = render(pool[index][None], side).images
        photo = (images.movedim(1, -1) + 1) / 2
        task = Task(f"{k:02d} {change.target}", photo, change.target, change.source)
        pairs.append(Pair(task, change, measure(images), pool[index]))
    return pairs


def deviations() -> dict[str, float]:
    """The standard deviation of each factor over portraits."""
    factors = sample_factors(2000, torch.Generator().manual_seed(5))
    return {name: float(factors[:, INDEX[name]].std()) for name in LIVE_NAMES}


def graded(pair: Pair, edits: Edits, spread: dict[str, float]) -> list[dict[str, float]]:
    """Figures of each picture.

    holds: the sentence does, by the oracle. reached: share of the way to where it does. kept: share of the other
    attributes that moved by less than half a deviation. drift: their mean move, in deviations. identity: similarity to
    the true edit of this person that goes as far. success: holds, and still the same person. outcome: reached times
    the mean of kept and identity, for comparing etas.
    """
    images = edits.pictures.movedim(-1, 1) * 2 - 1
    name, (low, high) = pair.change.attribute, pair.change.there
    after = measure(images)
    alike = (identity(images) * pair.people(after[name], images.shape[-1])).sum(1)
    started = _beyond(float(pair.before[name][0]), low, high)
    others = [other for other in LIVE_NAMES if other not in (name, "hat_hue")]
    moves = torch.stack([(after[other] - pair.before[other]).abs() / spread[other] for other in others])
    rows = []
    for k, far in enumerate(distance_from(pair.task.photo, edits.pictures)):
        left = _beyond(float(after[name][k]), low, high)
        reached = min(max(1 - left / max(started, 1e-6), 0.0), 1.0)
        kept, same = float((moves[:, k] < 0.5).float().mean()), float(alike[k])
        rows.append(
            {
                "holds": float(left == 0),
                "reached": reached,
                "kept": kept,
                "drift": float(moves[:, k].mean()),
                "identity": same,
                "distance": far,
                "value": float(after[name][k]),
                "success": float(left == 0 and same >= SAME_PERSON),
                "outcome": reached * (kept + max(same, 0.0)) / 2,
            }
        )
    return rows


def identity_scale(side: int, bundle_vae, count: int = 128) -> dict[str, float]:
    """What similarities mean: of portraits after the autoencoder alone, and between different people."""
    images = render(sample_factors(count, torch.Generator().manual_seed(99)), side).images
    back = bundle_vae.decode(bundle_vae.encode((images.movedim(1, -1) + 1) / 2)).movedim(-1, 1) * 2 - 1
    people, again = identity(images), identity(back)
    own, others = (people * again).sum(1), people @ people.T
    strangers = others[~torch.eye(count, dtype=torch.bool)]
    at = {f"strangers, {q:.0%}": float(strangers.quantile(q)) for q in (0.5, 0.9, 0.95, 0.99)}
    return {"there and back, mean": float(own.mean()), "there and back, 5%": float(own.quantile(0.05)), **at}


def _beyond(value: float, low: float, high: float) -> float:
    """How far a value is from a place."""
    return max(low - value, value - high, 0.0)
