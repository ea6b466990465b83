"""Codes of other projects become latent files with their values; a shape that a direction has too is asked about."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from semantic_edit.models import CheckpointError
from semantic_edit.models.files.direction import read_direction
from semantic_edit.models.files.latents import read_latent

WIDTH = 16
RNG = np.random.default_rng(7)
CODE = RNG.normal(size=(1, 18, WIDTH)).astype(np.float32)
MANY = RNG.normal(size=(5, 18, WIDTH)).astype(np.float32)
OF_W = RNG.normal(size=(50, WIDTH)).astype(np.float32)


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (npz(w=CODE), "projected_w.npz", CODE),  # stylegan2-ada-pytorch
        (npz(dlatents=CODE), "dlatents.npz", CODE),  # stylegan2-ada
        (npz(dlatents=CODE, noise=np.ones((4, 4))), "with_noise.npz", CODE),
        (npy(OF_W), "w.npy", OF_W[:, None]),
        (torch.from_numpy(MANY), "latents.pt", MANY),  # e4e, pSp
        ({"latents": torch.from_numpy(MANY)}, "named.pt", MANY),
        ({"w_pivot": torch.from_numpy(CODE[0])}, "pivot.pt", CODE),
    ],
    ids=["projected_w", "dlatents", "with noise", "w", "e4e", "named", "pivot"],
)
def test_codes_become_latent_files(convert, content, name, expected):
    path, said = convert(content, name)
    stored = read_latent(path)
    assert torch.equal(stored.codes, torch.from_numpy(expected)) and stored.family == ""
    assert len(stored.names) == len(expected) and "Load Latents" in said


def test_pictures_keep_their_names(convert):
    """As rosinality's projector saves them: a dictionary for each picture, some in W and some in W+."""
    entries = {
        name: {"img": torch.ones(3, 4, 4), "latent": torch.from_numpy(code), "noise": [torch.ones(1, 1, 4, 4)]}
        for name, code in (("a.png", MANY[0]), ("b.png", MANY[1]))
    }
    stored = read_latent(convert(entries, "faces.pt")[0])
    assert stored.names == ("a.png", "b.png") and torch.equal(stored.codes, torch.from_numpy(MANY[:2]))
    codes = {name: torch.from_numpy(code) for name, code in (("a.png", MANY[0]), ("b.png", MANY[1]))}
    stored = read_latent(convert(codes, "codes.pt", component="latents", overwrite=True)[0])
    assert stored.names == ("a.png", "b.png") and torch.equal(stored.codes, torch.from_numpy(MANY[:2]))


@pytest.mark.parametrize(
    "content",
    [torch.from_numpy(CODE), torch.from_numpy(CODE[0]), npy(CODE), npz(arr_0=CODE), torch.from_numpy(MANY[:, :1])],
    ids=["PTI", "rows", "npy", "npz", "list of rows"],
)
def test_what_may_be_either_is_asked_about(convert, content):
    """PTI's 0.pt has the shape of a direction of W+; neither is taken for the other."""
    with pytest.raises(CheckpointError, match="--component latents or --component direction"):
        convert(content, "0.pt")
    codes = read_latent(convert(content, "0.pt", component="latents")[0]).codes
    direction = read_direction(convert(content, "0.pt", component="direction", overwrite=True)[0])["direction"]
    if codes.shape[0] == 1:
        assert torch.equal(codes, torch.from_numpy(CODE)) and torch.equal(direction, torch.from_numpy(CODE[0]))
    else:
        assert torch.equal(codes, torch.from_numpy(MANY[:, :1])) and torch.equal(direction, codes[0])


def test_edits_that_spare_rows_or_have_length_one_need_no_question(convert):
    spares = CODE[0].copy()
    spares[6:] = 0
    for rows in (spares, CODE[0] / np.linalg.norm(CODE[0])):
        fields = read_direction(convert(npy(rows), "pose.npy", overwrite=True)[0])
        assert torch.equal(fields["direction"], torch.from_numpy(rows))


def test_a_named_direction_may_be_written_as_a_code_and_back(convert):
    path, _ = convert({"direction": torch.from_numpy(CODE)}, "a.pt")
    assert torch.equal(read_direction(path)["direction"], torch.from_numpy(CODE[0]))
    path, _ = convert({"w": torch.from_numpy(CODE)}, "b.pt", component="direction", overwrite=True)
    assert torch.equal(read_direction(path)["direction"], torch.from_numpy(CODE[0]))
    path, _ = convert({"w": torch.from_numpy(OF_W[0]), "b": 0.5}, "svm.pt", overwrite=True)  # w . x + b
    assert read_direction(path)["start"] == -0.5


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (torch.ones(3, 40, WIDTH), {"component": "latents"}, "40 rows belong to no generator"),
        (torch.full((2, 6, WIDTH), float("nan")), {}, "infinite or not a number"),
        (torch.full((2, 6, WIDTH), 3e38), {}, "larger than any"),
        (torch.ones(2, 6, WIDTH, dtype=torch.int64), {}, "expected floating point"),
        ({"lat_comp": torch.ones(4, 1, WIDTH)}, {"component": "latents"}, "no codes"),
        (
            {"a.png": {"latent": torch.ones(6, WIDTH)}, "b.png": {"latent": torch.ones(8, WIDTH)}},
            {},
            "different shapes",
        ),
        (
            torch.ones(2, 6, WIDTH),
            {"component": "codes"},
            "choose encoder, generator, identity, perceptual, segmenter, latents, direction",
        ),
    ],
)
def test_what_is_no_code(convert, tmp_path, content, options, words):
    with pytest.raises(CheckpointError, match=words):
        convert(content, "codes.pt", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["codes.pt"]
