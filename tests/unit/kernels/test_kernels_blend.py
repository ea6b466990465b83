"""Blending features by a mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.kernels import blend_features, use_kernels

PATHS = ("reference", "fast")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.booleans(), st.booleans(),
    st.sampled_from(PATHS), st.integers(0, 2**31),
)  # fmt: skip
def test_definition(batch, channels, height, width, one_mask, one_channel, path, seed):
    rng = torch.Generator().manual_seed(seed)
    plain, edited = torch.randn(2, batch, channels, height, width, generator=rng, dtype=torch.float64)
    shape = (1 if one_mask else batch, 1 if one_channel else channels, height, width)
    mask = torch.rand(shape, generator=rng, dtype=torch.float64)
    with use_kernels(path):
        y = blend_features(plain, edited, mask)
    assert (y - (mask * edited + (1 - mask) * plain)).abs().max() < 1e-14


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_exact_where_the_mask_is_0_or_1(path, dtype):
    plain = torch.randn(2, 5, 7, 3).mul(1e3).to(dtype)
    edited = torch.randn(2, 5, 7, 3).to(dtype)
    mask = (torch.rand(2, 1, 7, 3) < 0.5).float()
    with use_kernels(path):
        y = blend_features(plain, edited, mask)
    assert y.dtype == dtype
    assert torch.equal(y, torch.where(mask.bool(), edited, plain))


@pytest.mark.parametrize("path", PATHS)
def test_gradients_and_untouched_inputs(path):
    inputs = [torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    mask = torch.rand(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    kept = [t.detach().clone() for t in (*inputs, mask)]
    with use_kernels(path):
        assert torch.autograd.gradcheck(blend_features, (*inputs, mask))
    assert all(torch.equal(a, b) for a, b in zip(kept, (*inputs, mask), strict=True))


def test_layouts():
    plain = torch.randn(2, 4, 6, 5).contiguous(memory_format=torch.channels_last)
    edited, mask = torch.randn(2, 4, 5, 6).transpose(2, 3), torch.rand(1, 1, 6, 5)
    expected = mask * edited + (1 - mask) * plain
    assert torch.allclose(blend_features(plain, edited, mask), expected, atol=1e-6)


def test_wrong_shapes():
    x = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match="differ in shape"):
        blend_features(x, torch.zeros(2, 3, 4, 5), torch.zeros(1, 1, 4, 4))
    for shape in ((4, 4), (3, 1, 4, 4), (1, 2, 4, 4), (1, 1, 4, 5)):
        with pytest.raises(ValueError, match="mask of shape"):
            blend_features(x, x, torch.zeros(shape))
