"""A disk that is full is one sentence and leaves nothing, whatever was being written."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")

# The system's own limit stands for the disk's end: each write beyond it fails as on a full disk (EFBIG).
PROGRAM = """
import resource, sys
from pathlib import Path
import torch
from semantic_edit.headless import HeadlessSettings, use_headless
use_headless(HeadlessSettings(output=Path(sys.argv[1]), device="cpu"))
from semantic_edit.headless.comfy_api.ui import ImageSaveHelper
from semantic_edit.headless.comfy_api import io
from semantic_edit.headless.commands.demo import _write_picture, _write_text
from semantic_edit.headless.core_nodes.films import SaveAnimatedWEBP
from semantic_edit.headless.run.execution import execute
from semantic_edit.models import InputError, write_safetensors
from semantic_edit.models.files.direction import write_direction, write_thumbnail
from semantic_edit.models.files.latents import embed_latent, write_latent
folder = Path(sys.argv[1])
noise = torch.rand(2, 64, 64, 3)
carrier = ImageSaveHelper.save_images(noise[:1, :4, :4], "carrier", io.FolderType.output, None)
picture = folder / carrier[0]["filename"]
before = picture.read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
film = dict(images=noise, filename_prefix="film", fps=5.0, lossless=True, quality=80, method="default")
writers = {
    "checkpoint": lambda: write_safetensors(folder / "x.safetensors", {"a": noise}, "generator"),
    "latents": lambda: write_latent(folder / "l.safetensors", noise[0], ["a"] * 64, "f"),
    "direction": lambda: write_direction(folder / "d.safetensors", noise[0, 0]),
    "thumbnail": lambda: write_thumbnail(folder / "d.safetensors", noise[0]),
    "code": lambda: embed_latent(picture, noise[0, 0], "a", "f"),
    "pictures": lambda: ImageSaveHelper.save_images(noise, "p", io.FolderType.output, None),
    "film": lambda: execute(SaveAnimatedWEBP, SaveAnimatedWEBP.GET_SCHEMA(), {k: [v] for k, v in film.items()}, {}),
    "demo picture": lambda: _write_picture(folder / "sheet.png", noise[0]),
    "demo text": lambda: _write_text(folder / "t.json", "x" * 2000),
}
for name, write in writers.items():
    try:
        write()
    except InputError as error:
        print(name, "|", error)
    else:
        print(name, "| written")
assert picture.read_bytes() == before
print(sorted(path.name for path in folder.iterdir()))
"""


def test_every_writer_says_that_the_disk_is_full(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    *lines, files = done.stdout.splitlines()
    assert len(lines) == 9
    for line in lines:
        assert (
            "was not saved: the folder" in line and "is full (or a quota is reached). Make room and try again." in line
        )
    assert files == "['carrier_00001_.png']"
