"""`semantic-edit info` says what a file holds, and a sentence for what is no such file."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from semantic_edit.models import CheckpointError
from semantic_edit.models.files.describe import describe_file
from semantic_edit.models.files.direction import write_direction


def test_a_converted_generator(forge, convert, make_network):
    path, _ = convert(forge.dumps(forge.nvlabs_snapshot(make_network(c_dim=3), True)), "cars.pkl")
    text = describe_file(path)
    first, *lines = text.splitlines()
    assert first.startswith("out.safetensors: generator, 0.0 MB")
    assert any(line.startswith("family: stylegan2-16x16-") for line in lines)
    for line in ("  c_dim: 3", "  channels: [10, 8, 6]", "  lr_multiplier: 0.02", '  source: "cars.pkl"'):
        assert line in lines
    assert any(line.strip().startswith("synthesis.b8: ") and "numbers" in line for line in lines)


def test_a_direction_is_listed_tensor_by_tensor(tmp_path):
    path = write_direction(
        tmp_path / "smile.safetensors", torch.ones(6, 16), layers=(0, 1), method="paper", name="smile"
    )
    lines = describe_file(path).splitlines()
    assert lines[0].startswith("smile.safetensors: direction") and "  direction [6, 16] float32" in lines
    assert "family: unknown (checked by shape when used)" in lines and "  layers: [0, 1]" in lines


def test_a_foreign_file(tmp_path):
    save_file({"weight": torch.zeros(3, 2, dtype=torch.float16)}, str(tmp_path / "lora.safetensors"))
    lines = describe_file(tmp_path / "lora.safetensors").splitlines()
    assert "does not come from Semantic Edit" in lines[0] and "  weight [3, 2] float16" in lines


def test_names_cannot_write_on_the_terminal(tmp_path):
    save_file({"a\x1b[2Jb\nc": torch.zeros(1)}, str(tmp_path / "x.safetensors"), {"kind": "\x9b0m"})
    text = describe_file(tmp_path / "x.safetensors")
    assert r"a\x1b[2Jb\nc [1] float32" in text and all(line.isprintable() for line in text.split("\n"))


def test_long_values_are_cut(tmp_path):
    write_direction(tmp_path / "long.safetensors", torch.ones(1, 16), name="x" * 5000)
    assert max(len(line) for line in describe_file(tmp_path / "long.safetensors").splitlines()) < 250


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.safetensors", b"\x90\x00\x00\x00\x00\x00\x00\x00{"),
        ("model.pkl", b"\x80\x02N."),
        ("none.safetensors", None),
    ],
)
def test_what_cannot_be_described(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        describe_file(tmp_path / name)
