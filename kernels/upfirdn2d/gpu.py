"""upfirdn2d as one Triton kernel, a picture to be added included; the gradient is the same kernel, so any order of
derivative exists."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import gpu
from .fast import upfirdn2d_fast

_MAX_TAPS = 64  # that meet samples of one output pixel: they are unrolled


def gpu_suits(x: Tensor, fir: Tensor, up: int, down: int, add: Tensor | None = None) -> bool:
    """Return True where the kernel can run (shapes already checked)."""
    if max(up, down) > 4 or fir.requires_grad or not gpu.usable(x, fir, add):
        return False
    per_pixel = -(-fir.shape[0] // up) * -(-fir.shape[-1] // up)
    return per_pixel <= _MAX_TAPS and (add is None or add.dtype == x.dtype)


def upfirdn2d_gpu(
    x: Tensor, fir: Tensor, up: int, down: int, padding: tuple[int, ...], gain: float, add: Tensor | None = None
) -> Tensor:
    """See :func:`kernels.upfirdn2d.upfirdn2d`; the kernel where it works and wins, else torch's own operations."""

    def kernel(x: Tensor, fir: Tensor, add: Tensor | None) -> Tensor:
        return run_kernel(x, fir, up, down, padding, gain, add)

    def fallback(x: Tensor, fir: Tensor, add: Tensor | None) -> Tensor:
        y = upfirdn2d_fast(x, fir, up, down, padding, gain)
        return y if add is None else y + add

    inputs = (x, fir, add)
    gradient = gpu.needs_gradient(x, add)
    key = gpu.shape_class("upfirdn2d", x, gradient, up, down, tuple(fir.shape), add is None)
    if not gpu.faster(key, kernel, fallback, inputs, gradient):
        return fallback(*inputs)
    return gpu.attempt(lambda: kernel(*inputs), lambda: fallback(*inputs))


def run_kernel(
    x: Tensor, fir: Tensor, up: int, down: int, padding: tuple[int, ...], gain: float, add: Tensor | None = None
) -> Tensor:
    """Run the kernel itself, whatever its speed."""
    exact = torch.promote_types(x.dtype, torch.float32)
    fir = fir.to(exact)
    taps = fir if fir.ndim == 2 else fir[:, None] * fir[None, :]
    return _Resample.apply(x, (taps * gain).flip(0, 1).contiguous(), add, up, down, tuple(padding))


class _Resample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, taps: Tensor, add: Tensor | None, up: int, down: int, padding: tuple) -> Tensor:
        ctx.save_for_backward(taps)
        ctx.resampling, ctx.size = (up, down, padding), tuple(x.shape[2:])
        return _launch(x, taps, add, up, down, padding)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        (taps,) = ctx.saved_tensors
        x_grad = None
        if ctx.needs_input_grad[0]:
            up, down, padding = ctx.resampling
            back = _adjoint_padding(ctx.size, tuple(grad.shape[2:]), tuple(taps.shape), up, down, padding)

            def kernel() -> Tensor:
                return _Resample.apply(grad, taps.flip(0, 1).contiguous(), None, down, up, back)

            def fallback() -> Tensor:
                return upfirdn2d_fast(grad, taps, down, up, back, 1.0)  # which turns the taps by itself

            x_grad = gpu.attempt(kernel, fallback)
        return x_grad, None, grad if ctx.needs_input_grad[2] else None, None, None, None


def _adjoint_padding(size: tuple, result: tuple, taps: tuple, up: int, down: int, padding: tuple) -> tuple:
    """Return left, right, top, bottom of the resampling by ``down`` / ``up`` that is the adjoint one."""
    left, _, top, _ = padding
    begin_x, begin_y = taps[1] - left - 1, taps[0] - top - 1
    end_x = size[1] * up - result[1] * down + left - up + 1
    end_y = size[0] * up - result[0] * down + top - up + 1
    return begin_x, end_x, begin_y, end_y


def _launch(x: Tensor, taps: Tensor, add: Tensor | None, up: int, down: int, padding: tuple) -> Tensor:
    import triton.language as tl

    from . import triton_code

    x = gpu.dense(x)
    kh, kw = taps.shape
    left, right, top, bottom = padding
    height = (x.shape[2] * up + top + bottom - kh) // down + 1
    width = (x.shape[3] * up + left + right - kw) // down + 1
    out = gpu.empty_like(x, height, width)
    if add is not None:
        add = gpu.dense(add.expand(out.shape))
    block_c, block_p = gpu.blocks(out)
    programs = x.shape[0] * -(-height * width // block_p) * -(-x.shape[1] // block_c)
    with torch.cuda.device_of(x):
        triton_code.upfirdn2d[(programs,)](
            x, taps, x if add is None else add, out,
            x.shape[1], height * width, width, x.shape[2], x.shape[3], left, top,
            *gpu.strides(x), *(gpu.strides(x) if add is None else gpu.strides(add)), *gpu.strides(out),
            UP=up, DOWN=down, FIR_H=kh, FIR_W=kw, HAS_ADD=add is not None,
            ACC=tl.float64 if x.dtype == torch.float64 else tl.float32, BLOCK_C=block_c, BLOCK_P=block_p,
        )  # fmt: skip
    return out
