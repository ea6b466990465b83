"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum whose every direction has the same size.

A layer's gradient is dominated by few directions; what Adam gives the others is small. Muon replaces the momentum
matrix U S V^T by about U V^T, so rare directions learn as fast as common ones: half the pictures to the same error, in
a comparison over 2,560. A matrix is the kernel of a convolution [O, I k k] or the weight of a style layer [O, D].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..data_parallel import ThreadedDataParallel

_MOMENTUM = 0.95
# A quintic whose fifth iterate brings singular values of 0.01 to 1 near 1: steep at zero, and exact nowhere.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_ADAM_RMS = 0.2  # root mean square of an update at rate 1, near Adam's (2502.16982)


class Muon(torch.optim.Adam):
    """Muon with Nesterov momentum for ``matrices``, Adam for ``others``, at the same rate."""

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],  # of two dimensions or more
        others: Sequence[nn.Parameter],
        rate: float,
        parallel: ThreadedDataParallel,
    ):
        super().__init__(others, rate, (0.9, 0.99), 1e-8, fused=True)
        self.parallel = parallel
        self.matrices = sorted(matrices, key=nn.Parameter.numel, reverse=True)  # no worker ends with a large one

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Take one step along the gradients that the parameters hold."""
        super().step(closure)
        self.parallel.map(self._update, self.matrices)

    def _update(self, parameter: nn.Parameter) -> None:
        with torch.no_grad():  # a worker thread has a switch of its own
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"].mul_(_MOMENTUM).add_(parameter.grad)
            matrix = torch.add(parameter.grad, momentum, alpha=_MOMENTUM).flatten(1)
            rate = self.param_groups[0]["lr"] * _ADAM_RMS * max(matrix.shape) ** 0.5
            parameter.add_(orthogonalise(matrix).view_as(parameter), alpha=-rate)


def orthogonalise(matrix: Tensor) -> Tensor:
    """Bring the singular values of ``[M, N]`` near 1, by the Newton-Schulz iteration in bfloat16."""
    a, b, c = _QUINTIC
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.t() if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.t()
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.t() if tall else x).to(matrix.dtype)
