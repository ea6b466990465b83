"""A strength has its price: nobody is pushed on where the edit has done what it can, and nobody else is moved by it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from semantic_edit.editing import plan_strengths, reach_state
from semantic_edit.models.errors import InputError

STRENGTHS = torch.linspace(0, 4, 9)
LEVELS = torch.linspace(0, 0.4, 12)  # of pictures before the edit


def saturating(levels: torch.Tensor, bend: float = 0.6) -> torch.Tensor:
    """Readings [B, S] that rise by 1 and hardly move from a strength of 2 on, as pair sliders do."""
    return levels[:, None] + 1 - torch.exp(-STRENGTHS / bend)


def test_a_trifle_that_is_missing_pushes_nobody_to_the_end():
    readings = saturating(LEVELS)
    pushed, spared = (plan_strengths(STRENGTHS, readings, 1.4, noise=0.02, strength_penalty=p) for p in (0, 2))
    assert pushed.strengths.median() == 4
    assert spared.strengths.max() < 3.0
    assert torch.exp(-spared.strengths / 0.6).max() < 0.01  # of the reading that the whole range brings
    assert spared.reachable.tolist() == pushed.reachable.tolist()


@pytest.mark.parametrize("penalty", [0.5, 2.0, 8.0])
def test_readings_that_follow_the_strength_are_not_moved(simulate, penalty):
    world = simulate(saturation=50.0)
    readings = torch.stack([world.state(s.expand(64)) for s in torch.linspace(0, 1, 5)], dim=1)
    free, paid = (plan_strengths(torch.linspace(0, 1, 5), readings, 1.5, strength_penalty=p) for p in (0, penalty))
    moved = (world.state(free.strengths) - world.state(paid.strengths)).abs()[free.reachable]
    assert moved.max() == 0


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_a_noisy_reader_makes_no_strength_dearer(simulate, noise):
    """All pictures' curves together are surer than a reading: an edit that is seen in them is made."""
    world = simulate(gain=2.0, saturation=50.0, noise=noise)
    strengths = torch.linspace(0, 1, 5)
    readings = torch.stack([world.read(world.render(s.expand(64))) for s in strengths], dim=1)
    free, paid = (plan_strengths(strengths, readings, 1.0, noise=noise, strength_penalty=p) for p in (0, 2))
    assert (free.strengths - paid.strengths).abs().mean() < 0.05
    assert paid.strengths.mean() > 0.9 * free.strengths.mean()


def test_a_target_far_beyond_still_takes_everyone_to_the_end():
    plan = plan_strengths(STRENGTHS, saturating(torch.zeros(8), bend=2.0), 9.0, strength_penalty=2)
    assert plan.strengths.tolist() == [4.0] * 8 and not plan.reachable.any()


def test_drawing_and_correcting_spares_them_too():
    everyone = torch.arange(len(LEVELS))

    def render_some(strengths: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return (LEVELS[index] + 1 - torch.exp(-strengths / 0.6))[:, None, None, None].expand(-1, 3, 2, 2)

    def reached(penalty: float):
        return reach_state(
            lambda strengths: render_some(strengths, everyone), lambda pictures: pictures[:, 0, 0, 0],
            torch.full_like(LEVELS, 1.4), (0.0, 2.0, 4.0), noise=0.02, strength_penalty=penalty,
            unedited=render_some(torch.zeros_like(LEVELS), everyone), render_some=render_some,
        )  # fmt: skip

    pushed, spared = reached(0), reached(2)
    assert pushed.strengths.mean() > 3 and spared.strengths.mean() < 3.1
    assert (spared.readings - 1.4).abs().max() < (pushed.readings - 1.4).abs().max() + 0.07
    torch.testing.assert_close(spared.pictures, render_some(spared.strengths, everyone))
    assert spared.renders <= 4 * len(LEVELS)


@pytest.mark.parametrize("seed", [0, 1, 3, 4, 5])
def test_pictures_that_answer_late_and_all_at_once_are_still_brought_to_the_state(seed):
    """Forty photos whose hair jumps twice, at strengths of their own: what they share does not tell where."""
    generator, count = torch.Generator().manual_seed(seed), 40
    before = (0.42 + 0.41 * torch.randn(count, generator=generator)).clamp(max=1)
    places = torch.tensor([[0.3], [0.9]]) + 0.7 * torch.rand(2, count, generator=generator)
    middle = (0.85 + 0.08 * torch.randn(count, generator=generator)).maximum(before)
    end = (0.97 + 0.08 * torch.randn(count, generator=generator)).maximum(middle)

    def state(strengths: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        first, second = torch.sigmoid(30 * (strengths - places[:, index]))
        return before[index] + (middle - before)[index] * first + (end - middle)[index] * second

    def render_some(strengths: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return state(strengths, index)[:, None, None, None].expand(-1, 3, 2, 2)

    everyone = torch.arange(count)
    nearest = torch.stack([(state(s.expand(count), everyone) - 1).abs() for s in torch.linspace(0, 2, 41)]).amin(dim=0)
    for penalty in (0.0, 2.0):
        reached = reach_state(
            lambda strengths: render_some(strengths, everyone), lambda pictures: pictures[:, 0, 0, 0],
            torch.ones(count), (0.0, 1.0, 2.0), noise=0.02, strength_penalty=penalty,
            unedited=render_some(torch.zeros(count), everyone), render_some=render_some,
        )  # fmt: skip
        assert ((reached.readings - 1).abs() - nearest).mean() < 0.022
        assert reached.renders <= 3.5 * count


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=6), st.floats(-3, 3), st.floats(0.1, 10))
def test_a_price_never_makes_an_edit_larger(levels, target, penalty):
    """For readings that rise with the strength, and strengths from 0 on."""
    readings = saturating(torch.tensor(levels, dtype=torch.float64))
    free, paid = (plan_strengths(STRENGTHS, readings, target, noise=0.01, strength_penalty=p) for p in (0, penalty))
    assert (paid.strengths <= free.strengths + 0.011).all()  # a grid of 401 strengths


@pytest.mark.parametrize("penalty", [-1.0, math.inf, math.nan])
def test_a_penalty_is_a_number_from_zero_on(penalty):
    readings = saturating(torch.zeros(2))
    with pytest.raises(InputError, match="strength penalty must be a finite number, 0 or more"):
        plan_strengths(STRENGTHS, readings, 0.5, strength_penalty=penalty)
    with pytest.raises(InputError, match="strength penalty must be a finite number, 0 or more"):
        reach_state(lambda s: s, lambda x: x, torch.zeros(2), strength_penalty=penalty)
