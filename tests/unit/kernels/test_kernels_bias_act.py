"""bias_act against its definition in float64, on every activation."""

from __future__ import annotations

import math

import pytest
import torch
from semantic_edit.kernels import ACTIVATIONS, bias_act, use_kernels

PATHS = ("reference", "fast")
DEFINED = {
    "linear": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "lrelu": lambda x: x if x > 0 else 0.2 * x,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "swish": lambda x: x / (1 + math.exp(-x)),
}


def defined(x, bias, activation, gain, clamp):
    shifted = x if bias is None else x + bias.view(1, -1, *([1] * (x.ndim - 2)))
    values = [gain * DEFINED[activation](v) for v in shifted.reshape(-1).tolist()]
    if clamp is not None:
        values = [min(max(v, -clamp), clamp) for v in values]
    return torch.tensor(values, dtype=torch.float64).view(x.shape)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("clamp", [None, 0.8])
def test_definition(path, activation, clamp):
    for shape in ((3, 5), (2, 3, 7), (2, 3, 4, 5)):
        x, bias = torch.randn(shape, dtype=torch.float64), torch.randn(shape[1], dtype=torch.float64)
        kept = x.clone(), bias.clone()
        with use_kernels(path):
            for b, gain in ((bias, None), (None, 0.7), (bias, -1.3)):
                y = bias_act(x, b, activation, gain, clamp)
                used = ACTIVATIONS[activation].gain if gain is None else gain
                assert (y - defined(x, b, activation, used, clamp)).abs().max() < 1e-12
        assert torch.equal(x, kept[0]) and torch.equal(bias, kept[1])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("clamp", [None, 0.9])
def test_gradients(path, activation, clamp):
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    with use_kernels(path):
        assert torch.autograd.gradcheck(lambda x, b: bias_act(x, b, activation, None, clamp), (x, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("activation", ["linear", "lrelu", "swish"])
def test_precision(dtype, activation):
    x, bias = torch.randn(2, 6, 9, 5).to(dtype), torch.randn(6)
    y = bias_act(x, bias, activation, clamp=2.0)
    exact = bias_act(x.double(), bias.double(), activation, clamp=2.0)
    assert y.dtype == dtype
    assert (y.double() - exact).abs().max() < 8 * torch.finfo(dtype).eps


def test_layouts_and_strides():
    bias = torch.randn(6)
    base = torch.randn(2, 6, 8, 9)
    for x in (base.contiguous(memory_format=torch.channels_last), base.transpose(2, 3), base[:, :, ::2, 1:]):
        exact = bias_act(x.double(), bias.double(), "lrelu")
        assert (bias_act(x, bias, "lrelu").double() - exact).abs().max() < 1e-6


@pytest.mark.parametrize("path", PATHS)
def test_a_leaf_and_an_expanded_view_are_never_written_to(path):
    leaf = torch.randn(2, 3, 4, requires_grad=True)
    wide = torch.randn(1, 3, 1).expand(2, 3, 4)
    with use_kernels(path):
        bias_act(leaf, None, "lrelu", clamp=0.5).sum().backward()
        y = bias_act(wide, torch.ones(3), "lrelu")
    assert leaf.grad is not None
    assert torch.equal(y[0], y[1])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"activation": "gelu"}, "Unknown activation 'gelu'"),
        ({"bias": torch.zeros(4)}, "does not fit"),
        ({"bias": torch.zeros(3, 1)}, "does not fit"),
        ({"x": torch.zeros(3), "bias": torch.zeros(3)}, "does not fit"),
    ],
)
def test_wrong_inputs(arguments, word):
    with pytest.raises(ValueError, match=word):
        bias_act(**{"x": torch.zeros(2, 3, 4), **arguments})
