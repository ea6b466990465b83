"""Saved pictures and films get numbers of their own: nothing is replaced, by whatever way a name comes to be taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from PIL import Image
from semantic_edit.headless.comfy_api import io, ui
from semantic_edit.headless.comfy_api.save_paths import numbered
from semantic_edit.headless.core_nodes.films import SaveAnimatedWEBP
from semantic_edit.headless.run.execution import execute


def save(images, prefix):
    results = ui.ImageSaveHelper.save_images(images, prefix, io.FolderType.output, None)
    return [result["filename"] for result in results]


def grey(*levels):
    return torch.stack([torch.full((2, 2, 3), level / 255) for level in levels])


def level(folder, name):
    with Image.open(folder / name) as picture:
        return picture.getpixel((0, 0))[0]


def test_the_place_in_a_batch_may_stand_in_the_name_twice_over(headless_host):
    folder = headless_host.output_directory()
    assert save(grey(1, 2), "a%batch_num%") == ["a0_00001_.png", "a1_00002_.png"]
    assert save(grey(3, 4), "a%batch_num%") == ["a0_00003_.png", "a1_00004_.png"]
    assert save(grey(5), "b%batch_num%_%batch_num%") == ["b0_0_00001_.png"]
    assert save(grey(6), "b%batch_num%_%batch_num%") == ["b0_0_00002_.png"]
    assert [level(folder, name) for name in sorted(os.listdir(folder))] == [1, 3, 2, 4, 5, 6]


def test_a_number_that_is_taken_meanwhile_is_passed_over(headless_host, monkeypatch):
    folder = headless_host.output_directory()
    real = numbered("pic", folder)
    for number in (1, 3):
        Image.new("RGB", (2, 2), (9, 9, 9)).save(folder / f"pic_{number:05}_.png")
    monkeypatch.setattr(ui, "numbered", lambda *_: real)  # counted before the other process wrote
    assert save(grey(1, 2, 3), "pic") == ["pic_00002_.png", "pic_00004_.png", "pic_00005_.png"]
    assert [level(folder, f"pic_{k:05}_.png") for k in range(1, 6)] == [9, 1, 9, 2, 3]


def test_films_pass_over_numbers_as_well(headless_host, monkeypatch):
    folder = headless_host.output_directory()
    real = numbered("film", folder)
    (folder / "film_00001_.webp").write_bytes(b"mine")
    monkeypatch.setattr("semantic_edit.headless.core_nodes.films.numbered", lambda *_: real)
    values = dict(images=grey(1, 2), filename_prefix="film", fps=5.0, lossless=True, quality=80, method="default")
    _, shown = execute(SaveAnimatedWEBP, SaveAnimatedWEBP.GET_SCHEMA(), {k: [v] for k, v in values.items()}, {})
    assert (
        shown["images"][0]["filename"] == "film_00002_.webp" and (folder / "film_00001_.webp").read_bytes() == b"mine"
    )


@pytest.mark.parametrize(
    ("files", "number"),
    [
        ([], 1),
        (["pic_00004_.png", "pic_00002_.jpg"], 5),
        (["pic_mine.png", "pic_12.png", "pic_12ab_.png"], 1),
        (["pic2_00009_.png", "xpic_00009_.png"], 1),
        (["pic_7"], 8),
        (["pic_" + "9" * 60 + "_.png"], 1),
        (["pi.c_00009_.png"], 1),
    ],
)
def test_numbers_are_counted_as_comfyui_counts(headless_host, files, number):
    folder = headless_host.output_directory()
    for name in files:
        (folder / name).touch()
    assert numbered("pic", folder).counter == number


def test_a_saved_model_file_passes_over_a_number_taken_meanwhile(run_node, headless_host, tiny_generator, monkeypatch):
    (codes,), _ = run_node("SampleLatents", generator=tiny_generator, count=1, seed=5)
    path = headless_host.save_path("latents", "c")
    path.write_bytes(b"mine")
    monkeypatch.setattr(headless_host, "save_path", lambda *_: path)
    (name,), shown = run_node("SaveLatents", latents=codes, name="c")
    assert name == "c_00002_.safetensors" and shown["text"] == ["Saved c_00002_.safetensors"]
    assert path.read_bytes() == b"mine"


def test_two_runs_side_by_side_on_one_output_lose_no_picture(tmp_path):
    count = 12
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 4, "height": 4, "batch_size": count, "color": 0}},
             "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "pic"}},
             "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "b%batch_num%"}},
    }  # fmt: skip
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    command = [sys.executable, "-m", "semantic_edit.headless.commands.cli", "run", str(tmp_path / "graph.json")]
    command += ["--output", str(tmp_path / "out"), "--device", "cpu"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [line for run in runs for line in run.communicate(timeout=180)[0].splitlines()]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(lines) == len(set(lines)) == 4 * count
    assert sorted(os.path.basename(line) for line in lines) == sorted(os.listdir(tmp_path / "out"))
