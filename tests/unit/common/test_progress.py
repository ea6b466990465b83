"""Progress of longer work: its stages add up."""

from __future__ import annotations

from semantic_edit.editing.common.progress import silent, stage


def test_a_stage_counts_on_from_the_stages_before_it():
    reports = []
    progress = stage(lambda step, total, preview=None: reports.append((step, total, preview)), 4, 10)
    progress(1, 3)
    progress(3, 3, "picture")
    progress(99, 99)
    assert reports == [(5, 10, None), (7, 10, "picture"), (10, 10, None)]


def test_nobody_watches_a_stage_of_silent_work():
    assert stage(None, 4, 10) is silent
    silent(1, 2)
