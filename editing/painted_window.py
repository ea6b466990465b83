"""Which part of a picture strokes can change, so that no more than that is drawn for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..models.synthesis_run import LayerState
from ..models.window import Window, marked, reach

__all__ = ["cut", "cut_early", "felt", "painted_part"]

_EVEN = 2  # cells: the picture so far may be of half the layer's size
_WORTH = 0.85  # of the cost of drawing the whole: a part has to cost less


def cut(state: LayerState | None, window: Window | None) -> LayerState | None:
    """The part of the state, where there is one; the state itself where all of it is drawn."""
    return state if window is None else state.part(window)


def painted_part(synthesis, masks: Sequence[Tensor], after: int) -> Window | None:
    """The part to draw from layer ``after`` on, so that all that strokes change comes out as in the whole.

    Args:
        synthesis: a generator's.
        masks: [B or 1, 1, h, w] in 0..1 at each size at which the strokes are painted, and at the picture's.
        after: the layer whose state is cut.

    Returns:
        Twice the reach around the masks: once what they change, once what the cut changes. None where that is hardly
        less than the whole.
    """
    changed = felt(synthesis, masks, after)
    if changed is None:
        return None
    window = changed.grown(reach(synthesis, after), _EVEN)
    return window if window.share < _WORTH else None


def cut_early(synthesis, masks: Sequence[Tensor], last: int, first: int = 0) -> tuple[int, Window] | None:
    """After which layer, ``first`` to ``last``, to cut a run that is needed inside the masks alone, and to what part.

    An early cut spares more layers, but needs more of them around. None where no cut is worth it.
    """
    costs = _costs(synthesis)
    best, choice = _WORTH * sum(costs), None
    for layer in range(first, last + 1):
        window = felt(synthesis, masks, layer)
        cost = math.inf if window is None else sum(costs[: layer + 1]) + window.share * sum(costs[layer + 1 :])
        if cost < best:
            best, choice = cost, (layer, window)
    return choice


def felt(synthesis, masks: Sequence[Tensor], after: int) -> Window | None:
    """What painting inside the masks after layer ``after`` can change, in its cells; None for masks of nothing.

    It is also what a run that is cut there has to draw, to be right inside the masks.
    """
    _, height, width = synthesis.layer_size(after)
    parts = [part for mask in masks if (part := marked(mask)) is not None]
    if not parts:
        return None
    window = Window(
        min(part.top * height // part.height for part in parts),
        max(-(-part.bottom * height // part.height) for part in parts),
        min(part.left * width // part.width for part in parts),
        max(-(-part.right * width // part.width) for part in parts),
        height,
        width,
    )
    return window.grown(reach(synthesis, after), _EVEN)


def _costs(synthesis) -> list[float]:
    """What the layers cost, to a common factor: products of their convolutions; a doubling one does half as many."""
    costs, before = [], None
    for layer in range(len(synthesis.layers)):
        here = synthesis.layer_size(layer)
        channels, height, _ = before or here
        costs.append(channels * math.prod(here) * (0.5 if here[1] > height else 1.0))
        before = here
    return costs
