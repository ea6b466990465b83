"""Safetensors files of the pack: reading and writing.

A file of ours carries its meaning in the safetensors header: ``format`` is always ``semantic_edit``, ``kind`` says what
the tensors are (generator, latents, direction, ...), ``config`` and ``provenance`` are JSON, ``family`` names the
generator family the tensors belong to (empty when unknown). Nothing here can execute code: safetensors holds raw
tensors and strings only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .errors import CheckpointError
from .files.atomic import atomic_write
from .printable import printable

FORMAT = "semantic_edit"
_READING_ERRORS = (SafetensorError, OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError)
# Of files of ours. Other programs store numbers of 8 and fewer bits (F8_E4M3, ...), which torch cannot even compare.
_NUMBER_TYPES = {
    "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL",
}  # fmt: skip
# Of other projects: pickles, or containers of them. What a file holds shows in its bytes; this is what to look for.
FOREIGN_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".npy", ".npz")


def read_metadata(path: str | Path, kind: str | None = None) -> dict[str, str]:
    """Read the header of a safetensors file without its tensors.

    Args:
        path: the file.
        kind: when given, the header must name exactly this kind.

    Raises:
        CheckpointError: as :func:`read_safetensors`.
    """
    path = _check_path(path)
    return _read(path, kind, with_tensors=False)[1]


def read_safetensors(path: str | Path, kind: str | None = None) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read all tensors (on the CPU, in their own shapes) and the header strings of ``path``.

    Args:
        path: the file.
        kind: when given, the header must name exactly this kind, and all numbers must be finite and of a type that
            torch computes with.

    Raises:
        CheckpointError: when the file is missing, is a folder, a pickle, truncated, no safetensors, or another kind.
    """
    path = _check_path(path)
    return _read(path, kind, with_tensors=True)


def read_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Read name -> shape of every tensor, without the tensors.

    Raises:
        CheckpointError: as :func:`read_safetensors`.
    """
    path = _check_path(path)
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except _READING_ERRORS as error:
        raise CheckpointError(_damage_message(path, error)) from None


def write_safetensors(
    path: str | Path,
    tensors: Mapping[str, torch.Tensor],  # of any shape, type and device
    kind: str,
    config: Mapping[str, object] | None = None,  # JSON-ready
    provenance: Mapping[str, object] | None = None,  # JSON-ready
    family: str | None = None,
    exclusive: bool = False,
    make_folder: bool = True,
) -> Path:
    """Write ``tensors`` with their header atomically: the file appears whole under its name, or not at all.

    Args:
        exclusive: never replace a file.
        make_folder: make the folders that are missing.

    Raises:
        CheckpointError: when the name does not end in .safetensors.
        StorageError: when the disk refuses.
        TakenError: when there is such a file, and ``exclusive``.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"Cannot write {path.name}: the name must end in .safetensors.")
    metadata = {
        "format": FORMAT,
        "kind": kind,
        "config": json.dumps(dict(config or {}), sort_keys=True),
        "provenance": json.dumps(dict(provenance or {}), sort_keys=True),
        "family": family or "",
    }
    # In memory first: the library's own writer makes a private file of its own, and a kill leaves that behind.
    content = pack_safetensors(tensors, metadata)
    with atomic_write(path, exclusive, make_folder) as temporary, open(temporary, "wb") as file:
        file.writelines(content)
    return path


def pack_safetensors(tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> tuple[bytes, memoryview]:
    """Lay out tensors of any shape, type and device as a safetensors file: its header, sorted, and its numbers."""
    # Clones drop shared storage and views, which safetensors refuses; contiguous() drops odd strides.
    content = save({name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()}, metadata)
    end = 8 + int.from_bytes(content[:8], "little")
    return content[:8] + sort_header(content[8:end]), memoryview(content)[end:]


def strip_prefix(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with ``prefix``, under the other half of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def parse_json(metadata: Mapping[str, str], key: str, path: str | Path) -> dict:
    """Read the JSON object stored under ``key`` of a header, {} when absent.

    Raises:
        CheckpointError: when it is no object.
    """
    text = metadata.get(key) or "{}"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, brackets without end
        value = None
    if not isinstance(value, dict):
        raise CheckpointError(f"{Path(path).name}: its header field '{key}' is damaged (expected a JSON object).")
    return value


def sort_header(header: bytes) -> bytes:
    """Sort the keys of a safetensors header, its length unchanged.

    The library writes its metadata in another order each time; with this, equal content makes equal files.
    """
    sorted_header = json.dumps(json.loads(header), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return sorted_header.ljust(len(header)) if len(sorted_header) <= len(header) else header


def _check_path(path: str | Path) -> Path:
    """Return the path of a file that may be opened; CheckpointError for folders, missing files and pickles."""
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path.name} is a folder; expected a .safetensors file.")
    if not path.is_file():
        raise CheckpointError(f"{path.name} does not exist; expected a .safetensors file.")
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        raise CheckpointError(
            f"{path.name} is a {path.suffix} file, which can run code when it is opened. Convert it once with the "
            f"node Convert Checkpoint or `semantic-edit convert {path.name} {path.stem}.safetensors`; load the result."
        )
    return path


def _damage_message(path: Path, error: Exception) -> str:
    return f"{path.name} cannot be read as safetensors: it is damaged, cut short, or another kind of file ({error})."


def _read(path: Path, kind: str | None, with_tensors: bool) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            types = {name: str(file.get_slice(name).get_dtype()) for name in file.keys()} if kind is not None else {}
            unknown = next((name for name, dtype in types.items() if dtype not in _NUMBER_TYPES), None)
            readable = with_tensors and unknown is None
            tensors = {name: file.get_tensor(name) for name in file.keys()} if readable else {}
    except _READING_ERRORS as error:
        raise CheckpointError(_damage_message(path, error)) from None
    if kind is not None and (metadata.get("format") != FORMAT or metadata.get("kind") != kind):
        actual = metadata.get("kind") if metadata.get("format") == FORMAT else None
        reason = f"it holds '{actual}'" if actual else "its header does not say that it comes from Semantic Edit"
        raise CheckpointError(
            f"{path.name} is not a '{kind}' file: {reason}. Choose another file, or convert it first."
        )
    if unknown is not None:
        raise CheckpointError(
            f"{path.name}: '{printable(unknown)[:80]}' is stored as {types[unknown]}, which no computation here takes; "
            "expected float32, float16, bfloat16 or float64. Save it again as one of these."
        )
    for name, tensor in tensors.items() if kind is not None else ():  # other writers keep masks of -inf
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{path.name}: '{printable(name)[:80]}' holds numbers that are not finite; the file is damaged."
            )
    return tensors, metadata
