"""Products of small matrices on one thread, gradients included.

They are over before a second thread would have begun, and a library that splits them among threads may round
otherwise: here the bytes do not depend on how many there are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .strips import one_thread


def small_product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply [N, K] by [K, M]; derivatives of any order exist."""
    return _Product.apply(a, b)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        with one_thread():
            return a @ b

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        need_a, need_b = ctx.needs_input_grad
        return _Product.apply(grad, b.t()) if need_a else None, _Product.apply(a.t(), grad) if need_b else None
