"""ComfyUI's own nodes as the headless host offers them: files, pictures, masks, values."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from semantic_edit.headless.errors import WorkflowError
from semantic_edit.headless.run.runner import NodeFailure
from semantic_edit.headless.workflow.document import Prompt


def run(runner, kind, inputs, output="PreviewAny", slot=0, workflow=None):
    """Run one node and hand its output to an output node; returns the value."""
    socket = {"PreviewAny": "source", "SaveImage": "images"}[output]
    nodes = {
        "1": {"class_type": kind, "inputs": inputs, "_meta": {}},
        "2": {"class_type": output, "inputs": {socket: ["1", slot]}, "_meta": {}},
    }
    if output == "SaveImage":
        nodes["2"]["inputs"]["filename_prefix"] = "sub/pic"
    return runner.run(Prompt(nodes, workflow))


@pytest.fixture
def photo(headless_host):
    """A picture with transparency: red 200, alpha rising to the right."""
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[..., 3] = np.arange(6) * 51
    Image.fromarray(pixels).save(headless_host.input_directory() / "photo.png")
    return torch.from_numpy(pixels)


def test_a_picture_loads_with_its_transparency_as_mask(runner, photo):
    image, mask = run(runner, "LoadImage", {"image": "photo.png"}).values["1"]
    assert image[0].dtype == torch.float32 and torch.equal(image[0], photo[None, ..., :3].float() / 255)
    assert torch.equal(mask[0], 1 - photo[None, ..., 3].float() / 255)


def test_a_picture_without_transparency_gives_an_empty_mask(runner, headless_host):
    Image.new("RGB", (5, 3), (0, 255, 0)).save(headless_host.input_directory() / "plain.jpg")
    image, mask = run(runner, "LoadImage", {"image": "plain.jpg"}).values["1"]
    assert image[0].shape == (1, 3, 5, 3)
    assert torch.equal(mask[0], torch.zeros(1, 64, 64))


def test_rotation_and_frames_of_a_picture_are_followed(runner, headless_host):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "green", "blue")]
    frames[0].save(headless_host.input_directory() / "moving.png", save_all=True, append_images=frames[1:])
    assert run(runner, "LoadImage", {"image": "moving.png"}).values["1"][0][0].shape == (3, 4, 6, 3)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    frames[0].save(headless_host.input_directory() / "turned.jpg", exif=turned)
    assert run(runner, "LoadImage", {"image": "turned.jpg"}).values["1"][0][0].shape == (1, 6, 4, 3)


@pytest.mark.parametrize(("channel", "expected"), [("red", 200 / 255), ("green", 0.0)])
def test_a_channel_loads_as_mask(runner, photo, channel, expected):
    mask = run(runner, "LoadImageMask", {"image": "photo.png", "channel": channel}).values["1"][0][0]
    assert mask.shape == (1, 4, 6) and torch.allclose(mask, torch.tensor(expected))
    alpha = run(runner, "LoadImageMask", {"image": "photo.png", "channel": "alpha"}).values["1"][0][0]
    assert torch.equal(alpha, 1 - photo[None, ..., 3].float() / 255)


def test_a_changed_picture_runs_again(runner, photo, headless_host):
    graph = {"image": "photo.png"}
    assert run(runner, "LoadImage", graph).ran == ["1", "2"]
    assert run(runner, "LoadImage", graph).ran == []
    Image.new("RGB", (2, 2)).save(headless_host.input_directory() / "photo.png")
    assert run(runner, "LoadImage", graph).ran == ["1", "2"]


@pytest.mark.parametrize("name", ["gone.png", "../secret.png", "/etc/passwd", "", "a\0b.png", "photo.png [output]"])
def test_only_pictures_below_the_folder_load(runner, photo, headless_host, name):
    Image.new("RGB", (2, 2)).save(headless_host.input_directory().parent / "secret.png")
    with pytest.raises(WorkflowError, match=r"no picture|not in the folder"):
        run(runner, "LoadImage", {"image": name})


def test_a_file_that_is_no_picture_is_a_sentence(runner, headless_host):
    (headless_host.input_directory() / "text.png").write_text("hello")
    with pytest.raises(NodeFailure, match="'text.png' is not a picture that can be opened"):
        run(runner, "LoadImage", {"image": "text.png"})
    (headless_host.input_directory() / "eps.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for kind, inputs in (("LoadImage", {}), ("LoadImageMask", {"channel": "red"})):
        with pytest.raises(NodeFailure, match="'eps.png' is not a picture that can be opened"):
            run(runner, kind, {"image": "eps.png", **inputs})


def test_a_picture_above_the_limit_is_a_sentence(runner, headless_host, picture_forge):
    folder = headless_host.input_directory()
    (folder / "bomb.png").write_bytes(picture_forge.empty_png(13300, 13300, 0, 16))
    frames = [Image.new("L", (2000, 2000), k) for k in range(70)]
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(
        NodeFailure, match="'bomb.png' cannot be read: it has 13300 x 13300 pixels, 177 million; at most 134"
    ):
        run(runner, "LoadImageMask", {"image": "bomb.png", "channel": "red"})
    with pytest.raises(
        NodeFailure, match="'film.gif' cannot be read: it has 70 frames of 2000 x 2000 pixels, 280 million"
    ):
        run(runner, "LoadImage", {"image": "film.gif"})
    assert run(runner, "LoadImageMask", {"image": "film.gif", "channel": "red"}).values["1"][0][0].shape == (
        1,
        2000,
        2000,
    )


def test_odd_pictures_load_as_they_are_meant(runner, headless_host, picture_forge):
    folder = headless_host.input_directory()
    grey = np.linspace(0, 65535, 20).astype(np.uint16).reshape(4, 5)
    (folder / "grey.png").write_bytes(picture_forge.png(grey))
    expected = torch.from_numpy((grey / 257.0).round() / 255).float()
    assert torch.allclose(run(runner, "LoadImage", {"image": "grey.png"}).values["1"][0][0][0, ..., 1], expected)
    mask = run(runner, "LoadImageMask", {"image": "grey.png", "channel": "red"}).values["1"][0][0]
    assert torch.allclose(mask[0], expected)
    pixels = np.random.default_rng(1).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "wide.png", icc_profile=picture_forge.matrix_profile())
    image = run(runner, "LoadImage", {"image": "wide.png"}).values["1"][0][0]
    assert np.abs(image[0].numpy() * 255 - picture_forge.adobe_to_srgb(pixels)).max() < 1.01
    mask = run(runner, "LoadImageMask", {"image": "wide.png", "channel": "green"}).values["1"][0][0]
    assert torch.equal(mask[0], torch.from_numpy(pixels[..., 1]) / 255)  # a mask's numbers are no colours
    alpha = run(runner, "LoadImageMask", {"image": "wide.png", "channel": "alpha"}).values["1"][0][0]
    assert torch.equal(alpha, torch.zeros(1, 8, 9))


def test_frames_with_and_without_transparency_load_together(runner, headless_host):
    clear = Image.new("RGBA", (6, 4), (255, 0, 0, 255))
    clear.putpixel((2, 1), (0, 0, 0, 0))
    frames = [Image.new("RGB", (6, 4), "blue"), clear]
    frames[0].save(headless_host.input_directory() / "film.tif", save_all=True, append_images=frames[1:])
    image, mask = run(runner, "LoadImage", {"image": "film.tif"}).values["1"]
    assert image[0].shape == (2, 4, 6, 3) and torch.nonzero(mask[0]).tolist() == [[1, 1, 2]]


def test_a_saved_picture_loads_again_with_its_workflow_inside(runner, headless_host):
    workflow = {"nodes": [], "note": "ünïcode"}
    result = run(runner, "ToyNoise", {"seed": 5, "size": 8}, "SaveImage", workflow=workflow)
    assert result.ui["2"]["images"] == [{"filename": "pic_00001_.png", "subfolder": "sub", "type": "output"}]
    file = headless_host.output_directory() / "sub" / "pic_00001_.png"
    with Image.open(file) as saved:
        expected = (result.values["1"][0][0][0].numpy() * 255).astype(np.uint8)  # cut, not rounded
        assert np.array_equal(np.array(saved), expected)
        assert json.loads(saved.text["workflow"]) == workflow
        assert json.loads(saved.text["prompt"])["1"]["inputs"] == {"seed": 5, "size": 8}
    again = run(runner, "LoadImage", {"image": "sub/pic_00001_.png [output]"}).values["1"][0][0]
    assert torch.equal(again[0], torch.from_numpy(expected) / 255)
    assert [path.name for path in file.parent.iterdir()] == ["pic_00001_.png"]  # no half-written file


def test_numbers_go_on_where_files_end(runner, headless_host):
    folder = headless_host.output_directory() / "sub"
    folder.mkdir()
    (folder / "pic_00041_.png").touch()
    (folder / "picture_00099_.png").touch()
    result = run(runner, "ToyNoise", {"seed": 6, "size": 8}, "SaveImage")
    assert result.ui["2"]["images"][0]["filename"] == "pic_00042_.png"


def test_a_prefix_may_not_leave_the_folder(runner):
    nodes = {
        "1": {"class_type": "ToyNoise", "inputs": {"seed": 6, "size": 8}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "../../out"}},
    }
    with pytest.raises(NodeFailure, match="leads out of the output folder"):
        runner.run(Prompt(nodes))


def test_primitives_give_their_value(runner):
    values = {"Int": 2**40, "Float": 0.5, "Boolean": True, "String": "a", "StringMultiline": "a\nb"}
    for name, value in values.items():
        assert run(runner, f"Primitive{name}", {"value": value}).values["1"] == [[value]]


def test_masks_and_pictures_turn_into_each_other(runner):
    mask = run(runner, "SolidMask", {"value": 0.25, "width": 5, "height": 3}).values["1"][0][0]
    assert mask.shape == (1, 3, 5) and mask.unique().tolist() == [0.25]
    image = run(runner, "EmptyImage", {"width": 5, "height": 3, "batch_size": 2, "color": 0xFF0080})
    assert image.values["1"][0][0][1, 2, 4].tolist() == pytest.approx([1, 0, 128 / 255])


@pytest.mark.parametrize("method", ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"])
def test_pictures_resize_by_every_method(runner, photo, method):
    nodes = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
        "2": {
            "class_type": "ImageScale",
            "inputs": {"image": ["1", 0], "upscale_method": method, "width": 12, "height": 0, "crop": "disabled"},
        },
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }
    scaled = runner.run(Prompt(nodes)).values["2"][0][0]
    assert scaled.shape == (1, 8, 12, 3)
    assert torch.allclose(scaled[..., 0], torch.tensor(200 / 255), atol=1e-6)


def test_an_animation_is_saved_with_its_workflow(runner, headless_host):
    nodes = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 6, "batch_size": 1, "color": 255}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["2", 0]}},
        "4": {
            "class_type": "SaveAnimatedWEBP",
            "inputs": {"images": ["3", 0], "filename_prefix": "sub/film", "fps": 5.0, "lossless": True}
            | {"quality": 80, "method": "fastest"},
        },
    }
    shown = runner.run(Prompt({name: {**node, "_meta": {}} for name, node in nodes.items()}, {"title": "Grüße"})).ui
    assert list(shown["4"]["animated"]) == [True]
    assert [(picture["filename"], picture["subfolder"]) for picture in shown["4"]["images"]] == [
        ("film_00001_.webp", "sub")
    ]
    folder = headless_host.output_directory() / "sub"
    assert [path.name for path in folder.iterdir()] == ["film_00001_.webp"]
    with Image.open(folder / "film_00001_.webp") as film:
        assert film.n_frames == 2 and film.convert("RGB").getpixel((0, 0)) == (0, 0, 255)
        assert film.info["duration"] == 200
        assert json.loads(film.getexif()[0x010F].removeprefix("workflow:")) == {"title": "Grüße"}
        film.seek(1)
        assert film.convert("RGB").getpixel((0, 0)) == (255, 255, 0)


@pytest.mark.parametrize(
    ("mode", "value"),
    [("normal", 0.5), ("multiply", 0.3), ("screen", 0.8), ("overlay", 0.6), ("soft_light", 0.6), ("difference", 0.1)],
)
def test_pictures_are_blended(runner, mode, value):
    one, other = torch.full((1, 2, 2, 3), 0.6), torch.full((1, 2, 2, 3), 0.5)
    node = runner.nodes["ImageBlend"]
    full = node.execute(one, other, 1.0, mode)[0]
    torch.testing.assert_close(full, torch.full_like(full, value))
    half = node.execute(one, other, 0.5, mode)[0]
    torch.testing.assert_close(half, (one + full) / 2)


def test_what_shows_or_saves_hands_its_input_on_as_in_newer_versions(runner, photo):
    graph = {
        "1": ("LoadImage", {"image": "photo.png"}),
        "2": ("PreviewImage", {"images": ["1", 0]}),
        "3": ("SaveImage", {"images": ["2", 0], "filename_prefix": "on"}),
        "4": ("SaveAnimatedWEBP", {"images": ["3", 0], "filename_prefix": "on", "fps": 6.0, "lossless": True,
                                   "quality": 80, "method": "default"}),
        "5": ("ImageInvert", {"image": ["4", 0]}),
        "6": ("MaskPreview", {"mask": ["1", 1]}),
        "7": ("MaskToImage", {"mask": ["6", 0]}),
        "8": ("PreviewAny", {"source": 7}),
        "9": ("PreviewAny", {"source": ["8", 0]}),
        "10": ("PreviewImage", {"images": ["5", 0]}),
        "11": ("PreviewImage", {"images": ["7", 0]}),
    }  # fmt: skip
    result = runner.run(Prompt({key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in graph.items()}))
    first, mask = result.values["1"][0][0], result.values["1"][1][0]
    for number in ("2", "3", "4"):
        assert torch.equal(result.values[number][0][0], first)
    assert torch.equal(result.values["6"][0][0], mask) and result.values["9"][0][0] == "7"
