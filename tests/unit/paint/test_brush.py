"""Brush strokes: what is drawn, and that many points stay bounded and can be stopped."""

import time

import pytest
import torch
from semantic_edit.editing.paint.brush import brush_mask
from semantic_edit.models.errors import InputError


class StopError(Exception):
    """Raised by a progress that stops the work."""


def by_definition(segments, radius, height, width):
    """A mask from the distance of every pixel to every segment ((x0, y0), (x1, y1)), in shares."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    distance = torch.full((height, width), float("inf"))
    for (x0, y0), (x1, y1) in segments:
        start = torch.tensor([x0 * width, y0 * height])
        along = torch.tensor([x1 * width, y1 * height]) - start
        share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / max(float(along.square().sum()), 1e-9)
        share = share.clamp(0, 1)
        here = torch.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
        distance = torch.minimum(distance, here)
    return (radius * height - distance + 0.5).clamp(0, 1)


@pytest.mark.parametrize("size", [(64, 64), (200, 33), (37, 150)])
def test_every_pixel_is_as_far_as_its_distance_says(size):
    points = torch.rand(8, 2, generator=torch.Generator().manual_seed(3)).tolist()
    segments = list(zip(points[:-1], points[1:], strict=True))
    text = ", ".join(f"{x!r} {y!r}" for x, y in points)
    torch.testing.assert_close(
        brush_mask(text, 0.03, *size)[0], by_definition(segments, 0.03, *size), atol=2e-4, rtol=0
    )


def test_strokes_of_one_radius_are_not_joined_and_order_counts():
    text = "0.1: 0.2 0.2\n0.1: 0.8 0.8\n-0.05: 0.8 0.8\n0.02: 0.8 0.8"
    mask = by_definition([((0.2, 0.2),) * 2, ((0.8, 0.8),) * 2], 0.1, 100, 100)
    mask = torch.minimum(mask, 1 - by_definition([((0.8, 0.8),) * 2], 0.05, 100, 100))
    mask = torch.maximum(mask, by_definition([((0.8, 0.8),) * 2], 0.02, 100, 100))
    torch.testing.assert_close(brush_mask(text, 0.5, 100, 100)[0], mask, atol=2e-4, rtol=0)


def test_many_points_on_a_large_picture():
    """10,000 points through 1,024 px took 40 s when each was measured against each pixel."""
    steps = torch.rand(9999, 2, generator=torch.Generator().manual_seed(1)) * 0.02 - 0.01
    points = (0.5 + steps.cumsum(0)).clamp(0, 1).tolist()
    begun = time.process_time()
    mask = brush_mask(", ".join(f"{x:.4f} {y:.4f}" for x, y in points), 0.06, 1024, 1024)
    assert time.process_time() - begun < 15  # 3 s
    x, y = points[5000]
    assert mask[0, min(1023, int(y * 1024)), min(1023, int(x * 1024))] == 1


def test_drawing_can_be_stopped():
    calls = []

    def progress(step, total, preview=None):
        calls.append((step, total))
        if len(calls) == 3:
            raise StopError

    with pytest.raises(StopError):
        brush_mask("0.1: 0 0, 1 1\n0.2: 0 0, 1 1", 0.1, 256, 256, progress)
    assert calls == [(0, 16), (1, 16), (2, 16)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.5 0.5\n" * 2001, "2001 strokes; at most 2000"),
        ((", ".join(["0.5 0.5"] * 9000) + "\n") * 6, "more than 50000 points together"),
        ("0.5 0.5 " * 10_001, "not pairs of numbers"),
        ("1" * 100_000 + "x", "not pairs of numbers"),
        ("9" * 100_000 + ": 0.5 0.5", "radius of inf"),
        ("0.1:", "not pairs of numbers"),
        ("0.1: ", "not pairs of numbers"),
        ("0.5", "not pairs of numbers"),
        ("5 5", "nothing inside"),
        ("1e38 0", "nothing inside"),
        (" \n", "no strokes"),
    ],
)
def test_too_much_or_nothing_is_a_sentence(text, words):
    begun = time.process_time()
    with pytest.raises(InputError, match=words) as refusal:
        brush_mask(text, 0.1, 64, 64)
    assert len(str(refusal.value)) < 300
    assert time.process_time() - begun < 10
