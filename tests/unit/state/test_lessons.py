"""What an edit's own drawings teach a reader of one example: which part of the example's change is the edit's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from semantic_edit.editing import reach_state
from semantic_edit.editing.state import StateReader, reader_from_example, taught_reader
from semantic_edit.models.errors import InputError
from torch import Tensor

FEATURES = 200
OWN = 1.0  # size of what the edit changes in one person alone, of the edit's own change


@dataclass(frozen=True)
class People:
    """People whose pictures hold who they are and the strength; a network sees a state among much else."""

    states: Tensor  # [B]
    axis: Tensor  # [F], of the state
    looks: Tensor  # [B, F]
    quirks: Tensor  # [B, F], what the edit does to each alone

    def draw(self, strengths: Tensor, index: Tensor | None = None) -> Tensor:
        index = torch.arange(len(strengths)) if index is None else index
        pixels = torch.stack([index.float(), strengths.float(), torch.zeros(len(index))], dim=1)
        return pixels[:, :, None, None].expand(-1, 3, 2, 2).clone()

    def features(self, pictures: Tensor) -> Tensor:
        # Copies that are moved and grained show about the same.
        index = pictures[:, 0].mean(dim=(1, 2)).round().long().clamp(0, len(self.states) - 1)
        strengths = pictures[:, 1].mean(dim=(1, 2))[:, None]
        return self.looks[index] + strengths * (self.axis + self.quirks[index])


def people(count: int, seed: int = 0) -> People:
    generator = torch.Generator().manual_seed(seed)
    axis = torch.randn(FEATURES, generator=generator)
    axis = axis / axis.norm()
    states = torch.randn(count, generator=generator)
    looks = states[:, None] * axis + 0.3 * torch.randn(count, FEATURES, generator=generator)
    quirks = OWN * torch.randn(count, FEATURES, generator=generator) / FEATURES**0.5
    return People(states, axis, looks, quirks)


def example_of(world: People) -> StateReader:
    """A reader made of the last person, moved by 1."""
    last = torch.tensor([len(world.states) - 1])
    before, after = world.draw(torch.zeros(1), last), world.draw(torch.ones(1), last)
    count = len(world.states) - 1
    return reader_from_example(world.features, before, after, world.draw(torch.zeros(count)), "state")


def reached(world: People, learn: bool, count: int):
    reader = example_of(world)

    def render(strengths: Tensor) -> Tensor:
        return world.draw(strengths)

    unedited = world.draw(torch.zeros(count))
    return reach_state(
        render, reader, reader.target.expand(count), (-6.0, 0.0, 6.0), unedited=unedited, render_some=world.draw,
        learn=learn,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_drawings_teach_what_is_the_edit_and_what_is_the_person_of_the_example(seed):
    world = people(41, seed)
    spreads = {}
    for learn in (False, True):
        outcome = reached(world, learn, 40)
        states = (world.states[:40] + outcome.strengths)[outcome.reachable]
        assert len(states) >= 36
        spreads[learn] = float(states.std() / world.states.std())
        torch.testing.assert_close(outcome.readings, outcome.reader.read(outcome.pictures)[:, 0], atol=1e-4, rtol=0)
        assert outcome.renders <= 4 * 40
    assert spreads[True] < 0.85 * spreads[False]


def test_the_state_stays_that_of_the_example():
    world = people(41)
    outcome, reader = reached(world, True, 40), example_of(world)
    assert outcome.reader is not reader and outcome.reader.target.tolist() == [1.0]
    last = torch.tensor([40, 40])
    readings = outcome.reader.read(world.draw(torch.tensor([0.0, 1.0]), last))
    torch.testing.assert_close(readings[:, 0], torch.tensor([0.0, 1.0]), atol=1e-5, rtol=0)
    assert outcome.reader.key != reader.key and outcome.reader.names == ("state",)


def test_few_pictures_teach_nothing():
    world = people(16)
    outcome = reached(world, True, 15)
    torch.testing.assert_close(outcome.strengths, reached(world, False, 15).strengths)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_reader_is_taught_by_drawings_of_either_sign(sign):
    world = people(41)
    reader, strengths = example_of(world), torch.full((40,), sign)
    taught = taught_reader(reader, world.draw(torch.zeros(40)), world.draw(strengths), strengths)
    skill = [torch.corrcoef(torch.stack([x.read(world.draw(torch.zeros(40)))[:, 0], world.states[:40]]))[0, 1]
             for x in (reader, taught)]  # fmt: skip
    assert skill[1] > skill[0]


def test_drawings_of_another_edit_are_not_believed():
    world = people(41)
    reader, zeros, ones = example_of(world), torch.zeros(40), torch.ones(40)
    elsewhere = People(world.states, world.axis.roll(7), world.looks, world.quirks)
    both = People(world.states, world.axis, world.looks, world.quirks)
    both.quirks[:40] = elsewhere.axis - world.axis  # everybody but the example is moved elsewhere
    assert taught_reader(reader, both.draw(zeros), both.draw(ones), ones) is reader
    plain = StateReader(lambda pictures: pictures.mean(dim=(1, 2, 3)), ("grey",))
    assert taught_reader(plain, world.draw(zeros), world.draw(ones), ones) is plain


def test_learning_needs_the_unedited_pictures():
    world = people(41)
    reader = example_of(world)
    with pytest.raises(InputError, match="learning needs the unedited pictures"):
        reach_state(world.draw, reader, torch.ones(40), (0.0, 1.0), learn=True)
