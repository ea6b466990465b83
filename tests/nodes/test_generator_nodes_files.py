"""Save Latents and Load Latents: files, pictures that carry codes, and nothing overwritten."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from semantic_edit.models import InputError


@pytest.fixture
def sampled(run_node, tiny_generator):
    return run_node("SampleLatents", generator=tiny_generator, count=3, seed=5)[0][0]


@pytest.fixture
def images(run_node, tiny_generator, sampled):
    return run_node("GenerateImages", generator=tiny_generator, latents=sampled)[0][0]


def test_saved_codes_are_listed_and_come_back(run_node, headless_host, sampled):
    (first,), shown = run_node("SaveLatents", latents=sampled, name="set/mine")
    (second,), _ = run_node("SaveLatents", latents=sampled, name="set/mine")
    assert (first, second) == ("set/mine_00001_.safetensors", "set/mine_00002_.safetensors")
    assert shown == {"text": ["Saved set/mine_00001_.safetensors"]}
    assert [name.replace("\\", "/") for name in headless_host.list_models("latents")] == [first, second]
    (loaded,), _ = run_node("LoadLatents", source="file", file=headless_host.list_models("latents")[0], picture="")
    assert torch.equal(loaded.codes, sampled.codes)
    assert (loaded.names, loaded.family) == (sampled.names, sampled.family)
    assert not loaded.codes.is_inference()


def test_pictures_carry_their_own_codes(run_node, headless_host, sampled, images):
    hidden = {"prompt": {"1": {}}, "extra_pnginfo": {"workflow": {"nodes": []}}}
    _, shown = run_node("SaveLatents", hidden=hidden, latents=sampled, name="faces", images=images)
    names = [f"faces_0000{k}_.png" for k in (1, 2, 3)]
    assert [entry["filename"] for entry in shown["images"]] == names
    folder = headless_host.output_directory() / "semantic_edit" / "latents"
    assert sorted(file.name for file in folder.iterdir()) == sorted([*names, "faces_00001_.safetensors"])
    (folder / names[1]).rename(headless_host.input_directory() / "second.png")
    (loaded,), _ = run_node("LoadLatents", source="picture", file="", picture="second.png")
    assert torch.equal(loaded.codes, sampled.codes[1:2])
    assert loaded.names == (sampled.names[1],) and loaded.family == sampled.family
    with Image.open(folder / names[0]) as picture:
        assert picture.text["workflow"] == '{"nodes": []}' and picture.size == (32, 32)


def test_nothing_is_overwritten_when_pictures_are_saved_twice(run_node, headless_host, sampled, images):
    for _ in range(2):
        run_node("SaveLatents", latents=sampled, name="faces", images=images)
    folder = headless_host.output_directory() / "semantic_edit" / "latents"
    assert len(list(folder.glob("*.png"))) == 6 and len(list(folder.glob("*.safetensors"))) == 2


def test_the_number_of_pictures_must_fit(run_node, headless_host, sampled, images):
    with pytest.raises(InputError, match="2 images for 3 codes"):
        run_node("SaveLatents", latents=sampled, images=images[:2])
    assert not list(headless_host.output_directory().rglob("*"))


@pytest.mark.parametrize("name", ["", "../out", "/tmp/x", "a/../../b", "C:\\x", ".hidden"])
def test_names_cannot_leave_the_folder(run_node, headless_host, sampled, images, name):
    with pytest.raises(InputError, match="file name"):
        run_node("SaveLatents", latents=sampled, name=name, images=images)
    assert not list(headless_host.output_directory().rglob("*"))


def test_empty_folders_are_readable_entries_and_sentences(run_node):
    from semantic_edit.nodes.generator.load_latents import LoadLatents

    _, file, picture, _ = LoadLatents.GET_SCHEMA().inputs
    assert "nothing here yet" in file.options[0] and "no PNG" in picture.options[0]
    with pytest.raises(InputError, match="There are no latents yet. Put .safetensors"):
        run_node("LoadLatents", source="file", file=file.options[0], picture=picture.options[0])
    with pytest.raises(InputError, match="There is no PNG in .*Upload a picture saved by Save Latents"):
        run_node("LoadLatents", source="picture", file=file.options[0], picture=picture.options[0])


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "sub/x.png", "absent.png"])
def test_pictures_outside_the_list_are_refused(run_node, headless_host, name):
    for file in (headless_host.input_directory().parent / "secret.png", headless_host.input_directory() / "a.png"):
        Image.new("RGB", (4, 4)).save(file)
    with pytest.raises(InputError, match="no PNG named"):
        run_node("LoadLatents", source="picture", file="", picture=name)
    with pytest.raises(InputError, match="a.png carries no code"):
        run_node("LoadLatents", source="picture", file="", picture="a.png")
    with pytest.raises(InputError, match="Unknown source 'web'"):
        run_node("LoadLatents", source="web", file="", picture="a.png")


def test_a_picture_below_the_input_folder_is_found(run_node, headless_host, sampled, images):
    run_node("SaveLatents", latents=sampled, name="faces", images=images)
    saved = sorted(headless_host.output_directory().rglob("*.png"))[0]
    uploaded = headless_host.input_directory() / "semantic_edit" / "face.png"  # where --server puts what it sends
    uploaded.parent.mkdir()
    uploaded.write_bytes(saved.read_bytes())
    (loaded,), _ = run_node("LoadLatents", source="picture", file="", picture="semantic_edit/face.png")
    assert torch.equal(loaded.codes, sampled.codes[:1])


def test_only_the_list_that_is_used_is_checked_before_the_work(run_node, headless_host, sampled, images):
    from semantic_edit.nodes.generator.load_latents import LoadLatents

    run_node("SaveLatents", latents=sampled, name="faces", images=images)
    file = headless_host.list_models("latents")[0]
    Image.new("RGB", (4, 4)).save(headless_host.input_directory() / "a.png")
    assert LoadLatents.validate_inputs(source="file", file=file, picture="of another machine.png") is True
    assert LoadLatents.validate_inputs(source="picture", file="of another machine", picture="a.png") is True
    assert LoadLatents.validate_inputs(source=None, file=None, picture=None) is True  # all of them by wire
    assert "There is no file" in LoadLatents.validate_inputs(source="file", file="gone.safetensors", picture="a.png")
    assert "no PNG named 'gone.png'" in LoadLatents.validate_inputs(source="picture", file=file, picture="gone.png")
    assert "Unknown source 'web'" in LoadLatents.validate_inputs(source="web", file=file, picture="a.png")
    assert (
        LoadLatents.validate_inputs(source="file", file=5, picture="") == "file is '5'; expected a name from its list."
    )


def test_a_replaced_file_or_picture_is_read_again(run_node, headless_host, sampled, images):
    from semantic_edit.nodes.generator.load_latents import LoadLatents

    (file,), _ = run_node("SaveLatents", latents=sampled, name="faces", images=images)
    picture = headless_host.input_directory() / "p.png"
    Image.new("RGB", (4, 4)).save(picture)
    choices = {"file": headless_host.list_models("latents")[0], "picture": "p.png"}
    before = [LoadLatents.fingerprint_inputs(source=source, **choices) for source in ("file", "picture")]
    Image.new("RGB", (9, 9)).save(picture)
    (headless_host.output_directory() / "semantic_edit" / "latents" / file).touch()
    after = [LoadLatents.fingerprint_inputs(source=source, **choices) for source in ("file", "picture")]
    assert before[0] != after[0] and before[1] != after[1]
    assert LoadLatents.fingerprint_inputs(source=None, file=None, picture=None).strip() == ""
