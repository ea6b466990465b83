"""The filtered leaky ReLU: the path in strips against the definition, and the filters against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.kernels import filtered_lrelu, jinc_lowpass, kaiser_lowpass, use_kernels
from semantic_edit.kernels.filtered_lrelu import fast


def compare(x, up_taps, down_taps, **arguments):
    """Both paths, with their gradients: the largest differences of values and of gradients."""
    outputs, gradients = [], []
    for path in ("reference", "fast"):
        with use_kernels(path):
            leaf = x.clone().requires_grad_(True)
            y = filtered_lrelu(leaf, up_taps, down_taps, **arguments)
            outputs.append(y.detach())
            gradients.append(torch.autograd.grad((y * torch.cos(torch.arange(y.numel()).view(y.shape))).sum(), leaf)[0])
    assert outputs[0].shape == outputs[1].shape
    return float((outputs[0] - outputs[1]).abs().max()), float((gradients[0] - gradients[1]).abs().max())


@settings(max_examples=25, deadline=None)
@given(
    up=st.integers(1, 4),
    down=st.integers(1, 3),
    taps=st.tuples(st.integers(1, 12), st.integers(1, 8)),
    padding=st.tuples(*[st.integers(-4, 14)] * 4),
    size=st.tuples(st.integers(27, 34), st.integers(27, 34)),
    radial=st.booleans(),
    strip=st.sampled_from([1, 10_000, 10**7]),
    seed=st.integers(0, 9),
)
def test_strips_equal_the_definition(up, down, taps, padding, size, radial, strip, seed):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, *size, generator=rng, dtype=torch.float64)
    up_taps = torch.randn(taps[0], generator=rng, dtype=torch.float64)
    shape = (taps[1], taps[1]) if radial else (taps[1],)
    down_taps = torch.randn(shape, generator=rng, dtype=torch.float64)
    before = fast._STRIP_BYTES["cpu"]
    fast._STRIP_BYTES["cpu"] = strip
    try:
        values, gradients = compare(
            x, up_taps, down_taps, up=up, down=down, padding=padding, scale=0.7, gain=1.3, clamp=3.0
        )
    finally:
        fast._STRIP_BYTES["cpu"] = before
    assert values < 1e-9 and gradients < 1e-9


def test_a_crop_and_a_scale_from_a_tensor():
    x = torch.randn(1, 20, 40, 40, generator=torch.Generator().manual_seed(1))[:, 2:, :37, :37]
    taps = kaiser_lowpass(12, 4.0, 3.0, 32.0)
    values, gradients = compare(x, taps, taps, up=2, down=2, padding=(9, 8, 9, 8), scale=torch.tensor(1.7), clamp=256.0)
    assert values < 2e-6 and gradients < 2e-5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"up": 0}, "at least 1"), ({"padding": (0, 0)}, "4 paddings"), ({"padding": (-9, -9, 0, 0)}, "smaller")],
)
def test_what_does_not_fit_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        filtered_lrelu(torch.ones(1, 1, 8, 8), torch.ones(4), torch.ones(4), **{"up": 2, "down": 2, **arguments})


def window(taps, width, rate):
    """Kaiser's window by his own formulas, with numpy's."""
    attenuation = 2.285 * (taps - 1) * np.pi * width / (rate / 2) + 7.95
    if attenuation > 50:
        return np.kaiser(taps, 0.1102 * (attenuation - 8.7))
    return np.kaiser(taps, 0.5842 * max(attenuation - 21, 0) ** 0.4 + 0.07886 * max(attenuation - 21, 0))


@pytest.mark.parametrize(
    ("taps", "cutoff", "width", "rate"), [(12, 2.0, 12.6, 32), (24, 9.3, 9.2, 128), (12, 128.0, 60.0, 512)]
)
def test_separable_filters_are_windowed_sincs(taps, cutoff, width, rate):
    positions = np.arange(taps) - (taps - 1) / 2
    expected = np.sinc(2 * cutoff / rate * positions) * window(taps, width, rate)
    assert np.abs(kaiser_lowpass(taps, cutoff, width, rate).numpy() - expected / expected.sum()).max() < 1e-7


def test_radial_filters_are_windowed_jincs():
    taps, cutoff, width, rate = 12, 2.7, 9.0, 64
    positions = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(positions[:, None], positions[None, :])
    # Bessel's integral of J1.
    angles = (np.arange(4000) + 0.5) * np.pi / 4000
    bessel = np.cos(angles - 2 * np.pi * cutoff * radius[..., None] * np.sin(angles)).mean(axis=-1)
    expected = bessel / radius * np.outer(window(taps, width, rate), window(taps, width, rate))
    radial = jinc_lowpass(taps, cutoff, width, rate).numpy()
    assert np.abs(radial - expected / expected.sum()).max() < 1e-7
    assert np.abs(radial - radial.T).max() == 0 and abs(radial.sum() - 1) < 1e-6
    with pytest.raises(ValueError, match="even"):
        jinc_lowpass(11, cutoff, width, rate)


def test_one_tap_leaves_things_alone():
    assert kaiser_lowpass(1, 2.0, 1.0, 16.0).tolist() == [1.0]
