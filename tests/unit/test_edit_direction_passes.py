"""The direction's optimisation in passes, and with a falling rate."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.directions import SCHEDULES, optimize_direction
from semantic_edit.models import InputError


@pytest.fixture
def example(tiny_generator):
    w = tiny_generator.map(torch.randn(2, tiny_generator.z_dim, generator=torch.Generator().manual_seed(3)))
    edited = w[0].clone()
    edited[:4] += 0.3 * (w[1] - w[0])[:4]
    return w[0], edited


@pytest.mark.parametrize("variant", ["batch", "single", "text"])
def test_passes_change_the_last_digits_only(tiny_generator, example, variant):
    given = dict(variant=variant, steps=4, batch=5, seed=1, learning_rate=1e-2)
    whole, parts, single = (
        optimize_direction(tiny_generator, *example, chunk=chunk, **given).direction for chunk in (5, 2, 1)
    )
    assert torch.allclose(whole, parts, atol=1e-4) and torch.allclose(whole, single, atol=1e-4)


def test_a_falling_rate_comes_nearer_in_as_many_steps(tiny_generator, example):
    """From 0 toward the edit: a large rate that falls leaves less of the way than the published small one."""
    edit = example[1] - example[0]
    left = {}
    for schedule, rate in (("constant", 1e-3), ("falling", 3e-2)):
        given = dict(variant="text", steps=20, batch=6, schedule=schedule, learning_rate=rate, regularisation=0.0)
        found = optimize_direction(tiny_generator, *example, **given).direction
        left[schedule] = float((found - edit).norm() / edit.norm())
    assert left["falling"] < 0.8 * left["constant"]
    assert SCHEDULES[0] == "constant", "the published forms stay as they were"


@pytest.mark.parametrize(("wrong", "said"), [(dict(schedule="wild"), "schedule 'wild'"), (dict(chunk=0), "got 0")])
def test_wrong_settings_are_refused(tiny_generator, example, wrong, said):
    with pytest.raises(InputError, match=said):
        optimize_direction(tiny_generator, *example, **wrong)
