"""Consistency in numbers, and plots that show something."""

import pytest
import torch
from semantic_edit.editing.common.figures import before_after_plot, contact_sheet
from semantic_edit.editing.one_for_all.consistency import measure_consistency
from semantic_edit.models import InputError


def test_spread_and_landing_are_in_standard_deviations():
    before = torch.tensor([-1.0, 0.0, 1.0])
    result = measure_consistency(before, 0.1 * before + 2.0, target=2.5)
    assert result.spread == pytest.approx(0.1, abs=1e-6)
    assert result.landing == pytest.approx(0.5, abs=1e-6)
    assert measure_consistency(before, before).landing is None


def test_a_batch_of_one_or_of_twins_has_no_spread_to_compare_with():
    one = measure_consistency(torch.tensor([1.0]), torch.tensor([2.0]), target=2.0)
    assert one.spread != one.spread and one.landing is None and one.mean_after == 2.0
    assert measure_consistency(torch.tensor([1.0]), torch.tensor([2.0]), 2.5, reference_std=0.5).landing == 1.0


def test_wrong_values():
    with pytest.raises(InputError, match="as many after as before"):
        measure_consistency(torch.zeros(2), torch.zeros(3))
    with pytest.raises(InputError, match="finite"):
        measure_consistency(torch.zeros(2), torch.tensor([0.0, float("nan")]))


def test_the_plot_draws_every_picture_and_the_target():
    few = before_after_plot([0.0, 1.0], [0.5, 0.5], 0.5, "title", "axis")
    assert few.shape == (460, 760, 3) and 0.0 <= float(few.min()) and float(few.max()) <= 1.0
    red = (few[..., 0] > 0.8) & (few[..., 1] < 0.4)
    assert int(red.sum()) > 500  # the target's line
    without = before_after_plot([0.0, 1.0], [0.5, 0.5], None, "title", "axis")
    assert int(((without[..., 0] > 0.8) & (without[..., 1] < 0.4)).sum()) == 0
    assert not torch.equal(few, before_after_plot([0.0, 1.0], [0.6, 0.5], 0.5, "title", "axis"))


def test_the_plot_survives_equal_and_single_values():
    for values in ([1.0], [2.0, 2.0, 2.0], [1e-9, 2e-9], [1e9, 2e9]):
        assert torch.isfinite(before_after_plot(values, values, None, "t", "a")).all()


def test_the_contact_sheet_holds_the_pictures_unchanged():
    rng = torch.Generator().manual_seed(0)
    tiles = [(torch.randint(0, 256, (8, 6, 3), generator=rng) / 255) for _ in range(3)]
    sheet = contact_sheet([tiles, tiles[:2]], scale=2, gap=4)
    assert sheet.shape == (2 * 16 + 3 * 4, 3 * 12 + 4 * 4, 3)
    assert torch.allclose(sheet[4:20:2, 4:16:2], tiles[0], atol=1e-3)
    assert torch.equal(sheet[24:40, 36:48], torch.ones(16, 12, 3))  # the second row has no third picture
