"""Several edits at once: every state is reached, in whatever order they are given."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.editing import apply_edit, attribute_values, plan_strength
from semantic_edit.editing.common.types import EditDirection, EditStrength
from semantic_edit.editing.one_for_all.combine import combine_edits, response
from semantic_edit.editing.one_for_all.scale import scale_edit
from semantic_edit.models import InputError

ROWS, WIDTH = 6, 16


def edit(seed=0, layers=(0, 2, 3), name="", own_normal=False, with_example=True):
    rng = torch.Generator().manual_seed(seed)
    d = torch.randn(ROWS, WIDTH, generator=rng)
    v = d if own_normal else d + 0.5 * torch.randn(ROWS, WIDTH, generator=rng)
    states = {"start": 0.5, "offset": 3.0 + seed % 5} if with_example else {}
    return EditDirection(d, v, layers=layers, method="test", family="f", name=name or f"edit {seed}", **states)


def codes(seed=1, batch=5):
    return torch.randn(batch, ROWS, WIDTH, generator=torch.Generator().manual_seed(seed))


def state(direction, strength=1.0):
    return direction.start + strength * (direction.offset - direction.start)


row_sets = st.sets(st.integers(0, ROWS - 1), min_size=1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    layers=st.lists(row_sets, min_size=2, max_size=4),
    strengths=st.lists(st.floats(-2, 2), min_size=4, max_size=4),
    own_normal=st.booleans(),
)
def test_all_states_are_reached_at_once(seed, layers, strengths, own_normal):
    edits = [edit(seed + k, tuple(rows), own_normal=own_normal) for k, rows in enumerate(layers)]
    w = codes(seed)
    combination = combine_edits(w, edits, strengths[: len(edits)])
    for k, direction in enumerate(edits):
        goal = torch.full((5,), state(direction, strengths[k]))
        torch.testing.assert_close(attribute_values(direction, combination.codes), goal, atol=2e-2, rtol=1e-3)
        torch.testing.assert_close(combination.targets[:, k], goal, atol=2e-2, rtol=1e-3)
        torch.testing.assert_close(combination.values_after[:, k], goal, atol=2e-2, rtol=1e-3)
    assert not bool(combination.clamped.any())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.sampled_from([None, 0.3, 1.0]))
def test_the_order_changes_nothing_not_even_the_last_digit(seed, limit):
    edits, strengths, w = [edit(seed + k) for k in range(3)], [1.0, -0.5, 2.0], codes(seed)
    first = combine_edits(w, edits, strengths, limit)
    for order in itertools.permutations(range(3)):
        other = combine_edits(w, [edits[k] for k in order], [strengths[k] for k in order], limit)
        assert torch.equal(other.codes, first.codes)
        assert torch.equal(other.alphas, first.alphas[:, list(order)])
        assert torch.equal(other.clamped, first.clamped[:, list(order)])


def test_one_after_the_other_the_second_would_move_the_first():
    first, second, w = edit(1), edit(2), codes()
    naive = apply_edit(w, first, plan_strength(first, w).alpha)
    naive = apply_edit(naive, second, plan_strength(second, naive).alpha)
    missed = (attribute_values(first, naive) - state(first)).abs().mean()
    combination = combine_edits(w, [first, second], [1.0, 1.0])
    assert float(missed) > 0.5
    assert float((combination.values_after[:, 0] - state(first)).abs().max()) < 1e-3
    assert float(combination.crosstalk()[0, 1]) > 0 and float(combination.crosstalk()[0, 0]) == pytest.approx(
        0, abs=1e-6
    )


def test_edits_on_rows_of_their_own_do_not_meet():
    first, second, w = edit(1, (0, 1)), edit(2, (2, 3)), codes()
    assert torch.equal(response([first, second]), torch.eye(2, dtype=torch.float64))
    combination = combine_edits(w, [first, second], [1.0, 0.5])
    torch.testing.assert_close(combination.alphas[:, 0], plan_strength(first, w).alpha)
    torch.testing.assert_close(combination.alphas[:, 1], plan_strength(second, w, 0.5).alpha)
    assert torch.equal(combination.codes[:, 4:], w[:, 4:])


def test_strengths_say_where_the_edit_alone_would_arrive():
    """A constant edit without example keeps its own change; an EDIT_STRENGTH of the same batch gives each its own."""
    slider, example, w = edit(1, with_example=False), edit(2), codes()
    gain = float((slider.normal * slider.direction).sum())
    given_strengths = EditStrength(torch.full((5,), 0.7), family="f")
    combination = combine_edits(w, [slider, example], [given_strengths, 1.0])
    moved = attribute_values(slider, combination.codes) - attribute_values(slider, w)
    torch.testing.assert_close(moved, torch.full((5,), 0.7 * gain), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(combination.values_after[:, 1], torch.full((5,), state(example)), atol=1e-3, rtol=1e-3)
    planned = plan_strength(example, w)
    again = combine_edits(w, [slider, example], [given_strengths, planned])
    torch.testing.assert_close(again.codes, combination.codes)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.floats(0.05, 2))
def test_who_is_held_back_is_told_and_the_others_still_arrive(seed, limit):
    edits, w = [edit(seed + k) for k in range(3)], codes(seed, batch=8)
    combination = combine_edits(w, edits, [1.0, 1.0, 1.0], limit)
    assert float(combination.alphas.abs().max()) <= limit * (1 + 1e-4)
    reached = (combination.values_after - combination.targets).abs() < 2e-2 * (1 + combination.targets.abs())
    assert bool((reached | combination.clamped).all())
    free = combine_edits(w, edits, [1.0, 1.0, 1.0])
    unbound = (free.alphas.abs() <= limit).all(dim=1)
    assert not bool(combination.clamped[unbound].any())
    torch.testing.assert_close(combination.codes[unbound], free.codes[unbound])


def test_the_input_stays_and_a_single_code_will_do():
    edits, w = [edit(1), edit(2)], codes(batch=1)
    original = w.clone()
    assert combine_edits(w, edits, [1.0, 1.0]).codes.shape == (1, ROWS, WIDTH)
    assert torch.equal(w, original)


def test_two_edits_that_are_almost_the_same_are_named():
    smile, grin = edit(1, name="smile", own_normal=True), edit(2, name="hat", own_normal=True)
    twin = EditDirection(2 * smile.direction + 0.01 * grin.direction, smile.direction, smile.layers, 0, 1, name="grin")
    with pytest.raises(InputError, match="'grin' and 'smile' are almost the same") as caught:
        combine_edits(codes(), [smile, grin, twin], [1.0, 1.0, 1.0])
    assert "'hat'" not in str(caught.value)
    mixture = EditDirection(smile.direction + grin.direction, smile.direction + grin.direction, smile.layers, 0, 1)
    with pytest.raises(InputError, match="cannot be told apart"):
        combine_edits(codes(), [smile, grin, mixture], [1.0, 1.0, 1.0])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.floats(1e-3, 1e3), other=st.floats(1e-3, 1e3))
def test_lengths_of_directions_and_normals_change_nothing(seed, size, other):
    first, second, w = edit(seed), edit(seed + 1), codes(seed)
    scaled = EditDirection(
        size * first.direction,
        other * first.normal,
        first.layers,
        other * first.start,
        other * first.offset,
        family="f",
    )
    plain = combine_edits(w, [first, second], [1.0, 1.0])
    again = combine_edits(w, [scaled, second], [1.0, 1.0])
    torch.testing.assert_close(again.codes, plain.codes, atol=5e-3, rtol=5e-3)


def test_wrong_inputs_are_sentences():
    first, second, w = edit(1), edit(2), codes()
    foreign = EditDirection(first.direction, first.normal, family="elsewhere", name="stranger")
    for edits, strengths, words in (
        ([first], [1.0], "Two or more edits"),
        ([first, second], [1.0], "one strength each"),
        ([first, foreign], [1.0, 1.0], "elsewhere"),
        ([first, edit(3, with_example=False, name="plain")], [1.0, 1.0], "'plain' comes without an example"),
        ([first, second], [1.0, torch.ones(4)], r"'edit 2' has strengths of shape \[4\] for 5 pictures"),
        ([first, second], [1.0, EditStrength(torch.ones(5), family="elsewhere")], "elsewhere"),
    ):
        with pytest.raises(InputError, match=words):
            combine_edits(w, edits, strengths)
    with pytest.raises(InputError, match="above 0"):
        combine_edits(w, [first, second], [1.0, 1.0], limit=0)
    with pytest.raises(InputError, match="different generators"):
        combine_edits(w[:, :3], [first, second], [1.0, 1.0])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(-5, 5).filter(lambda f: abs(f) > 1e-2))
def test_a_scaled_edit_goes_that_much_further(seed, factor):
    plain, w = edit(seed), codes(seed)
    scaled = scale_edit(plain, factor)
    reached = attribute_values(plain, apply_edit(w, scaled, plan_strength(scaled, w).alpha))
    torch.testing.assert_close(reached, torch.full((5,), state(plain, factor)), atol=2e-2, rtol=2e-3)


def test_an_inverted_edit_is_the_opposite_and_twice_inverted_the_edit():
    rng = torch.Generator().manual_seed(0)
    example = torch.randn(2, ROWS, WIDTH, generator=rng)
    d = example[1] - example[0]
    plain = EditDirection(d, d, start=float((d * example[0]).sum()), offset=float((d * example[1]).sum()),
                          example=example, name="smile", method="difference")  # fmt: skip
    opposite = scale_edit(plain, -1)
    assert opposite.name == "opposite of smile" and opposite.method == "difference, inverted"
    torch.testing.assert_close(opposite.example[1], 2 * example[0] - example[1])
    alpha = plan_strength(opposite, example[:1]).alpha
    torch.testing.assert_close(alpha, torch.ones(1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(apply_edit(example[:1], opposite, alpha)[0], opposite.example[1], atol=1e-4, rtol=1e-4)
    again = scale_edit(opposite, -1)
    torch.testing.assert_close(again.direction, plain.direction)
    assert again.offset == pytest.approx(plain.offset, rel=1e-5)
    for factor in (0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="any number but 0"):
            scale_edit(plain, factor)
