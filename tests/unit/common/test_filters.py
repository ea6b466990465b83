"""Gaussian smoothing: constants stay, the spread is sigma, borders do what their names say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from semantic_edit.editing.common.filters import gaussian_blur, symmetric_index


@pytest.mark.parametrize("border", ["symmetric", "replicate"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 7), (70, 130)])
def test_a_constant_stays_itself(border, height, width):
    x = torch.full((2, 3, height, width), 0.7)
    assert torch.allclose(gaussian_blur(x, 2.5, border), x, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.8, 2.0, 6.3])
def test_it_equals_a_plain_convolution_with_the_sampled_gaussian(sigma):
    x = torch.rand(2, 1, 60, 75, generator=torch.Generator().manual_seed(0))
    radius = int(-(-3 * sigma // 1))
    offsets = torch.arange(-radius, radius + 1.0)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum())[None, None, None]
    for border, mode in (("symmetric", "symmetric"), ("replicate", "edge")):
        padded = np.pad(x.numpy(), ((0, 0), (0, 0), (radius, radius), (radius, radius)), mode=mode)
        expected = F.conv2d(F.conv2d(torch.from_numpy(padded), kernel), kernel.mT)
        assert torch.allclose(gaussian_blur(x, sigma, border), expected, atol=1e-6)


def test_a_tiny_sigma_changes_nothing_and_a_large_one_flattens():
    x = torch.rand(1, 2, 9, 9, generator=torch.Generator().manual_seed(1))
    assert gaussian_blur(x, 0.05) is x
    assert gaussian_blur(x, 40.0, "symmetric").std(dim=(2, 3)).max() < 0.01


def test_positions_are_mirrored_as_often_as_needed():
    assert symmetric_index(torch.arange(-5, 8), 3).tolist() == [1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]
    assert symmetric_index(torch.arange(-2, 3), 1).tolist() == [0] * 5
