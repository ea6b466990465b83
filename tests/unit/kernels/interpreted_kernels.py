"""The Triton kernels in Triton's interpreter; test_kernels_gpu.py runs this file with TRITON_INTERPRET=1 in a process
of its own, because Triton chooses between compiler and interpreter when it is imported."""

from __future__ import annotations

import itertools

import pytest
import torch
from semantic_edit.kernels import (
    blend_features,
    gpu,
    modulated_conv2d,
    setup_filter,
    upfirdn2d,
    upsample2d,
    use_kernels,
)
from semantic_edit.kernels.bias_act.naive import bias_act_naive
from semantic_edit.kernels.epilogue import Finish
from semantic_edit.kernels.epilogue.gpu import run_kernel as finish_kernel
from semantic_edit.kernels.upfirdn2d.naive import upfirdn2d_naive
from semantic_edit.models.gan.synthesis_run import SynthesisOptions

FIR = setup_filter((1, 3, 3, 1))
LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "turned": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "every second": lambda x: torch.stack([x, x], dim=-1).flatten(3)[..., ::2],
    "part of a batch": lambda x: torch.cat([x, x])[::2] if x.shape[0] == 1 else x.repeat(1, 2, 1, 1)[:, : x.shape[1]],
}


@pytest.fixture(autouse=True)
def interpreter():
    assert gpu.interpreted()
    with use_kernels("gpu"):
        yield
    assert gpu.problem() is None


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def defined(y, scale, noise, bias, fir, finish):
    """The epilogue, step by step."""
    if fir is not None:
        y = upfirdn2d_naive(y, fir.to(y.dtype), 1, 1, finish.padding, finish.fir_gain)
    if scale is not None:
        y = y * scale[:, :, None, None]
    if noise is not None:
        y = y + finish.inner * noise
    bias = None if bias is None else bias * finish.inner
    return bias_act_naive(y, bias, finish.activation, finish.outer, finish.clamp)


def parts(batch=2, channels=3, height=5, width=7, noises=1, dtype=torch.float64):
    return (
        draw(batch, channels, height, width, dtype=dtype),
        (draw(batch, channels, seed=1).abs() + 0.5).to(dtype),
        draw(noises, 1, height, width, seed=2, dtype=dtype),
        draw(channels, seed=3, dtype=dtype),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", ["linear", "relu", "lrelu"])
def test_epilogue(layout, activation):
    y, scale, noise, bias = parts(noises=2)
    finish = Finish(activation, 1.3, 0.7, 0.9)
    exact = defined(y, scale, noise, bias, None, finish)
    mine = finish_kernel(LAYOUTS[layout](y), scale, noise, bias, None, finish)
    assert (mine - exact).abs().max() < 1e-14


@pytest.mark.parametrize("present", list(itertools.product([False, True], repeat=3)))
def test_epilogue_without_some_parts(present):
    y, *rest = parts(batch=3, channels=1, height=1, width=9)
    rest = [x if here else None for x, here in zip(rest, present, strict=True)]
    mine = finish_kernel(y, *rest, None, Finish("lrelu", clamp=None))
    assert (mine - defined(y, *rest, None, Finish("lrelu"))).abs().max() < 1e-14


@pytest.mark.parametrize(
    ("fir", "padding", "layout"),
    [((1, 3, 3, 1), (1, 1, 1, 1), "channels last"), ((1, 2, 4), (2, -1, 0, 1), "contiguous")],
)
def test_epilogue_with_the_low_pass(fir, padding, layout):
    y, scale, _, bias = parts(height=7, width=9)
    fir = setup_filter(fir).double()
    finish = Finish("lrelu", 1.4, 1.0, 1.2, padding, 4.0)
    rows, columns = 7 + sum(padding[2:]) - fir.shape[0] + 1, 9 + sum(padding[:2]) - fir.shape[1] + 1
    noise = draw(1, 1, rows, columns, seed=5)
    y = LAYOUTS[layout](y)
    mine = finish_kernel(y, scale, noise, bias, fir, finish)
    assert (mine - defined(y, scale, noise, bias, fir, finish)).abs().max() < 1e-13
    inputs = [x.detach().requires_grad_() for x in (y, scale, noise, bias)]
    assert torch.autograd.gradcheck(lambda *x: finish_kernel(*x, fir, finish), inputs, fast_mode=True)


@pytest.mark.parametrize(("layout", "noises"), [("contiguous", 2), ("channels last", 1), ("turned", 1)])
def test_epilogue_gradients(layout, noises):
    inputs = [x.requires_grad_() for x in parts(channels=2, height=3, width=5, noises=noises)]

    def run(y, *rest):
        return finish_kernel(LAYOUTS[layout](y), *rest, None, Finish("lrelu", 1.2, 0.8, 1.0))

    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize(("layout", "size"), [("contiguous", (3, 33, 37)), ("channels last", (66, 5, 7))])
def test_more_than_one_tile_of_channels_and_of_pixels(layout, size):
    inputs = [x.requires_grad_() for x in parts(1, *size, dtype=torch.float32)]
    finish = Finish("lrelu", 1.4, 1.0, 1.5)
    mine = finish_kernel(LAYOUTS[layout](inputs[0]), *inputs[1:], None, finish)
    exact = defined(*(x.double() for x in inputs), None, finish)
    assert (mine - exact).abs().max() < 1e-5
    seed = draw(*mine.shape, seed=9, dtype=torch.float32)
    got = torch.autograd.grad(mine, inputs, seed)
    for a, b in zip(got, torch.autograd.grad(exact, inputs, seed.double()), strict=True):
        assert (a - b).abs().max() < 1e-5 * b.abs().max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_rounded_once_and_clamped_as_published(dtype):
    """NVlabs: the clamp of 256 is multiplied by the layer's gain, and comes after the activation's."""
    y, scale, noise, bias = parts(channels=4)
    gain = 0.5**0.5
    y = (y * 300).to(dtype)
    finish = Finish("lrelu", 2**0.5 * gain, 1.0, 256 * gain)
    mine = finish_kernel(y, (scale * 2**0.5 * gain).float(), noise.float(), bias.float(), None, finish)
    exact = defined(y.double(), (scale * 2**0.5 * gain).float().double(), noise.float(), bias.float(), None, finish)
    assert mine.dtype == dtype and float(mine.abs().max()) == float(torch.tensor(256 * gain).to(dtype))
    assert (
        (mine.double() - exact).abs() <= exact.abs() * torch.finfo(dtype).eps + 1e-3
    ).all()  # sums of a thousand in float32


def test_values_beyond_half_precision_are_clamped_before_they_are_rounded_and_nan_stays():
    y = torch.full((1, 2, 3, 3), 6e4, dtype=torch.float16)
    y[0, 0, 0, 0] = float("nan")
    mine = finish_kernel(y, torch.full((1, 2), 8.0), None, None, None, Finish("lrelu", clamp=256.0))
    assert mine[0, 0, 0, 0].isnan() and int(mine.isnan().sum()) == 1
    assert bool((mine.nan_to_num(256.0) == 256).all())


def test_offsets_beyond_32_bits():
    """Two small pictures that lie more than 2^31 values apart; memory that nobody touches costs nothing."""
    far = torch.empty(2**31 + 2**20, dtype=torch.float16)
    y = far.as_strided((2, 3, 4, 5), (2**31 + 64, 20, 5, 1))
    y.copy_(draw(2, 3, 4, 5))
    kept = y.clone()
    mine = finish_kernel(y, torch.ones(2, 3), None, None, None, Finish())
    assert torch.equal(mine, kept)
    assert torch.equal(upfirdn2d(y, torch.ones(1, 1)), kept)
    assert torch.equal(blend_features(y, kept, torch.zeros(1, 1, 4, 5)), kept)


RESAMPLINGS = [
    (1, 1, (2, 1, 1, 2)), (2, 1, (2, 1, 2, 1)), (1, 2, (1, 1, 1, 1)), (2, 2, (3, 0, -1, 2)), (2, 1, (-3, 2, 1, -2)),
    (1, 2, (0, 3, 2, -1)), (3, 1, (2, 2, 2, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("up", "down", "padding"), RESAMPLINGS)
@pytest.mark.parametrize(("taps", "layout"), [((1, 3, 3, 1), "channels last"), ((1, 2, 4), "every second")])
def test_resampling(up, down, padding, taps, layout):
    x, fir = draw(2, 3, 7, 9), setup_filter(taps).double()
    exact = upfirdn2d_naive(x, fir, up, down, padding, 1.5)
    assert (upfirdn2d(LAYOUTS[layout](x), fir, up, down, padding, 1.5) - exact).abs().max() < 1e-14


@pytest.mark.parametrize(("up", "down", "padding"), RESAMPLINGS[1:4])
def test_resampling_gradients(up, down, padding):
    x, fir = draw(1, 2, 6, 5).requires_grad_(), setup_filter((1, 3, 3, 1)).double()

    def run(x):
        return upfirdn2d(x, fir, up, down, padding, 2.0)

    assert torch.autograd.gradcheck(run, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, x, fast_mode=True)


def test_a_picture_added_while_it_is_enlarged():
    x, colours = draw(2, 3, 5, 6).requires_grad_(), draw(2, 3, 10, 12, seed=1).requires_grad_()
    mine = upsample2d(x, FIR.double(), add=colours)
    with use_kernels("reference"):
        assert (mine - upsample2d(x, FIR.double()) - colours).abs().max() < 1e-14
    assert torch.autograd.gradcheck(
        lambda *both: upsample2d(both[0], FIR.double(), add=both[1]), (x, colours), fast_mode=True
    )


@pytest.mark.parametrize(
    ("masks", "layout"),
    [((1, 1), "contiguous"), ((2, 1), "channels last"), ((1, 3), "turned"), ((2, 3), "every second")],
)
def test_blend(masks, layout):
    plain, edited = draw(2, 3, 5, 7), draw(2, 3, 5, 7, seed=1)
    mask = draw(*masks, 5, 7, seed=2).sigmoid()
    mask[..., 0], mask[..., 1] = 0.0, 1.0
    mine = blend_features(LAYOUTS[layout](plain), edited, mask)
    assert (mine - (mask * edited + (1 - mask) * plain)).abs().max() < 1e-14
    assert torch.equal(mine[..., 0], plain[..., 0]) and torch.equal(mine[..., 1], edited[..., 1])
    inputs = [x.requires_grad_() for x in (plain, edited, mask)]
    assert torch.autograd.gradcheck(lambda p, e, m: blend_features(LAYOUTS[layout](p), e, m), inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(blend_features, inputs, fast_mode=True)


@pytest.mark.parametrize(("up", "demodulate", "batch"), [(1, True, 1), (2, True, 2), (1, False, 2)])
def test_a_whole_layer(up, demodulate, batch):
    names = ("x", "styles", "noise", "bias", "weight")
    given = dict(zip(names, (draw(batch, 4, 5, 7), draw(batch, 4, seed=1), draw(1, 1, 5 * up, 7 * up, seed=2),
                             draw(6, seed=3), draw(6, 4, 3, 3, seed=4)), strict=True))  # fmt: skip
    fixed = dict(up=up, fir=FIR.double(), demodulate=demodulate, activation="lrelu", gain=1.4, clamp=2.0)

    def outcome(path):
        inputs = {name: x.clone().requires_grad_() for name, x in given.items()}
        with use_kernels(path):
            y = modulated_conv2d(**inputs, **fixed)
            return y, *torch.autograd.grad(y.square().sum(), list(inputs.values()))

    for mine, exact in zip(outcome("gpu"), outcome("reference"), strict=True):
        assert (mine - exact).abs().max() < 1e-12 * exact.abs().max().clamp_min(1)
    with torch.inference_mode(), use_kernels("gpu"):
        y = modulated_conv2d(**given, **fixed)
    assert y.grad_fn is None and (y - outcome("reference")[0]).abs().max() < 1e-12


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_a_layer_of_half_precision_survives_inputs_at_the_clamp(layout):
    """256 everywhere, all weights alike: the sum of 64 x 9 products would leave half precision without the fan-in."""
    x = LAYOUTS[layout](torch.full((2, 64, 4, 4), 256.0, dtype=torch.float16))
    weight, styles = torch.full((8, 64, 3, 3), 40.0), torch.full((2, 64), 3000.0)
    y = modulated_conv2d(x, weight, styles, activation="lrelu", gain=2**0.5, clamp=256 * 2**0.5)
    assert y.dtype == torch.float16 and bool(y.isfinite().all())
    assert float(y[0, 0, 1, 1]) == float(torch.tensor(256 * 2**0.5).half())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_whole_synthesis_and_its_gradient(dtype):
    from semantic_edit.models import StyleGAN2, StyleGAN2Config

    config = StyleGAN2Config(z_dim=8, w_dim=8, channels=(4, 3), mapping_layers=2, conv_clamp=256.0)
    network = StyleGAN2(config, generator=torch.Generator().manual_seed(0)).requires_grad_(False).eval()
    w = draw(2, config.num_layers, 8, dtype=torch.float32)

    def outcome(path):
        codes = w.clone().requires_grad_()
        with use_kernels(path):
            image = network.synthesis(codes, SynthesisOptions(dtype=dtype)).image
            return image, *torch.autograd.grad(image.float().square().mean(), codes)

    for mine, exact in zip(outcome("gpu"), outcome("reference"), strict=True):
        assert (mine - exact).abs().max() < 20 * torch.finfo(dtype).eps * exact.abs().max().clamp_min(1)
