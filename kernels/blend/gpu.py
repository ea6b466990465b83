"""The blend as one Triton kernel each way: both branches' gradients and the mask's in a single pass."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import gpu
from .fast import blend_fast


def gpu_suits(plain: Tensor, edited: Tensor, mask: Tensor) -> bool:
    """Return True where the kernel can run (shapes already checked)."""
    return plain.ndim == 4 and plain.dtype == edited.dtype == mask.dtype and gpu.usable(plain, edited, mask)


def blend_gpu(plain: Tensor, edited: Tensor, mask: Tensor) -> Tensor:
    """See :func:`kernels.blend.blend_features`; the kernel where it works and wins, else torch's own lerp."""
    inputs = (plain, edited, mask)
    gradient = gpu.needs_gradient(*inputs)
    needs = tuple(gradient and x.requires_grad for x in inputs)
    key = gpu.shape_class("blend", plain, gradient, needs, mask.shape[0] == 1, mask.shape[1] == 1)
    if not gpu.faster(key, _Blend.apply, blend_fast, inputs, gradient):
        return blend_fast(*inputs)
    return gpu.attempt(lambda: _Blend.apply(*inputs), lambda: blend_fast(*inputs))


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, plain: Tensor, edited: Tensor, mask: Tensor) -> Tensor:
        from . import triton_code

        ctx.save_for_backward(plain, edited, mask)  # as given: copies would be cut off from the graph
        plain, edited, mask = gpu.dense(plain), gpu.dense(edited), mask.contiguous()
        out = gpu.empty_like(plain, *plain.shape[2:])
        call = _Call(plain, edited, mask)
        with torch.cuda.device_of(plain):
            triton_code.forward[call.grid](
                plain, edited, mask, out, *call.sizes, *call.strides, *gpu.strides(out), **call.constants
            )
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        saved, need = ctx.saved_tensors, ctx.needs_input_grad
        if torch.is_grad_enabled():  # a second derivative is wanted
            return _through_torch(saved, grad, need)
        return gpu.attempt(lambda: _run_backward(saved, grad, need), lambda: _through_torch(saved, grad, need))


def _through_torch(saved: tuple, grad: Tensor, need: tuple) -> tuple:
    plain, edited, mask = saved
    mask_grad = None
    if need[2]:
        mask_grad = (grad * (edited - plain)).sum_to_size(mask.shape)
    return (1 - mask) * grad if need[0] else None, mask * grad if need[1] else None, mask_grad


def _run_backward(saved: tuple, grad: Tensor, need: tuple) -> tuple:
    from . import triton_code

    plain, edited, mask = gpu.dense(saved[0]), gpu.dense(saved[1]), saved[2].contiguous()
    batch, channels, height, width = plain.shape
    grad = gpu.dense(grad)
    plain_grad, edited_grad = gpu.empty_like(plain, height, width), gpu.empty_like(plain, height, width)
    call = _Call(plain, edited, mask)
    per_channel = mask.shape[1] > 1
    exact = torch.promote_types(plain.dtype, torch.float32)
    mask_sums = plain  # any address will do where no mask's gradient is asked for
    if need[2]:
        shape = (1, batch, channels) if per_channel else (call.tiles_c, batch, 1)
        mask_sums = torch.empty((*shape, height, width), dtype=exact, device=plain.device)
    with torch.cuda.device_of(plain):
        triton_code.backward[call.grid](
            plain, edited, mask, grad, plain_grad, edited_grad, mask_sums,
            batch, *call.sizes, *call.strides, *gpu.strides(grad), *gpu.strides(plain_grad),
            WANT_PLAIN=need[0], WANT_EDITED=need[1], WANT_MASK=need[2], MASK_HAS_CHANNELS=per_channel,
            **call.constants,
        )  # fmt: skip
    mask_grad = mask_sums.sum(dim=0).sum_to_size(mask.shape).to(mask.dtype) if need[2] else None
    return plain_grad if need[0] else None, edited_grad if need[1] else None, mask_grad


class _Call:
    """The arguments that the forward and the backward kernel share."""

    def __init__(self, plain: Tensor, edited: Tensor, mask: Tensor) -> None:
        import triton.language as tl

        batch, channels, height, width = plain.shape
        block_c, block_p = gpu.blocks(plain)
        self.tiles_c = -(-channels // block_c)
        self.grid = (batch * self.tiles_c * -(-height * width // block_p),)
        self.sizes = (channels, height * width)
        pixels = height * width
        mask_strides = (0 if mask.shape[0] == 1 else mask.shape[1] * pixels, 0 if mask.shape[1] == 1 else pixels)
        self.strides = (*gpu.strides(plain), *gpu.strides(edited), *mask_strides)
        self.constants = {
            "ACC": tl.float64 if plain.dtype == torch.float64 else tl.float32,
            "BLOCK_C": block_c,
            "BLOCK_P": block_p,
        }
