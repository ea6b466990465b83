"""Directions and folders of pictures, as files: whole, damaged, and of every kind people have."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from semantic_edit.editing.one_for_all.attributes import fit_to_generator, slide_attribute
from semantic_edit.models import CheckpointError, InputError, write_safetensors
from semantic_edit.models.files.direction import read_direction, write_direction
from semantic_edit.models.files.picture_batch import read_pictures
from semantic_edit.models.files.picture_formats import list_pictures


def test_a_direction_survives_its_file(tmp_path):
    d, v, example = torch.randn(6, 8), torch.randn(6, 8), torch.randn(2, 6, 8)
    path = write_direction(tmp_path / "a.safetensors", d, v, (0, 2), 1.5, -2.0, "m", "f", "lift", example)
    read = read_direction(path)
    for name, value in (("direction", d), ("normal", v), ("example", example)):
        assert torch.equal(read[name], value)
    assert (read["layers"], read["start"], read["offset"]) == ((0, 2), 1.5, -2.0)
    assert (read["method"], read["family"], read["name"]) == ("m", "f", "lift")


def test_what_a_file_does_not_know_is_none(tmp_path):
    read = read_direction(write_direction(tmp_path / "bare.safetensors", torch.randn(1, 8)))
    assert read["normal"] is None and read["layers"] is None and read["start"] is None and read["example"] is None
    assert read["name"] == "bare" and read["family"] == ""


@pytest.mark.parametrize(
    ("tensors", "config", "words"),
    [
        ({"wrong": torch.ones(2, 4)}, {}, "no tensor 'direction'"),
        ({"direction": torch.ones(2, 4, dtype=torch.int64)}, {}, "expected numbers"),
        ({"direction": torch.full((2, 4), float("nan"))}, {}, "not finite"),
        ({"direction": torch.ones(2, 4), "normal": torch.ones(3, 4)}, {}, "normal has shape"),
        ({"direction": torch.ones(2, 4)}, {"layers": [0, 9]}, "edited rows"),
        ({"direction": torch.ones(2, 4)}, {"layers": "all"}, "edited rows"),
        ({"direction": torch.ones(2, 4)}, {"start": "much"}, "'start' should be a number"),
        ({"direction": torch.ones(2, 4)}, {"name": 3}, "'name' should be text"),
        ({"direction": torch.ones(2, 4), "example": torch.ones(2, 4)}, {}, "example codes"),
    ],
)
def test_damaged_direction_files_are_named(tmp_path, tensors, config, words):
    path = write_safetensors(tmp_path / "bad.safetensors", tensors, "direction", config)
    with pytest.raises(CheckpointError, match=words) as error:
        read_direction(path)
    assert "bad.safetensors" in str(error.value)


def test_a_generator_file_is_no_direction(tmp_path):
    path = write_safetensors(tmp_path / "g.safetensors", {"direction": torch.ones(2, 4)}, "generator")
    with pytest.raises(CheckpointError, match="'direction' file"):
        read_direction(path)


def test_one_row_serves_all_and_strangers_are_refused(tiny_generator):
    g = tiny_generator
    one = fit_to_generator(g, torch.ones(1, g.w_dim), name="age")
    assert one.direction.shape == (g.num_layers, g.w_dim) and len(one.layers) == g.num_layers
    some = fit_to_generator(g, torch.ones(1, g.w_dim), layers=(0, 1))
    assert not bool(some.direction[2:].any())
    with pytest.raises(InputError, match="another generator"):
        fit_to_generator(g, torch.ones(1, g.w_dim + 1))
    with pytest.raises(InputError, match="another generator"):
        fit_to_generator(g, torch.ones(g.num_layers + 1, g.w_dim))
    with pytest.raises(InputError, match="elsewhere.*family"):
        fit_to_generator(g, torch.ones(1, g.w_dim), family="elsewhere")


def test_sliding(tiny_generator):
    g = tiny_generator
    direction = fit_to_generator(g, torch.ones(1, g.w_dim), name="age")
    w = torch.zeros(1, g.num_layers, g.w_dim)
    assert torch.equal(slide_attribute(w, direction, 2.0), torch.full_like(w, 2.0))
    moved = slide_attribute(w, direction, 2.0, rows=(0,))
    assert float(moved[0, 0].min()) == 2.0 and not bool(moved[0, 1:].any())
    with pytest.raises(InputError, match="amount of 0"):
        slide_attribute(w, direction, 0.0)
    with pytest.raises(InputError, match="acts on rows"):
        slide_attribute(w, fit_to_generator(g, torch.ones(1, g.w_dim), layers=(0,)), 1.0, rows=(1,))


def picture(path, size=(20, 10), mode="RGB", colour=(255, 0, 0), **options):
    Image.new(mode, size, colour).save(path, **options)
    return path


def test_mixed_sizes_and_modes_become_one_batch(tmp_path):
    picture(tmp_path / "10.png", (40, 20))
    picture(tmp_path / "2.jpg", (16, 32), colour=(0, 255, 0))
    picture(tmp_path / "grey.png", (8, 8), "L", 128)
    picture(tmp_path / "see.png", (8, 8), "RGBA", (0, 0, 255, 0))
    picture(tmp_path / "palette.gif", (8, 8), "P", 0)
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / "sixteen.png")
    files = list_pictures(tmp_path)
    assert [f.name for f in files] == ["2.jpg", "10.png", "grey.png", "palette.gif", "see.png", "sixteen.png"]
    batch = read_pictures(files, (12, 16))
    assert batch.images.shape == (6, 12, 16, 3) and batch.masks.shape == (6, 12, 16)
    assert batch.names[1] == "10.png" and not batch.skipped
    assert torch.allclose(batch.images[1], torch.tensor([1.0, 0.0, 0.0]).expand(12, 16, 3), atol=0.01)
    assert torch.allclose(batch.images[4], torch.ones(12, 16, 3)) and float(batch.masks[4].min()) == 1.0
    assert float(batch.images[5].mean()) == pytest.approx(0.5, abs=0.01)


def test_fits(tmp_path):
    left_red = Image.new("RGB", (40, 20), (0, 0, 0))
    left_red.paste((255, 0, 0), (0, 0, 10, 20))
    left_red.save(tmp_path / "wide.png")
    files = list_pictures(tmp_path)
    assert read_pictures(files, None).images.shape == (1, 20, 40, 3)
    crop = read_pictures(files, (20, 20), "crop")
    assert float(crop.images[..., 0].mean()) < 0.1
    stretch = read_pictures(files, (20, 20), "stretch")
    assert float(stretch.images[..., 0].mean()) == pytest.approx(0.25, abs=0.05)
    pad = read_pictures(files, (20, 20), "pad", background=(0, 255, 0))
    assert float(pad.masks.mean()) == pytest.approx(0.5) and float(pad.images[0, 0, :, 1].min()) == 1.0


def test_a_bad_file_is_reported_and_the_rest_load(tmp_path):
    picture(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("not a picture")
    content = picture(tmp_path / "cut.jpg", (200, 200)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.webp").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("ignored")
    batch = read_pictures(list_pictures(tmp_path), (10, 20))
    assert batch.names == ("good.png",)
    assert [sentence.split(":")[0] for sentence in batch.skipped] == ["cut.jpg", "empty.webp", "text.png"]
    assert "text.png: not a picture" in batch.skipped


def test_no_readable_picture_is_an_error(tmp_path):
    with pytest.raises(InputError, match="No picture could be read"):
        read_pictures(list_pictures(tmp_path), None)
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(InputError, match="a.png: not a picture"):
        read_pictures(list_pictures(tmp_path), None)


def test_phones_store_the_turn_beside_the_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "turned.jpg", (20, 10), exif=exif)
    assert read_pictures(list_pictures(tmp_path), None).images.shape == (1, 20, 10, 3)


def test_header_json_that_is_not_json(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "odd.safetensors"
    for text in ("{", json.dumps([1]), "[" * 5000):
        header = {"format": "semantic_edit", "kind": "direction", "config": text}
        save_file({"direction": torch.ones(1, 4)}, path, header)
        with pytest.raises(CheckpointError, match="'config' is damaged"):
            read_direction(path)
