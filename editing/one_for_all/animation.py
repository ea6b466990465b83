"""The batch at many strengths, one after the other: a film of the slider.

Two ways of moving. Along its *own path*, each picture goes from what it is to where its strength takes it. With the
*slider*, all pictures follow the strength slider itself, so that at every moment all are in one state, the example's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.pictures import to_rgb
from ..common.types import EditDirection
from .closed_form import apply_edit, plan_strength

__all__ = ["EASINGS", "LAYOUTS", "LOOPS", "PATHS", "animate", "eased_strengths", "frame_layout", "play_order"]

PATHS = ("own path", "slider")
LAYOUTS = ("grid", "one by one")
LOOPS = ("off", "there and back")
EASINGS: dict[str, Callable[[float], float]] = {
    "smooth": lambda share: 0.5 - 0.5 * math.cos(math.pi * share),
    "linear": lambda share: share,
    "accelerate": lambda share: share * share,
    "slow down": lambda share: 1 - (1 - share) ** 2,
}
_MOST_BYTES = 8 * 2**30  # of all frames together: beyond it, a film belongs into parts


def eased_strengths(count: int, start: float, end: float, easing: str = "smooth") -> list[float]:
    """``count`` strengths from start to end; both ends are exact. Raises InputError for unknown easings."""
    if easing not in EASINGS:
        raise InputError(f"Unknown easing '{easing}'; expected one of {', '.join(EASINGS)}.")
    if count < 2:
        raise InputError(f"An animation needs at least 2 frames; got {count}.")
    shares = [EASINGS[easing](k / (count - 1)) for k in range(count)]
    return [start + (end - start) * min(1.0, max(0.0, share)) for share in shares[:-1]] + [end]


def play_order(count: int, loop: str) -> list[int]:
    """The frames in the order they are shown; "there and back" shows neither end twice, so that it repeats evenly."""
    if loop not in LOOPS:
        raise InputError(f"Unknown loop '{loop}'; expected one of {', '.join(LOOPS)}.")
    forth = list(range(count))
    return forth + forth[-2:0:-1] if loop == LOOPS[1] else forth


def frame_layout(pictures: int, height: int, width: int, columns: int, layout: str) -> tuple[int, int, int]:
    """Pictures per frame, and height and width of a frame."""
    if layout not in LAYOUTS:
        raise InputError(f"Unknown layout '{layout}'; expected one of {', '.join(LAYOUTS)}.")
    if columns < 0:
        raise InputError(f"The number of columns cannot be negative; got {columns}.")
    if layout == LAYOUTS[1]:
        return 1, height, width
    columns = min(columns or math.ceil(math.sqrt(pictures)), pictures)
    return pictures, height * math.ceil(pictures / columns), width * columns


def animate(
    generator: GanGenerator,
    w: Tensor,  # [B, L, D]
    direction: EditDirection,
    strengths: Sequence[float],  # one per moment, as `eased_strengths` gives them
    alpha: Tensor | None = None,  # [B]: "own path" to these strengths; None: the "slider", in closed form
    layout: str = LAYOUTS[0],
    columns: int = 0,  # of the grid; 0: about square
    loop: str = LOOPS[0],
    limit: float | None = None,  # of |alpha| on the slider
    progress: Callable[..., None] | None = None,  # (pictures drawn, pictures in all, preview [3, H, W] in 0..1)
) -> Tensor:
    """The frames [N, H, W, 3] in 0..1, on the CPU: N moments of all pictures, or each picture's moments in turn.

    Only one moment is drawn at a time, each just once; the fine grain stays still.

    Raises:
        InputError: no moments, codes that do not fit, or more frames than memory should hold.
    """
    order = play_order(len(strengths), loop)
    if len(strengths) < 2:
        raise InputError(f"An animation needs at least 2 frames; got {len(strengths)}.")
    height, width = generator.resolution
    per_frame, tall, wide = frame_layout(len(w), height, width, columns, layout)
    count = len(order) * (len(w) // per_frame)
    if count * tall * wide * 3 * 4 > _MOST_BYTES:
        raise InputError(
            f"The animation would have {count} frames of {wide} x {tall}, {count * tall * wide * 12 / 2**30:.0f} GiB. "
            "Take fewer frames, or fewer pictures with Select Latents."
        )
    film = torch.zeros(count, tall, wide, 3) if per_frame == 1 else torch.ones(count, tall, wide, 3)
    drawn = 0
    for moment, codes in enumerate(_moments(w, direction, strengths, alpha, limit)):
        report = None
        if progress is not None:
            before = drawn

            def report(step: int, total: int, preview: Tensor | None = None, before: int = before) -> None:
                progress(before + step, len(strengths) * len(w), preview)

        pictures = generator.synthesize(codes, progress=report)
        drawn += len(w)
        pictures = to_rgb(pictures).to("cpu", torch.float32).movedim(1, -1).add(1).mul(0.5).clamp(0, 1)
        for place in (k for k, shown in enumerate(order) if shown == moment):
            if per_frame == 1:
                film[place :: len(order)] = pictures
            else:
                _lay_out(film[place], pictures)
    return film


def _moments(
    w: Tensor, direction: EditDirection, strengths: Sequence[float], alpha: Tensor | None, limit: float | None
) -> Iterator[Tensor]:
    for strength in strengths:
        if alpha is None:
            yield apply_edit(w, direction, plan_strength(direction, w, strength, limit=limit).alpha)
        else:
            yield apply_edit(w, direction, strength * alpha)


def _lay_out(frame: Tensor, pictures: Tensor) -> None:
    """Pictures [B, h, w, 3] into a frame [H, W, 3], row by row; places left over stay as they are."""
    height, width = pictures.shape[1:3]
    columns = frame.shape[1] // width
    for k, picture in enumerate(pictures):
        y, x = k // columns * height, k % columns * width
        frame[y : y + height, x : x + width] = picture
