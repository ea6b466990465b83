"""Tiled modulated convolution, for frozen weights on a CPU: strips of a picture go through the layer in the cache.

Styles scale a strip's input as it is copied; demodulation, noise, bias, activation and clamp follow the convolution
before the strip is written. So every picture is read once and written once, and all samples share the weights. Strips
are spread over threads (strips.py); the bytes do not depend on how many there are.
Under autograd one node stands for the layer and keeps only its input and its output: what the backward pass needs of
the values between is read back from the output, since lrelu can be undone. A second derivative is taken through torch's
own operations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..epilogue import Finish, finish_fast
from ..small_product import small_product
from .direct import run_direct
from .doubling import PhaseWeights, run_doubling, run_doubling_adjoint, separable_taps
from .naive import transposed_padding
from .prepared import PreparedWeight
from .winograd import TILE, run_winograd

_SLOPE = 0.2
_MIN_TILES = 64  # below, reading the transformed weights costs more than the products saved
_DIRECT_PIXELS = 1024


@dataclass(frozen=True, eq=False)
class _Layer:
    """The constants of a layer, for its forward and its backward pass."""

    kind: str  # winograd, direct or doubling
    weight: Tensor | PhaseWeights
    taps: tuple[tuple[float, ...], tuple[float, ...]] | None
    linear: bool
    clamp: float | None
    outputs: int
    plain: Tensor  # [O, I, 3, 3], the weight itself
    fir: Tensor | None


def tiled_suits(
    x: Tensor, weight: Tensor, up: int, fir: Tensor | None, noise: Tensor | None, activation: str, gain: float
) -> bool:
    """Return True where the tiled path can run a layer (shapes already checked)."""
    height, width = x.shape[2:]
    if x.device.type != "cpu" or weight.requires_grad or weight.shape[2] != 3 or x.dtype != weight.dtype:
        return False
    if x.dtype not in (torch.float32, torch.float64) or activation not in ("lrelu", "linear") or not gain > 0:
        return False
    if 0 in x.shape:
        return False
    if noise is not None and (noise.ndim != 4 or noise.shape[2:] != (up * height, up * width)):
        return False
    if up == 2:
        return width % 4 == 0 and separable_taps(fir, 4.0) is not None
    return same_size_kind(x) is not None


def same_size_kind(x: Tensor) -> str | None:
    """Return which convolution takes x [B, I, H, W] in strips, "winograd" or "direct"; None for neither."""
    batch, _, height, width = x.shape
    if height % TILE == 0 and width % TILE == 0 and batch * height * width >= _MIN_TILES * TILE * TILE:
        return "winograd"
    return "direct" if height * width <= _DIRECT_PIXELS else None


def modulated_conv2d_tiled(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    up: int,
    fir: Tensor | None,
    demodulate: bool,
    noise: Tensor | None,
    bias: Tensor | None,
    activation: str,
    gain: float,
    clamp: float | None,
    prepared: PreparedWeight | None = None,
) -> Tensor:
    """See :func:`kernels.modulated_conv.modulated_conv2d`; only for what :func:`tiled_suits` accepts."""
    prepared = PreparedWeight() if prepared is None else prepared
    styles = styles.to(x.dtype)
    if demodulate:
        scale = torch.rsqrt(small_product(styles.square(), prepared.energy(weight).t()) + 1e-8) * gain
    else:
        scale = styles.new_full((x.shape[0], weight.shape[0]), gain)
    bias = weight.new_zeros(weight.shape[0]) if bias is None else bias.to(x.dtype) * gain
    noise = None if noise is None else noise.to(x.dtype) * gain
    taps = separable_taps(fir, 4.0) if up == 2 else None
    if up == 2:
        kind, arranged = "doubling", prepared.phases(weight)
    else:
        kind = same_size_kind(x)
        arranged = prepared.winograd(weight) if kind == "winograd" else prepared.taps(weight)
    layer = _Layer(kind, arranged, taps, activation == "linear", clamp, weight.shape[0], weight, fir)
    return _TiledLayer.apply(x, styles, scale, noise, bias, layer)


class _TiledLayer(torch.autograd.Function):
    """y = clamp(act(scale conv(style x) + noise + bias)), every gain already inside scale, noise and bias."""

    @staticmethod
    def forward(ctx, x, styles, scale, noise, bias, layer):
        source = _channels_last_view(x.contiguous(memory_format=torch.channels_last))
        batch, height, width, channels = source.shape
        up = 2 if layer.kind == "doubling" else 1
        result = x.new_empty(batch, up * height, up * width, layer.outputs)

        def load(samples, low, high, target, _begin, _end):
            torch.mul(source[samples, low:high], styles[samples, None, None], out=target)

        def store(samples, begin, end, values):
            target = result[samples, begin:end]
            factor = scale[samples].view(-1, *([1] * (values.ndim - 2)), layer.outputs)
            torch.addcmul(bias, values, factor, out=target.view(values.shape))
            if noise is not None:
                target.add_(_rows(noise, samples, begin, end))
            if not layer.linear:
                F.leaky_relu_(target, _SLOPE)
            if layer.clamp is not None:
                target.clamp_(-layer.clamp, layer.clamp)

        _run(layer, source.shape, load, store)
        result = result.permute(0, 3, 1, 2)
        if any(ctx.needs_input_grad):  # x as it came: a copy would be cut off from the graph
            ctx.save_for_backward(x, styles, scale, noise, bias, result)
            ctx.layer = layer
        return result

    @staticmethod
    def backward(ctx, gradient):
        x, styles, scale, noise, bias, result = ctx.saved_tensors
        layer, need = ctx.layer, ctx.needs_input_grad
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *_through_torch(ctx.saved_tensors[:5], layer, gradient, need[:5]), None
        source, output = (
            _channels_last_view(x.contiguous(memory_format=torch.channels_last)),
            _channels_last_view(result),
        )
        gradient = _channels_last_view(gradient.contiguous(memory_format=torch.channels_last))
        input_gradient = torch.empty_like(source)
        style_sums, scale_sums, bias_sums, noise_sums = (_StripSums() for _ in range(4))

        def load(samples, low, high, target, begin, end):
            incoming, produced = gradient[samples, low:high], output[samples, low:high]
            if layer.clamp is None:
                target.copy_(incoming)
            else:
                torch.mul(incoming, produced.abs() < layer.clamp, out=target)
            own, own_output = target[:, begin - low : end - low], produced[:, begin - low : end - low]
            # scale d/dscale = gradient * (value before the activation - bias - noise), and lrelu(p) lrelu'(p)^-1 = p.
            moment = own * own_output if need[2] else None
            if not layer.linear:
                torch.ops.aten.leaky_relu_backward.grad_input(target, produced, _SLOPE, True, grad_input=target)
            if noise is not None and need[2]:
                moment.addcmul_(own, _rows(noise, samples, begin, end), value=-1.0)
            if need[2]:
                scale_sums.add(samples, begin, moment.sum(dim=(1, 2)))
            if need[2] or need[4]:
                bias_sums.add(samples, begin, own.sum(dim=(1, 2)))
            if need[3]:
                noise_sums.add(samples, begin, own.sum(dim=3))
            target.mul_(scale[samples, None, None])

        def store(samples, begin, end, values):
            target = input_gradient[samples, begin:end]
            target.view(values.shape).copy_(values)
            if need[1]:
                style_sums.add(samples, begin, (target * source[samples, begin:end]).sum(dim=(1, 2)))
            target.mul_(styles[samples, None, None])

        _run(layer, (*source.shape[:3], layer.outputs), load, store, adjoint=True)
        bias_gradient = bias_sums.total(scale)  # per sample
        scale_gradient = (scale_sums.total(scale) - bias * bias_gradient) / scale if need[2] else None
        return (
            input_gradient.permute(0, 3, 1, 2) if need[0] else None,
            style_sums.total(styles) if need[1] else None,
            scale_gradient,
            noise_sums.total_of_maps(noise) if need[3] else None,
            bias_gradient.sum(dim=0) if need[4] else None,
            None,
        )


def _through_torch(inputs: tuple, layer: _Layer, gradient: Tensor, need: tuple[bool, ...]) -> list:
    """Compute the gradients of x, styles, scale, noise and bias, with a graph of their own."""
    # Scale comes from styles; seen anew, a gradient of the one does not run on into the other.
    inputs = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
    x, styles, scale, noise, bias = inputs
    x, fir, padding = x * styles[:, :, None, None], layer.fir, (0, 0, 0, 0)
    if layer.kind == "doubling":
        y, padding = F.conv_transpose2d(x, layer.plain.transpose(0, 1), stride=2), transposed_padding(fir, 3)
        fir = fir if fir.ndim == 2 else fir[:, None] * fir[None, :]
    else:
        y, fir = F.conv2d(x, layer.plain, padding=1), None
    finish = Finish("linear" if layer.linear else "lrelu", clamp=layer.clamp, padding=padding, fir_gain=4.0)
    result = finish_fast(y, scale, noise, bias, fir, finish)
    differentiated = [tensor for tensor, n in zip(inputs, need, strict=True) if n]
    gradients = iter(torch.autograd.grad(result, differentiated, gradient, create_graph=True))
    return [next(gradients) if n else None for n in need]


def _run(layer: _Layer, shape: tuple, load, store, adjoint: bool = False) -> None:
    if layer.kind == "doubling":
        run = run_doubling_adjoint if adjoint else run_doubling
        run(shape, layer.weight, layer.taps, load, store)
    else:
        run = run_winograd if layer.kind == "winograd" else run_direct
        run(shape, layer.weight, load, store, adjoint)


def _channels_last_view(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H, W, C], a view."""
    return x.permute(0, 2, 3, 1)


def _rows(noise: Tensor, samples: slice, begin: int, end: int) -> Tensor:
    """[B or 1, 1, H, W] -> [b or 1, rows, W, 1]."""
    maps = noise if noise.shape[0] == 1 else noise[samples]
    return maps[:, 0, begin:end, :, None]


class _StripSums:
    """Sums over strips that threads finish in any order, added in the order of the picture: the same bytes always."""

    def __init__(self) -> None:
        self._terms: list[tuple[int, int, slice, Tensor]] = []

    def add(self, samples: slice, begin: int, term: Tensor) -> None:
        """Keep a strip's own sum; ``begin`` is its first row."""
        self._terms.append((samples.start, begin, samples, term))

    def total(self, like: Tensor) -> Tensor:
        """Add terms [b, C] of all strips, [B, C] as ``like``."""
        total = torch.zeros_like(like)
        for _, _, samples, term in self._ordered():
            total[samples] += term
        return total

    def total_of_maps(self, like: Tensor) -> Tensor:
        """Add terms [b, rows, W] of all strips where they lie, [B or 1, 1, H, W] as ``like``."""
        total = torch.zeros_like(like)
        for _, begin, samples, rows in self._ordered():
            end = begin + rows.shape[1]
            if len(total) == 1:
                total[0, 0, begin:end] += rows.sum(dim=0)
            else:
                total[samples, 0, begin:end] += rows
        return total

    def _ordered(self) -> list[tuple[int, int, slice, Tensor]]:
        return sorted(self._terms, key=lambda term: term[:2])
