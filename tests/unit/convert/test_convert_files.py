"""Cut files and impossible destinations: nothing half-done stays, and nothing is overwritten by accident."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from semantic_edit.models import CheckpointError, load_generator
from semantic_edit.models.convert import convert_file
from semantic_edit.models.files.storage import StorageError


@pytest.mark.parametrize("kind", ["nvlabs", "tensorflow", "archive", "old", "npy"])
def test_truncated_anywhere(forge, refuses, make_network, kind):
    network = make_network(channels=(4, 4), z_dim=4, w_dim=4, mapping_layers=1)
    buffer = io.BytesIO()
    if kind == "nvlabs":
        content = forge.dumps(forge.nvlabs_snapshot(network, True), 4)
    elif kind == "tensorflow":
        content = forge.dumps(forge.tensorflow_snapshot(network))
    elif kind == "npy":
        np.save(buffer, np.ones((1, 64), np.float32))
        content = buffer.getvalue()
    else:
        torch.save(network.state_dict(), buffer, _use_new_zipfile_serialization=kind == "archive")
        content = buffer.getvalue()
    lengths = {1, 2, 7, 8, 9, 40, len(content) - 1, len(content) - 9, *range(50, len(content), len(content) // 12)}
    for length in sorted(lengths):
        refuses(content[:length])


@pytest.fixture
def good(forge, tmp_path, make_network):
    path = tmp_path / "good.pkl"
    path.write_bytes(forge.dumps(forge.nvlabs_snapshot(make_network(), True)))
    return path


def test_an_existing_file_is_replaced_only_when_told(good, tmp_path):
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"precious")
    with pytest.raises(CheckpointError, match="exists already.*--overwrite"):
        convert_file(good, target, lambda text: None)
    assert target.read_bytes() == b"precious"
    bad = tmp_path / "bad.pkl"
    bad.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(CheckpointError):
        convert_file(bad, target, lambda text: None, overwrite=True)
    assert target.read_bytes() == b"precious"
    convert_file(good, target, lambda text: None, overwrite=True)
    assert target.stat().st_size > 1000


@pytest.mark.parametrize(
    ("source", "destination", "words"),
    [
        ("good.pkl", "out.pt", "should end in .safetensors"),
        ("good.pkl", "folder.safetensors", "is a folder"),
        ("good.pkl", "nowhere/out.safetensors", "folder of out.safetensors does not exist"),
        ("folder.safetensors", "out.safetensors", "is a folder"),
        ("missing.pkl", "out.safetensors", "does not exist"),
    ],
)
def test_paths_that_cannot_be(good, tmp_path, source, destination, words):
    (tmp_path / "folder.safetensors").mkdir()
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match=words):
        convert_file(tmp_path / source, tmp_path / destination, lambda text: None)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_failing_disk_leaves_nothing(good, tmp_path, monkeypatch):
    """The write fails half-way: no half file, no temporary file."""

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(StorageError, match="out.safetensors was not saved: the folder .* is full .*Make room and try"):
        convert_file(good, tmp_path / "out.safetensors", lambda text: None)
    assert [path.name for path in tmp_path.iterdir()] == ["good.pkl"]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({}, "has no readable 'config'"),
        ({"config": "{"}, "config"),
        ({"config": "[]"}, "config"),
        ({"config": '{"z_dim": 4}'}, "lacks: channels, w_dim"),
        ({"config": '{"z_dim": 4, "w_dim": 4, "channels": [4], "colour": 1}'}, "unknown fields: colour"),
        ({"config": '{"z_dim": 4, "w_dim": 4, "channels": [65536, 65536, 65536]}'}, "lacks"),
        ({"config": '{"z_dim": 1e9, "w_dim": 4, "channels": [4]}'}, "z_dim"),
    ],
    ids=str,
)
def test_generator_files_whose_header_lies(tmp_path, header, words):
    """A sentence that names the file, before memory is spent on what the header promises."""
    path = tmp_path / "lie.safetensors"
    save_file({"w": torch.zeros(1)}, str(path), {"format": "semantic_edit", "kind": "generator", **header})
    with pytest.raises(CheckpointError, match=words) as caught:
        load_generator(path)
    assert str(caught.value).startswith("lie.safetensors")
