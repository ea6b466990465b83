"""Builders: the plain data with which each request of a pickle is answered.

Three groups: numbers (torch tensors, numpy arrays), containers (dictionaries, sets, sizes), and module objects, of
which only the name and the saved state are kept. Everything else is refused by name. Nothing in this file looks
anything up in `sys.modules`, calls anything the file names, or sets an attribute the file names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import CheckpointError
from ..stored import (
    Bytes,
    ElementType,
    Name,
    Opaque,
    Storage,
    StoredArray,
    StoredTensor,
    check_shape,
)
from .machine import Machine
from .whitelist import (
    CALLABLE,
    DICTIONARIES,
    NUMPY_TYPES,
    OPAQUE_STANDARD,
    PERSISTENCE,
    TORCH_TYPES,
    VALUES,
    is_admitted,
)

MAX_ARGUMENTS = 64


def call(machine: Machine, function: Any, arguments: Any) -> Any:
    """Answer "call this with these arguments" with plain data.

    A name that is not in CALLS is noted as refused, and a stand-in returned.

    Raises:
        CheckpointError: when no name is called, or with arguments that it does not take.
    """
    if not isinstance(arguments, tuple):
        raise CheckpointError("damaged: the arguments of a call are no tuple")
    if isinstance(function, Opaque) and function.name.startswith("refused "):
        return function
    if not isinstance(function, Name):
        raise CheckpointError(f"refused, because it calls a {type(function).__name__}")
    full = str(function)
    if full in DICTIONARIES:
        return _dictionary(machine, arguments)
    builder = CALLS.get(full)
    if builder is None:
        if full in OPAQUE_STANDARD:
            return Opaque(full, arguments[:MAX_ARGUMENTS])
        return machine.refuse_name(full)
    try:
        return builder(machine, *arguments)
    except TypeError:
        raise CheckpointError(f"damaged: {full} was given arguments it does not take") from None


def instantiate(machine: Machine, name: Any, arguments: Any) -> Any:
    """Answer "make an empty object of this class" with a dict or an opaque object.

    Raises:
        CheckpointError: when the class is no name.
    """
    if not isinstance(arguments, tuple):
        raise CheckpointError("damaged: the arguments of a new object are no tuple")
    if not isinstance(name, Name):
        raise CheckpointError(f"refused, because it makes an object of a {type(name).__name__}")
    full = str(name)
    if full in DICTIONARIES:
        return {}
    if full in CALLABLE or full in VALUES or not is_admitted(name):
        return machine.refuse_name(full)
    return Opaque(full, arguments[:MAX_ARGUMENTS])


def build_state(machine: Machine, target: Any, state: Any) -> None:
    """Answer "give this object its saved state", in place.

    Raises:
        CheckpointError: when the state is damaged, or the target takes none.
    """
    if isinstance(target, Opaque):
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict):
            state = state[0]  # (attributes, slots); no class here has slots
        target.state = state
    elif isinstance(target, StoredArray):
        if not isinstance(state, tuple) or len(state) != 5:
            raise CheckpointError("damaged: the state of an array")
        machine.charge(len(state[4]) if isinstance(state[4], str) else 0)
        target.fill(*state[1:])
    elif isinstance(target, ElementType):
        _set_order(target, state)
    elif not isinstance(target, dict):  # attributes of a dict (torch puts version notes there) are dropped
        raise CheckpointError(f"refused, because it sets attributes of a {type(target).__name__}")


# Containers.


def _dictionary(machine: Machine, arguments: tuple) -> dict:
    """Build dict(), OrderedDict(), OrderedDict([[k, v], ...]) and defaultdict(factory)."""
    pairs = arguments[-1] if arguments and isinstance(arguments[-1], list | tuple | dict) else ()
    machine.charge(elements=len(pairs))
    flat: list[Any] = []
    for pair in pairs.items() if isinstance(pairs, dict) else pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise CheckpointError("damaged: a dictionary made of something that is not pairs")
        flat.extend(pair)
    items: dict = {}
    machine.set_items(items, flat)
    return items


def _members(machine: Machine, values: Any = ()) -> set:
    if not isinstance(values, list | tuple | set | frozenset):
        raise CheckpointError("damaged: a set made of something that is no list")
    machine.charge(elements=len(values))
    return {machine.check_key(value) for value in values}


def _sequence(machine: Machine, values: Any = ()) -> tuple:
    return check_shape(values, "a tensor")


def _encode(machine: Machine, text: Any, encoding: Any = "latin1") -> bytes:
    """Return a byte string, which protocol 2 writes as text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise CheckpointError("damaged: a byte string that is not written as text")
    machine.charge(len(text))
    return text.encode(encoding)


def _byte_string(machine: Machine, *arguments: Any) -> Bytes:
    if not arguments:
        return b""
    if isinstance(arguments[0], bytes | bytearray | memoryview):
        return arguments[0]
    return _encode(machine, *arguments)


def _complex(machine: Machine, *arguments: Any) -> Opaque:
    return Opaque("complex number", arguments)


def _slice(machine: Machine, *arguments: Any) -> Opaque:
    return Opaque("slice", arguments)


def _device(machine: Machine, *arguments: Any) -> Opaque:
    return Opaque("torch.device", arguments)


def _old_backend(machine: Machine) -> Opaque:
    """Return the backend that modules saved by torch before 1.3 carry along."""
    return Opaque("torch backend")


# numpy.


def _array(machine: Machine, kind: Any, shape: Any, code: Any) -> StoredArray:
    """Answer numpy's `_reconstruct` with an empty array that BUILD fills."""
    return StoredArray()


def _array_from_buffer(machine: Machine, data: Any, element: Any, shape: Any, order: Any = "C") -> StoredArray:
    """Answer numpy's `_frombuffer`, the way of protocol 5."""
    machine.charge(len(data) if isinstance(data, str) else 0)
    return StoredArray().fill(shape, element, order == "F", data)


def _scalar(machine: Machine, element: Any, data: Any = b"") -> StoredArray:
    machine.charge(len(data) if isinstance(data, str) else 0)
    return StoredArray().fill((), element, False, data)


def _element_type(machine: Machine, code: Any, align: Any = False, copy: Any = True) -> ElementType:
    """Answer numpy's dtype("f4", False, True)."""
    order, short = ("<", code) if not isinstance(code, str) or code[:1] not in "<>|=" else (code[0], code[1:])
    if not isinstance(short, str) or short not in NUMPY_TYPES:
        raise CheckpointError(f"an array of the number type {str(code)[:20]!r}, which is not plain numbers")
    return ElementType(NUMPY_TYPES[short], ">" if order == ">" else "<")


def _set_order(target: ElementType, state: Any) -> None:
    """Set a dtype's byte order: (version, byte order, subtype, names, fields, ...), without records and subarrays."""
    if not isinstance(state, tuple) or not 2 <= len(state) <= 9 or any(field is not None for field in state[2:5]):
        raise CheckpointError("an array of records, which is not plain numbers")
    if state[1] not in ("<", ">", "|", "="):
        raise CheckpointError("damaged: the byte order of an array")
    target.order = ">" if state[1] == ">" else "<"


# torch.


def _tensor(
    machine: Machine, storage: Any, offset: Any, shape: Any, stride: Any, element: str | None = None
) -> StoredTensor:
    if isinstance(storage, StoredTensor):
        raise CheckpointError("damaged: a tensor made of a tensor")
    if not isinstance(storage, Storage):
        raise CheckpointError(f"damaged: a tensor made of a {type(storage).__name__}")
    return StoredTensor(storage, offset, shape, stride, element or storage.element)


def _tensor_v2(machine: Machine, storage: Any, offset: Any, shape: Any, stride: Any, *options: Any) -> StoredTensor:
    """Build (storage, offset, shape, stride, requires_grad, hooks[, metadata]); hooks are dropped."""
    return _tensor(machine, storage, offset, shape, stride)


def _tensor_v3(
    machine: Machine,
    storage: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    kind: Any,
    *options: Any,
) -> StoredTensor:
    """Build as v2 does, over an untyped storage, with the number type in the arguments."""
    if not isinstance(kind, Name) or str(kind) not in TORCH_TYPES:
        raise CheckpointError(f"a tensor of the number type {str(kind)[:40]}, which is not read here")
    return _tensor(machine, storage, offset, shape, stride, TORCH_TYPES[str(kind)])


def _parameter(machine: Machine, data: Any, *options: Any) -> StoredTensor:
    if not isinstance(data, StoredTensor):
        raise CheckpointError(f"damaged: a parameter made of a {type(data).__name__}")
    return data


def _tensor_with_attributes(machine: Machine, function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """Build a tensor that carried Python attributes; they are dropped."""
    if not isinstance(function, Name) or str(function) not in TENSOR_BUILDERS:
        return machine.refuse_name(f"torch._tensor._rebuild_from_type_v2 of {str(function)[:80]}")
    return call(machine, function, arguments)


def _nested(machine: Machine, data: Any) -> Any:
    """Read torch's `_load_from_bytes`: a torch file inside a byte string, which is how plain pickles keep tensors."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise CheckpointError("damaged: a nested torch file that is no byte string")
    return machine.load_nested(data)


def _typed_storage(machine: Machine, *arguments: Any) -> Any:
    """Refuse TypedStorage objects, which are only ever saved through their bytes."""
    return machine.refuse_name("torch.storage.TypedStorage")


# Modules.


def _persistent(machine: Machine, meta: Any) -> Opaque:
    """Answer NVlabs' persistence hook, which would run the source code in `meta`, with its name and state."""
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise CheckpointError("damaged: a persistent object without a class name")
    return Opaque(f"persistent {meta['class_name'][:80]}", (), meta.get("state"))


def _old_object(machine: Machine, name: Any, base: Any = None, state: Any = None) -> Any:
    """Answer copyreg's `_reconstructor`, the way of protocols 0 and 1."""
    return instantiate(machine, name, ())


TENSOR_BUILDERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}

CALLS: dict[str, Callable[..., Any]] = TENSOR_BUILDERS | {
    "torch._tensor._rebuild_from_type_v2": _tensor_with_attributes,
    "torch.storage._load_from_bytes": _nested,
    "torch.storage.TypedStorage": _typed_storage,
    "torch.Size": _sequence,
    "torch.device": _device,
    "torch.nn.backends.thnn._get_thnn_function_backend": _old_backend,
    "numpy.dtype": _element_type,
    "_codecs.encode": _encode,
    "builtins.set": _members,
    "builtins.frozenset": _members,
    "builtins.bytes": _byte_string,
    "builtins.bytearray": _byte_string,
    "builtins.complex": _complex,
    "builtins.slice": _slice,
    "copyreg._reconstructor": _old_object,
    PERSISTENCE: _persistent,
    "numpy.core.multiarray._reconstruct": _array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array_from_buffer,
}
