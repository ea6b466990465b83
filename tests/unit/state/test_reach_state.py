"""Pictures reach one state whatever the editor's answer looks like; who cannot is named and stands at the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.editing import ReachedState, reach_state
from semantic_edit.models.errors import InputError


def reach(world, target: float = 1.5, strengths=(0.0, 0.5, 1.0), **options) -> ReachedState:
    return reach_state(world.render, world.read, torch.full((len(world.before),), target), strengths, **options)


def errors_of(world, reached: ReachedState, target: float, low: float = 0.0, high: float = 1.0):
    """True states minus the target, of those who can reach it."""
    return (world.state(reached.strengths) - target)[world.reachable(target, low, high)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("world", "target", "limit"),
    [
        ({}, 1.5, 0.08),
        ({"gain": -3.5}, -1.5, 0.08),
        ({"columns": True}, 1.5, 0.08),
        ({"saturation": 0.8}, 1.5, 0.08),
        ({"slope_spread": 0.5}, 1.5, 0.08),
        ({"flat": 0.15}, 1.5, 0.06),
        ({"noise": 0.07}, 1.5, 0.09),
        ({"noise": 0.15}, 1.5, 0.14),
    ],
)
def test_everyone_who_can_lands_on_the_state(simulate, world, target, limit, seed):
    simulation = simulate(seed=seed, **world)
    reached = reach(simulation, target)
    errors = errors_of(simulation, reached, target)
    assert errors.std() / simulation.before.std() < limit
    assert errors.mean().abs() < 0.04
    assert reached.renders <= 5 * 64


def test_four_drawings_a_picture_are_usual_and_renders_counts_them(simulate):
    drawn = []

    def counted(world):
        def render(strengths):
            drawn.append(len(strengths))
            return world.render(strengths)

        return render

    calls = []
    for seed in range(8):
        world = simulate(seed=seed)
        drawn.clear()
        reached = reach_state(counted(world), world.read, torch.full((64,), 1.5))
        assert reached.renders == sum(drawn)
        calls.append(reached.renders / 64)
    assert sum(calls) / len(calls) <= 4.0


@pytest.mark.parametrize(("some", "most"), [(False, 3.0), (True, 2.2)])
def test_unedited_pictures_are_read_and_not_drawn_and_who_has_landed_is_not_drawn_again(simulate, some, most):
    drawn, spreads = [], []
    for seed in range(6):
        world, own = simulate(seed=seed), []

        def render_some(strengths, index, world=world, own=own):
            own.append(len(index))
            return world.render(torch.zeros(64).index_put((index,), strengths))[index]

        def render(strengths, world=world, own=own):
            own.append(len(strengths))
            return world.render(strengths)

        unedited = world.render(torch.zeros(64))
        reached = reach_state(
            render, world.read, torch.full((64,), 1.5), unedited=unedited, render_some=render_some if some else None
        )
        assert reached.renders == sum(own)
        torch.testing.assert_close(reached.pictures, world.render(reached.strengths))
        torch.testing.assert_close(reached.readings, reached.pictures[:, 0, 0, 0])
        assert int(reached.drawings.sum()) == reached.renders + 64
        spreads.append(float(errors_of(world, reached, 1.5).std() / world.before.std()))
        drawn.append(reached.renders / 64)
        assert set(reached.strengths[~reached.reachable].tolist()) <= {0.0, 1.0}
    assert sum(drawn) / len(drawn) <= most
    assert max(spreads) < 0.09


def test_who_is_there_is_told_apart_from_who_could_be(simulate):
    """A reader that steps back at random: curves cross the target, and pictures are not all at it."""
    world = simulate(noise=0.02)
    reached = reach(world, noise=0.02)
    far = torch.zeros(64)
    far[reached.reachable.nonzero()[:3, 0]] = 1.0  # as if three had been drawn beside their curves
    reached = replace(reached, readings=reached.readings + far)
    assert torch.equal(reached.landed, (reached.readings - 1.5).abs() <= reached.tolerance)
    apart, ended = reached.reachable & ~reached.landed, ~reached.reachable & ~reached.landed
    assert int(apart.sum()) >= 3 and int(ended.sum()) > 0
    title = reached.title()
    assert title.startswith(f"{int(reached.landed.sum())} of 64 pictures are at the state")
    assert f"{int(ended.sum())} left as near as they come" in title and f"{int(apart.sum())} still apart" in title
    assert f"Still apart from it: #{int(apart.nonzero()[0, 0]) + 1}" in reached.report()


@pytest.mark.parametrize("seed", range(3))
def test_a_noise_that_was_measured_too_large_stops_nobody_short(simulate, seed):
    """A reader's noise is measured on shifted and grainy copies; an editor's drawings differ in none of that."""
    world = simulate(seed=seed)
    exact, doubted = reach(world), reach(world, noise=0.4)
    errors = [errors_of(world, reached, 1.5).square().mean().sqrt() for reached in (exact, doubted)]
    assert errors[1] < errors[0] + 0.02 < 0.1
    assert doubted.tolerance < 0.2  # and not 2 * 0.4


def test_no_picture_is_drawn_twice_at_one_strength(simulate):
    world, drawn = simulate(), []

    def render_some(strengths: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        drawn.extend(zip(index.tolist(), strengths.tolist(), strict=True))
        return world.render(torch.zeros(64).index_put((index,), strengths))[index]

    unedited = world.render(torch.zeros(64))
    reach(world, target=0.3, unedited=unedited, render_some=render_some)
    assert len(set(drawn)) == len(drawn)
    assert not any(strength == 0 for _, strength in drawn)


@pytest.mark.parametrize("seed", range(3))
def test_who_cannot_reach_the_state_is_named_and_stands_at_the_end_of_the_range(simulate, seed):
    world = simulate(seed=seed)
    reached = reach(world)
    truly = world.reachable(1.5)
    assert (reached.reachable == truly).float().mean() > 0.95
    assert set(reached.strengths[~reached.reachable].tolist()) <= {0.0, 1.0}
    assert reached.strengths.min() >= 0
    assert reached.strengths.max() <= 1


def test_pictures_are_those_drawn_at_the_strengths_and_readings_those_read_there(simulate):
    world = simulate()
    reached = reach(world)
    torch.testing.assert_close(reached.pictures, world.render(reached.strengths))
    torch.testing.assert_close(reached.readings, reached.pictures[:, 0, 0, 0])


def test_who_does_not_answer_keeps_the_others_from_nothing(simulate):
    world = simulate(flat=0.2)
    reached = reach(world)
    flat = (world.state(torch.ones(64)) == world.before) & (world.before < 1)
    assert flat.sum() > 5
    assert not reached.reachable[flat].any()


def test_a_reader_that_never_answers_leaves_all_unedited_and_out_of_reach(simulate):
    world = simulate(flat=1.1)
    reached = reach(world)
    assert not reached.reachable.any()
    assert set(reached.strengths.tolist()) == {0.0}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_pictures_do_as_well(simulate, count):
    worst = 0.0
    for seed in range(10):
        world = simulate(count, seed)
        errors = errors_of(world, reach(world), 1.5)
        worst = max([worst, *errors.abs().tolist()])
    assert worst < 0.15


def test_strengths_on_both_sides_of_zero(simulate):
    world = simulate(gain=1.0)
    reached = reach(world, 0.5, (-2.0, -1.0, 0.0, 1.0, 2.0))
    errors = errors_of(world, reached, 0.5, -2, 2)
    assert errors.std() < 0.05
    assert reached.strengths.min() < -0.2


def test_a_picture_that_cannot_be_read_is_left_alone_and_the_others_are_not(simulate):
    world = simulate()

    def read(pictures):
        readings = world.read(pictures)
        readings[7] = torch.nan
        return readings

    reached = reach_state(world.render, read, torch.full((64,), 1.5))
    others = world.reachable(1.5)
    assert not reached.reachable[7]
    assert reached.strengths[7] == 0
    others[7] = False
    assert (world.state(reached.strengths) - 1.5)[others].std() < 0.05
    assert "Cannot be read: #8." in reached.report()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"target": torch.tensor([1.0, torch.nan])}, "The target must be a finite number"),
        ({"target": torch.ones(2, 2)}, "The target has shape"),
        ({"target": torch.ones(0)}, "The target has shape"),
        ({"strengths": (0.5,)}, "two or more different"),
        ({"strengths": (0.5, 0.5)}, "two or more different"),
        ({"strengths": (0.0, float("inf"))}, "two or more different"),
        ({"rounds": -1}, "The rounds must be 0 or more"),
        ({"read": lambda pictures: pictures[:1, 0, 0, 0]}, "The reader gave readings of shape"),
        ({"read": lambda pictures: pictures[:, :2, 0, 0]}, "the reader gave 2"),
        ({"render": lambda strengths: torch.zeros(3, 3, 2, 2)}, "The editor gave"),
        ({"noise": -1.0}, "noise must be"),
        ({"unedited": torch.zeros(3, 3, 2, 2)}, "3 unedited pictures for 2"),
        ({"unedited": torch.zeros(2, 3, 2, 2), "strengths": (0.5, 1.0)}, "Unedited pictures are those at strength 0"),
    ],
)
def test_wrong_inputs_are_sentences(simulate, change, sentence):
    world = simulate(2)
    arguments = {"render": world.render, "read": world.read, "target": torch.ones(2), **change}
    with pytest.raises(InputError, match=sentence):
        reach_state(**arguments)


@pytest.mark.parametrize(
    ("strengths", "limit"), [((0.0, 0.5, 1.0), 0.06), ((-1.0, 0.0, 1.0), 0.08), ((-2.0, 0.0, 2.0), 0.12)]
)
def test_states_that_end_at_a_level_and_not_at_a_strength(strengths, limit):
    """As attributes do: nobody smiles more than fully, and those who smile already are there sooner."""
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        before, slope = (
            2 * torch.rand(64, generator=generator) - 1,
            1.2 * torch.exp(0.25 * torch.randn(64, generator=generator)),
        )

        def state(s, before=before, slope=slope):
            return (before + slope * s).clamp(-1, 1)

        def render(s, state=state):
            return state(s)[:, None, None, None].expand(-1, 3, 2, 2)

        reached = reach_state(render, lambda pictures: pictures[:, 0, 0, 0], torch.full((64,), 0.5), strengths)
        errors = (state(reached.strengths) - 0.5)[reached.reachable]
        assert errors.std() / before.std() < limit
        assert reached.renders <= 5 * 64
