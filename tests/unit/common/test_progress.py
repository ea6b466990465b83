"""Counting the steps of work in several pieces."""

from __future__ import annotations

import torch
from semantic_edit.editing.common.progress import StepCounter, silent


def test_a_counter_reports_every_step_and_shows_every_few():
    reports = []
    counter = StepCounter(lambda *report: reports.append(report), 5, preview_every=2, first_preview=1)
    for _ in range(3):
        counter.step(torch.full((1, 3, 2, 2), -1.0))
    assert [report[:2] for report in reports] == [(1, 5), (2, 5), (3, 5)]
    assert [report[2] is not None for report in reports] == [True, False, True] and float(reports[0][2].max()) == 0
    counter.step()
    assert reports[-1] == (4, 5, None)
    counter.then()(2, 6, None)
    assert reports[-1] == (6, 10, None)


def test_a_counter_without_watchers_counts_in_silence():
    counter = StepCounter(None, 1, preview_every=1, first_preview=1)
    counter.step(torch.zeros(1, 3, 2, 2))
    assert counter.done == 1 and counter.then() is None and silent(1, 1) is None
