"""Directions of other projects arrive with their values, and odd ones are refused by name."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from semantic_edit.models import CheckpointError, read_safetensors
from semantic_edit.models.files.direction import read_direction

WIDTH = 16
VECTOR = np.linspace(-1, 1, WIDTH, dtype=np.float32)
ROWS = np.arange(6 * WIDTH, dtype=np.float32).reshape(6, WIDTH)


def npy(array, **options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(compressed=True, **arrays) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (VECTOR, VECTOR[None]),
        (VECTOR[None], VECTOR[None]),
        (VECTOR[None, None], VECTOR[None]),
        (ROWS, ROWS),
        (ROWS[None], ROWS),
        (VECTOR.astype(np.float64), VECTOR[None]),
        (VECTOR.astype(">f4"), VECTOR[None]),
        (np.asfortranarray(ROWS), ROWS),
    ],
    ids=["D", "1 D", "1 1 D", "L D", "1 L D", "double", "big endian", "fortran"],
)
def test_shapes_of_directions(convert, array, expected):
    # Rows of W+ may be a code as well: the user says which.
    path, said = convert(npy(array), "smile.npy", component="direction")
    fields = read_direction(path)
    assert torch.equal(fields["direction"], torch.from_numpy(expected))
    assert fields["family"] == "" and fields["name"] == "smile" and fields["method"] == "imported"
    assert "family" in said


@pytest.mark.parametrize("old", [False, True], ids=["archive", "old format"])
def test_directions_saved_by_torch(tmp_path, convert, old):
    torch.save(torch.from_numpy(ROWS)[None], tmp_path / "age.pt", _use_new_zipfile_serialization=not old)
    path, _ = convert((tmp_path / "age.pt").read_bytes(), "age.pt", component="direction")
    assert torch.equal(read_direction(path)["direction"], torch.from_numpy(ROWS))


def test_a_direction_saved_on_a_gpu(forge, convert):
    """Its storage says cuda:0, which means nothing to a reader of numbers."""
    tensor = forge.stored_tensor("0", WIDTH, (1, WIDTH), (WIDTH, 1), kind="FloatStorage")
    path, _ = convert(forge.torch_archive(tensor, {"0": VECTOR.tobytes()}), "age.pt")
    assert torch.equal(read_direction(path)["direction"][0], torch.from_numpy(VECTOR))


def test_a_pickled_array(convert):
    path, _ = convert(pickle.dumps({"direction": VECTOR, "intercept": 0.25}), "boundary.pkl")
    assert torch.equal(read_direction(path)["direction"][0], torch.from_numpy(VECTOR))


@pytest.mark.parametrize("compressed", [True, False])
def test_ganspace_components(convert, compressed):
    components = np.random.default_rng(0).normal(size=(5, 1, WIDTH)).astype(np.float32)
    content = npz(compressed, lat_comp=components, lat_mean=VECTOR[None], var_ratio=np.ones(5, np.float32))
    path, said = convert(content, "ffhq.npz", component=3)
    assert torch.equal(read_direction(path)["direction"], torch.from_numpy(components[3]))
    assert "It holds 5; number 3" in said
    path, said = convert(content, "ffhq.npz", overwrite=True)
    assert torch.equal(read_direction(path)["direction"], torch.from_numpy(components[0]))
    assert "--component" in said


def test_sefa_keeps_its_components_in_columns(convert):
    columns = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0)))[0]
    path, _ = convert({"ckpt": "550000.pt", "eigvec": columns}, "factor.pt", component=2)
    assert torch.equal(read_direction(path)["direction"][0], columns[:, 2])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy(np.zeros(WIDTH, np.float32)), "only zeros"),
        (npy(np.full(WIDTH, np.nan, np.float32)), "infinite or not a number"),
        (npy(np.ones(3, np.float32)), r"shape \[3\]"),
        (npy(np.ones((2, 2, 2, WIDTH), np.float32)), r"shape \[2, 2, 2, 16\]"),
        (npy(np.ones((0, WIDTH), np.float32)), r"shape \[0, 16\]"),
        (npy(np.arange(WIDTH)), "int64, expected floating point"),
        (npy(np.ones(WIDTH, np.complex64)), "something else than plain numbers"),
        (npy(np.array(["a", "b"])), "something else than plain numbers"),
        (npy(np.zeros(2, [("x", "f4"), ("y", "f4")])), "something else than plain numbers"),
        (npy(np.array([{}, print], dtype=object)), "Python objects, which could run code"),
        (npy(VECTOR)[:-5], "cannot be made of"),
        (npy(VECTOR)[:40], "damaged or truncated"),
        (npz(a=VECTOR, b=VECTOR), r"several arrays that could be the direction \(a, b\)"),
        (npz(lat_comp=np.ones((2, 3, WIDTH), np.float32)), "components of the shape"),
    ],
)
def test_arrays_that_are_no_direction(convert, tmp_path, content, words):
    with pytest.raises(CheckpointError, match=words):
        convert(content, "direction.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["direction.npy"]


def test_a_component_that_is_not_there(convert):
    with pytest.raises(CheckpointError, match="holds 1 directions; there is no component 4"):
        convert(npy(VECTOR), "smile.npy", component=4)


def test_what_is_written_is_the_packs_format(convert):
    path, _ = convert(npy(ROWS[None]), "pose.npy", component="direction")
    tensors, metadata = read_safetensors(path, kind="direction")
    assert set(tensors) == {"direction"} and tensors["direction"].shape == (6, WIDTH)
    assert metadata["format"] == "semantic_edit" and '"shape": [1, 6, 16]' in metadata["provenance"]
