"""Moments of an animation: both ends exact, each way without a jump, every frame drawn once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from semantic_edit.editing.common.types import EditDirection
from semantic_edit.editing.one_for_all.animation import EASINGS, animate, eased_strengths, frame_layout, play_order


@given(st.integers(2, 200), st.floats(-10, 10), st.floats(-10, 10), st.sampled_from(sorted(EASINGS)))
def test_the_ends_are_exact_and_the_way_never_turns(count, start, end, easing):
    moments = eased_strengths(count, start, end, easing)
    assert len(moments) == count and moments[0] == start and moments[-1] == end
    steps = [after - before for before, after in zip(moments, moments[1:], strict=False)]
    assert all(step * (end - start) >= -1e-9 for step in steps)


@given(st.integers(2, 50))
def test_there_and_back_repeats_evenly(count):
    order = play_order(count, "there and back")
    assert len(order) == 2 * count - 2
    assert all(abs(after - before) == 1 for before, after in zip(order, order[1:] + order[:1], strict=True))


@pytest.mark.parametrize(
    ("pictures", "columns", "expected"),
    [(1, 0, (1, 4, 6)), (9, 0, (9, 12, 18)), (5, 0, (5, 8, 18)), (5, 2, (5, 12, 12)), (2, 50, (2, 4, 12))],
)
def test_grids_are_about_square(pictures, columns, expected):
    assert frame_layout(pictures, 4, 6, columns, "grid") == expected
    assert frame_layout(pictures, 4, 6, columns, "one by one") == (1, 4, 6)


def test_each_moment_is_drawn_once_and_reported(tiny_generator):
    d = torch.ones(8, 16)
    direction = EditDirection(d, d, (0, 1), start=0.0, offset=3.0, family=tiny_generator.family)
    w = torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(1))
    reports = []
    frames = animate(
        tiny_generator, w, direction, [0.0, 0.5, 1.0], layout="one by one", loop="there and back",
        progress=lambda step, total, preview: reports.append((step, total)),
    )  # fmt: skip
    assert frames.shape == (12, 32, 32, 3) and reports[-1] == (9, 9)
    assert [step for step, _ in reports] == sorted({step for step, _ in reports})

    def stop(step, total, preview):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(tiny_generator, w, direction, [0.0, 1.0], progress=stop)
