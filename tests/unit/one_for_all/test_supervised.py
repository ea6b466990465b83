"""Directions from scores, groups and given codes."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.editing import apply_edit, attribute_values, plan_strength
from semantic_edit.editing.common.types import GanLatent
from semantic_edit.editing.one_for_all.supervised import direction_from_codes, fit_direction, fit_groups, read_scores
from semantic_edit.models import InputError

ROWS, WIDTH = 5, 12


def scored(count=400, seed=0, rows_alike=True, noise=0.0):
    """Codes, and a score that is a linear function of the mean of their rows."""
    rng = torch.Generator().manual_seed(seed)
    codes = torch.randn(count, 1 if rows_alike else ROWS, WIDTH, generator=rng).expand(-1, ROWS, -1).contiguous()
    codes[:, :, 1] += 0.7 * codes[:, :, 0]
    scores = 2 * codes[:, :, 0].mean(dim=1) + 5 + noise * torch.randn(count, generator=rng)
    return GanLatent(codes, family="f"), scores


@pytest.mark.parametrize("rows_alike", [True, False], ids=["W", "W+"])
def test_the_normals_value_is_the_score(rows_alike):
    latent, scores = scored(rows_alike=rows_alike)
    edit, report = fit_direction(latent, scores, name="smile")
    other, truth = scored(seed=1, rows_alike=rows_alike)
    assert report.r2 > 0.99 and report.count == 400 and f"R2 {report.r2:.3f}" in str(report)
    torch.testing.assert_close(attribute_values(edit, other.codes) + report.intercept, truth, atol=0.15, rtol=0)
    assert edit.family == "f" and edit.name == "smile" and edit.has_example and edit.example is None


def test_state_one_is_a_standard_deviation_above_the_mean_score():
    latent, scores = scored()
    edit, report = fit_direction(latent, scores)
    moved = apply_edit(latent.codes, edit, plan_strength(edit, latent.codes, 1.0).alpha)
    reached = 2 * moved[:, :, 0].mean(dim=1) + 5
    torch.testing.assert_close(reached, torch.full((400,), report.mean + report.deviation).float(), atol=0.1, rtol=0)


def test_only_the_chosen_rows_act_and_count():
    latent, scores = scored(rows_alike=False)
    edit, _ = fit_direction(latent, scores, rows=(1, 3))
    assert (
        edit.layers == (1, 3) and not bool(edit.direction[[0, 2, 4]].any()) and not bool(edit.normal[[0, 2, 4]].any())
    )


def test_few_noisy_samples_get_a_stronger_ridge_and_a_warning():
    latent, scores = scored(40, noise=0.2)
    _, calm = fit_direction(*scored(400))
    _, report = fit_direction(latent, torch.randn(40, generator=torch.Generator().manual_seed(3)))
    assert report.ridge > calm.ridge and report.r2 < 0.3 and "That is little" in str(report)
    assert "That is little" not in str(calm)


def test_the_order_of_samples_does_not_spoil_the_held_out_ones():
    """Sorted scores, as two groups one after the other are, would otherwise hold out only the highest."""
    latent, scores = scored()
    order = scores.argsort()
    _, report = fit_direction(GanLatent(latent.codes[order]), scores[order])
    assert report.r2 > 0.99


def test_two_groups():
    latent, scores = scored(600)
    has, lacks = latent.codes[scores > 6], latent.codes[scores < 4]
    edit, report = fit_groups(GanLatent(has, family="f"), GanLatent(lacks, family="f"), name="hat")
    assert report.r2 > 0.5 and edit.method == "regression of two groups"
    torch.testing.assert_close(edit.direction, has.mean(dim=0) - lacks.mean(dim=0), atol=1e-4, rtol=0)
    values = attribute_values(edit, torch.stack([lacks.mean(dim=0), has.mean(dim=0)]))
    assert values.tolist() == pytest.approx([edit.start, edit.offset], abs=1e-3)


def test_wrong_samples_are_sentences():
    latent, scores = scored(20)
    with pytest.raises(InputError, match="one score per code"):
        fit_direction(latent, scores[:3])
    with pytest.raises(InputError, match="5 scored samples are too few"):
        fit_direction(GanLatent(latent.codes[:5]), scores[:5])
    with pytest.raises(InputError, match="same score"):
        fit_direction(latent, torch.ones(20))
    with pytest.raises(InputError, match="All codes are the same"):
        fit_direction(GanLatent(torch.ones(20, ROWS, WIDTH)), scores)
    with pytest.raises(InputError, match="rows 0 to 4"):
        fit_direction(latent, scores, rows=(9,))
    with pytest.raises(InputError, match="different generators"):
        fit_groups(latent, GanLatent(latent.codes[:, :2]))
    with pytest.raises(InputError, match="elsewhere"):
        direction_from_codes(GanLatent(latent.codes, family="here"), GanLatent(latent.codes + 1, family="elsewhere"))


def test_two_codes_are_the_edit_that_record_edit_would_give():
    latent, _ = scored(2, rows_alike=False)
    before, after = GanLatent(latent.codes[:1]), GanLatent(latent.codes[1:])
    edit, report = direction_from_codes(before, after, name="swap")
    torch.testing.assert_close(edit.direction, latent.codes[1] - latent.codes[0])
    alpha = plan_strength(edit, before.codes).alpha
    torch.testing.assert_close(apply_edit(before.codes, edit, alpha), after.codes, atol=1e-4, rtol=1e-4)
    assert edit.method == "difference" and "cosine" not in report


def test_pairs_tell_how_alike_they_are_and_only_changed_rows_act():
    latent, _ = scored(6, rows_alike=False)
    step = torch.zeros(ROWS, WIDTH)
    step[2] = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    edit, report = direction_from_codes(latent, GanLatent(latent.codes + step))
    assert edit.layers == (2,) and "cosine of 1.00" in report
    torch.testing.assert_close(edit.direction, step, atol=1e-5, rtol=0)
    with pytest.raises(InputError, match="equal"):
        direction_from_codes(latent, latent)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), form=st.sampled_from(range(6)))
def test_scores_in_every_form(values, form):
    given_as = [
        values,
        [json.dumps(values)],
        json.dumps({"other": [0.0], "smile": values}),
        " ".join(map(repr, values)),
        ",\n".join(map(repr, values)),
        [json.dumps({"smile": values})],
    ][form]
    assert read_scores(given_as, "smile", len(values)).tolist() == pytest.approx(values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 scores for 2 codes"),
        ("1 2 3", "3 scores for 2 codes"),
        ("1 two", "not all numbers"),
        ("[1, null]", "not all numbers"),
        ("[1, 1e999]", "infinite"),
        ("[1, 2", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        (f"[1, {10**400}]", "not all numbers"),
        ('{"smile": [1, 2], "hat": [1, 2]}', "say which one: smile, hat"),
        ('{"hat": 3}', "say which one|'smile' is not in the table"),
    ],
)
def test_scores_that_cannot_be_read(text, words):
    with pytest.raises(InputError, match=words):
        read_scores(text, "smile" if "3" in text else "", 2)


@pytest.mark.parametrize("few", [1, 2])
@pytest.mark.parametrize("many", [9, 18, 21, 30])
def test_a_small_group_beside_a_large_one(many, few):
    rng = torch.Generator().manual_seed(many)
    codes = torch.randn(many + few, ROWS, WIDTH, generator=rng)
    codes[many:] -= 1
    _, report = fit_groups(GanLatent(codes[:many], family="f"), GanLatent(codes[many:], family="f"))
    assert -100 < report.r2 <= 1  # though all that is held out may be of one group
