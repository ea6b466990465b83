"""Cutting and pasting: nothing aliases, nothing moves, nothing outside changes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.editing.common.filters import gaussian_blur
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.photos.alignment import Alignment, centre_frame, corners
from semantic_edit.editing.photos.crops import align, draw_frames, extract_crops
from semantic_edit.editing.photos.paste import parts_mask, paste_back
from semantic_edit.editing.photos.warp import extract_crop, inverse_transform, resample
from semantic_edit.models import InputError
from torch.nn import functional as F

few = settings(max_examples=30, deadline=None)


def smooth(height, width, seed=0):
    """A photo [1, H, W, 3] in 0..1 without fine detail."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 8, generator=rng)
    return F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1).movedim(1, -1).contiguous()


def frame(x, y, scale, degrees, size):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[cos, -sin], [sin, cos]]).double() * scale
    middle = torch.tensor([size[1] / 2, size[0] / 2]).double()
    return torch.cat([turn, (torch.tensor([x, y]).double() - turn @ middle)[:, None]], dim=1)


def alignment_of(*frames, photo=(90, 120), size=(40, 32), pictures=None, photos=1):
    return Alignment(torch.stack(frames), pictures or [0] * len(frames), photo, size, photos)


@few
@given(st.floats(-30, 150), st.floats(-20, 110), st.floats(0.4, 2.0), st.floats(-180, 180), st.floats(0, 0.5))
def test_there_and_back(x, y, scale, degrees, feather):
    photo = smooth(90, 120)
    alignment = alignment_of(frame(x, y, scale, degrees, (40, 32)))
    crops, inside = extract_crops(photo, alignment)
    assert crops.shape == (1, 40, 32, 3) and 0 <= crops.min() and crops.max() <= 1 and inside.shape == (1, 40, 32)
    back = paste_back(photo, crops, alignment, feather=feather)
    changed = (back.photos - photo).abs().amax(dim=-1)
    assert changed.max() < 0.06 and changed.mean() < 0.004, "an unedited crop changes nothing that can be shifted"
    assert torch.equal(back.photos[back.masks == 0], photo[back.masks == 0]), "outside, every byte stays"


@few
@given(st.floats(20, 100), st.floats(20, 70), st.floats(0.4, 2.5), st.floats(-180, 180))
def test_the_mask_is_the_crops_place(x, y, scale, degrees):
    alignment = alignment_of(frame(x, y, scale, degrees, (40, 32)))
    photo = smooth(90, 120)
    black = paste_back(photo, torch.zeros(1, 40, 32, 3), alignment, feather=0.0)
    rows, columns = torch.arange(90).double()[:, None] + 0.5, torch.arange(120).double()[None, :] + 0.5
    back = inverse_transform(alignment.transforms[0])
    u = back[0, 0] * columns + back[0, 1] * rows + back[0, 2]
    v = back[1, 0] * columns + back[1, 1] * rows + back[1, 2]
    within = (u > 0) & (u < 32) & (v > 0) & (v < 40)
    assert torch.equal(black.masks[0] > 0, within)
    assert bool((black.photos[0][black.masks[0] == 1] == 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_every_dtype_keeps_its_bytes(dtype):
    photo = torch.rand(1, 90, 120, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    alignment = alignment_of(frame(60, 45, 1.1, 20, (40, 32)))
    crops, _ = extract_crops(photo, alignment)
    back = paste_back(photo, crops, alignment)
    assert crops.dtype == torch.float32 and back.photos.dtype == dtype
    assert torch.equal(back.photos[..., 3], photo[..., 3]), "an alpha channel is left alone"
    outside = back.masks == 0
    assert outside.any() and torch.equal(back.photos[outside], photo[outside])


def test_inputs_are_not_changed():
    photo = smooth(90, 120)
    original = photo.clone()
    alignment = alignment_of(frame(60, 45, 1.1, 20, (40, 32)))
    paste_back(photo, torch.zeros(1, 40, 32, 3), alignment, unedited=torch.ones(1, 40, 32, 3))
    assert torch.equal(photo, original)


def test_halving_is_the_mean_of_four_pixels():
    photo = torch.rand(1, 80, 64, 3, generator=torch.Generator().manual_seed(1))
    crops, inside = extract_crops(photo, align(None, 1, (80, 64), (40, 32)))
    expected = F.avg_pool2d(photo.movedim(-1, 1), 2).movedim(1, -1)
    assert torch.allclose(crops, expected, atol=1e-4) and inside.min() == 1


@pytest.mark.parametrize("scale", [1.5, 2.0, 3.3, 6.0])
def test_fine_stripes_become_grey(scale):
    """Detail finer than the crop's pixels must vanish, not turn into coarse stripes."""
    stripes = (torch.arange(240) % 2).float().expand(3, 240, 240)
    crop, _ = extract_crop(stripes, frame(120, 120, scale, 17, (30, 30)), (30, 30))
    assert (crop - 0.5).abs().max() < (0.3 if scale < 2 else 0.12)


@pytest.mark.parametrize("border", ["reflect", "edge", "black"])
def test_beyond_the_border(border):
    photo = smooth(40, 40)[0].movedim(-1, 0)
    crop, inside = extract_crop(photo, frame(0, 20, 1, 0, (40, 40)), (40, 40), border, blur=False)
    assert bool((inside[:, :20] == 0).all()) and bool((inside[:, 21:] == 1).all())
    assert torch.allclose(crop[:, :, 21:], photo[:, :, 1:20], atol=1e-4)
    if border == "reflect":
        assert torch.allclose(crop[:, :, :20].flip(2), photo[:, :, :20], atol=1e-4)
    elif border == "edge":
        assert torch.allclose(crop[:, :, :19], photo[:, :, :1].expand(-1, -1, 19), atol=2e-2)
    else:
        assert bool((crop[:, :, :20] == 0).all())
    with pytest.raises(InputError, match="Unknown border"):
        extract_crop(photo, frame(0, 20, 1, 0, (40, 40)), (40, 40), "wrap")


def test_the_border_is_blurred_outwards_only():
    photo = torch.rand(3, 60, 60, generator=torch.Generator().manual_seed(1))
    transform = frame(0, 30, 1, 0, (60, 60))
    plain, inside = extract_crop(photo, transform, (60, 60), blur=False)
    soft, _ = extract_crop(photo, transform, (60, 60))
    assert torch.equal(soft[:, inside == 1], plain[:, inside == 1])
    assert soft[:, :, :15].std() < 0.7 * plain[:, :, :15].std()


def test_a_gaussian_keeps_the_mean_and_constants():
    picture = torch.rand(1, 2, 9, 7, generator=torch.Generator().manual_seed(1))
    constant = torch.full((1, 1, 5, 6), 0.3)
    assert torch.allclose(gaussian_blur(constant, 4.0), constant, atol=1e-6)
    assert torch.allclose(gaussian_blur(picture, 2.0).mean(dim=(2, 3)), picture.mean(dim=(2, 3)), atol=1e-5)
    assert torch.equal(gaussian_blur(picture, 0.0), picture)


def test_a_crop_far_outside_shows_a_mirror_and_pastes_nothing():
    photo = smooth(90, 120)
    alignment = alignment_of(frame(900, -700, 1, 0, (40, 32)))
    crops, inside = extract_crops(photo, alignment)
    assert inside.max() == 0 and crops.isfinite().all()
    back = paste_back(photo, torch.zeros_like(crops), alignment)
    assert torch.equal(back.photos, photo) and back.masks.max() == 0


def test_edges_at_the_photos_border_are_not_feathered():
    photo = smooth(64, 64)
    full = align(None, 1, (64, 64), (32, 32))
    assert paste_back(photo, torch.zeros(1, 32, 32, 3), full, feather=0.3).masks.min() == 1
    wide = smooth(64, 128)
    middle = align(None, 1, (64, 128), (32, 32))
    mask = paste_back(wide, torch.zeros(1, 32, 32, 3), middle, feather=0.3).masks[0]
    assert mask[0, 64] == mask[63, 64] == 1 and 0 < mask[0, 34] < 0.2


def test_several_faces_are_pasted_in_order():
    photo = smooth(90, 120)
    alignment = alignment_of(frame(50, 45, 1, 0, (40, 32)), frame(62, 45, 1, 0, (40, 32)))
    crops = torch.stack([torch.zeros(40, 32, 3), torch.ones(40, 32, 3)])
    back = paste_back(photo, crops, alignment, feather=0.0)
    assert bool((back.photos[0, 45, 40] == 0).all()) and bool((back.photos[0, 45, 60] == 1).all())
    assert bool((back.masks[0, 45, 36:76] > 0).all())


def test_crops_of_several_photos_return_to_their_own():
    photos = torch.cat([smooth(90, 120, seed) for seed in range(3)])
    frames = [frame(60, 45, 1, 0, (40, 32))] * 2
    alignment = alignment_of(*frames, pictures=[2, 0], photos=3)
    back = paste_back(photos, torch.zeros(2, 40, 32, 3), alignment)
    assert torch.equal(back.photos[1], photos[1]) and back.masks[1].max() == 0
    assert back.masks[0].max() == back.masks[2].max() == 1


def test_one_alignment_serves_a_row_of_strengths():
    photo = smooth(90, 120)
    alignment = alignment_of(frame(60, 45, 1, 0, (40, 32)))
    shades = torch.linspace(0, 1, 5)[:, None, None, None].expand(5, 40, 32, 3)
    back = paste_back(photo, shades, alignment)
    assert back.photos.shape == (5, 90, 120, 3)
    assert torch.allclose(back.photos[:, 45, 60, 0], torch.linspace(0, 1, 5), atol=1e-6)


def test_an_upscaled_crop_fits():
    photo = smooth(90, 120)
    alignment = alignment_of(frame(60, 45, 1.3, 25, (40, 32)))
    crops, _ = extract_crops(photo, alignment)
    larger = F.interpolate(crops.movedim(-1, 1), scale_factor=3.0, mode="bicubic").movedim(1, -1)
    assert (paste_back(photo, larger, alignment).photos - photo).abs().max() < 0.03


def test_only_the_difference_is_pasted():
    photo = torch.rand(1, 90, 120, 3, generator=torch.Generator().manual_seed(3)) * 0.5
    alignment = alignment_of(frame(60, 45, 1.3, 25, (40, 32)))
    unedited = torch.rand(1, 40, 32, 3, generator=torch.Generator().manual_seed(4))
    same = paste_back(photo, unedited, alignment, unedited=unedited)
    assert torch.allclose(same.photos, photo, atol=1e-6)
    transparent = torch.cat([unedited, torch.zeros(1, 40, 32, 1)], dim=3)  # alpha is dropped, as that of the crops
    assert torch.equal(paste_back(photo, unedited, alignment, unedited=transparent).photos, same.photos)
    lighter = paste_back(photo, unedited + 0.25, alignment, unedited=unedited, feather=0.0)
    full = lighter.masks == 1
    assert torch.allclose(lighter.photos[full], photo[full] + 0.25, atol=1e-4)


def test_masks_in_the_crop_and_in_the_photo():
    photo = smooth(90, 120)
    alignment = alignment_of(frame(60, 45, 1, 0, (40, 32)))
    left = torch.zeros(40, 32)
    left[:, :16] = 1
    back = paste_back(photo, torch.zeros(1, 40, 32, 3), alignment, crop_masks=left, feather=0.0)
    assert back.masks[0, 45, 50] == 1 and back.masks[0, 45, 66] == 0
    top = torch.zeros(1, 90, 120)
    top[:, :45] = 1
    back = paste_back(photo, torch.zeros(1, 40, 32, 3), alignment, photo_masks=top, feather=0.0)
    assert back.masks[0, 40, 60] == 1 and back.masks[0, 50].max() == 0
    parts = PartLabels(torch.stack([left, 1 - left])[None], ("background", "face"))
    assert torch.equal(parts_mask(parts, ""), (1 - left)[None])
    assert torch.equal(parts_mask(parts, "background, face"), torch.ones(1, 40, 32))
    with pytest.raises(InputError, match="no part 'tail'"):
        parts_mask(parts, "tail")


@pytest.mark.parametrize("match", ["colour", "lighting"])
def test_colours_are_matched_at_the_seam(match):
    photo = smooth(90, 120)
    alignment = alignment_of(frame(60, 45, 1, 10, (40, 32)))
    crops, _ = extract_crops(photo, alignment)
    tinted = crops * 0.85 + torch.tensor([0.12, 0.05, 0.0])
    plain = (paste_back(photo, tinted, alignment).photos - photo).abs().mean()
    matched = (paste_back(photo, tinted, alignment, match=match).photos - photo).abs().mean()
    assert matched < 0.35 * plain
    assert torch.allclose(paste_back(photo, crops, alignment, match=match).photos, photo, atol=0.03)


def test_what_does_not_belong_together_is_refused():
    photo, alignment = smooth(90, 120), alignment_of(*[frame(60, 45, 1, 0, (40, 32))] * 2)
    crops = torch.zeros(2, 40, 32, 3)
    for change, message in (
        (dict(photos=smooth(80, 120)), "belongs to 1 photos of 120 x 90; got 1 of 120 x 80"),
        (dict(photos=photo.repeat(2, 1, 1, 1)), "got 2 of"),
        (dict(crops=crops[:1]), "1 edited crops; the alignment holds 2"),
        (dict(crops=torch.zeros(2, 40, 40, 3)), "another shape is not"),
        (dict(crops=torch.zeros(2, 40, 32)), "expected an IMAGE"),
        (dict(match="magic"), "Unknown match"),
        (dict(feather=0.7), "feather is 0.7"),
        (dict(crop_masks=torch.zeros(3, 40, 32)), "3 masks for 2"),
        (dict(crop_masks=torch.zeros(1, 90, 120)), "made for the full photos"),
        (dict(crop_masks=torch.zeros(1, 1, 40, 32)), "expected a MASK"),
        (dict(unedited=torch.zeros(3, 40, 32, 3)), "3 crops before the edit and 2 after"),
        (dict(unedited=torch.zeros(1, 3, 40, 32)), "crops before the edit have shape"),
    ):
        with pytest.raises(InputError, match=message):
            paste_back(**{**dict(photos=photo, crops=crops, alignment=alignment), **change})


def test_progress_can_stop_both():
    class StopError(Exception):
        pass

    def stop(step, total, preview=None):
        assert total == 1 and preview.shape[-1] == 3
        raise StopError

    photo, alignment = smooth(90, 120), alignment_of(frame(60, 45, 1, 0, (40, 32)))
    with pytest.raises(StopError):
        extract_crops(photo, alignment, progress=stop)
    with pytest.raises(StopError):
        paste_back(photo, torch.zeros(1, 40, 32, 3), alignment, progress=stop)


def test_frames_are_drawn_where_they_are():
    photo = torch.full((1, 90, 120, 3), 0.5)
    alignment = alignment_of(frame(60, 45, 1, 0, (40, 32)))
    drawn = draw_frames(photo, alignment)
    (x, y), _, (right, bottom), _ = corners(alignment.transforms[0], (40, 32)).round().int().tolist()
    assert (drawn[0, bottom, (x + right) // 2] - 0.5).abs().max() > 0.3
    assert (drawn[0, 45, 60] - 0.5).abs().max() < 1e-6
    assert draw_frames(torch.rand(1, 900, 1200, 3), alignment_of(*alignment.transforms, photo=(900, 1200))).shape == (
        1, 576, 768, 3)  # fmt: skip


def test_sampling_a_shift_by_whole_pixels_is_exact():
    picture = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(1))
    shifted = resample(picture, frame(12 + 3, 10 - 2, 1, 0, (8, 8)), (8, 8))
    assert torch.allclose(shifted, picture[:, 4:12, 11:19], atol=1e-4)
    assert torch.equal(centre_frame((20, 24), (20, 24))[:, :2], torch.eye(2).double())
