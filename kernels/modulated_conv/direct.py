"""Direct same-size 3 x 3 convolution of small pictures: one matrix product, as reading the weights is what costs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

from ..strips import run_strips
from .winograd import Load, Store

_PIXELS_PER_GROUP = 1024


def arrange_weight(weight: Tensor) -> Tensor:
    """Arrange a matrix per tap, [O, I, 3, 3] -> [9, I, O]."""
    return rearrange(weight, "o i kh kw -> (kh kw) i o").contiguous()


def run_direct(
    shape: tuple[int, int, int, int],  # B, H, W, input channels
    weight: Tensor,  # [9, I, O] of arrange_weight; for the adjoint I and O change roles
    load: Load,  # as for run_winograd; called for whole pictures
    store: Store,
    adjoint: bool = False,
) -> None:
    """Gather the 3 x 3 neighbourhoods and multiply; several pictures at a time."""
    batch, height, width, channels = shape
    outputs = weight.shape[1] if adjoint else weight.shape[2]
    group = max(1, min(batch, _PIXELS_PER_GROUP // (height * width)))
    new = dict(dtype=weight.dtype, device=weight.device)

    def make_worker() -> Callable[[slice], None]:
        padded = torch.zeros(group, height + 2, width + 2, channels, **new)

        def work(samples: slice) -> None:
            count = samples.stop - samples.start
            load(samples, 0, height, padded[:count, 1:-1, 1:-1], 0, height)
            s = padded.stride()
            around = padded.as_strided((count, height, width, 3, 3, channels), (s[0], s[1], s[2], s[1], s[2], 1))
            gathered = around.reshape(count * height * width, 9, channels)
            if adjoint:  # the taps turned by 180 degrees and transposed, read in place
                result = torch.mm(gathered[:, 0], weight[8].t())
                for tap in range(1, 9):
                    result.addmm_(gathered[:, tap], weight[8 - tap].t())
            else:
                result = torch.mm(gathered.view(-1, 9 * channels), weight.view(9 * channels, outputs))
            store(samples, 0, height, result.view(count, height, width, outputs))

        return work

    run_strips([slice(b, min(b + group, batch)) for b in range(0, batch, group)], make_worker)
