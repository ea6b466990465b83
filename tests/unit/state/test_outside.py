"""A cap on change outside of a region: nobody exceeds it, and who needs more is named."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing import reach_state
from semantic_edit.editing.state import OutsideCap
from semantic_edit.models.errors import InputError

COUNT = 32


@pytest.fixture
def leaking():
    """An editor that also brightens what is outside of the left half, by shares that differ between pictures."""
    generator = torch.Generator().manual_seed(0)
    before = torch.zeros(COUNT, 3, 8, 8)
    before[:, :, :, :4] = 0.2 * torch.randn(COUNT, 1, 1, 1, generator=generator)
    leak = 0.1 + 0.4 * torch.rand(COUNT, 1, 1, 1, generator=generator)
    region = torch.zeros(1, 8, 8)
    region[:, :, :4] = 1.0

    def render(strengths):
        pictures = before.clone()
        pictures[:, :, :, :4] += strengths[:, None, None, None]
        pictures[:, :, :, 4:] += leak * strengths[:, None, None, None] ** 2
        return pictures

    return before, region, render, lambda pictures: pictures[:, 0, 0, 0], leak[:, 0, 0, 0]


def test_nobody_changes_more_outside_than_the_cap_and_who_would_have_to_is_named(leaking):
    before, region, render, read, leak = leaking
    cap = OutsideCap(before, region, 0.05)  # of the brightness range, which is 2 wide here
    reached = reach_state(render, read, torch.full((COUNT,), 0.6), (-1.0, 0.0, 1.0), cap=cap)
    outside = (reached.pictures - before)[:, :, :, 4:].abs().mean(dim=(1, 2, 3)) / 2
    assert outside.max() <= 0.05 * 1.02 + 1e-6
    needed = 0.6 - before[:, 0, 0, 0]
    can = leak * needed**2 / 2 <= 0.05
    assert 5 < can.sum() < COUNT - 5
    assert (can == reached.reachable).float().mean() > 0.9
    assert (reached.readings - 0.6)[can & reached.reachable].abs().max() < 0.03
    stopped = ~can & ~reached.reachable
    assert outside[stopped].mean() > 0.035  # they go as far as the cap lets them


def test_without_a_cap_everyone_lands(leaking):
    before, _, render, read, _ = leaking
    reached = reach_state(render, read, torch.full((COUNT,), 0.6), (-1.0, 0.0, 1.5))
    assert reached.reachable.all()
    assert (reached.readings - 0.6).abs().max() < 0.02


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"limit": 0.0}, "must be above 0"),
        ({"limit": float("nan")}, "must be above 0"),
        ({"region": torch.ones(3, 8, 8)}, "The region has shape"),
        ({"region": torch.ones(1, 8, 8)}, "covers a whole picture"),
    ],
)
def test_wrong_caps_are_sentences(leaking, change, sentence):
    before, region, *_ = leaking
    with pytest.raises(InputError, match=sentence):
        OutsideCap(**{"before": before, "region": region, "limit": 0.1, **change})


def test_pictures_of_another_size_are_refused(leaking):
    before, region, *_ = leaking
    with pytest.raises(InputError, match="a cap on change needs one shape"):
        OutsideCap(before, region, 0.1).change(before[..., :4])
