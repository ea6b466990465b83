"""Two editors and two readers at once: both land, and neither moves the other's state."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.state import reach_states
from semantic_edit.models.errors import InputError


def coupled(count=64, seed=0, coupling=0.4, noise=0.0):
    """Pictures with two states; each editor also moves the other's, by a share that differs from picture to picture."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    before, gain = normal(count, 2), 2.5 * torch.exp(0.2 * normal(count, 2))
    mixing = torch.eye(2) + coupling * torch.tensor([[0.0, 1.0], [-1.0, 0.0]]) * torch.exp(0.2 * normal(count, 1, 1))

    def state(strengths):
        moves = 3 * torch.tanh(gain * strengths / 3)
        return before + (mixing @ moves[..., None])[..., 0]

    def render(strengths):
        return state(strengths)[..., None, None].expand(-1, -1, 2, 2).repeat(1, 2, 1, 1)[:, :3].contiguous()

    def read(pictures):
        return pictures[:, :2, 0, 0] + noise * normal(count, 2)

    return before, state, render, read


@pytest.mark.parametrize(("noise", "limit"), [(0.0, 0.06), (0.1, 0.14)])
def test_both_states_are_reached_at_once(noise, limit):
    for seed in range(4):
        before, state, render, read = coupled(seed=seed, noise=noise)
        targets = torch.tensor([[1.0, 0.5]]).expand(64, -1)
        reached = reach_states(render, read, targets, [(-2, 2), (-2, 2)], noise=[noise, noise])
        errors = (state(reached.strengths) - targets)[reached.reachable]
        assert (errors.std(dim=0) / before.std(dim=0) < limit).all()
        assert (errors.mean(dim=0).abs() < 0.05).all()
        assert reached.reachable.float().mean() > 0.95
        assert reached.renders <= 5 * 64


def test_a_second_edit_leaves_the_first_where_it_was():
    before, state, render, read = coupled()
    first = torch.stack([torch.full((64,), 1.0), before[:, 1]], dim=1)  # only the first attribute is asked to move
    reached = reach_states(render, read, first, [(-2, 2), (-2, 2)])
    moved = (state(reached.strengths) - before)[reached.reachable]
    assert moved[:, 1].abs().mean() < 0.05
    alone = torch.stack([reached.strengths[:, 0], torch.zeros(64)], dim=1)
    assert (state(alone) - before)[:, 1].abs().mean() > 0.3  # what the first edit alone does to the second attribute


def test_who_cannot_is_named_and_stays_within_the_ranges():
    _, state, render, read = coupled()
    targets = torch.tensor([[1.0, 0.5]]).repeat(64, 1)
    targets[:10, 0] = 20.0
    reached = reach_states(render, read, targets, [(-2, 2), (-2, 2)])
    assert not reached.reachable[:10].any()
    assert reached.reachable[10:].float().mean() > 0.95
    assert reached.strengths.abs().max() <= 2
    assert "#1" in reached.report()


def test_a_picture_that_is_saturated_goes_where_the_others_go():
    """A full smile answers a little in the wrong direction where it begins; its way is that of all others."""
    full = torch.arange(16) % 8 == 0

    def render(strengths):
        smile, other = strengths.T
        bent = torch.where(smile < -0.6, 1 + 1.5 * (smile + 0.6), 1 - 0.05 * (smile + 0.6))
        shown = torch.stack([torch.where(full, bent, 0.9 * smile), other], dim=1)
        return shown[..., None, None].expand(-1, -1, 2, 2)

    targets = torch.tensor([[-0.5, 0.3]]).expand(16, -1)
    reached = reach_states(render, lambda pictures: pictures[:, :2, 0, 0], targets, [(-2, 2), (-2, 2)], rounds=5)
    assert reached.landed.all() and torch.allclose(reached.strengths[full, 0], torch.tensor(-1.6), atol=0.1)


def test_few_pictures_measure_one_editor_after_another():
    before, state, render, read = coupled(2)
    reached = reach_states(render, read, torch.zeros(2, 2), [(-2, 2), (-2, 2)], rounds=4)
    assert state(reached.strengths).abs().max() < 0.1


def test_pictures_and_readings_are_those_of_the_strengths():
    _, _, render, read = coupled()
    reached = reach_states(render, read, torch.zeros(64, 2), [(-2, 2), (-2, 2)])
    torch.testing.assert_close(reached.pictures, render(reached.strengths))
    torch.testing.assert_close(reached.readings, read(reached.pictures))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"targets": torch.zeros(4)}, "The targets have shape"),
        ({"targets": torch.full((4, 2), torch.nan)}, "must be finite"),
        ({"ranges": [(0, 1), (1, 1)]}, "a least and a larger largest"),
        ({"ranges": [(0, 1)]}, "2 readings cannot be brought"),
        ({"rounds": -1}, "The rounds must be"),
        ({"read": lambda pictures: torch.zeros(4, 3)}, "There are 2 targets"),
        ({"read": lambda pictures: torch.zeros(4, 2)}, "No reading changes"),
        ({"read": lambda pictures: pictures[:, :1, 0, 0].expand(-1, 2)}, "Editor #2 changes none"),
        ({"render": lambda strengths: torch.zeros(1, 3, 2, 2)}, "The editors drew"),
    ],
)
def test_wrong_inputs_are_sentences(change, sentence):
    def render(strengths):
        return strengths[:, :1, None, None].expand(-1, 3, 2, 2)

    def read(pictures):
        return pictures[:, :2, 0, 0]

    arguments = {"render": render, "read": read, "targets": torch.ones(4, 2), "ranges": [(0, 1), (0, 1)], **change}
    with pytest.raises(InputError, match=sentence):
        reach_states(**arguments)
