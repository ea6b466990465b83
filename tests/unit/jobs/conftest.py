"""A small edit whose networks are files, and a folder of pictures, two of which are none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from semantic_edit.editing.common.types import EditDirection
from semantic_edit.editing.one_for_all.transfer import Transfer
from semantic_edit.jobs.frozen import freeze
from semantic_edit.models import load_generator
from semantic_edit.models.encoders.encoder import load_encoder, save_encoder
from semantic_edit.models.gan.generator import save_generator


@dataclasses.dataclass
class SmallEdit:
    """Networks, an edit with an example, and the folder of the files."""

    generator: object
    encoder: object
    direction: EditDirection
    folder: Path

    def transfer(self, **options):
        return Transfer(self.generator, self.direction, self.encoder, **options)

    def frozen(self, transfer=None, **changes):
        """The edit as a frozen job."""
        files = {name: str(self.folder / f"{name}.safetensors") for name in ("generator", "encoder")}
        common = {"source": "photos", **files, "fit": "crop", "background": (255, 255, 255), "keep_codes": False}
        return freeze(transfer or self.transfer(limit=0.4), **{**common, **changes})


@pytest.fixture
def small_edit(tiny_generator, tiny_encoder, tmp_path):
    folder = tmp_path / "networks"
    save_generator(folder / "generator.safetensors", tiny_generator.network)
    save_encoder(folder / "encoder.safetensors", tiny_encoder)
    generator = load_generator(folder / "generator.safetensors")
    d = 0.3 * torch.randn(8, 16, generator=torch.Generator().manual_seed(2))
    example = torch.stack([torch.zeros(8, 16), d])
    edit = EditDirection(d, d, (0, 1, 2), start=0.1, offset=2.0, family=generator.family, name="smile", example=example)
    return SmallEdit(generator, load_encoder(folder / "encoder.safetensors"), edit, folder)


@pytest.fixture
def noise():
    """Make a picture of a seed."""

    def make(seed, size=(32, 32)):
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
        return Image.fromarray(pixels).resize(size)

    return make


@pytest.fixture
def few_photos(tmp_path, noise):
    """Twenty pictures, two of which are none, and a file of another kind."""
    folder = tmp_path / "few"
    folder.mkdir()
    for k in range(20):
        noise(k).save(folder / f"{k}.png")
    (folder / "3.png").write_text("no picture")
    content = (folder / "11.png").read_bytes()
    (folder / "11.png").write_bytes(content[: len(content) // 2])
    (folder / "notes.txt").write_text("no picture by its name")
    return folder
