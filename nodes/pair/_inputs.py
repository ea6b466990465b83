"""Inputs of the nodes that take photos to their own noise and back."""

from __future__ import annotations

from torch import Tensor

from ...editing.pair.settings import PairSampling
from ...host import io
from ...models.errors import InputError
from ..common.schema import came_later

EDIT_THRESHOLD = 0.9  # of new nodes
BLOCKS_TOOLTIP = "Strengths of single blocks, one a line: 'middle_block.1: 0.5'; from Localize Pair Edit or by hand."


def steps_input() -> io.Int.Input:
    """Return the number of steps each way."""
    return io.Int.Input(
        "steps",
        default=PairSampling().steps,
        min=1,
        max=1000,
        tooltip="Steps to the photo's own noise, and as many back. More keep the photo better.",
    )


def at_once_input() -> io.Int.Input:
    """Return how many pictures go through the network together."""
    return io.Int.Input(
        "at_once",
        display_name="pictures at once",
        default=PairSampling().at_once,
        min=1,
        max=1024,
        optional=True,
        tooltip="Pictures that go through the model together. More are faster on a large card; with 1 a picture comes "
        "out the same to the byte in every batch.",
    )


def unedited_input() -> io.Float.Input:
    """Return the share of steps that the slider leaves alone."""
    return io.Float.Input(
        "unedited",
        default=PairSampling().unedited,
        min=0.0,
        max=1.0,
        step=0.05,
        optional=True,
        tooltip="Share of the first steps without the edit: they decide pose and layout.",
    )


def one_pass_input() -> io.Boolean.Input:
    """Return whether the slider is applied plainly."""
    return io.Boolean.Input(
        "one_pass",
        display_name="one pass",
        default=PairSampling().one_pass,
        optional=True,
        tooltip="Three times as fast: the slider at half the strength, nothing left out. Good with sliders learned by "
        "content first; others bring the pair's person along.",
    )


def edit_threshold_input() -> io.Float.Input:
    """Return the share of a picture that the edit leaves alone."""
    widget = io.Float.Input(
        "edit_threshold",
        default=EDIT_THRESHOLD,
        min=0.0,
        max=0.99,
        step=0.01,
        optional=True,
        tooltip="Share of the picture that the edit leaves alone, where it changes least: people and backgrounds stay. "
        "0: it acts everywhere. A change that is everywhere alike is kept at any threshold.",
    )
    return came_later(widget, 0.0)


def strength_per_block_input(tooltip: str) -> io.String.Input:
    """Return the strengths of blocks that are set by hand."""
    return io.String.Input("strength_per_block", default="", multiline=True, optional=True, tooltip=tooltip)


def check_sizes(before: Tensor, after: Tensor) -> None:
    """Refuse pictures [K, H, W, 3] of two sizes, before they are encoded.

    Raises:
        InputError: when they are.
    """
    if before.shape[1:3] != after.shape[1:3]:
        sizes = [f"{picture.shape[2]} x {picture.shape[1]}" for picture in (before, after)]
        raise InputError(
            f"The picture before has {sizes[0]} pixels and the one after {sizes[1]}; both have to be of one size: "
            "crop or scale them alike."
        )
