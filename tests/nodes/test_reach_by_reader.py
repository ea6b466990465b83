"""Reach Common State with a reader: the state is what it sees in the pictures of the sweeps."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from semantic_edit.editing.imagic.batch import PhotoSweeps
from semantic_edit.editing.state import StateReader
from semantic_edit.models import InputError

ETAS = (0.2, 0.5, 0.8, 1.1)
SPEEDS = (0.5, 0.8, 1.2)  # how readily each photo answers
MOVED = {2: 3}  # the camera of the last photo moves at its last eta


def level(photo, eta):
    """Brightness of a photo at an eta: it rises, and saturates."""
    return 0.2 + 0.7 * (1 - math.exp(-SPEEDS[photo] * eta))


def picture(photo, eta):
    return torch.full((6, 6, 3), level(photo, eta))


@pytest.fixture
def sweeps():
    swept = [
        SimpleNamespace(
            images=torch.stack([torch.stack([picture(k, eta)] * 2) for eta in ETAS]),  # two seeds
            moves=[SimpleNamespace(moved=MOVED.get(k) == e) for e in range(len(ETAS))],
            etas=ETAS, best_eta=0.5, scores=(0.0,) * len(ETAS),
        )
        for k in range(3)
    ]  # fmt: skip
    return PhotoSweeps(("ann", "ben", "carl"), tuple(swept), picture)


@pytest.fixture
def reader():
    def read(pictures):
        return pictures.mean(dim=(1, 2, 3)).add(1).div(2)

    return StateReader(read, ("brightness",), noise=torch.tensor([0.002]), target=torch.tensor([0.45]))


def reach(run_node, sweeps, **inputs):
    return run_node("ReachCommonState", **{"sweeps": sweeps, "example": 0, "example_eta": 0.0, "shift": 0.0, **inputs})[
        0
    ]


def test_all_reach_the_state_of_the_readers_example(run_node, sweeps, reader):
    images, etas, plot, report = reach(run_node, sweeps, reader=reader)
    assert images.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.45] * 3, abs=0.01)
    assert etas[0] > etas[1] > etas[2] and "3 of 3 photos" in report and plot.shape == (1, 420, 760, 3)


def test_a_photo_or_a_picture_may_be_the_state_instead(run_node, sweeps, reader):
    like_ben, _, _, _ = reach(run_node, sweeps, reader=reader, example=2, example_eta=0.5)
    assert like_ben.mean(dim=(1, 2, 3)).tolist() == pytest.approx([level(1, 0.5)] * 3, abs=0.01)
    shown, _, _, _ = reach(run_node, sweeps, reader=reader, example_picture=torch.full((1, 6, 6, 3), 0.5), shift=-0.05)
    assert shown.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.45] * 3, abs=0.01)
    usual = StateReader(reader.of_pictures, ("brightness",))
    median, _, _, _ = reach(run_node, sweeps, reader=usual)
    assert median.mean(dim=(1, 2, 3)).tolist() == pytest.approx([level(1, 0.5)] * 3, abs=0.02)


def test_a_photo_is_not_sent_beyond_a_moved_camera_or_its_range(run_node, sweeps, reader):
    images, etas, _, report = reach(run_node, sweeps, reader=reader, shift=0.4)
    assert "0 of 3 photos" in report and "carl" in report and max(etas) <= 1.1
    falling = StateReader(lambda pictures: -reader.of_pictures(pictures), ("darkness",), target=torch.tensor([-0.45]))
    dark, _, _, _ = reach(run_node, sweeps, reader=falling)
    assert dark.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.45] * 3, abs=0.02)


def test_wrong_states_are_sentences(run_node, sweeps, reader):
    blind = StateReader(lambda pictures: pictures.new_full((len(pictures),), math.nan), ("nothing",))
    for inputs, sentence in (
        ({"example_picture": torch.ones(1, 6, 6, 3)}, "without a reader"),
        ({"reader": reader, "example_picture": torch.ones(2, 6, 6, 3)}, "holds 2 pictures"),
        ({"reader": blind, "example_picture": torch.ones(1, 6, 6, 3)}, "cannot be read"),
        ({"reader": reader, "example": 7}, "photo 7 of 3"),
        ({"reader": blind}, "must be"),
    ):
        with pytest.raises(InputError, match=sentence):
            reach(run_node, sweeps, **inputs)
