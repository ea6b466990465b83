"""Following features: known shifts are found, what stands still is exact, what is new fades."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.models.gan.feature_flow import FeatureFlow, feature_flow, warp


def texture(seed: int, size: int = 48, channels: int = 6) -> torch.Tensor:
    """Smooth random features, as a generator's are."""
    rough = torch.randn(1, channels, size // 4, size // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(rough, (size, size), mode="bicubic", align_corners=False)


def test_equal_features_stay_exactly():
    features = texture(0)
    flow = feature_flow(features, features.clone())
    values = torch.randn(1, 4, 96, 96)
    assert torch.equal(flow.carry(values), values)


def test_the_last_bits_of_features_move_nothing():
    features = texture(0)
    flow = feature_flow(features, features + 1e-5 * torch.randn(features.shape))
    assert not flow.shift.any() and torch.equal(flow.match, torch.ones_like(flow.match))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 50), st.integers(-3, 3), st.integers(-3, 3))
def test_a_shift_is_found(seed, dx, dy):
    before = texture(seed, 64)
    after = torch.roll(before, (dy, dx), dims=(2, 3))
    inner = (..., slice(16, 48), slice(16, 48))
    found = feature_flow(before, after).shift[inner].mean(dim=(0, 2, 3))
    assert abs(float(found[0]) + dx) < 0.6 and abs(float(found[1]) + dy) < 0.6


def test_values_of_another_size_are_carried_along():
    before = texture(3, 64)
    flow = feature_flow(before, torch.roll(before, 2, dims=3))
    dot = torch.zeros(1, 1, 128, 128)
    dot[..., 60:68, 60:68] = 1
    there = flow.carry(dot)
    columns = torch.arange(128.0)
    centre = (there.sum(dim=(0, 1, 2)) * columns).sum() / there.sum()
    assert abs(float(centre) - (63.5 + 4)) < 1.5


def test_new_content_fades_and_the_rest_stays():
    before = texture(5, 64)
    after = before.clone()
    after[..., 40:, 40:] = texture(6, 64)[..., 40:, 40:] * 3
    match = feature_flow(before, after).match
    assert float(match[..., 48:60, 48:60].mean()) < 0.3 and float(match[..., :30, :30].mean()) > 0.98


def test_no_gradients_and_no_numbers_lost():
    before = texture(1).requires_grad_()
    flow = feature_flow(before, texture(2).requires_grad_())
    assert not flow.shift.requires_grad and torch.isfinite(flow.shift).all()
    flat = feature_flow(torch.zeros(1, 2, 16, 16), torch.ones(2, 2, 16, 16))
    assert torch.isfinite(flat.shift).all() and torch.isfinite(flat.match).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 8), (17, 9)])
def test_odd_sizes(size):
    flow = feature_flow(torch.randn(1, 3, *size), torch.randn(2, 3, *size))
    assert flow.carry(torch.ones(2, 5, 20, 12)).shape == (2, 5, 20, 12)


def test_moved_reads_at_place_plus_shift():
    values = torch.arange(5.0).expand(1, 1, 5, 5)
    shift = torch.zeros(1, 2, 5, 5)
    shift[:, 0] = 1
    assert torch.allclose(warp(values, shift)[0, 0, 2], torch.tensor([1.0, 2.0, 3.0, 4.0, 4.0]), atol=1e-5)
    still = FeatureFlow(torch.zeros(1, 2, 5, 5), torch.full((1, 1, 5, 5), 0.5))
    assert torch.allclose(still.carry(values), values / 2)
