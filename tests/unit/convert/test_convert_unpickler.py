"""The pickle reader gives the values that Python's own reader gives, for everything that is plain data."""

from __future__ import annotations

import argparse
import io
import pickle
from collections import OrderedDict, defaultdict
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.models.convert.containers import open_bytes
from semantic_edit.models.convert.stored import Opaque, StoredArray, StoredTensor, plain_number
from semantic_edit.models.convert.unpickling.builders import CALLS
from semantic_edit.models.convert.unpickling.unpickler import Unpickler
from semantic_edit.models.convert.unpickling.whitelist import CALLABLE

PROTOCOLS = range(6)
keys = st.text(max_size=8) | st.integers(-(2**59), 2**59) | st.booleans() | st.none() | st.binary(max_size=8)
leaves = keys | st.floats(allow_nan=False) | st.integers(-(2**100), 2**100)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(keys, inner, max_size=5)
        | st.tuples(inner, inner)
        | st.sets(keys, max_size=5)
        | st.frozensets(st.text(max_size=5), max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(values, st.sampled_from(PROTOCOLS))
def test_plain_data_reads_as_python_reads_it(value, protocol):
    assert Unpickler(pickle.dumps(value, protocol)).load() == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_values_that_are_shared_stay_shared(protocol):
    shared = [1, 2]
    loaded = Unpickler(pickle.dumps({"a": shared, "b": (shared, shared)}, protocol)).load()
    assert loaded["a"] is loaded["b"][0] is loaded["b"][1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_list_that_holds_itself(protocol):
    value: list = []
    value.append(value)
    loaded = Unpickler(pickle.dumps(value, protocol)).load()
    assert loaded[0] is loaded


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ordered_and_default_dictionaries_become_dictionaries(protocol):
    value = OrderedDict([("z", 1), ("a", 2)])
    value.remark = "attributes of a dictionary are dropped"
    loaded = Unpickler(pickle.dumps([value, defaultdict(list, {"k": [1]})], protocol)).load()
    assert list(loaded[0].items()) == [("z", 1), ("a", 2)] and loaded[1] == {"k": [1]}
    assert type(loaded[0]) is dict


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_training_arguments_are_kept_as_opaque_objects(protocol):
    value = argparse.Namespace(lr=0.002, path=PurePosixPath("a/b"), size=256)
    loaded = Unpickler(pickle.dumps(value, protocol)).load()
    assert isinstance(loaded, Opaque) and loaded.name == "argparse.Namespace"
    assert loaded.get("lr") == 0.002 and loaded.get("absent", 7) == 7
    assert loaded.get("path").name == "pathlib.PurePosixPath"


TYPES = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", TYPES)
def test_numpy_arrays(protocol, kind):
    value = (np.arange(24).reshape(2, 3, 4) % 2).astype(kind)
    for array in (
        value,
        np.asfortranarray(value),
        value[:, ::2],
        value[:, :0],
        value.astype(value.dtype.newbyteorder()),
    ):
        loaded = Unpickler(pickle.dumps(array, protocol)).load()
        assert isinstance(loaded, StoredArray) and loaded.shape == array.shape
        assert np.array_equal(loaded.tensor().numpy(), array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_scalars(protocol):
    loaded = Unpickler(pickle.dumps([np.float64(0.25), np.float32(0.5), np.int64(3), np.bool_(True)], protocol)).load()
    assert [plain_number(value) for value in loaded] == [0.25, 0.5, 3, True]
    assert plain_number("text") is None


TORCH_TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


@pytest.mark.parametrize("old", [False, True], ids=["archive", "old format"])
@pytest.mark.parametrize("kind", TORCH_TYPES, ids=str)
def test_torch_files(old, kind):
    tensor = (torch.arange(24).reshape(4, 6) % 2).to(kind)
    tensors = {
        "whole": tensor,
        "view": tensor[1:3, 2:],
        "transposed": tensor.t(),
        "expanded": tensor[:1].expand(5, 6),
        "scalar": tensor[0, 1].clone(),
        "empty": tensor[:0],
        "parameter": torch.nn.Parameter(tensor, requires_grad=False),
    }
    buffer = io.BytesIO()
    torch.save(tensors, buffer, _use_new_zipfile_serialization=not old)
    loaded = open_bytes(buffer.getvalue()).content
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert isinstance(loaded[name], StoredTensor)
        back = loaded[name].tensor()
        assert back.dtype == kind and torch.equal(back, tensor.detach()), name


@pytest.mark.parametrize("protocol", PROTOCOLS[1:])
def test_tensors_inside_a_plain_pickle(protocol):
    """Each is a torch file in a byte string; a shared storage is read once."""
    base = torch.randn(3, 4)
    content = open_bytes(pickle.dumps({"a": base, "b": base[1], "c": base}, protocol)).content
    assert torch.equal(content["a"].tensor(), base) and torch.equal(content["b"].tensor(), base[1])
    assert content["a"] is content["c"]


def test_big_endian_files(forge):
    content = forge.torch_archive(
        {"x": forge.stored_tensor("0", 3, (3,), (1,))},
        {"0": np.array([1, 2, 3], ">f4").tobytes()},
        byteorder=b"big",
    )
    assert open_bytes(content).content["x"].tensor().tolist() == [1.0, 2.0, 3.0]


def test_untyped_storages_of_new_torch(forge):
    """torch's third way: an untyped storage, and the number type beside it."""
    pid = ("storage", forge.Global("torch.storage", "UntypedStorage"), "0", "cpu", 8)
    kind = forge.Global("torch", "float32")
    arguments = (forge.Persistent(pid), 0, (2,), (1,), False, OrderedDict(), kind)
    tensor = forge.Call(forge.Global("torch._utils", "_rebuild_tensor_v3"), arguments)
    content = forge.torch_archive({"x": tensor}, {"0": forge.floats(1.5, -2.0)})
    assert open_bytes(content).content["x"].tensor().tolist() == [1.5, -2.0]


def test_the_state_of_a_foreign_module_is_kept(forge):
    value = forge.New(forge.Global("my_project.networks", "Net"), {"width": 3})
    loaded = Unpickler(forge.dumps(value)).load()
    assert loaded.name == "my_project.networks.Net" and loaded.get("width") == 3


def test_the_source_inside_a_persistent_object_is_dropped(forge):
    loaded = Unpickler(forge.dumps(forge.persistent("mapping", {"z_dim": 4}))).load()
    assert loaded.name == "persistent mapping" and loaded.attributes() == {"z_dim": 4}


def test_every_name_that_may_be_called_has_an_answer():
    assert set(CALLS) == CALLABLE
