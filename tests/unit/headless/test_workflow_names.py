"""Odd names in workflows: separators of Windows, NUL, half characters, names that are too long."""

import copy

import pytest
from PIL import Image
from semantic_edit.headless.run.runner import NodeFailure
from semantic_edit.headless.workflow.assign import assign
from semantic_edit.headless.workflow.document import to_prompt
from semantic_edit.headless.workflow.separators import mend_separators
from semantic_edit.models.errors import InputError

INFO = {
    "Load": {
        "input": {"required": {"file": [["a/x", "b\\y", "c/z", "c\\z", "p/q"]], "text": ["STRING", {}]}},
        "input_order": {"required": ["file", "text"]},
    }
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\\x", "a/x"),
        ("b/y", "b\\y"),
        ("c/z", "c/z"),  # an entry itself
        ("c\\z", "c\\z"),
        ("d\\x", "d\\x"),
        ("a\\\\x", "a\\\\x"),
        (["1", 0], ["1", 0]),
        (7, 7),
    ],
)
def test_the_entry_that_differs_in_the_slash_alone(value, expected):
    prompt = to_prompt({"1": {"class_type": "Load", "inputs": {"file": value, "text": "p\\q"}}}, INFO)
    mend_separators(prompt, INFO)
    assert prompt.nodes["1"]["inputs"] == {"file": expected, "text": "p\\q"}


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_model_named_with_windows_separators_loads(headless_host, toys, by_hand):
    from semantic_edit.headless.run.catalog import describe
    from semantic_edit.headless.run.runner import Runner

    folder = headless_host.settings.models / "semantic_edit" / "generators" / "faces"
    folder.mkdir(parents=True)
    (folder / "mine.safetensors").write_bytes(b"no model")
    runner = Runner(headless_host)
    file = "?" if by_hand else "faces\\mine.safetensors"
    nodes = {
        "1": {"class_type": "SemanticEditLoadGenerator", "inputs": {"file": file}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    prompt = runner.prepare(nodes)
    if by_hand:
        assign(prompt, ["1.file=faces\\mine.safetensors"], describe(runner.nodes))
    with pytest.raises(NodeFailure, match="mine.safetensors"):  # found, and read
        runner.run(prompt)


def workflow(image, prefix):
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


@pytest.fixture
def photo(headless_host):
    folder = headless_host.settings.input / "folder"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "a.png")


def test_a_picture_in_a_folder_named_with_windows_separators(runner, photo, headless_host):
    runner.run(runner.prepare(workflow("folder\\a.png", "x")))
    assert (headless_host.settings.output / "x_00001_.png").is_file()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("\ud800.png", "half a character"),
        ("a\0.png", "there is no picture"),
        ("x" * 300 + ".png", "there is no picture"),
        ("y/" * 3000 + "a.png", "there is no picture"),
        ("../folder/a.png [temp]", "there is no picture"),
        ("", "there is no picture"),
        (["__value__"], "not a wire"),
    ],
)
def test_pictures_that_cannot_be_are_a_sentence(runner, photo, image, words):
    with pytest.raises(InputError, match=words):
        runner.run(runner.prepare(workflow(image, "x")))


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("\ud800", "half a character"),
        ("a\0b", "characters that no file name can have"),
        ("x" * 300, "name of 300 letters"),
        ("é" * 150, "name of 150 letters"),
        ("d" * 256 + "/x", "name of 256 letters"),
        ("d/" * 3000 + "x", "cannot be made"),
        ("folder.png/x", "cannot be made"),
        ("../x", "leads out"),
        ("/" + "x" * 300_000, "leads out|letters"),
    ],
)
@pytest.mark.parametrize("saver", ["SaveImage", "SaveAnimatedWEBP"])
def test_prefixes_that_cannot_be_are_a_sentence(runner, photo, headless_host, prefix, words, saver):
    (headless_host.settings.output / "folder.png").touch()
    nodes = copy.deepcopy(workflow("folder/a.png", prefix))
    nodes["2"]["class_type"] = saver
    if saver == "SaveAnimatedWEBP":
        nodes["2"]["inputs"] |= {"fps": 6.0, "lossless": True, "quality": 80, "method": "fastest"}
    with pytest.raises(InputError, match=words) as caught:
        runner.run(runner.prepare(nodes))
    assert "Error" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_the_longest_names_still_save(runner, photo, headless_host):
    runner.run(runner.prepare(workflow("folder/a.png", "é" * 120)))
    assert (headless_host.settings.output / ("é" * 120 + "_00001_.png")).is_file()
