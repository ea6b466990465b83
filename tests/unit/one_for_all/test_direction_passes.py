"""The direction's optimisation in passes, and by a quasi-Newton search."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.one_for_all.directions import SEARCHES, optimize_direction
from semantic_edit.models import InputError


@pytest.fixture
def example(tiny_generator):
    w = tiny_generator.map(torch.randn(2, tiny_generator.z_dim, generator=torch.Generator().manual_seed(3)))
    edited = w[0].clone()
    edited[:4] += 0.3 * (w[1] - w[0])[:4]
    return w[0], edited


@pytest.mark.parametrize("variant", ["batch", "single", "text"])
def test_passes_change_the_last_digits_only(tiny_generator, example, variant):
    settings = dict(variant=variant, steps=4, batch=5, seed=1, learning_rate=1e-2)
    all_at_once, parts, single = (
        optimize_direction(tiny_generator, *example, chunk=chunk, **settings).direction for chunk in (5, 2, 1)
    )
    assert torch.allclose(all_at_once, parts, atol=1e-4) and torch.allclose(all_at_once, single, atol=1e-4)


def test_a_quasi_newton_search_leaves_less_error_in_fewer_steps(tiny_generator, example):
    """From 0 toward the edit, in pictures that neither has seen."""
    edit = example[1] - example[0]
    codes = tiny_generator.map(torch.randn(4, tiny_generator.z_dim, generator=torch.Generator().manual_seed(9)))
    target, left, reports = tiny_generator.synthesize(codes + edit), {}, []
    for search, steps in (("adam", 60), ("quasi-newton", 10)):
        settings = dict(
            variant="text", steps=steps, batch=6, search=search, progress=lambda step, *_: reports.append(step)
        )
        direction = optimize_direction(tiny_generator, *example, **settings).direction
        left[search] = float((tiny_generator.synthesize(codes + direction) - target).square().mean())
    assert left["quasi-newton"] < left["adam"] < float((tiny_generator.synthesize(codes) - target).square().mean())
    assert reports[60:] == list(range(1, 11)), "a step is one look at the pictures, and none is more than asked for"
    assert SEARCHES[0] == "adam", "the published forms stay as they were"


def test_a_search_from_the_edit_itself_and_the_same_seed(tiny_generator, example):
    settings = dict(variant="batch", steps=3, batch=4, search="quasi-newton", seed=5)
    once, again = (optimize_direction(tiny_generator, *example, **settings).direction for _ in range(2))
    assert torch.equal(once, again)


@pytest.mark.parametrize(("wrong", "said"), [(dict(search="wild"), "search 'wild'"), (dict(chunk=0), "got 0")])
def test_wrong_settings_are_refused(tiny_generator, example, wrong, said):
    with pytest.raises(InputError, match=said):
        optimize_direction(tiny_generator, *example, **wrong)
