"""The command on any console: names that it cannot show, names that are no text, names that would rewrite it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from semantic_edit.models import save_generator
from semantic_edit.models.files.direction import write_direction

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")

NAMES = ["写真.png", "a\nb.png", "c\x1b[2J\x9b0m.png", "d\udcff\udc9b.png"]
CONSOLES = {
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "POSIX": {"LC_ALL": "POSIX"},
}


def command(console, *arguments):
    """Run the command and return its exit code, and all it printed as bytes."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    program = [sys.executable, "-m", "semantic_edit.headless.commands.cli", *map(str, arguments)]
    done = subprocess.run(program, env=keep | CONSOLES[console], capture_output=True, timeout=180)
    return done.returncode, done.stdout, done.stderr


def check_plain(content):
    """No control character but the end of a line, as bytes or as text of UTF-8."""
    text = content.decode("utf-8", "surrogateescape")
    assert not [c for c in text if c != "\n" and (ord(c) < 32 or 126 < ord(c) < 160 or 0xD800 <= ord(c) < 0xE000)], text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("console", ["utf-8", "cp1252", "C"])
def test_a_batch_reports_on_any_console(tmp_path, tiny_network, console):
    photos = tmp_path / "写真"
    photos.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photos / "good 写真.png")
    for name in NAMES:
        (photos / name).write_bytes(b"no picture")
    save_generator(tmp_path / "g写.safetensors", tiny_network)
    write_direction(tmp_path / "d.safetensors", torch.ones(8, 16), name="s\x1b[2Jm\nile")
    options = [
        "--generator",
        tmp_path / "g写.safetensors",
        "--encoder",
        "none",
        "--mode",
        "constant",
        "--steps",
        "1",
        "--device",
        "cpu",
    ]
    code, out, err = command(
        console,
        "batch",
        photos,
        "--direction",
        tmp_path / "d.safetensors",
        "--output",
        tmp_path / "out\x1b[2J",
        *options,
    )
    report = check_plain(out)
    assert code == 0, err
    assert "1 of 5 pictures edited" in report and "4 could not be read and were left out:" in report
    assert r"  a\nb.png: not a picture" in report and r"  c\x1b[2J" in report
    assert (
        (r"\x9b0m.png: not a picture" in report)
        and r"  d\xff\x9b.png: not a picture" in report
        and r"out\x1b[2J" in report
    )
    letters = "写真" if console == "utf-8" else r"\u5199\u771f" if console == "cp1252" else ""  # C: as Python decodes
    assert f"{letters}.png: not a picture" in report
    check_plain(err)


@pytest.mark.parametrize("console", ["ascii", "POSIX"])
def test_a_workflow_speaks_on_any_console(tmp_path, console):
    graph = {
        "1": {"class_type": "PrimitiveString", "inputs": {"value": "写\x1b]0;x\x07\x9b\nsecond"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}, "_meta": {"title": "T\x1b[2J\n写"}},
    }
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    code, out, err = command(console, "run", tmp_path / "graph.json", "--output", tmp_path / "out", "--device", "cpu")
    text = check_plain(out) + check_plain(err)
    assert r"T\x1b[2J\n" in text
    graph["2"]["class_type"] = "Nothing\x1b[31m写"
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    code, out, err = command(console, "run", tmp_path / "graph.json", "--output", tmp_path / "out", "--verbose")
    assert code == 2 and "Nothing" in err.decode(errors="replace")
    assert b"\x1b" not in err and b"\x07" not in err


@pytest.mark.parametrize("console", ["cp1252"])
def test_what_a_file_says_of_itself_is_shown_on_any_console(tmp_path, console):
    write_direction(tmp_path / "d.safetensors", torch.ones(1, 4), name="写\x1b[2J", family="f\n\x9b写", method="\x07")
    code, out, err = command(console, "info", tmp_path / "d.safetensors")
    assert (code, err) == (0, b"")
    assert r"\x9b" in check_plain(out)


def test_a_newline_in_one_name_leaves_the_names_of_the_batch_usable(run_node, headless_host, tiny_generator):
    folder = headless_host.input_directory() / "set"
    folder.mkdir()
    for k, name in enumerate(["plain.png", *NAMES, "e\u2028f\x85g\x0bh.png", " i .png"]):
        Image.new("RGB", (32, 32), (k, k, k)).save(folder / "x.png")
        (folder / "x.png").rename(folder / name)
    (images, _, names, report), _ = run_node("LoadImageFolder", folder="set")
    assert len(names.splitlines()) == len(images) == 7 and report == "7 of 7 pictures loaded."
    (latents, *_), _ = run_node("InvertImages", generator=tiny_generator, images=images, steps=1, names=names)
    assert len(latents.names) == 7 and {r"a\nb.png", "写真.png", r"d\xff\x9b.png"} <= set(latents.names)
    run_node("SaveLatents", latents=latents, name="codes", images=images)


def test_a_folder_of_stray_names_can_be_edited_in_the_graph(run_node, headless_host, tiny_generator):
    folder = headless_host.input_directory() / "set"
    folder.mkdir()
    Image.new("RGB", (32, 32)).save(folder / "x.png")
    (folder / "x.png").rename(folder / "d\udcff.png")
    from semantic_edit.nodes.one_for_all.edit_folder import EditFolder

    assert len(EditFolder.fingerprint_inputs(folder="set", name="batch", encoder="none")) == 64
