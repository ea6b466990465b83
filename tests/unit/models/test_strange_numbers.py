"""Types that torch cannot compute with, numbers beyond any use, headers that ask for gigabytes: a sentence, at once."""

from __future__ import annotations

import json
import math
import resource
import struct

import pytest
import torch
from safetensors.torch import save_file
from semantic_edit.editing import apply_edit, optimize_direction
from semantic_edit.editing.common.types import EditDirection, EditStrength, GanLatent
from semantic_edit.models import CheckpointError, InputError, load_generator, save_generator
from semantic_edit.models.code_range import check_range, finite_number
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.files.adaptation import read_adaptation
from semantic_edit.models.files.concepts import read_concepts
from semantic_edit.models.files.direction import read_direction, summarize_direction, write_direction
from semantic_edit.models.files.imagic import read_imagic
from semantic_edit.models.files.latents import read_latent, write_latent
from semantic_edit.models.files.text_edit import read_text_edit

READERS = {
    "direction": read_direction, "latents": read_latent, "text_edit": read_text_edit, "imagic": read_imagic,
    "adaptation": read_adaptation, "concepts": read_concepts, "generator": load_generator, "encoder": load_encoder,
}  # fmt: skip


def write(path, of_kind: str, tensors: dict[str, torch.Tensor], **config):
    save_file(tensors, str(path), {"format": "semantic_edit", "kind": of_kind, "config": json.dumps(config)})
    return path


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "C64"])
def test_types_that_are_not_computed_with(tmp_path, kind, dtype):
    """Beside a tensor of an ordinary type, as half-converted files have them."""
    size = 8 if dtype == "C64" else 1
    header = {
        "direction": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
        "x\x1b[31m": {"dtype": dtype, "shape": [8 // size], "data_offsets": [8, 16]},
        "__metadata__": {"format": "semantic_edit", "kind": kind, "config": "{}"},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "mixed.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(CheckpointError, match=r"^mixed.safetensors") as caught:
        READERS[kind](path)
    sentence = str(caught.value)
    assert "\x1b" not in sentence and (f"'x\\x1b[31m' is stored as {dtype}" in sentence or "cannot be read" in sentence)


@pytest.mark.parametrize("field", ["start", "offset"])
@pytest.mark.parametrize("value", ["1" * 400, "1e999", "NaN", "true", '"1"', "[1]"])
def test_numbers_of_a_direction(tmp_path, field, value):
    config = json.dumps({"start": 0.0, "offset": 1.0})
    config = config.replace(f'"{field}": {json.loads(config)[field]}', f'"{field}": {value}')
    path = tmp_path / "long.safetensors"
    header = {"format": "semantic_edit", "kind": "direction", "config": config}
    save_file({"direction": torch.ones(1, 4)}, str(path), header)
    for reader in (read_direction, summarize_direction):
        with pytest.raises(CheckpointError, match=f"long.safetensors: its field '{field}' should be a number"):
            reader(path)


def test_finite_numbers():
    assert finite_number(3) == 3.0 and finite_number(-0.5) == -0.5
    assert [finite_number(v) for v in (10**400, math.inf, math.nan, True, "1", None)] == [None] * 6


def test_absurd_numbers_are_refused_where_they_are_read(tmp_path, tiny_network):
    huge = torch.full((4, 4), 3e38)
    cases = {
        "direction": {"direction": huge},
        "latents": {"codes": huge[None]},
        "text_edit": {"offset": huge},
        "imagic": {"embedding": huge[None]},
        "adaptation": {"codes": huge[None]},
    }
    for kind, tensors in cases.items():
        path = write(tmp_path / f"{kind}.safetensors", kind, tensors, names=["a"])
        with pytest.raises(CheckpointError, match=rf"^{kind}.safetensors: '\w+' must hold .* the largest is 3e\+38"):
            READERS[kind](path)
    path = write_direction(tmp_path / "normal.safetensors", torch.ones(4, 4), normal=huge)
    with pytest.raises(CheckpointError, match="'normal' must hold numbers of at most 1e\\+08"):
        read_direction(path)
    path = write_direction(tmp_path / "example.safetensors", torch.ones(4, 4), example=torch.stack([huge, huge]))
    with pytest.raises(CheckpointError, match="example must hold numbers of at most 10000"):
        read_direction(path)
    with torch.no_grad():
        tiny_network.synthesis.b4.const.fill_(1e30)
    with pytest.raises(CheckpointError, match=r"'synthesis.b4.const' must hold .* the largest is 1e\+30"):
        load_generator(save_generator(tmp_path / "g.safetensors", tiny_network))


@pytest.fixture
def tiny_network():
    from semantic_edit.models import StyleGAN2, StyleGAN2Config

    return StyleGAN2(StyleGAN2Config(z_dim=4, w_dim=4, channels=(4, 4), mapping_layers=1)).requires_grad_(False)


def test_absurd_numbers_are_refused_where_they_come_by_wire():
    ones = torch.ones(4, 4)
    with pytest.raises(InputError, match="A latent must hold numbers of at most 10000"):
        GanLatent(ones[None] * 3e38)
    with pytest.raises(InputError, match="An edit direction must hold"):
        EditDirection(ones * 3e38, ones)
    with pytest.raises(InputError, match="The edit strengths must hold"):
        EditStrength(torch.tensor([1e30]))
    edit = EditDirection(ones, ones, name="smile")
    for alpha in (1e30, 2e4, float("nan")):
        with pytest.raises(InputError, match="Moving along 'smile'.*Choose a smaller strength"):
            apply_edit(ones[None], edit, torch.tensor([alpha]))
    assert float(apply_edit(ones[None], edit, torch.tensor([100.0])).max()) == 101  # far, and drawn
    check_range("nothing", torch.empty(0, 4))


BOMBS = {
    "mapper": ("text_edit", {"offset": torch.ones(1, 15_000), "mapper.x": torch.ones(1)}, {}),
    "attention": ("text_edit", {"offset": torch.ones(1, 4), "attention.x": torch.ones(1)},
                  {"attention_channels": [4096] * 40}),
    "encoder": ("encoder", {"x": torch.ones(1)}, {"size": 4096, "width": 4096, "num_layers": 4096, "w_dim": 4096}),
    "irse": ("encoder", {"x": torch.ones(1)}, {"kind": "irse", "num_layers": 64, "w_dim": 4096,
                                               "widths": [4096] * 5, "units": [50] * 4}),
    "generator": ("generator", {"x": torch.ones(1)}, {"z_dim": 4096, "w_dim": 4096, "channels": [4096] * 9}),
    "perturbation": ("adaptation", {"codes": torch.ones(1, 4, 4), "network.x": torch.ones(1, 4)},
                     {"names": ["a"], "sizes": {"3": [1, 16_384, 16_384]}}),
    "perturbation of shapes": ("adaptation", {"codes": torch.ones(1, 4, 4), "network.x": torch.ones(1, 4)},
                               {"names": ["a"], "sizes": {"3": [1, 2800, 2800]}}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_headers_that_ask_for_gigabytes_are_compared_before_anything_is_built(tmp_path, name):
    kind, tensors, config = BOMBS[name]
    path = write(tmp_path / "bomb.safetensors", kind, tensors, **config)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"^bomb.safetensors"):
        READERS[kind](path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # kB


def test_ordinary_values_of_half_precision_are_read_as_before(tmp_path):
    path = write(tmp_path / "half.safetensors", "latents", {"codes": torch.full((1, 2, 4), 1.5, dtype=torch.bfloat16)})
    assert torch.equal(read_latent(path).codes, torch.full((1, 2, 4), 1.5))
    path = write_latent(tmp_path / "far.safetensors", torch.full((1, 2, 4), 500.0), ["a"], "")
    assert float(read_latent(path).codes.max()) == 500.0


def test_the_promised_functions_refuse_them_as_well(tiny_generator):
    w = torch.zeros(tiny_generator.num_layers, tiny_generator.w_dim)
    with pytest.raises(InputError, match="must hold numbers of at most"):
        optimize_direction(tiny_generator, w, w + 1e10)
