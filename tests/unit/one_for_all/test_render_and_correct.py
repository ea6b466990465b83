"""Strengths corrected by looking: pictures whose answer is not linear still land, each by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.editing import apply_edit, attribute_values, plan_strength, record_edit
from semantic_edit.editing.one_for_all.attribute_score import AttributeScore
from semantic_edit.editing.one_for_all.closed_form import target_value
from semantic_edit.editing.one_for_all.features import FeatureSpace
from semantic_edit.editing.one_for_all.render_and_correct import (
    Goal,
    measured_strength,
    raw_value,
    standard_deviation,
    standard_value,
)
from semantic_edit.editing.one_for_all.strength_modes import Target, strengths_for
from semantic_edit.models import InputError


class Curved(FeatureSpace):
    """One feature: a curved function of the projection on a code's own direction."""

    def read_codes(self, generator, codes, progress=None):
        if progress is not None:
            progress(len(codes), len(codes))
        return self.of_pictures(codes)


@pytest.fixture
def scene(tiny_generator):
    """An edit, five codes that follow, and a score that rises faster where it is high."""
    rng = torch.Generator().manual_seed(1)
    codes = tiny_generator.map(torch.randn(5, tiny_generator.z_dim, generator=rng))
    step = 0.3 * torch.randn(8, 16, generator=rng)
    edit = record_edit(tiny_generator, codes[0], codes[0] + step)
    unit, middle = standard_deviation(tiny_generator, edit), raw_value(tiny_generator, edit, 0.0)

    def curve(w):
        x = ((w * edit.normal).sum(dim=(1, 2)) - middle) / unit
        return (x + 0.02 * x.square() + 0.1 * torch.sin(w[:, 0, 0]))[:, None]

    score = AttributeScore(Curved("curved", of_pictures=curve), torch.ones(1), 0.0, 1.0)
    return edit, codes, score


def test_corrections_land_closer_than_the_closed_form(tiny_generator, scene):
    edit, codes, score = scene
    goal = float(score.of_codes(tiny_generator, edit.example[1:])[0])
    closed = score.of_codes(tiny_generator, apply_edit(codes, edit, plan_strength(edit, codes).alpha)) - goal
    strength = measured_strength(tiny_generator, edit, codes, score, rounds=3)
    left = score.of_codes(tiny_generator, apply_edit(codes, edit, strength.alpha)) - goal
    assert float(left.abs().max()) < 0.2 * float(closed.abs().max()) + 1e-4
    assert strength.confidence.shape == (5,) and float(strength.confidence.min()) > 0.7
    assert "corrections" in strength.method and "curved" in strength.method


def test_no_correction_is_the_closed_form(tiny_generator, scene):
    edit, codes, score = scene
    strength = measured_strength(tiny_generator, edit, codes, score, strength=0.5, rounds=0)
    torch.testing.assert_close(strength.alpha, plan_strength(edit, codes, 0.5).alpha)


def test_half_trust_lands_between_the_score_and_the_normal(tiny_generator, scene):
    edit, codes, score = scene
    goal = Goal(float(score.of_codes(tiny_generator, edit.example[1:])[0]), "a test")
    ends = [
        measured_strength(tiny_generator, edit, codes, replace(score, trust=trust), goal=goal, rounds=4).alpha
        for trust in (0.0, 0.5, 1.0)
    ]
    closed = plan_strength(edit, codes, target=raw_value(tiny_generator, edit, goal.score)).alpha
    torch.testing.assert_close(ends[0], closed, atol=1e-4, rtol=1e-4)
    low, high = torch.minimum(ends[0], ends[2]), torch.maximum(ends[0], ends[2])
    assert bool(((ends[1] >= low - 1e-3) & (ends[1] <= high + 1e-3)).all())


def test_each_picture_is_corrected_by_itself(tiny_generator, scene):
    edit, codes, score = scene
    together = measured_strength(tiny_generator, edit, codes, score).alpha
    alone = torch.cat([measured_strength(tiny_generator, edit, code[None], score).alpha for code in codes])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_who_meets_the_limit_is_told_and_is_less_certain(tiny_generator, scene):
    edit, codes, score = scene
    free = measured_strength(tiny_generator, edit, codes, score)
    bound = float(free.alpha.abs().median())
    held = measured_strength(tiny_generator, edit, codes, score, limit=bound)
    assert float(held.alpha.abs().max()) <= bound + 1e-6
    assert 0 < int(held.clamped.sum()) < 5
    assert float(held.confidence[held.clamped].min()) < float(held.confidence[~held.clamped].min())


def test_a_picture_that_does_not_answer_is_uncertain(tiny_generator, scene):
    edit, codes, _ = scene
    deaf = Curved("deaf", of_pictures=lambda w: torch.zeros(len(w), 1))
    silent = AttributeScore(deaf, torch.ones(1), 0.0, 1.0)
    strength = measured_strength(tiny_generator, edit, codes, silent, goal=Goal(2.0, "a test"))
    assert float(strength.confidence.max()) < 0.1


def test_targets_by_number_code_and_picture(tiny_generator, scene):
    edit, codes, score = scene
    number = strengths_for(edit, codes, target=Target(number=1.5), generator=tiny_generator)
    values = attribute_values(edit, apply_edit(codes, edit, number.alpha))
    for value in values.tolist():
        assert standard_value(tiny_generator, edit, value) == pytest.approx(1.5, abs=1e-3)
    code = strengths_for(edit, codes, target=Target(code=codes[3:4]))
    assert float(code.alpha[3]) == pytest.approx(0, abs=1e-4)
    pixels = FeatureSpace("pixels", of_pictures=lambda p: p.mean(dim=(1, 2, 3))[:, None])
    scored = replace(edit, score=AttributeScore(pixels, torch.ones(1), 0.0, 1.0))
    picture = tiny_generator.synthesize(codes[2:3])
    by_picture = strengths_for(scored, codes, target=Target(picture=picture), generator=tiny_generator)
    level = float(picture.mean())
    value = float(attribute_values(edit, apply_edit(codes, edit, by_picture.alpha))[0])
    assert standard_value(tiny_generator, edit, value) == pytest.approx(level, abs=1e-3)


def test_wrong_inputs(tiny_generator, scene):
    edit, codes, score = scene
    with pytest.raises(InputError, match="corrections must be"):
        measured_strength(tiny_generator, edit, codes, score, rounds=-1)
    with pytest.raises(InputError, match="Unknown mode"):
        strengths_for(edit, codes, "best")
    with pytest.raises(InputError, match="needs the generator"):
        strengths_for(edit, codes, target=Target(number=1.0))
    with pytest.raises(InputError, match="carries no score"):
        strengths_for(edit, codes, generator=tiny_generator, corrections=1)
    with pytest.raises(InputError, match="without an example"):
        measured_strength(tiny_generator, replace(edit, example=None, start=None), codes, score)


def test_a_state_without_its_picture_is_a_number_of_deviations(tiny_generator, scene):
    """As directions fitted to scores and converted ones have it: no codes of an example, but where it would be."""
    edit, codes, score = scene
    bare = replace(edit, example=None)
    goal = Goal(standard_value(tiny_generator, bare, target_value(bare, 0.7)), "given")
    stated = measured_strength(tiny_generator, bare, codes, score, 0.7)
    assert torch.equal(stated.alpha, measured_strength(tiny_generator, bare, codes, score, goal=goal).alpha)
    assert "the direction's own state" in stated.method
