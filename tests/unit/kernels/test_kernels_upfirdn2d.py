"""upfirdn2d against its definition, written out in numpy with loops and float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.kernels import setup_filter, upfirdn2d, upsample2d, use_kernels

PATHS = ("reference", "fast")


def defined(x: np.ndarray, fir: np.ndarray, up: int, down: int, padding: tuple[int, ...], gain: float) -> np.ndarray:
    """Insert zeros, pad or crop, convolve with the flipped filter, keep every ``down``-th pixel."""
    if fir.ndim == 1:
        fir = np.outer(fir, fir)
    left, right, top, bottom = padding
    batch, channels, height, width = x.shape
    inserted = np.zeros((batch, channels, height * up, width * up))
    inserted[:, :, ::up, ::up] = x
    grown = np.pad(inserted, ((0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))))
    grown = grown[:, :, max(-top, 0) : grown.shape[2] - max(-bottom, 0)]
    grown = grown[:, :, :, max(-left, 0) : grown.shape[3] - max(-right, 0)]
    kh, kw = fir.shape
    rows, columns = grown.shape[2] - kh + 1, grown.shape[3] - kw + 1
    out = np.zeros((batch, channels, rows, columns))
    for i in range(kh):
        for j in range(kw):
            out += fir[kh - 1 - i, kw - 1 - j] * grown[:, :, i : i + rows, j : j + columns]
    return gain * out[:, :, ::down, ::down]


@st.composite
def resamplings(draw):
    up, down = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = draw(st.sampled_from([(1,), (3,), (4,), (1, 1), (2, 5), (4, 4), (6, 3)]))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    padding = [draw(st.integers(max(-2, 1 - side * up), 6)) for side in (width, width, height, height)]
    kh, kw = size[0], size[-1]
    # Make room for the filter.
    padding[1] += max(0, kw - (width * up + padding[0] + padding[1]))
    padding[3] += max(0, kh - (height * up + padding[2] + padding[3]))
    return up, down, size, height, width, tuple(padding)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(resamplings(), st.sampled_from(PATHS), st.booleans())
def test_any_filter_factor_and_padding(case, path, channels_last):
    up, down, size, height, width, padding = case
    rng = np.random.default_rng(hash(case) % 2**32)
    x, fir = rng.standard_normal((2, 3, height, width)), rng.standard_normal(size)
    given_x = torch.from_numpy(x)
    if channels_last:
        given_x = given_x.contiguous(memory_format=torch.channels_last)
    with use_kernels(path):
        y = upfirdn2d(given_x, torch.from_numpy(fir), up, down, padding, gain=1.7)
    expected = defined(x, fir, up, down, padding, 1.7)
    assert y.shape == expected.shape
    assert np.abs(y.numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("up", "down", "padding"), [(2, 1, (2, 1, 2, 1)), (1, 2, (1, 1, 1, 1)), (3, 2, (-1, 4, 0, 2))])
def test_gradients(path, up, down, padding):
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    fir = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    with use_kernels(path):
        assert torch.autograd.gradcheck(lambda x, fir: upfirdn2d(x, fir, up, down, padding), (x, fir))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("up", [1, 2])
def test_precision(dtype, up):
    x, fir = torch.randn(2, 5, 7, 9), setup_filter((1, 3, 3, 1))
    exact = upfirdn2d(x.to(dtype).double(), fir.double(), up, 1, (2, 1, 2, 1))
    y = upfirdn2d(x.to(dtype), fir, up, 1, (2, 1, 2, 1))
    assert y.dtype == dtype
    assert (y.double() - exact).abs().max() < 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize("path", PATHS)
def test_transposed_and_sliced_inputs_are_read_as_they_are(path):
    fir = setup_filter((1, 2, 1)).double()
    base = torch.randn(2, 3, 12, 10, dtype=torch.float64)
    for view in (base.transpose(2, 3), base[:, ::2, ::3], base.flip(3), base[:1].expand(4, -1, -1, -1)):
        before = view.clone()
        with use_kernels(path):
            y = upfirdn2d(view, fir, 2, 1, (1, 1, 1, 1))
        expected = defined(before.numpy(), fir.numpy(), 2, 1, (1, 1, 1, 1), 1.0)
        assert np.abs(y.numpy() - expected).max() < 1e-12
        assert torch.equal(view, before)


def test_layout_is_kept():
    x = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    y = upsample2d(x, setup_filter((1, 3, 3, 1)))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert upsample2d(x.contiguous(), setup_filter((1, 3, 3, 1))).is_contiguous()


def test_a_constant_keeps_its_value_when_enlarged():
    y = upsample2d(torch.full((1, 2, 6, 5), 3.0), setup_filter((1, 3, 3, 1)))
    assert y.shape == (1, 2, 12, 10)
    assert torch.allclose(y[:, :, 2:-2, 2:-2], torch.tensor(3.0))


def test_setup_filter():
    fir = setup_filter((1, 3, 3, 1))
    assert fir.shape == (4, 4) and fir.dtype == torch.float32
    assert torch.equal(fir, torch.outer(torch.tensor([1, 3, 3, 1.0]), torch.tensor([1, 3, 3, 1.0])) / 64)
    assert setup_filter([1.0] * 9).shape == (9,)
    assert setup_filter((1, 1), normalize=False).sum() == 4
    assert setup_filter(torch.ones(2, 3)).shape == (2, 3)
    for wrong in ([], torch.ones(2, 2, 2), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="filter"):
            setup_filter(wrong)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"x": torch.zeros(3, 4, 4)}, "B, C, H, W"),
        ({"padding": (1, 1)}, "4 paddings"),
        ({"up": 0}, "at least 1"),
        ({"down": -1}, "at least 1"),
        ({"padding": (-8, 9, 0, 0)}, "crops the whole 8 x 8 input"),
        ({"x": torch.zeros(1, 1, 2, 2)}, "smaller than the 4 x 4 filter"),
    ],
)
def test_wrong_inputs(arguments, word):
    inputs = {"x": torch.zeros(1, 1, 8, 8), "fir": torch.ones(4, 4), **arguments}
    with pytest.raises(ValueError, match=word):
        upfirdn2d(**inputs)
