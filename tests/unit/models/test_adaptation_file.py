"""Adaptations as files: what is kept, how large they are, and damage."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.photos.adaptation import adapt
from semantic_edit.models import CheckpointError, InputError
from semantic_edit.models.checkpoint import read_safetensors, write_safetensors
from semantic_edit.models.files.adaptation import read_adaptation, write_adaptation
from semantic_edit.models.gan.adaptation import Adaptation, with_adaptation


@pytest.fixture
def photos(tiny_generator):
    codes = tiny_generator.map(torch.randn(2, 16, generator=torch.Generator().manual_seed(1)))
    return codes, tiny_generator.synthesize(codes) * 0.6


@pytest.mark.parametrize("method", ["residual", "free + residual", "network", "weights"])
def test_what_is_read_back_draws_the_same(tmp_path, tiny_generator, photos, method):
    codes, pictures = photos
    adapted = adapt(tiny_generator, pictures, codes, method, steps=3, seed=9, names=("a", "b"))
    file = write_adaptation(tmp_path / "a.safetensors", adapted.generator.adaptation, {"generator": "tiny"})
    read = read_adaptation(file)
    assert read.names == ("a", "b") and read.family == tiny_generator.family and read.method == method
    assert read.guide == adapted.generator.adaptation.guide
    drawn = with_adaptation(tiny_generator, read).synthesize(codes)
    assert float((drawn - adapted.images).abs().max()) < (1e-4 if method == "network" else 1e-6)


def test_a_perturbation_network_is_kept_instead_of_its_deltas_and_goes_on(tmp_path, tiny_generator, photos):
    codes, pictures = photos
    adapted = adapt(tiny_generator, pictures, codes, "network", steps=3)
    file = write_adaptation(tmp_path / "a.safetensors", adapted.generator.adaptation)
    assert not any(name.startswith("delta") for name in read_safetensors(file)[0])
    again = adapt(with_adaptation(tiny_generator, read_adaptation(file)), pictures, codes, "network", steps=3)
    assert again.generator.adaptation.seed == adapted.generator.adaptation.seed == 0


def test_equal_adaptations_make_equal_files(tmp_path, photos):
    adaptation = Adaptation(photos[0], residual=torch.zeros(2, 3, 32, 32))
    first, second = (write_adaptation(tmp_path / f"{k}.safetensors", adaptation).read_bytes() for k in (1, 2))
    assert first == second


def test_another_family_is_refused(tmp_path, tiny_generator, photos):
    adaptation = Adaptation(photos[0], residual=torch.zeros(2, 3, 32, 32), family="stylegan2-512x512-0")
    file = write_adaptation(tmp_path / "a.safetensors", adaptation)
    with pytest.raises(InputError, match="stylegan2-512x512-0"):
        with_adaptation(tiny_generator, read_adaptation(file))


@pytest.mark.parametrize(
    ("tensors", "config", "words"),
    [
        ({"residual": torch.zeros(1, 3, 4, 4)}, {"names": ["a"]}, "no codes"),
        ({"codes": torch.zeros(1, 8)}, {"names": ["a"]}, r"\[B, L, D\]"),
        ({"codes": torch.zeros(1, 8, 16)}, {"names": "a"}, "list of names"),
        ({"codes": torch.zeros(1, 8, 16)}, {"names": ["a", "b"]}, "as many names"),
        ({"codes": torch.zeros(1, 8, 16), "delta.x": torch.zeros(1, 2, 4, 4)}, {"names": ["a"]}, "'x' is not"),
        ({"codes": torch.zeros(1, 8, 16)}, {"names": ["a"], "guide": "no"}, "'guide'"),
        ({"codes": torch.zeros(1, 8, 16)}, {"names": ["a"], "seed": -1}, "'seed'"),
        ({"codes": torch.zeros(1, 8, 16, dtype=torch.long)}, {"names": ["a"]}, "int64"),
        ({"codes": torch.full((1, 8, 16), float("nan"))}, {"names": ["a"]}, "not finite"),
        ({"codes": torch.zeros(1, 8, 16), "network.trunk": torch.zeros(1, 2)}, {"names": ["a"]}, "sizes of layers"),
        (
            {"codes": torch.zeros(1, 8, 16), "network.trunk": torch.zeros(1, 2)},
            {"names": ["a"], "sizes": {"3": [60000, 60000, 60000]}},
            "sizes of layers",
        ),
        (
            {"codes": torch.zeros(1, 8, 16), "network.trunk": torch.zeros(1, 2)},
            {"names": ["a"], "sizes": {"3": [2, 4, 4]}},
            "trunk",
        ),
    ],
)
def test_damage_is_a_sentence(tmp_path, tensors, config, words):
    file = write_safetensors(tmp_path / "a.safetensors", tensors, "adaptation", config)
    with pytest.raises(CheckpointError, match=words) as problem:
        read_adaptation(file)
    assert str(problem.value).startswith("a.safetensors")


def test_another_kind_and_nothing(tmp_path):
    file = write_safetensors(tmp_path / "a.safetensors", {"codes": torch.zeros(1)}, "latents")
    with pytest.raises(CheckpointError, match="not a 'adaptation' file"):
        read_adaptation(file)
    with pytest.raises(CheckpointError, match="does not exist"):
        read_adaptation(tmp_path / "b.safetensors")


def test_damaged_bytes_load_or_are_a_sentence(tmp_path, tiny_generator, photos):
    import random

    codes, pictures = photos
    adaptation = adapt(tiny_generator, pictures, codes, "network + residual", steps=1).generator.adaptation
    content = write_adaptation(tmp_path / "a.safetensors", adaptation).read_bytes()
    rng = random.Random(4)
    header = int.from_bytes(content[:8], "little")
    for k in range(150):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(8 + header if k % 3 else len(content))] = rng.randrange(256)
        file = tmp_path / "b.safetensors"
        file.write_bytes(bytes(damaged if k % 5 else damaged[: rng.randrange(len(damaged))]))
        try:
            read_adaptation(file)
        except CheckpointError as problem:
            assert str(problem).startswith("b.safetensors")
