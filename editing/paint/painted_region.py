"""Which part of a picture strokes can change, so that no more than that is drawn for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...models.gan.crop_box import Window, reach
from ...models.gan.synthesis_run import LayerState

__all__ = ["cut", "cut_early", "felt", "painted_part"]

_EVEN = 2  # cells: the picture so far may be of half the layer's size
_WORTH = 0.85  # of the cost of drawing the whole: a part has to cost less


def cut(state: LayerState | None, window: Window | None) -> LayerState | None:
    """The part of the state, where there is one; the state itself where all of it is drawn."""
    return state if window is None else state.part(window)


def painted_part(synthesis, marks: Sequence[Window], after: int) -> Window | None:
    """The part to draw from layer ``after`` on, so that all that strokes change comes out as in the whole.

    Args:
        synthesis: a generator's.
        marks: what the strokes' masks cover, at each size at which they are painted, and at the picture's.
        after: the layer whose state is cut.

    Returns:
        Twice the reach around the marks: once what they change, once what the cut changes. None where that is hardly
        less than the whole.
    """
    changed = felt(synthesis, marks, after)
    if changed is None:
        return None
    window = changed.grown(reach(synthesis, after), _EVEN)
    return window if window.share < _WORTH else None


def cut_early(synthesis, marks: Sequence[Window], last: int, first: int = 0) -> tuple[int, Window] | None:
    """After which layer, ``first`` to ``last``, to cut a run that is needed inside the marks alone, and to what part.

    An early cut spares more layers, but needs more of them around. None where no cut is worth it.
    """
    costs = _costs(synthesis)
    best, choice = _WORTH * sum(costs), None
    for layer in range(first, last + 1):
        window = felt(synthesis, marks, layer)
        cost = math.inf if window is None else sum(costs[: layer + 1]) + window.share * sum(costs[layer + 1 :])
        if cost < best:
            best, choice = cost, (layer, window)
    return choice


def felt(synthesis, marks: Sequence[Window], after: int) -> Window | None:
    """What painting inside the marks after layer ``after`` can change, in its cells; None without marks.

    It is also what a run that is cut there has to draw, to be right inside the marks.
    """
    _, height, width = synthesis.layer_size(after)
    if not marks:
        return None
    window = Window(
        min(mark.top * height // mark.height for mark in marks),
        max(-(-mark.bottom * height // mark.height) for mark in marks),
        min(mark.left * width // mark.width for mark in marks),
        max(-(-mark.right * width // mark.width) for mark in marks),
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
