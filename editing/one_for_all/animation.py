"""Animation: the batch at many strengths, one after the other, as a film of the slider.

Two ways of moving. Along its *own path*, each picture goes from what it is to where its strength takes it. With the
*slider*, all pictures follow the strength slider itself, so that at every moment all are in one state, the example's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ..common.pictures import as_images
from ..common.progress import Progress, stage
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
_MAX_BYTES = 8 * 2**30  # of all frames together: beyond it, a film belongs into parts


def eased_strengths(count: int, start: float, end: float, easing: str = "smooth") -> list[float]:
    """Return ``count`` strengths from start to end; both ends are exact.

    Raises:
        InputError: an unknown easing, or fewer than two frames.
    """
    check_choice("easing", easing, EASINGS)
    if count < 2:
        raise InputError(f"An animation needs at least 2 frames; got {count}.")
    shares = [EASINGS[easing](k / (count - 1)) for k in range(count)]
    return [start + (end - start) * min(1.0, max(0.0, share)) for share in shares[:-1]] + [end]


def play_order(count: int, loop: str) -> list[int]:
    """Return the frames in playing order; "there and back" shows neither end twice, so that it repeats evenly.

    Raises:
        InputError: an unknown loop.
    """
    check_choice("loop", loop, LOOPS)
    forward = list(range(count))
    return forward + forward[-2:0:-1] if loop == LOOPS[1] else forward


def frame_layout(pictures: int, height: int, width: int, columns: int, layout: str) -> tuple[int, int, int]:
    """Return pictures per frame, and height and width of a frame, for pictures of height x width.

    Raises:
        InputError: an unknown layout, or a negative number of columns.
    """
    check_choice("layout", layout, LAYOUTS)
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
    progress: Progress | None = None,  # counts drawn pictures
) -> Tensor:
    """Draw the frames, one moment at a time and each just once; the fine grain stays still.

    Returns:
        [N, H, W, 3] in 0..1, on the CPU: N moments of all pictures, or each picture's moments in turn.

    Raises:
        InputError: no moments, codes that do not fit, or more frames than memory should hold.
    """
    order = play_order(len(strengths), loop)
    if len(strengths) < 2:
        raise InputError(f"An animation needs at least 2 frames; got {len(strengths)}.")
    height, width = generator.resolution
    per_frame, tall, wide = frame_layout(len(w), height, width, columns, layout)
    count = len(order) * (len(w) // per_frame)
    if count * tall * wide * 3 * 4 > _MAX_BYTES:
        raise InputError(
            f"The animation would have {count} frames of {wide} x {tall}, {count * tall * wide * 12 / 2**30:.0f} GiB. "
            "Take fewer frames, or fewer pictures with Select Latents."
        )
    film = torch.zeros(count, tall, wide, 3) if per_frame == 1 else torch.ones(count, tall, wide, 3)
    for moment, codes in enumerate(_moments(w, direction, strengths, alpha, limit)):
        drawing = stage(progress, moment * len(w), len(strengths) * len(w))
        pictures = as_images(generator.synthesize(codes, progress=drawing)).cpu()
        for frame in (k for k, moment_of_frame in enumerate(order) if moment_of_frame == moment):
            if per_frame == 1:
                film[frame :: len(order)] = pictures
            else:
                _lay_out(film[frame], pictures)
    return film


def _moments(
    w: Tensor, direction: EditDirection, strengths: Sequence[float], alpha: Tensor | None, limit: float | None
) -> Iterator[Tensor]:
    """Yield the codes [B, L, D] of each moment."""
    for strength in strengths:
        if alpha is None:
            yield apply_edit(w, direction, plan_strength(direction, w, strength, limit=limit).alpha)
        else:
            yield apply_edit(w, direction, strength * alpha)


def _lay_out(frame: Tensor, pictures: Tensor) -> None:
    """Copy pictures [B, h, w, 3] into a frame [H, W, 3], row by row; tiles that are left over stay as they are."""
    height, width = pictures.shape[1:3]
    columns = frame.shape[1] // width
    for k, picture in enumerate(pictures):
        y, x = k // columns * height, k % columns * width
        frame[y : y + height, x : x + width] = picture
