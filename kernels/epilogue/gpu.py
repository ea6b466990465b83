"""The whole epilogue as one Triton kernel each way; with a low-pass the filtered picture never reaches memory.

Autograd keeps the convolution's result alone. A second derivative is taken through :func:`finish_fast`.
"""

from __future__ import annotations

from dataclasses import astuple

import torch
from torch import Tensor

from .. import gpu
from .fast import Finish, finish_fast

_ACTIVATIONS = ("linear", "relu", "lrelu")
_MAX_TAPS = 64  # the taps are unrolled


def gpu_suits(y: Tensor, scale: Tensor | None, noise: Tensor | None, fir: Tensor | None, activation: str) -> bool:
    """Return True where the kernel can run (shapes already checked)."""
    if activation not in _ACTIVATIONS or y.ndim != 4 or not gpu.usable(y, scale, noise, fir):
        return False
    return fir is None or (fir.ndim == 2 and fir.numel() <= _MAX_TAPS and not fir.requires_grad)


def finish_gpu(
    y: Tensor, scale: Tensor | None, noise: Tensor | None, bias: Tensor | None, fir: Tensor | None, finish: Finish
) -> Tensor:
    """See :func:`.fast.finish_fast`; the kernel where it works and wins, else that function."""
    inputs = (y, scale, noise, bias, fir)

    def kernel(*inputs: Tensor | None) -> Tensor:
        return run_kernel(*inputs, finish)

    def fallback(*inputs: Tensor | None) -> Tensor:
        return finish_fast(*inputs, finish)

    gradient = gpu.needs_gradient(y, scale, noise, bias)
    present = tuple(None if x is None else (x.requires_grad and gradient, x.shape[0] == 1) for x in inputs)
    key = gpu.shape_class("epilogue", y, gradient, present, *astuple(finish))
    if not gpu.faster(key, kernel, fallback, inputs, gradient):
        return fallback(*inputs)
    return gpu.attempt(lambda: kernel(*inputs), lambda: fallback(*inputs))


def run_kernel(
    y: Tensor, scale: Tensor | None, noise: Tensor | None, bias: Tensor | None, fir: Tensor | None, finish: Finish
) -> Tensor:
    """Run the kernel itself, whatever its speed."""
    left, right, top, bottom = finish.padding if fir is not None else (0, 0, 0, 0)
    kh, kw = (1, 1) if fir is None else fir.shape
    height, width = y.shape[2] + top + bottom - kh + 1, y.shape[3] + left + right - kw + 1
    if scale is not None:
        scale = scale.expand(y.shape[0], y.shape[1])
    if noise is not None:
        noise = noise.expand(-1, 1, height, width)
    return _Finish.apply(y, scale, noise, bias, fir, finish, (height, width))


def bias_act_gpu(x: Tensor, bias: Tensor | None, activation: str, gain: float, clamp: float | None) -> Tensor:
    """Compute bias, activation, gain and clamp of [B, C, H, W] alone, see :func:`kernels.bias_act.bias_act`."""
    from ..bias_act.fast import bias_act_fast

    finish = Finish(activation, 1.0, gain, clamp)

    def kernel(x: Tensor, bias: Tensor | None) -> Tensor:
        return run_kernel(x, None, None, bias, None, finish)

    def fallback(x: Tensor, bias: Tensor | None) -> Tensor:
        return bias_act_fast(x, bias, activation, gain, clamp)

    gradient = gpu.needs_gradient(x, bias)
    key = gpu.shape_class("bias_act", x, gradient, bias is None, activation, gain, clamp)
    if not gpu.faster(key, kernel, fallback, (x, bias), gradient):
        return fallback(x, bias)
    return gpu.attempt(lambda: kernel(x, bias), lambda: fallback(x, bias))


class _Finish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, scale, noise, bias, fir, finish: Finish, size: tuple[int, int]) -> Tensor:
        from . import triton_code

        ctx.save_for_backward(y, scale, noise, bias, fir)  # as given: a copy would be cut off from the graph
        y = gpu.dense(y)
        ctx.finish, ctx.size = finish, size
        out = gpu.empty_like(y, *size)
        call = _Call(y, scale, noise, bias, fir, finish, out)
        with torch.cuda.device_of(y):
            triton_code.forward[call.grid](
                *call.tensors, out, *call.sizes, *call.y_strides, *call.out_strides, *call.small_strides,
                **call.constants,
            )  # fmt: skip
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        need, saved = ctx.needs_input_grad[:4], ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *_through_torch(saved, ctx.finish, grad, need, again=True), None, None, None

        def kernel() -> tuple:
            return _run_backward(saved, ctx.finish, ctx.size, grad, need)

        def fallback() -> tuple:
            return _through_torch(saved, ctx.finish, grad, need, again=False)

        return *gpu.attempt(kernel, fallback), None, None, None


def _run_backward(saved: tuple, finish: Finish, size: tuple[int, int], grad: Tensor, need: tuple[bool, ...]) -> tuple:
    from . import triton_code

    y, scale, noise, bias, fir = saved
    y = gpu.dense(y)
    batch, channels = y.shape[:2]
    y_grad = gpu.empty_like(y, *size)
    grad = gpu.dense(grad)
    call = _Call(y, scale, noise, bias, fir, finish, y_grad)
    tiles_p, tiles_c = call.tiles
    exact = torch.promote_types(y.dtype, torch.float32)

    def sums(needed: bool, *shape: int) -> Tensor | None:
        return torch.empty(shape, dtype=exact, device=y.device) if needed else None

    scale_sums, bias_sums = sums(need[1], tiles_p, batch, channels), sums(need[3], tiles_p, batch, channels)
    noise_sums = sums(need[2], tiles_c, batch, size[0] * size[1])
    with torch.cuda.device_of(y):
        triton_code.backward[call.grid](
            *call.tensors, grad, y_grad, *(y if x is None else x for x in (scale_sums, bias_sums, noise_sums)),
            batch, *call.sizes, *call.y_strides, *gpu.strides(grad), *call.out_strides, *call.small_strides,
            WANT_Y=need[0], WANT_SCALE=need[1], WANT_BIAS=need[3], WANT_NOISE=need[2], **call.constants,
        )  # fmt: skip
    if need[0] and fir is not None:
        y_grad = _through_filter(y_grad, y.shape, fir, finish)
    noise_grad = None
    if need[2]:
        noise_grad = noise_sums.sum(dim=0).view(batch, 1, *size)
        noise_grad = (noise_grad.sum(dim=0, keepdim=True) if noise.shape[0] == 1 else noise_grad).to(noise.dtype)
    return (
        y_grad if need[0] else None,
        scale_sums.sum(dim=0).to(scale.dtype) if need[1] else None,
        noise_grad,
        bias_sums.sum(dim=(0, 1)).to(bias.dtype) if need[3] else None,
    )


def _through_filter(grad: Tensor, shape: torch.Size, fir: Tensor, finish: Finish) -> Tensor:
    """Apply the adjoint of the low-pass, back to the size of the convolution's result."""
    from ..upfirdn2d.gpu import run_kernel as upfirdn2d_kernel

    left, _, top, _ = finish.padding
    kh, kw = fir.shape
    begin_y, begin_x = kh - 1 - top, kw - 1 - left
    end_y, end_x = shape[2] - grad.shape[2] - begin_y + kh - 1, shape[3] - grad.shape[3] - begin_x + kw - 1
    padding = (begin_x, end_x, begin_y, end_y)
    return upfirdn2d_kernel(grad, fir.flip(0, 1), 1, 1, padding, finish.fir_gain)


def _through_torch(saved: tuple, finish: Finish, grad: Tensor, need: tuple[bool, ...], again: bool) -> list:
    """Compute the gradients by torch's own operations; ``again`` keeps their graph."""
    inputs = list(saved[:4])
    if not again:
        inputs = [x if x is None else x.detach().requires_grad_(n) for x, n in zip(inputs, need, strict=True)]
    differentiated = [x for x, n in zip(inputs, need, strict=True) if n]
    with torch.enable_grad():
        y = inputs[0] * 1.0  # finish_fast overwrites what it is given
        result = finish_fast(y, *inputs[1:], saved[4], finish)
        gradients = iter(torch.autograd.grad(result, differentiated, grad, create_graph=again))
    return [next(gradients) if n else None for n in need]


class _Call:
    """The arguments that the forward and the backward kernel share."""

    def __init__(self, y, scale, noise, bias, fir, finish: Finish, out: Tensor) -> None:
        import triton.language as tl

        batch, channels, height, width = out.shape
        left, _, top, _ = finish.padding if fir is not None else (0, 0, 0, 0)
        block_c, block_p = gpu.blocks(out)
        self.tiles = -(-height * width // block_p), -(-channels // block_c)
        self.grid = (batch * self.tiles[0] * self.tiles[1],)
        taps = None if fir is None else (fir * finish.fir_gain).flip(0, 1).contiguous()
        noise = None if noise is None else noise.contiguous()
        bias = None if bias is None else bias.contiguous()
        # Where a tensor is missing, any address will do: a constant says that it is not read.
        self.tensors = [y] + [y if x is None else x for x in (scale, noise, bias, taps)]
        self.sizes = (channels, height * width, width, y.shape[2], y.shape[3], left, top)
        self.y_strides, self.out_strides = gpu.strides(y), gpu.strides(out)
        self.small_strides = (
            *((0, 0) if scale is None else scale.stride()),
            0 if noise is None or noise.shape[0] == 1 else height * width,
        )
        self.constants = {
            "INNER": finish.inner,
            "OUTER": finish.outer,
            "CLAMP": 0.0 if finish.clamp is None else finish.clamp,
            "HAS_CLAMP": finish.clamp is not None,
            "HAS_SCALE": scale is not None,
            "HAS_NOISE": noise is not None,
            "HAS_BIAS": bias is not None,
            "FIR_H": 0 if fir is None else fir.shape[0],
            "FIR_W": 0 if fir is None else fir.shape[1],
            "ACTIVATION": finish.activation,
            "ACC": tl.float64 if y.dtype == torch.float64 else tl.float32,
            "BLOCK_C": block_c,
            "BLOCK_P": block_p,
        }
