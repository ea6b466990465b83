"""The closed form: everyone lands on the example's hyperplane, and only edited rows move."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.editing import (
    apply_edit,
    attribute_values,
    compute_strength,
    constant_strength,
    plan_strength,
    record_edit,
)
from semantic_edit.editing.common.types import EditDirection
from semantic_edit.models import InputError


def make_direction(seed=0, rows=6, width=16, layers=(0, 2, 3), own_normal=True):
    rng = torch.Generator().manual_seed(seed)
    d = torch.randn(rows, width, generator=rng)
    v = d.clone() if own_normal else d + 0.5 * torch.randn(rows, width, generator=rng)
    return EditDirection(d, v, layers=layers, start=0.5, offset=3.0, method="test", family="f", name="test")


def codes(seed=1, batch=5, rows=6, width=16):
    return torch.randn(batch, rows, width, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), strength=st.floats(-3, 3), own_normal=st.booleans())
def test_every_picture_lands_where_the_slider_puts_the_example(seed, strength, own_normal):
    direction, w = make_direction(seed, own_normal=own_normal), codes(seed + 1)
    edited = apply_edit(w, direction, compute_strength(direction, w, strength))
    goal = 0.5 + strength * 2.5
    torch.testing.assert_close(attribute_values(direction, edited), torch.full((5,), goal), atol=2e-3, rtol=1e-4)


def test_only_edited_rows_move_and_the_input_stays():
    direction, w = make_direction(), codes()
    original = w.clone()
    edited = apply_edit(w, direction, compute_strength(direction, w))
    assert torch.equal(w, original)
    assert torch.equal(edited[:, [1, 4, 5]], w[:, [1, 4, 5]])
    assert not torch.equal(edited[:, [0, 2, 3]], w[:, [0, 2, 3]])


def test_values_outside_the_edited_rows_do_not_count():
    direction, w = make_direction(), codes()
    other = w.clone()
    other[:, [1, 4, 5]] += 10
    torch.testing.assert_close(compute_strength(direction, w), compute_strength(direction, other))


def test_a_picture_already_there_does_not_move():
    direction, w = make_direction(), codes()
    moved = apply_edit(w, direction, compute_strength(direction, w))
    torch.testing.assert_close(compute_strength(direction, moved), torch.zeros(5), atol=1e-4, rtol=0)


def test_the_strength_does_not_depend_on_the_length_of_the_normal():
    direction, w = make_direction(), codes()
    longer = EditDirection(direction.direction, 7 * direction.normal, direction.layers, start=3.5, offset=21.0)
    torch.testing.assert_close(compute_strength(direction, w), compute_strength(longer, w))


def test_limit_clamps_and_reports_who():
    direction, w = make_direction(), codes()
    free = plan_strength(direction, w)
    bound = float(free.alpha.abs().median())
    limited = plan_strength(direction, w, limit=bound)
    assert torch.equal(limited.clamped, free.alpha.abs() > bound)
    assert 0 < int(limited.clamped.sum()) < len(limited)
    assert float(limited.alpha.abs().max()) <= bound + 1e-6
    assert not bool(free.clamped.any())


def test_an_explicit_target_wins():
    direction, w = make_direction(), codes()
    edited = apply_edit(w, direction, compute_strength(direction, w, target=-4.0))
    torch.testing.assert_close(attribute_values(direction, edited), torch.full((5,), -4.0), atol=1e-3, rtol=0)


def test_constant_strength_moves_all_alike():
    direction, w = make_direction(), codes()
    strength = constant_strength(direction, w, 0.7)
    assert torch.equal(strength.alpha, torch.full((5,), 0.7))
    spread = attribute_values(direction, apply_edit(w, direction, strength.alpha)).std()
    torch.testing.assert_close(spread, attribute_values(direction, w).std())


def test_a_batch_of_one():
    direction, w = make_direction(), codes(batch=1)
    assert compute_strength(direction, w).shape == (1,)


def test_a_normal_that_the_direction_does_not_move_is_refused():
    d, v = torch.zeros(2, 4), torch.zeros(2, 4)
    d[:, 0], v[:, 1] = 1, 1
    direction = EditDirection(d, v, start=0.0, offset=1.0, name="sideways")
    with pytest.raises(InputError, match="sideways.*cosine"):
        compute_strength(direction, torch.randn(3, 2, 4))


def test_without_an_example_there_is_no_target():
    direction = make_direction()
    bare = EditDirection(direction.direction, direction.normal, direction.layers, name="imported")
    with pytest.raises(InputError, match="imported.*without an example"):
        compute_strength(bare, codes())
    assert compute_strength(bare, codes(), target=0.0).shape == (5,)


def test_codes_of_another_shape_are_refused():
    for wrong in (torch.randn(3, 5, 16), torch.randn(3, 6, 8), torch.randn(6, 16)):
        with pytest.raises(InputError, match="different generators"):
            compute_strength(make_direction(), wrong)
        with pytest.raises(InputError, match="different generators"):
            apply_edit(wrong, make_direction(), torch.zeros(3))


def test_wrong_number_of_strengths():
    with pytest.raises(InputError, match="2 strengths for 5 pictures"):
        apply_edit(codes(), make_direction(), torch.zeros(2))


def test_zero_direction_and_equal_codes_are_refused(tiny_generator):
    with pytest.raises(InputError, match="zero"):
        EditDirection(torch.zeros(2, 4), torch.ones(2, 4))
    w = tiny_generator.map(torch.randn(1, tiny_generator.z_dim))[0]
    with pytest.raises(InputError, match="equal"):
        record_edit(tiny_generator, w, w.clone())


def test_record_edit_finds_its_rows_and_lands_on_the_example(tiny_generator):
    w = tiny_generator.map(torch.randn(3, tiny_generator.z_dim, generator=torch.Generator().manual_seed(3)))
    after = w[0].clone()
    after[1:3] += 0.4
    edit = record_edit(tiny_generator, w[0], after, name="lift")
    assert edit.layers == (1, 2) and edit.family == tiny_generator.family and edit.name == "lift"
    torch.testing.assert_close(apply_edit(w[:1], edit, compute_strength(edit, w[:1]))[0], after)
    moved = apply_edit(w, edit, compute_strength(edit, w))
    torch.testing.assert_close(attribute_values(edit, moved), torch.full((3,), edit.offset), atol=1e-3, rtol=1e-4)


def test_record_edit_needs_one_code_of_this_generator(tiny_generator):
    w = tiny_generator.map(torch.randn(2, tiny_generator.z_dim))
    with pytest.raises(InputError, match="one code"):
        record_edit(tiny_generator, w, w)
    with pytest.raises(InputError, match="expects"):
        record_edit(tiny_generator, w[0, :-1], w[1, :-1])
    broken = w[1].clone()
    broken[0, 0] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        record_edit(tiny_generator, w[0], broken)
