"""Strengths planned from a few readings, without drawing: within the range, and on the state."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing import plan_strengths
from semantic_edit.models.errors import InputError


def readings_at(world, strengths):
    return torch.stack([world.read(world.render(s.expand(len(world.before)))) for s in strengths], dim=1)


@pytest.mark.parametrize(
    ("world", "points", "limit"),
    [
        ({}, 3, 0.04), ({}, 5, 0.02), ({"gain": -3.5}, 3, 0.04), ({"saturation": 0.8}, 3, 0.08),
        ({"flat": 0.1}, 5, 0.02), ({"noise": 0.15}, 3, 0.19), ({"noise": 0.15}, 9, 0.12),
    ],
)  # fmt: skip
def test_the_plan_brings_everyone_who_can_to_the_state(simulate, world, points, limit):
    target = -1.5 if world.get("gain", 1) < 0 else 1.5
    for seed in range(3):
        simulation, strengths = simulate(seed=seed, **world), torch.linspace(0, 1, points)
        plan = plan_strengths(strengths, readings_at(simulation, strengths), target)
        truly = simulation.reachable(target)
        errors = (simulation.state(plan.strengths) - target)[truly]
        assert errors.std() / simulation.before.std() < limit
        assert (plan.reachable == truly).float().mean() > (0.88 if "noise" in world else 0.95)
        assert plan.strengths.min() >= 0
        assert plan.strengths.max() <= 1


def test_each_picture_may_have_strengths_and_a_target_of_its_own(simulate):
    world = simulate()
    generator = torch.Generator().manual_seed(1)
    strengths = torch.rand(64, 4, generator=generator)
    readings = torch.stack([world.state(column) for column in strengths.T], dim=1)
    target = readings.amin(dim=1) + 0.6 * (readings.amax(dim=1) - readings.amin(dim=1))
    plan = plan_strengths(strengths, readings, target)
    assert plan.reachable.all()
    assert (world.state(plan.strengths) - target).abs().mean() < 0.02
    torch.testing.assert_close(plan.expected, target)


def test_a_target_beyond_everyone_leaves_all_at_the_nearest_end(simulate):
    world, strengths = simulate(), torch.linspace(0, 1, 3)
    plan = plan_strengths(strengths, readings_at(world, strengths), 99.0)
    assert not plan.reachable.any()
    assert set(plan.strengths.tolist()) == {1.0}
    assert plan.report().startswith("0 of 64 pictures can reach the state")


def test_one_picture_that_falls_where_others_rise_is_planned_by_its_own_readings():
    strengths = torch.tensor([0.0, 0.5, 1.0])
    readings = torch.tensor([[0.0, 1.0, 2.0], [0.1, 1.2, 2.2], [0.0, 2.0, 4.0], [2.0, 1.0, 0.0]])
    plan = plan_strengths(strengths, readings, 1.5)
    torch.testing.assert_close(plan.strengths, torch.tensor([0.75, 0.65, 0.375, 0.25]), atol=0.05, rtol=0)
    assert plan.reachable.all()


def test_order_and_type_of_the_readings_do_not_matter(simulate):
    world, strengths = simulate(), torch.linspace(0, 1, 5)
    readings, order = readings_at(world, strengths), torch.tensor([3, 0, 4, 1, 2])
    plan = plan_strengths(strengths, readings, 1.0)
    shuffled = plan_strengths(strengths[order].tolist(), readings[:, order].tolist(), [1.0] * 64)
    torch.testing.assert_close(plan.strengths, shuffled.strengths)


def test_one_unread_picture_is_named_and_the_others_are_planned():
    strengths = torch.tensor([0.0, 0.5, 1.0])
    readings = torch.tensor([[0.0, 1.0, 2.0], [torch.nan] * 3, [1.0, torch.nan, 3.0]])
    plan = plan_strengths(strengths, readings, 1.5)
    assert plan.reachable.tolist() == [True, False, True]
    assert plan.strengths[1] == 0
    assert torch.isnan(plan.expected[1])
    torch.testing.assert_close(plan.strengths[[0, 2]], torch.tensor([0.75, 0.25]), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("strengths", "readings", "target", "sentence"),
    [
        ([0.0, 1.0], [[0.0, 1.0, 2.0]], 1.0, "The strengths have shape"),
        ([0.0], [[0.0]], 1.0, "two or more different strengths"),
        ([1.0, 1.0], [[0.0, 1.0]], 1.0, "two or more different strengths"),
        ([0.0, float("nan")], [[0.0, 1.0]], 1.0, "must be finite numbers"),
        ([0.0, 1.0], [0.0, 1.0], 1.0, "The readings have shape"),
        ([0.0, 1.0], [[float("nan")] * 2], 1.0, "The readings must be finite"),
        ([0.0, 1.0], [[0.0, float("inf")]], 1.0, "The readings must be finite"),
        ([0.0, 1.0], [[0.0, 1.0]], float("nan"), "The target must be a finite number"),
        ([0.0, 1.0], [[0.0, 1.0]], [1.0, 2.0], "The target has 2 numbers"),
    ],
)
def test_wrong_inputs_are_sentences(strengths, readings, target, sentence):
    with pytest.raises(InputError, match=sentence):
        plan_strengths(strengths, readings, target)
