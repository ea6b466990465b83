"""Whitelist of the names that a checkpoint may mention, all in one place."""

from __future__ import annotations

import sys

from ..stored import ITEM_SIZE, Name

# torch's storage classes, old names and new, and the number type each holds.
STORAGES = {
    f"torch.{prefix}{short}Storage": element
    for prefix in ("", "cuda.")
    for short, element in {
        "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
        "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    }.items()
} | {
    "torch.UntypedStorage": "uint8", "torch.storage.UntypedStorage": "uint8", "torch.storage._UntypedStorage": "uint8",
}  # fmt: skip

TORCH_TYPES = {f"torch.{element}": element for element in ITEM_SIZE} | {
    "torch.float": "float32", "torch.double": "float64", "torch.half": "float16", "torch.long": "int64",
}  # fmt: skip

NUMPY_TYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16",
    "i1": "int8", "u1": "uint8", "b1": "bool",
}  # fmt: skip

# Names that stand for a value or a class and are never called, only passed along.
VALUES = set(TORCH_TYPES) | set(STORAGES) | {
    "numpy.ndarray", "torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.strided",
    "torch.contiguous_format", "torch.channels_last", "torch.preserve_format", "builtins.object", "builtins.list",
    "builtins.int", "builtins.float", "builtins.str", "builtins.bool", "builtins.tuple",
}  # fmt: skip

DICTIONARIES = {
    "collections.OrderedDict", "collections.defaultdict", "builtins.dict", "dnnlib.util.EasyDict", "dnnlib.EasyDict",
    "easydict.EasyDict",
}  # fmt: skip

# Classes of the standard library whose objects training scripts leave in a checkpoint; kept as opaque values.
OPAQUE_STANDARD = {
    "argparse.Namespace", "types.SimpleNamespace", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
}  # fmt: skip

OPAQUE_TORCH = ("torch.nn.modules.", "torch.nn.parallel.")  # layers of modules that were saved whole

PERSISTENCE = "torch_utils.persistence._reconstruct_persistent_obj"

# Functions and classes that may be called; `builders.py` answers each with plain data.
CALLABLE = {
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._tensor._rebuild_from_type_v2",
    "torch.storage._load_from_bytes",
    "torch.storage.TypedStorage",
    "torch.Size",
    "torch.device",
    "torch.nn.backends.thnn._get_thnn_function_backend",
    "numpy.dtype",
    "_codecs.encode",
    "builtins.set",
    "builtins.frozenset",
    "builtins.bytes",
    "builtins.bytearray",
    "builtins.complex",
    "builtins.slice",
    "copyreg._reconstructor",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.core.numeric._frombuffer",
    PERSISTENCE,
}


# Modules that have two names: Python 2's, and numpy's since version 2.
ALIASES = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}


def is_admitted(name: Name) -> bool:
    """Return whether the file may mention this global at all.

    Classes of unknown modules ("model.Generator") may be mentioned, since whole-module saves do; they become opaque and
    cannot be called. Of the standard library, torch and numpy only the listed names pass, torch's layers (opaque too)
    and functions that a layer keeps as its activation. A dot inside the attribute would reach through one object into
    another; it is never admitted.
    """
    full = str(name)
    if full in VALUES or full in CALLABLE or full in DICTIONARIES or full in OPAQUE_STANDARD:
        return True
    if "." in name.attribute or not all(identifier.isidentifier() for identifier in full.split(".")):
        return False
    package = name.module.split(".")[0]
    foreign = package not in sys.stdlib_module_names and package not in ("torch", "numpy", *ALIASES)
    return foreign or name.module.startswith(OPAQUE_TORCH) or name.module == "torch.nn.functional"
