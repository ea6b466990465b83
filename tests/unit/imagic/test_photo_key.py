"""Learned photos are known again: their key depends on what they were learned with, and on nothing that is renamed."""

from __future__ import annotations

from dataclasses import replace

import torch
from semantic_edit.editing.imagic.batch import photo_key
from semantic_edit.editing.imagic.conditioning import Conditioning
from semantic_edit.editing.imagic.embedding import EmbeddingSettings
from semantic_edit.editing.imagic.tuning import TuneSettings


def key(photo=0.5, extras=None, tuning=None):
    conditioning = Conditioning(torch.ones(1, 3, 4), extras or {"strength": 0.5})
    return photo_key(
        "model", torch.full((2, 2, 3), photo), conditioning, None, EmbeddingSettings(), tuning or TuneSettings()
    )


def test_a_key_that_files_of_users_hold_stays():
    """Another name of a settings class or field would learn all saved photos again."""
    assert key() == "d1d5c36be5e20dd1476c6f3ef2079ee3"


def test_each_input_counts():
    changed = [key(photo=0.6), key(extras={"strength": 0.6}), key(tuning=replace(TuneSettings(), rank=8))]
    assert len({key(), *changed}) == 4
