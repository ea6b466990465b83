"""The modulated convolution's reference against a definition in loops, and the other paths against the reference.

Conditions of the tiled path are in test_kernels_tiled.py.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.kernels import demodulation, modulated_conv2d, setup_filter, use_kernels
from semantic_edit.kernels.modulated_conv import prepared as preparation

PATHS = ("reference", "fast", "tiled")
FIR = setup_filter((1, 3, 3, 1))


def defined(x, weight, styles, up, fir, demodulate, noise, bias, gain, clamp):
    """Equations 1 to 3 of 1912.04958 sample by sample, with the up-convolution as zero insertion and sums."""
    pictures = []
    for picture, style in zip(x, styles, strict=True):
        scaled = weight * style[None, :, None, None]
        if demodulate:
            scaled = scaled / (scaled.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        size = weight.shape[2]
        height, width = picture.shape[1:]
        if up == 2:
            # u[2 n + t] += x[n] w[t], then the low-pass as a true convolution, centred.
            wide = torch.zeros(weight.shape[0], 2 * height + size - 2, 2 * width + size - 2, dtype=x.dtype)
            for i in range(size):
                for j in range(size):
                    part = torch.einsum("oi,ihw->ohw", scaled[:, :, i, j], picture)
                    wide[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2] += part[:, :height, :width]
            kh, kw = fir.shape
            room = torch.zeros(weight.shape[0], 2 * height + 20, 2 * width + 20, dtype=x.dtype)
            room[:, 8 : 8 + wide.shape[1], 8 : 8 + wide.shape[2]] = wide
            y = torch.zeros(weight.shape[0], 2 * height, 2 * width, dtype=x.dtype)
            for i in range(kh):
                for j in range(kw):
                    top, left = 9 - (kh + 1) // 2 + i, 9 - (kw + 1) // 2 + j
                    y += 4 * fir[kh - 1 - i, kw - 1 - j] * room[:, top : top + 2 * height, left : left + 2 * width]
        else:
            half = size // 2
            room = torch.zeros(x.shape[1], height + 2 * half, width + 2 * half, dtype=x.dtype)
            room[:, half : half + height, half : half + width] = picture
            y = sum(
                torch.einsum("oi,ihw->ohw", scaled[:, :, i, j], room[:, i : i + height, j : j + width])
                for i in range(size)
                for j in range(size)
            )
        pictures.append(y)
    y = torch.stack(pictures)
    if noise is not None:
        y = y + noise
    if bias is not None:
        y = y + bias[None, :, None, None]
    y = torch.where(y > 0, y, 0.2 * y) * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


def drawn(batch, inputs, outputs, size, height, width, up, seed, noises=1, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype)

    return {
        "x": randn(batch, inputs, height, width),
        "weight": randn(outputs, inputs, size, size),
        "styles": randn(batch, inputs) * 0.3 + 1,
        "noise": randn(noises, 1, up * height, up * width),
        "bias": randn(outputs),
    }


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3), inputs=st.sampled_from([1, 3, 16, 18]), outputs=st.sampled_from([1, 2, 16, 17]),
    size=st.sampled_from([1, 3, 5]), height=st.sampled_from([1, 3, 4, 8]), width=st.sampled_from([2, 4, 5, 8]),
    up=st.sampled_from([1, 2]), fir=st.sampled_from([(1, 3, 3, 1), (1, 1), (1, 2, 1), (1, 2, 3, 4), (1, 4, 6, 4, 1)]),
    demodulate=st.booleans(), with_noise=st.booleans(), with_bias=st.booleans(),
    clamp=st.sampled_from([None, 1.1]), path=st.sampled_from(PATHS), seed=st.integers(0, 1000),
)  # fmt: skip
def test_definition(batch, inputs, outputs, size, height, width, up, fir, demodulate, with_noise, with_bias, clamp,
                    path, seed):  # fmt: skip
    size = 3 if up == 2 else size
    parts = drawn(batch, inputs, outputs, size, height, width, up, seed, noises=batch if seed % 2 else 1)
    kept = {name: tensor.clone() for name, tensor in parts.items()}
    noise, bias = parts["noise"] if with_noise else None, parts["bias"] if with_bias else None
    low_pass = setup_filter(torch.tensor(fir, dtype=torch.float64)).double() if up == 2 else None
    with use_kernels(path):
        y = modulated_conv2d(
            parts["x"], parts["weight"], parts["styles"], up=up, fir=low_pass, demodulate=demodulate, noise=noise,
            bias=bias, activation="lrelu", gain=1.3, clamp=clamp,
        )  # fmt: skip
    exact = defined(parts["x"], parts["weight"], parts["styles"], up, low_pass, demodulate, noise, bias, 1.3, clamp)
    assert y.shape == exact.shape
    # The filter has been through float32, so a path that splits it into rows and columns sees it rounded.
    assert (y - exact).abs().max() < 1e-6 * exact.abs().max().clamp_min(1)
    assert all(torch.equal(parts[name], kept[name]) for name in parts)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("activation", ["lrelu", "linear", "tanh"])
def test_gradients(path, up, activation):
    parts = drawn(2, 2, 3, 3, 4, 4, up, seed=5)
    inputs = [parts[name].requires_grad_() for name in ("x", "styles", "noise", "bias", "weight")]

    def run(x, styles, noise, bias, weight):
        return modulated_conv2d(
            x, weight, styles, up=up, fir=FIR.double(), noise=noise, bias=bias, activation=activation, clamp=1.5
        )

    with use_kernels(path):
        assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("up", [1, 2])
def test_precision(dtype, up):
    parts = drawn(2, 24, 20, 3, 8, 8, up, seed=1, dtype=dtype)
    options = {"up": up, "fir": FIR, "activation": "lrelu", "gain": 2**0.5}
    exact_parts = {name: tensor.double() for name, tensor in parts.items()}
    with use_kernels("reference"):
        exact = modulated_conv2d(**exact_parts, **{**options, "fir": FIR.double()})
    y = modulated_conv2d(**parts, **options)
    assert y.dtype == dtype
    assert (y.double() - exact).abs().max() < 24 * torch.finfo(dtype).eps


def test_half_precision_survives_large_styles():
    """Demodulation divides the styles' scale out again; half precision must not overflow on the way."""
    parts = drawn(2, 16, 16, 3, 4, 4, 1, seed=2, dtype=torch.float16)
    parts["styles"] = parts["styles"] * 3000
    y = modulated_conv2d(parts["x"], parts["weight"], parts["styles"])
    exact = modulated_conv2d(parts["x"].double(), parts["weight"].double(), parts["styles"].double())
    assert (y.double() - exact).abs().max() < 0.05


@pytest.mark.parametrize("path", ["fast", "tiled"])
@pytest.mark.parametrize("up", [1, 2])
def test_float32_gradients_against_the_float64_reference(path, up):
    names = ("x", "styles", "noise", "bias")
    parts = drawn(2, 24, 32, 3, 16, 16, up, seed=3)
    with use_kernels("reference"):
        exact = _gradients({k: v.clone() for k, v in parts.items()}, names, up)
    with use_kernels(path):
        mine = _gradients({k: v.float() for k, v in parts.items()}, names, up)
    for name, expected, got in zip(names, exact, mine, strict=True):
        assert (expected - got).abs().max() < 2e-6 * expected.abs().max(), name


def _gradients(parts, names, up):
    inputs = [parts[name].requires_grad_() for name in names]
    y = modulated_conv2d(**parts, up=up, fir=FIR.to(parts["x"].dtype), activation="lrelu", gain=1.4, clamp=3.0)
    return [g.double() for g in torch.autograd.grad((y * torch.cos(y)).sum(), inputs)]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("up", [1, 2])
def test_frozen_weights_get_no_gradient(path, up):
    parts = drawn(2, 16, 16, 3, 8, 8, up, seed=4, dtype=torch.float32)
    with use_kernels(path):
        plain = modulated_conv2d(**parts, up=up, fir=FIR, activation="lrelu")
        assert plain.grad_fn is None
        parts["styles"].requires_grad_()
        y = modulated_conv2d(**parts, up=up, fir=FIR, activation="lrelu")
    y.square().sum().backward()
    assert parts["styles"].grad.abs().max() > 0
    assert parts["weight"].grad is None and parts["x"].grad is None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("side", [4, 16, 32])
def test_a_sample_does_not_depend_on_its_batch(path, up, side):
    parts = drawn(5, 16, 16, 3, side, side, up, seed=6, dtype=torch.float32)
    options = {"up": up, "fir": FIR, "activation": "lrelu"}
    order = [3, 0, 4, 1, 2]
    with use_kernels(path):
        whole = modulated_conv2d(**parts, **options)
        moved = modulated_conv2d(**{**parts, "x": parts["x"][order], "styles": parts["styles"][order]}, **options)
        alone = [
            modulated_conv2d(**{**parts, "x": parts["x"][i : i + 1], "styles": parts["styles"][i : i + 1]}, **options)
            for i in range(5)
        ]
    assert (whole[order] - moved).abs().max() < 1e-5
    assert (whole - torch.cat(alone)).abs().max() < 1e-5


@pytest.mark.parametrize("path", PATHS)
def test_any_memory_layout(path):
    parts = drawn(2, 16, 16, 3, 8, 8, 1, seed=7, dtype=torch.float32)
    with use_kernels(path):
        y = modulated_conv2d(**parts)
        views = (
            parts["x"].contiguous(memory_format=torch.channels_last),
            parts["x"].transpose(2, 3).contiguous().transpose(2, 3),
            torch.stack([parts["x"], parts["x"]], dim=-1)[..., 0],
        )
        for view in views:
            assert (modulated_conv2d(**{**parts, "x": view}) - y).abs().max() < 1e-5
        weight = parts["weight"].contiguous(memory_format=torch.channels_last)
        assert (modulated_conv2d(**{**parts, "weight": weight}) - y).abs().max() < 1e-5


def test_demodulation_gives_unit_variance():
    rng = torch.Generator().manual_seed(0)
    weight, styles = torch.randn(64, 32, 3, 3, generator=rng), torch.rand(2, 32, generator=rng) + 0.2
    y = modulated_conv2d(torch.randn(2, 32, 32, 32, generator=rng), weight, styles)
    assert torch.allclose(y[:, :, 1:-1, 1:-1].std(dim=(2, 3)).mean(), torch.tensor(1.0), atol=0.05)
    scaled = (weight[None] * styles[:, None, :, None, None]).square().sum(dim=(2, 3, 4)).rsqrt()
    assert torch.allclose(demodulation(weight, styles), scaled, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"weight": torch.zeros(4, 5, 3, 3)}, "Weights of shape"),
        ({"weight": torch.zeros(4, 3, 2, 2)}, "Weights of shape"),
        ({"weight": torch.zeros(4, 3, 3, 1)}, "Weights of shape"),
        ({"weight": torch.zeros(4, 3, 3)}, "Weights of shape"),
        ({"styles": torch.zeros(1, 3)}, "Styles of shape"),
        ({"styles": torch.zeros(2, 4)}, "Styles of shape"),
        ({"x": torch.zeros(3, 8, 8)}, "B, C, H, W"),
        ({"up": 3}, "double it"),
        ({"up": 2}, "needs a filter"),
        ({"activation": "gelu"}, "Unknown activation"),
        ({"noise": torch.zeros(1, 1, 4, 4)}, "Noise of shape"),
        ({"noise": torch.zeros(3, 1, 8, 8)}, "Noise of shape"),
        ({"bias": torch.zeros(3)}, "bias of shape"),
    ],
)
def test_wrong_inputs(arguments, word):
    inputs = {"x": torch.zeros(2, 3, 8, 8), "weight": torch.zeros(4, 3, 3, 3), "styles": torch.zeros(2, 3), **arguments}
    for path in PATHS:
        with use_kernels(path), pytest.raises(ValueError, match=word):
            modulated_conv2d(**inputs)


@pytest.mark.parametrize("interrupted", ["_sample", "kernel_energy"])
def test_threads_share_a_prepared_weight(monkeypatch, interrupted):
    """While one thread prepares a weight, another asks for the same one, or for another one."""
    weight, other = torch.ones(4, 4, 3, 3), torch.full((4, 4, 3, 3), 2.0)
    prepared, original, answers = preparation.PreparedWeight(), getattr(preparation, interrupted), []

    def interrupt(tensor):
        if not answers:
            answers.append(None)
            with ThreadPoolExecutor(1) as pool:
                answers[:] = pool.map(prepared.energy, [weight, other])
        return original(tensor)

    monkeypatch.setattr(preparation, interrupted, interrupt)
    first = prepared.energy(weight)
    assert torch.equal(first, torch.full((4, 4), 9.0))
    assert torch.equal(answers[0], first) and torch.equal(answers[1], 4 * first)
    assert torch.equal(prepared.energy(other), 4 * first) and torch.equal(prepared.energy(weight), first)
