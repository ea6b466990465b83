"""Pictures carry workflows as ComfyUI and other packs write them: PNG texts, EXIF of WebP, JPEG and AVIF."""

import json
import struct
import zlib

import pytest
from PIL import Image, PngImagePlugin, features
from semantic_edit.headless.errors import WorkflowError
from semantic_edit.headless.workflow.document import read_document, to_prompt

WORKFLOW = {"nodes": [], "links": [], "extra": {"note": "ü: {1}"}}
PROMPT = {"1": {"class_type": "ToyAdd", "inputs": {}}}
FORMATS = ["a.webp", "a.jpg", "a.jpeg", "a.jfif", "a.png"] + ["a.avif"] * features.check("avif")


def exif_of(**texts):
    exif = Image.Exif()
    for tag, (name, value) in zip(range(0x0110, 0, -1), texts.items(), strict=False):
        exif[tag] = f"{name}:{json.dumps(value)}"
    return exif


def save(path, **options):
    Image.new("RGB", (16, 16)).save(path, **options)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_exif_as_comfyui_writes_it(tmp_path, name):
    path = save(tmp_path / name, exif=exif_of(prompt=PROMPT, workflow=WORKFLOW))
    assert read_document(path) == WORKFLOW


@pytest.mark.parametrize("name", FORMATS)
def test_the_prompt_alone_is_taken(tmp_path, name):
    assert read_document(save(tmp_path / name, exif=exif_of(Prompt=PROMPT))) == PROMPT


@pytest.mark.parametrize("charset", [b"", b"ASCII\0\0\0", b"UNICODE\0"])
def test_a_user_comment_with_both(tmp_path, charset):
    text = json.dumps({"prompt": PROMPT, "workflow": WORKFLOW})
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = charset + (text.encode("utf-16-le") if charset[:1] == b"U" else text.encode())
    assert read_document(save(tmp_path / "a.jpg", exif=exif)) == WORKFLOW


def test_our_own_films_and_pictures_carry_their_workflow(headless_host, runner, toys):
    sheet = toys.Sheet()
    noise = sheet.node("ToyNoise", [7, "fixed", 8], [("seed", "INT", "widget"), ("size", "INT", "widget")], ["IMAGE"])
    film = sheet.node("SaveAnimatedWEBP", ["film", 6.0, True, 80, "default"], [("images", "IMAGE")], [])
    still = sheet.node("SaveImage", ["still"], [("images", "IMAGE")], [])
    sheet.wire(noise, 0, film, 0)
    sheet.wire(noise, 0, still, 0)
    document = sheet.document()
    runner.run(runner.prepare(document))
    for name in ("film_00001_.webp", "still_00001_.png"):
        assert read_document(headless_host.output_directory() / name) == document


def test_png_texts_behind_the_pixels(tmp_path):
    content = save(tmp_path / "a.png").read_bytes()
    chunk = b"tEXtworkflow\0" + json.dumps(WORKFLOW).encode()
    end = content.index(b"\0\0\0\0IEND")
    late = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "b.png").write_bytes(content[:end] + late + content[end:])
    assert read_document(tmp_path / "b.png") == WORKFLOW


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", 10**6, 10**6, 8, 2, 0, 0, 0, 0), "JSON"),
    ],
)
def test_other_files_named_as_pictures_are_refused(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(WorkflowError, match=words):
        read_document(tmp_path / "a.png")


def test_broken_exif_is_no_workflow(tmp_path):
    path = save(tmp_path / "a.webp", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    with pytest.raises(WorkflowError, match="carries no workflow"):
        read_document(path)


def test_texts_of_a_png_come_before_its_exif(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", json.dumps(WORKFLOW))
    path = save(tmp_path / "a.png", pnginfo=texts, exif=exif_of(workflow={"nodes": [1]}))
    assert read_document(path) == WORKFLOW


def test_values_too_deep_to_be_written_again_are_refused():
    document = {**WORKFLOW, "extra": json.loads("[" * 700 + "]" * 700)}
    with pytest.raises(WorkflowError, match="more than 200 deep"):
        to_prompt(document, {})


def test_a_file_too_large_to_be_a_workflow_is_refused(tmp_path):
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(200_000_000)
    with pytest.raises(WorkflowError, match="200000000 bytes"):
        read_document(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["x" * 400 + ".json", "a\0b.json", "a\ud800.json"])
def test_names_that_no_file_can_have(name):
    with pytest.raises(WorkflowError, match="no workflow file"):
        read_document(name)
