"""PSNR against its definition, plain and weighted."""

from __future__ import annotations

import math

import pytest
import torch
from semantic_edit.editing.common.similarity import SSIMTarget, psnr


def test_a_known_error_has_its_known_ratio_and_values_outside_are_clamped():
    x = torch.zeros(2, 3, 4, 5)
    x[1] += 5.0
    y = torch.full_like(x, 0.2)
    expected = [10 * math.log10(4 / 0.2**2), 10 * math.log10(4 / 0.8**2)]
    assert psnr(x, y).tolist() == pytest.approx(expected, rel=1e-5)
    assert psnr(x, x).tolist() == pytest.approx([126.02] * 2, abs=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_weight_leaves_the_rest_of_the_picture_out(channels):
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, channels, 6, 8, generator=rng) for _ in range(2))
    weight = torch.zeros(1, 1, 6, 8)
    weight[..., 2:5, 1:4] = 1
    torch.testing.assert_close(psnr(x, y, weight), psnr(x[..., 2:5, 1:4], y[..., 2:5, 1:4]))
    torch.testing.assert_close(psnr(x, y, torch.ones(2, 1, 6, 8)), psnr(x, y))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(128, 128, [128, 64, 32]), (64, 64, [64, 32]), (1024, 1024, [1024, 512, 256, 128, 64, 32]),
     (384, 512, [384, 192, 96, 48]), (32, 32, [32]), (16, 16, [16])],
)  # fmt: skip
def test_the_pyramid_of_structure_ends_at_32_px_whatever_the_size(height, width, expected):
    """Its coarsest windows, 7 px wide, see the same share of any picture, so that features are pulled as far."""
    target = SSIMTarget.from_images(torch.zeros(1, 3, height, width))
    assert [level.picture.shape[2] for level in target.levels] == expected
