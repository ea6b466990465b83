"""Clips: what jitters from frame to frame is steadied, what moves goes on moving."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.common.frames import hold_over_time, smooth_over_time
from semantic_edit.editing.photos.alignment import Alignment, smooth_alignment
from semantic_edit.models import InputError


@pytest.mark.parametrize("shape", [(9,), (9, 1, 2, 2), (9, 4, 3)])
def test_jitter_goes(shape):
    values = torch.zeros(shape)
    values[::2] = 1
    steady = smooth_over_time(values, 2.0)
    assert steady.shape == shape and steady.diff(dim=0).abs().max() < 0.2
    assert torch.equal(smooth_over_time(values, 0.0), values)
    assert torch.equal(smooth_over_time(values[:1], 2.0), values[:1])


def test_a_steady_move_stays():
    ramp = torch.arange(21.0)
    torch.testing.assert_close(smooth_over_time(ramp, 1.5)[6:-6], ramp[6:-6], atol=1e-3, rtol=0)


def test_missing_frames_are_gaps_in_time():
    values = torch.tensor([0.0, 0.0, 1.0])
    near, far = smooth_over_time(values, 1.0, [0, 1, 2]), smooth_over_time(values, 1.0, [0, 1, 9])
    assert near[1] > 0.1 and far[1] < 1e-6


def test_holding_gives_all_frames_the_median():
    held = hold_over_time(torch.tensor([[0.0, 5.0], [1.0, 5.0], [90.0, 6.0]]))
    assert torch.equal(held, torch.tensor([[1.0, 5.0]] * 3))


def shaky(count: int) -> Alignment:
    """Crops of a face that moves to the right by 4 px a frame, found with an error of 3 px and 3 degrees."""
    rng = torch.Generator().manual_seed(1)
    x = 4.0 * torch.arange(count) + 3 * torch.randn(count, generator=rng)
    angle = 0.05 * torch.randn(count, generator=rng)
    rows = [torch.stack([angle.cos(), -angle.sin(), x]), torch.stack([angle.sin(), angle.cos(), 0 * x])]
    return Alignment(torch.stack(rows).movedim(2, 0).double(), range(count), (64, 256), (32, 32), count)


def test_crops_of_a_clip_are_steadied():
    before = shaky(40)
    after = smooth_alignment(before, 2.0)
    path = 4.0 * torch.arange(40)[8:-8]
    errors = [(alignment.transforms[8:-8, 0, 2] - path).std() for alignment in (before, after)]
    assert errors[1] < 0.6 * errors[0] and after.angles.abs().max() < 0.6 * before.angles.abs().max()
    assert after.pictures == before.pictures and smooth_alignment(before, 0.0) is before


def test_several_crops_of_a_frame_are_refused():
    one = shaky(2)
    several = Alignment(one.transforms, (0, 0), one.photo_size, one.crop_size, 1)
    with pytest.raises(InputError, match="each frame has one crop"):
        smooth_alignment(several, 1.0)
