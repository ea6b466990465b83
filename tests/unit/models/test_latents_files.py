"""Codes in safetensors files and inside PNG pictures, and every way in which such a file can be wrong."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from safetensors.torch import save, save_file
from semantic_edit.models.errors import CheckpointError
from semantic_edit.models.files.latents import KEYWORD, embed_latent, extract_latent, read_latent, write_latent

NAMES = ("anna.png", "seed 7 #1", "Größe ✓")


@pytest.fixture
def codes():
    return torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def picture(tmp_path):
    """A PNG of 64 x 48 px with a text of its own."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", '{"nodes": []}')
    Image.fromarray(pixels).save(tmp_path / "picture.png", pnginfo=info)
    return tmp_path / "picture.png"


def test_a_file_keeps_codes_names_and_family(tmp_path, codes):
    path = write_latent(tmp_path / "new" / "codes.safetensors", codes, NAMES, "fam")
    stored = read_latent(path)
    assert torch.equal(stored.codes, codes) and stored.names == NAMES and stored.family == "fam"


def test_what_is_read_under_inference_mode_may_be_optimised(tmp_path, codes, picture):
    with torch.inference_mode():
        path = write_latent(tmp_path / "codes.safetensors", codes.clone(), NAMES, "fam")
        embed_latent(picture, codes.clone()[0], "a", "fam")
        read = [read_latent(path).codes, extract_latent(picture).codes]
    assert not any(tensor.is_inference() for tensor in read)


def test_a_picture_carries_its_code_and_keeps_pixels_and_texts(picture, codes):
    pixels = np.asarray(Image.open(picture))
    embed_latent(picture, codes[1], NAMES[2], "fam")
    stored = extract_latent(picture)
    assert torch.equal(stored.codes, codes[1:2]) and stored.names == (NAMES[2],) and stored.family == "fam"
    with Image.open(picture) as image:
        assert image.text["workflow"] == '{"nodes": []}' and KEYWORD.decode() in image.text
        assert np.array_equal(np.asarray(image), pixels)
    assert [file.name for file in picture.parent.iterdir()] == ["picture.png"]


def test_embedding_again_replaces_the_code(picture, codes):
    embed_latent(picture, codes[0], "a", "fam")
    size = picture.stat().st_size
    embed_latent(picture, codes[1], "b", "fam")
    assert torch.equal(extract_latent(picture).codes, codes[1:2])
    assert abs(picture.stat().st_size - size) < 200


def test_the_same_codes_make_the_same_bytes(picture, codes):
    plain, pictures, files = picture.read_bytes(), set(), set()
    for _ in range(5):
        picture.write_bytes(plain)
        embed_latent(picture, codes[0], NAMES[2], "fam")
        pictures.add(picture.read_bytes())
        files.add(write_latent(picture.with_name("c.safetensors"), codes, NAMES, "fam\n\x7f\x01").read_bytes())
    assert len(pictures) == len(files) == 1


def test_rows_that_repeat_take_little_room(picture):
    size = picture.stat().st_size
    embed_latent(picture, torch.randn(1, 512).expand(18, -1), "a", "fam")
    assert picture.stat().st_size - size < 8 * 1024


def with_chunk(picture, body: bytes):
    """Put a text chunk of ours with any content into the picture."""
    content = picture.read_bytes()
    at = content.index(b"IDAT") - 4
    body = KEYWORD + b"\0\0" + body
    chunk = len(body).to_bytes(4, "big") + b"zTXt" + body + zlib.crc32(b"zTXt" + body).to_bytes(4, "big")
    picture.write_bytes(content[:at] + chunk + content[at:])


def packed(content: bytes) -> bytes:
    return zlib.compress(base64.b64encode(content))


def header(**changes) -> dict:
    return {"format": "semantic_edit", "kind": "latents", "config": "{}", "family": "f", **changes}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"no zlib", "damaged"),
        (zlib.compress(b"***"), "damaged"),
        (packed(b""), "damaged"),
        (packed(b"no safetensors at all"), "damaged"),
        (packed((2**60).to_bytes(8, "little") + b"{}"), "damaged"),
        (zlib.compress(b"A" * (80 * 2**20)), "does not end"),
        (packed(save({"codes": torch.zeros(1, 2, 3)})), "not a code of this pack"),
        (packed(save({"codes": torch.zeros(1, 2, 3)}, header(kind="direction"))), "not a code of this pack"),
        (packed(save({"other": torch.zeros(1, 2, 3)}, header())), "expected the tensor 'codes'"),
        (packed(save({"codes": torch.zeros(2, 3)}, header())), "expected the tensor 'codes'"),
        (packed(save({"codes": torch.zeros(1, 2, 3, dtype=torch.long)}, header())), "floating point"),
        (packed(save({"codes": torch.full((1, 2, 3), float("nan"))}, header())), "not finite"),
        (packed(save({"codes": torch.zeros(1, 2, 3)}, header(config="[]"))), "damaged"),
    ],
)
def test_hostile_and_damaged_pictures_are_a_sentence(picture, body, sentence):
    with_chunk(picture, body)
    with pytest.raises(CheckpointError, match=f"picture.png.*{sentence}"):
        extract_latent(picture)


def test_pictures_without_a_code(picture, tmp_path):
    with pytest.raises(CheckpointError, match="carries no code"):
        extract_latent(picture)
    Image.open(picture).save(tmp_path / "photo.jpg")
    with pytest.raises(CheckpointError, match="photo.jpg is no PNG"):
        extract_latent(tmp_path / "photo.jpg")
    with pytest.raises(CheckpointError, match="does not exist"):
        extract_latent(tmp_path / "nothing.png")
    with pytest.raises(CheckpointError, match="does not exist"):
        extract_latent(tmp_path)


def test_another_program_that_saves_the_picture_loses_the_code(picture, codes):
    embed_latent(picture, codes[0], "a", "fam")
    Image.open(picture).convert("RGB").save(picture)
    with pytest.raises(CheckpointError, match="carries no code"):
        extract_latent(picture)


def test_a_cut_picture_is_a_sentence_and_embedding_leaves_it(picture, codes):
    embed_latent(picture, codes[0], "a", "fam")
    content = picture.read_bytes()
    for length in (4, 8, 20, len(content) // 2, len(content) - 3):
        picture.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="picture.png is"):
            extract_latent(picture)
        with pytest.raises(CheckpointError, match="picture.png is"):
            embed_latent(picture, codes[0], "a", "fam")
        assert picture.read_bytes() == content[:length]
    assert [file.name for file in picture.parent.iterdir()] == ["picture.png"]


@pytest.mark.parametrize(
    ("tensors", "metadata", "sentence"),
    [
        ({"codes": torch.zeros(1, 2, 3)}, None, "not a 'latents' file"),
        ({"codes": torch.zeros(1, 2, 3)}, header(kind="generator"), "it holds 'generator'"),
        ({"w": torch.zeros(1, 2, 3)}, header(), "got none"),
        ({"codes": torch.zeros(0, 2, 3)}, header(), r"shape \[0, 2, 3\]"),
        ({"codes": torch.full((1, 2, 3), float("inf"))}, header(), "not finite"),
        ({"codes": torch.zeros(1, 2, 3)}, header(config="{"), "header field 'config' is damaged"),
    ],
)
def test_wrong_files_are_a_sentence(tmp_path, tensors, metadata, sentence):
    save_file(tensors, tmp_path / "codes.safetensors", metadata)
    with pytest.raises(CheckpointError, match=sentence):
        read_latent(tmp_path / "codes.safetensors")


def test_names_that_do_not_fit_are_replaced(tmp_path):
    config = json.dumps({"names": ["only one"]})
    save_file({"codes": torch.zeros(2, 2, 3)}, tmp_path / "pair.safetensors", header(config=config))
    assert read_latent(tmp_path / "pair.safetensors").names == ("pair #1", "pair #2")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_changed_byte_is_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("mutated")
    path = folder / "p.png"
    Image.new("RGB", (4, 4)).save(path)
    embed_latent(path, torch.ones(2, 3), "a", "fam")
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(at + 1, len(content)))]))
    try:
        stored = extract_latent(path)
    except CheckpointError as error:
        assert str(error).startswith("p.png")
    else:
        assert stored.codes.shape == (1, 2, 3)
