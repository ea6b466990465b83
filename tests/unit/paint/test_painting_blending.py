"""Joining: what each way keeps exactly, and what it promises about the seam."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.editing.paint.blending import BLENDS, blend, blend_laplacian, blend_poisson, feathered_mask
from semantic_edit.editing.paint.brush import add_strokes, brush_mask
from semantic_edit.models.errors import InputError


def disk(size=48, radius=12):
    return brush_mask("0.5 0.5", radius / size, size, size)[:, None]


def smooth(seed, size=48):
    rng = torch.Generator().manual_seed(seed)
    small = torch.rand(2, 3, 6, 6, generator=rng) * 2 - 1
    return torch.nn.functional.interpolate(small, (size, size), mode="bilinear", align_corners=False)


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 3))
def test_equal_pictures_stay_as_they_are(height, width, seed):
    rng = torch.Generator().manual_seed(seed)
    picture = torch.rand(1, 3, height, width, generator=rng) * 2 - 1
    mask = (torch.rand(1, 1, height, width, generator=rng) > 0.5).float()
    for method in BLENDS:
        assert torch.allclose(blend(picture, picture, mask, method), picture, atol=1e-5)


@pytest.mark.parametrize("method", ["linear", "poisson"])
def test_outside_the_mask_every_pixel_is_the_photos(method):
    photo, painted, mask = smooth(1), smooth(2), disk()
    outside = (mask < 0.5 if method == "poisson" else mask == 0).expand_as(photo)
    assert torch.equal(blend(photo, painted, mask, method)[outside], photo[outside])


def test_poisson_removes_a_constant_offset():
    photo, mask = smooth(3), disk()
    assert (blend_poisson(photo, photo + 0.4, mask) - photo).abs().max() < 0.01


def test_poisson_is_harmonic_inside():
    photo, painted, mask = smooth(4), smooth(5), disk()
    correction = (blend_poisson(photo, painted, mask) - painted).double()
    middle = correction[..., 1:-1, 1:-1]
    around = (
        correction[..., :-2, 1:-1] + correction[..., 2:, 1:-1] + correction[..., 1:-1, :-2] + correction[..., 1:-1, 2:]
    )
    inside = (mask >= 0.5)[..., 1:-1, 1:-1].expand_as(middle)
    assert (4 * middle - around)[inside].abs().max() < 0.02
    border = (photo - painted)[(mask < 0.5).expand_as(photo)]
    assert correction.min() >= border.min() - 0.02 and correction.max() <= border.max() + 0.02


def test_poisson_of_a_mask_without_an_outside_is_the_painting():
    painted = smooth(6)
    assert torch.equal(blend_poisson(smooth(7), painted, torch.ones(1, 1, 48, 48)), painted)


def test_laplacian_goes_from_one_to_the_other():
    photo, painted = smooth(8), smooth(9)
    assert torch.allclose(blend_laplacian(photo, painted, torch.ones(1, 1, 48, 48)), painted, atol=1e-5)
    assert torch.allclose(blend_laplacian(photo, painted, torch.zeros(1, 1, 48, 48)), photo, atol=1e-5)


def test_masks_grow_by_the_published_measure_and_scale_with_the_picture():
    for size in (256, 128):
        mask = torch.zeros(1, 1, size, size)
        mask[..., size // 2, size // 2] = 1
        grown = feathered_mask(mask)
        across = int((grown[0, 0, size // 2] >= 0.4).sum())
        assert abs(across - 33 * size / 256) <= 3
        assert grown[0, 0, 0, 0] == 0 and grown.max() <= 1
    assert torch.equal(feathered_mask(mask, 0, 0), mask)


def test_shapes_and_names_that_do_not_fit_are_refused():
    photo = torch.zeros(2, 3, 8, 8)
    for bad in (
        lambda: blend(photo, photo[..., :4], torch.ones(1, 1, 8, 8)),
        lambda: blend(photo, photo, torch.ones(1, 1, 4, 8)),
        lambda: blend(photo, photo, torch.ones(3, 1, 8, 8)),
        lambda: blend(photo, photo, torch.ones(1, 1, 8, 8), "magic"),
    ):
        with pytest.raises(InputError):
            bad()


def test_a_brush_draws_lines_and_dots():
    mask = brush_mask("0.25 0.5, 0.75 0.5\n0.5 0.1", 0.05, 40, 80)
    assert mask.shape == (1, 40, 80)
    assert mask[0, 20, 40] == 1 and mask[0, 4, 40] == 1 and mask[0, 20, 10] == 0 and mask[0, 30, 40] == 0


def test_a_stroke_may_have_its_own_radius_and_erase():
    mask = brush_mask("0.25: 0.5 0.5\n-0.1: 0.5 0.5\n0.25 0.5", 0.02, 40, 40)[0]
    assert mask[20, 20] == 0 and mask[20, 27] == 1 and mask[20, 35] == 0 and mask[20, 12] == 1


def test_strokes_are_added_to_a_mask_of_any_size():
    drawn = brush_mask("0.1: 0.5 0.5", 0.1, 40, 40)
    corner = torch.zeros(2, 10, 10)
    corner[:, :3, :3] = 1
    both = add_strokes(corner, drawn)
    assert both.shape == (2, 40, 40) and both[1, 20, 20] == 1 and both[1, 0, 0] == 1 and both[1, 39, 39] == 0
    assert add_strokes(None, drawn) is drawn


@pytest.mark.parametrize("strokes", ["", "0.5", "a b", "0.5 nan", "5 5", "0: 0.5 0.5", "9: 0.5 0.5", "-0.1: 0.5 0.5"])
def test_strokes_that_say_nothing_are_refused(strokes):
    with pytest.raises(InputError, match="strokes?"):
        brush_mask(strokes, 0.1, 16, 16)
