"""Targets: the state that pictures shall reach, as nodes ask for it."""

from __future__ import annotations

import torch
from torch import Tensor

from ...editing.state import StateReader
from ...host import io
from ...models.errors import InputError, check_choice
from .images import from_image_batch
from .schema import came_later
from .sockets import StateReaderType

STRENGTH_PENALTY = 2.0  # of new nodes: no photo fewer at the state, and people nearer to who they were
EXAMPLE, NUMBER, PICTURE, MEDIAN = AIMS = ("example", "number", "picture", "median")


def aim_inputs() -> list:
    """Return the inputs that name the state to reach."""
    return [
        io.Combo.Input(
            "aim",
            options=list(AIMS),
            tooltip="The state to reach. example: that of the reader's example after its edit. number: 'target'. "
            "picture: that of 'example_picture'. median: that of the middle one of the pictures.",
        ),
        io.Float.Input(
            "target",
            default=0.0,
            min=-1e6,
            max=1e6,
            step=0.01,
            tooltip="For number: the reading that all pictures shall have, in the reader's unit.",
        ),
        io.String.Input(
            "reading",
            default="",
            tooltip="Which of the reader's numbers counts, by its name. Empty: its first.",
        ),
    ]


def picture_input() -> io.Image.Input:
    """Return the input of a picture whose state is the target."""
    return io.Image.Input(
        "example_picture",
        optional=True,
        tooltip="For picture: one picture that shows the state to reach, or one for each picture.",
    )


def rounds_input() -> io.Int.Input:
    """Return how often pictures are corrected."""
    return io.Int.Input(
        "rounds", default=2, min=0, max=10, tooltip="How often pictures are drawn, read and corrected after that."
    )


def penalty_input() -> io.Float.Input:
    """Return the input that keeps pictures from being pushed on where the edit has done what it can."""
    widget = io.Float.Input(
        "strength_penalty",
        default=STRENGTH_PENALTY,
        min=0.0,
        max=100.0,
        step=0.1,
        optional=True,
        tooltip="What a strength costs. 0: the reading nearest to the state, at any strength. More: a picture whose "
        "reading hardly answers any more is not pushed to the end of the range, where all else changes.",
    )
    return came_later(widget, 0.0)


def reader_input(**more: object) -> StateReaderType.Input:
    """Return the input of a reader."""
    return StateReaderType.Input(
        "reader", tooltip="What reads pictures: Read From Example, Face, Mask or Text.", **more
    )


def one_reading(reader: StateReader, reading: str) -> StateReader:
    """Return a reader of one number: the named one, or the first.

    Raises:
        InputError: no such name; the sentence lists those there are.
    """
    return reader.select((reading.strip() or reader.names[0],))


def target_of(aim: str, number: float, reader: StateReader | None, picture: Tensor | None, readings: Tensor) -> Tensor:
    """Return the target of each picture, [B].

    Args:
        aim: of AIMS.
        reader: of one number; None where readings came as numbers.
        picture: IMAGE [1 or B, H, W, 3].
        readings: [B], of the pictures before an edit; NaN where one could not be read.

    Raises:
        InputError: what the aim needs is missing, cannot be read, or is of another number than the pictures.
    """
    check_choice("aim", aim, AIMS)
    count = len(readings)
    if aim == NUMBER:
        return torch.full((count,), float(number))
    if aim == MEDIAN:
        readable = readings[torch.isfinite(readings)]
        if not len(readable):
            raise InputError("aim is 'median', but none of the pictures can be read.")
        return readable.median().float().expand(count).clone()
    if reader is None:
        raise InputError(f"aim is '{aim}', which needs a reader; connect one, or choose 'number' or 'median'.")
    if aim == EXAMPLE:
        if reader.target is None:
            raise InputError(
                f"aim is 'example', but this reader ({reader.kind}) was not made from an example's edit. Choose "
                "'number' with a target, 'picture' with an example_picture, or 'median'."
            )
        return reader.target[0].expand(count).clone()
    if picture is None:
        raise InputError("aim is 'picture': connect example_picture, or choose another aim.")
    pictures = from_image_batch(picture)
    if len(pictures) not in (1, count):
        raise InputError(f"example_picture holds {len(pictures)} pictures; expected one, or one for each of {count}.")
    values = reader.read(pictures)[:, 0].cpu()
    if not bool(torch.isfinite(values).all()):
        reason = next(sentence for sentence in reader.explain(pictures) if sentence)
        raise InputError(f"example_picture cannot be read: {reason}.")
    return values.expand(count).clone()


def axis_title(reader: StateReader | None, fallback: str = "reading") -> str:
    """Return the name and the unit of the first number of a reader, for a plot."""
    if reader is None:
        return fallback
    unit = reader.units[0]
    return f"{reader.names[0]} ({unit})" if unit else reader.names[0]
