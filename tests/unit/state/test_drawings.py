"""Drawings of any editor find their picture and their strength, in any usual order, or are refused."""

from __future__ import annotations

import math

import pytest
import torch
from semantic_edit.editing.state.drawings import StateDrawings, gather_drawings, strength_per_drawing
from semantic_edit.editing.state.figures import readings_plot, strengths_plot
from semantic_edit.models import InputError

READINGS = {0.0: [1.0, 2.0, 3.0], 0.5: [1.5, 2.5, 3.5], 1.0: [2.0, 3.0, 4.0]}  # of three pictures


@pytest.mark.parametrize("order", ["by strength", "by picture", "falling"])
def test_both_orders_give_the_same_table(order):
    pairs = [(s, k) for s in READINGS for k in range(3)]
    if order == "by picture":
        pairs.sort(key=lambda pair: pair[1])
    if order == "falling":
        pairs.sort(key=lambda pair: -pair[0])
    drawings = gather_drawings([s for s, _ in pairs], [READINGS[s][k] for s, k in pairs])
    assert torch.equal(drawings.strengths, torch.tensor([[0.0, 0.5, 1.0]] * 3).double())
    assert torch.equal(drawings.readings, torch.tensor(list(READINGS.values())).double().t())


def test_strengths_may_come_for_batches_for_drawings_or_for_blocks_of_one_batch():
    each = [0.0, 0.0, 1.0, 1.0]
    assert strength_per_drawing([0.0, 1.0], [2, 2]) == each
    assert strength_per_drawing(each, [2, 2]) == strength_per_drawing(each, [1, 1, 1, 1]) == each
    assert strength_per_drawing([0.0, 1.0], [4]) == each
    assert strength_per_drawing([0.0, 1.0], [1, 3]) == [0.0, 1.0, 1.0, 1.0]
    for strengths, batches in (([0.0, 0.5, 1.0], [2, 2]), ([0.0, 0.5, 1.0], [4]), ([], [2])):
        with pytest.raises(InputError, match="expected one for each"):
            strength_per_drawing(strengths, batches)


def test_drawings_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="2 at 0, 1 at 1"):
        gather_drawings([0, 0, 1], [1, 2, 3])
    with pytest.raises(InputError, match="2 strengths and 1 readings"):
        gather_drawings([0, 1], [1])
    with pytest.raises(InputError, match="finite"):
        gather_drawings([0, math.nan], [1, 2])
    with pytest.raises(InputError, match="both must be"):
        StateDrawings(torch.zeros(2, 3), torch.zeros(3, 2))


def test_one_more_round_is_added():
    drawings = gather_drawings([0, 0, 1, 1], [1, 2, 3, 4]).with_more(torch.tensor([0.3, 0.6]), torch.tensor([2.0, 3.0]))
    assert drawings.strengths.tolist() == [[0, 1, pytest.approx(0.3)], [0, 1, pytest.approx(0.6)]]
    assert drawings.readings.tolist() == [[1, 3, 2], [2, 4, 3]]


def test_plots_show_what_they_are_given():
    plain = readings_plot([1.0, 2.0, math.nan], "t", "smile")
    with_target = readings_plot([1.0, 2.0, math.nan], "t", "smile", 1.5, 0.2, [0.0, 1.0, 2.0])
    red = (with_target - torch.tensor([219, 84, 70]) / 255).abs().amax(dim=2) < 0.01
    assert plain.shape == with_target.shape == (420, 760, 3) and red.sum() > 300
    drawings = gather_drawings([0, 0, 1, 1], [1, 2, 3, math.nan])
    reached = strengths_plot(drawings, [0.5, 1.0], [2.0, 3.0], [True, True], [2.0, 2.0], "t", "smile")
    short = strengths_plot(drawings, [0.5, 1.0], [2.0, 3.0], [True, False], [2.0, 2.0], "t", "smile")
    assert reached.shape == (420, 760, 3) and not torch.equal(reached, short)
    assert readings_plot([math.nan], "t", "smile").shape == (420, 760, 3)
