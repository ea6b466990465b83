"""What other projects mean by a strength survives conversion: boundaries, deviations, means; every way of saving."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from semantic_edit.editing import attribute_values, compute_strength
from semantic_edit.editing.one_for_all.attributes import fit_to_generator
from semantic_edit.models.files.direction import read_direction

WIDTH, COUNT = 16, 5
RNG = np.random.default_rng(0)
UNIT = RNG.normal(size=(1, WIDTH)).astype(np.float32)
UNIT /= np.linalg.norm(UNIT)
COMPONENTS = np.linalg.qr(RNG.normal(size=(WIDTH, WIDTH)))[0][:COUNT, None].astype(np.float32)
DEVIATIONS = np.linspace(3, 1, COUNT).astype(np.float32)
MEAN = RNG.normal(size=(1, WIDTH)).astype(np.float32)
# What GANSpace's decomposition writes, beside what editing needs.
GANSPACE = {
    "act_comp": COMPONENTS[:, :, None],
    "act_mean": MEAN,
    "act_stdev": DEVIATIONS,
    "lat_comp": COMPONENTS,
    "lat_mean": MEAN,
    "lat_stdev": DEVIATIONS,
    "var_ratio": np.ones(COUNT, np.float32) / COUNT,
    "random_stdevs": DEVIATIONS,
}


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def saved_by_torch(value, old: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


def torch_dictionary(old: bool) -> bytes:
    """e4e's ffhq_pca.pt."""
    names = {"comp": COMPONENTS, "mean": MEAN, "std": DEVIATIONS}
    return saved_by_torch({name: torch.from_numpy(array) for name, array in names.items()}, old)


GANSPACE_FILES = {
    "npz": npz(GANSPACE),
    "pickle 2": pickle.dumps(GANSPACE, 2),
    "pickle 4": pickle.dumps(GANSPACE, 4),
    "double": pickle.dumps({name: array.astype(np.float64) for name, array in GANSPACE.items()}),
    "e4e": torch_dictionary(False),
    "e4e, old format": torch_dictionary(True),
}


@pytest.mark.parametrize("kind", GANSPACE_FILES)
def test_ganspace_counts_deviations_from_the_mean(convert, tiny_generator, kind):
    path, said = convert(GANSPACE_FILES[kind], "ffhq_pca.pkl", component=2)
    fields = read_direction(path)
    np.testing.assert_allclose(fields["direction"].numpy(), COMPONENTS[2] * DEVIATIONS[2], rtol=1e-6)
    assert "one deviation above" in said and "number 2 was taken" in said and fields["name"] == "ffhq_pca 2"
    edit = fit_to_generator(tiny_generator, **fields, rows=(4, 5))
    w = torch.randn(6, 8, WIDTH, generator=torch.Generator().manual_seed(1))
    w = w[:, :1].expand(-1, 8, -1)
    # GANSpace's coordinate of w is (w - mean) . u / std; e4e moves by (strength - coordinate) * u * std.
    coordinate = ((w[:, 0] - torch.from_numpy(MEAN)) @ torch.from_numpy(COMPONENTS[2, 0])) / float(DEVIATIONS[2])
    torch.testing.assert_close(compute_strength(edit, w, 1.5), 1.5 - coordinate, atol=1e-4, rtol=1e-4)


def test_components_without_deviations_or_with_wrong_ones_stay_as_they_are(convert):
    for left_out in ({"lat_stdev": DEVIATIONS[:2]}, {"lat_stdev": 0 * DEVIATIONS}, {"lat_stdev": "none"}):
        content = pickle.dumps({"lat_comp": COMPONENTS, "lat_mean": MEAN, **left_out})
        fields = read_direction(convert(content, "pca.pkl", component=1, overwrite=True)[0])
        assert torch.equal(fields["direction"], torch.from_numpy(COMPONENTS[1])) and fields["start"] is None
    content = npz({"lat_comp": COMPONENTS, "lat_stdev": DEVIATIONS})
    fields = read_direction(convert(content, "pca.npz", overwrite=True)[0])
    assert fields["start"] is None and float((fields["direction"] * fields["normal"]).sum()) == pytest.approx(
        1, rel=1e-5
    )


@pytest.mark.parametrize("array", [UNIT, UNIT[0], UNIT.astype(np.float64)], ids=["1 D", "D", "double"])
def test_an_interfacegan_boundary_is_a_normal(convert, tiny_generator, array):
    path, said = convert(npy(array), "stylegan_ffhq_smile_w_boundary.npy")
    fields = read_direction(path)
    assert torch.equal(fields["normal"], fields["direction"]) and fields["method"] == "boundary (InterFaceGAN)"
    assert "its own normal" in said and "fitted in Z" in said
    edit = fit_to_generator(tiny_generator, **fields)
    w = torch.randn(6, 1, WIDTH, generator=torch.Generator().manual_seed(1)).expand(-1, 8, -1)
    # InterFaceGAN moves a code of W to a signed distance s by s - n . w.
    distance = w[:, 0] @ torch.from_numpy(UNIT[0])
    for s in (-3.0, 0.0, 2.0):
        torch.testing.assert_close(compute_strength(edit, w, s), s - distance, atol=1e-4, rtol=1e-4)
    on_it = w + compute_strength(edit, w, 0.0)[:, None, None] * edit.direction
    torch.testing.assert_close(attribute_values(edit, on_it), torch.zeros(6), atol=1e-4, rtol=0)


@pytest.mark.parametrize("intercept", [0.25, np.float32(0.25), np.array([0.25]), torch.tensor([0.25])])
def test_a_boundary_with_its_intercept(tmp_path, convert, intercept):
    content = {"boundary": torch.from_numpy(UNIT), "intercept": intercept}
    if not isinstance(intercept, torch.Tensor):
        content["boundary"] = UNIT
    data = saved_by_torch(content, False) if isinstance(intercept, torch.Tensor) else pickle.dumps(content)
    fields = read_direction(convert(data, "smile.pkl")[0])
    assert (fields["start"], fields["offset"]) == (-0.25, pytest.approx(0.75, abs=1e-6))


def test_vectors_that_are_not_of_unit_length_and_torchs_are_plain_directions(convert):
    for content, name in ((npy(2 * UNIT), "age.npy"), (saved_by_torch(torch.from_numpy(UNIT), False), "age.pt")):
        fields = read_direction(convert(content, name, overwrite=True)[0])
        assert fields["method"] == "imported" and fields["start"] is None and fields["normal"] is None


@pytest.mark.parametrize("shape", [(1, WIDTH), (1, 18, WIDTH), (18, WIDTH)], ids=str)
@pytest.mark.parametrize("device", ["cpu", "cuda:0", "cuda:3"])
@pytest.mark.parametrize("half", [False, True], ids=["float", "half"])
def test_e4e_and_pti_directions_from_any_device(forge, convert, shape, device, half):
    """As torch.save writes a tensor that lay on a graphics card: the storage's device is part of its name."""
    numbers = RNG.normal(size=shape).astype(np.float16 if half else np.float32)
    strides = tuple(int(np.prod(shape[k + 1 :])) for k in range(len(shape)))
    storage = forge.Global("torch", "HalfStorage" if half else "FloatStorage")
    pid = forge.Persistent(("storage", storage, "0", device, numbers.size))
    tensor = forge.Call(forge.Global("torch._utils", "_rebuild_tensor_v2"), (pid, 0, shape, strides, False, {}))
    content = forge.torch_archive(tensor, {"0": numbers.tobytes()})
    path, said = convert(content, "age.pt", component="direction" if shape[-2] > 1 else None)
    fields = read_direction(path)
    assert torch.equal(fields["direction"], torch.from_numpy(numbers.astype(np.float32)).reshape(-1, WIDTH))
    assert fields["family"] == "" and "names no generator family" in said


def test_a_direction_on_a_gpu_in_the_old_format(forge, convert):
    storage = forge.Persistent(("storage", forge.Global("torch.cuda", "FloatStorage"), "0", "cuda:0", WIDTH, None))
    arguments = (storage, 0, (1, WIDTH), (WIDTH, 1), False, {})
    content = forge.dumps(forge.Call(forge.Global("torch._utils", "_rebuild_tensor_v2"), arguments))
    archive = forge.old_torch_file(content)
    archive = archive[: -len(forge.dumps([]))] + forge.dumps(["0"]) + WIDTH.to_bytes(8, "little") + UNIT.tobytes()
    assert torch.equal(read_direction(convert(archive, "age.pt")[0])["direction"], torch.from_numpy(UNIT))


def test_a_pivot_of_many_codes_is_no_direction(convert):
    from semantic_edit.models import CheckpointError

    with pytest.raises(CheckpointError, match="a list of codes"):
        convert(saved_by_torch(torch.randn(4, 18, WIDTH), False), "pivots.pt", component="direction")
