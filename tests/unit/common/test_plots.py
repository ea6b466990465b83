"""Plots: what a last bit of a reading does to a picture."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from semantic_edit.editing.common.figures import Axes


def _drawn(low, high):
    picture = Image.new("RGB", (760, 420), (255, 255, 255))
    Axes(72, 736, 62, 370, 0.5, 8.5, low, high).draw(ImageDraw.Draw(picture), "")
    return np.asarray(picture)[:, 72:737]  # without the numbers, which may be rounded to another digit


@given(low=st.floats(-3, 3), span=st.floats(0.01, 5), bits=st.integers(-3, 3), more=st.integers(-3, 3))
def test_the_last_bits_of_values_move_no_grid_line(low, span, bits, more):
    """Two processes, or two versions of torch, read the same pictures alike but for these."""
    high = low + span
    nudged = [float(np.float32(value) + np.spacing(np.float32(value)) * k) for value, k in ((low, bits), (high, more))]
    plain = [float(np.float32(value)) for value in (low, high)]
    assert np.array_equal(_drawn(*plain)[:370], _drawn(*nudged)[:370])
