"""The pack's safetensors files: atomic writing, honest headers, equal bytes for equal content."""

from __future__ import annotations

import json
import os

import pytest
import torch
from semantic_edit.models import CheckpointError, read_metadata, read_safetensors, write_safetensors
from semantic_edit.models import checkpoint as checkpoint_module
from semantic_edit.models.checkpoint import parse_json, sort_header


def test_there_and_back(tmp_path):
    base = torch.randn(4, 6)
    tensors = {
        "plain": base,
        "view": base[1:3],
        "transposed": base.t(),
        "again": base,  # shared storage
        "trainable": torch.nn.Parameter(torch.randn(2)),
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 5),
        "bf16": torch.randn(3).bfloat16(),
        "flags": torch.tensor([True, False]),
        "ints": torch.arange(5),
    }
    path = write_safetensors(tmp_path / "deep" / "x.safetensors", tensors, "latents", {"a": [1, None]}, {"b": "ü"}, "f")
    read, header = read_safetensors(path, "latents")
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor.detach()), name
        assert not read[name].requires_grad
    assert header["format"] == "semantic_edit" and header["kind"] == "latents" and header["family"] == "f"
    assert json.loads(header["config"]) == {"a": [1, None]} and json.loads(header["provenance"]) == {"b": "ü"}
    assert read_metadata(path, "latents") == header


def test_equal_content_makes_equal_files(tmp_path):
    tensors = {name: torch.ones(3) for name in "cab"}
    config = {"z": 1, "a": "é"}
    paths = [tmp_path / f"{k}.safetensors" for k in range(3)]
    write_safetensors(paths[0], tensors, "latents", config, family="f")
    write_safetensors(paths[1], tensors, "latents", dict(reversed(config.items())), family="f")
    write_safetensors(paths[2], dict(reversed(tensors.items())), "latents", config, family="f")
    assert paths[0].read_bytes() == paths[1].read_bytes() == paths[2].read_bytes()


def test_a_reordered_header_keeps_its_length():
    header = b'{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"z":"1","a":"2"}}   '
    ordered = sort_header(header)
    assert len(ordered) == len(header) and json.loads(ordered) == json.loads(header)
    assert ordered.startswith(b'{"__metadata__":{"a":"2","z":"1"}')
    assert sort_header(b'{"a":"\\u00e9\\ud83d\\ude00"}   ') is not None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write_safetensors(tmp_path / "x.safetensors", {"a": torch.zeros(3)}, "latents")
    before = path.read_bytes()
    for step in ("save", "sort_header", "atomic_write"):

        def fail(*_arguments):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint_module, step, fail)
            with pytest.raises(KeyboardInterrupt):
                write_safetensors(path, {"a": torch.ones(3)}, "latents")
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["x.safetensors"]
    write_safetensors(path, {"a": torch.ones(3)}, "latents")
    assert torch.equal(read_safetensors(path)[0]["a"], torch.ones(3))
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_only_safetensors_names_are_written(tmp_path):
    for name in ("x.pt", "x", "x.safetensors.pkl"):
        with pytest.raises(CheckpointError, match="must end in .safetensors"):
            write_safetensors(tmp_path / name, {"a": torch.zeros(1)}, "latents")
    assert os.listdir(tmp_path) == []


def test_the_kind_is_checked_by_name(tmp_path):
    path = write_safetensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, "latents")
    assert read_safetensors(path)[1]["kind"] == "latents"
    for reader in (read_safetensors, read_metadata):
        with pytest.raises(CheckpointError, match="x.safetensors is not a 'direction' file: it holds 'latents'"):
            reader(path, "direction")


def test_header_fields_that_are_no_json_object():
    assert parse_json({}, "config", "x") == {} and parse_json({"config": ""}, "config", "x") == {}
    for text in ("{", "[]", "3", '"a"', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"):
        with pytest.raises(CheckpointError, match="x: its header field 'config' is damaged"):
            parse_json({"config": text}, "config", "folder/x")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_in_files_of_the_pack(tmp_path, value):
    path = write_safetensors(tmp_path / "x.safetensors", {"a": torch.tensor([0.0, value])}, "thing")
    with pytest.raises(CheckpointError, match="'a' holds numbers that are not finite"):
        read_safetensors(path, "thing")
    assert not torch.isfinite(read_safetensors(path)[0]["a"]).all()
