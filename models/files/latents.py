"""Latent files: safetensors, or the PNG of the picture that the code makes.

A picture carries its own code in a compressed text chunk (PNG specification, zTXt) that holds the same safetensors
bytes as a file would, in base64. The chunk is put into a finished PNG without touching its pixels or its other texts.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ..checkpoint import FORMAT, pack_safetensors, parse_json, read_safetensors, write_safetensors
from ..code_range import check_range
from ..errors import CheckpointError, about_file
from ..inference import no_inference_mode
from ..printable import printable
from .atomic import atomic_write

__all__ = ["StoredLatent", "embed_latent", "extract_latent", "read_latent", "write_latent"]

KIND = "latents"
KEYWORD = b"semantic_edit_latent"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LARGEST_CODE = 64 * 2**20  # bytes of one code in a picture; the largest published W+ takes 0.04 MiB
_DAMAGE = (zlib.error, binascii.Error, struct.error, SafetensorError, ValueError, KeyError, TypeError, RecursionError)


class StoredLatent(NamedTuple):
    """Latents of a file."""

    codes: Tensor  # [B, L, D], float32 on the CPU
    names: tuple[str, ...]  # B
    family: str  # "" when the file names none


def write_latent(
    path: str | Path,
    codes: Tensor,  # [B, L, D]
    names: Sequence[str],  # B
    family: str,
    provenance: dict[str, object] | None = None,
    exclusive: bool = False,  # never replace a file; raises TakenError
    make_folder: bool = True,  # False: a folder that is gone is an error, as for `atomic_write`
) -> Path:
    """Write codes and their names as safetensors; the file appears whole or not at all."""
    tensors, config = {"codes": codes.float()}, {"names": list(names)}
    return write_safetensors(path, tensors, KIND, config, provenance, family, exclusive, make_folder)


def read_latent(path: str | Path) -> StoredLatent:
    """Read a file of :func:`write_latent`.

    Raises:
        CheckpointError: when it is missing, damaged, of another kind, or without codes [B, L, D].
    """
    with no_inference_mode():
        tensors, metadata = read_safetensors(path, kind=KIND)
        return _check_latent(tensors, metadata, Path(path))


def embed_latent(path: str | Path, code: Tensor, name: str, family: str) -> None:
    """Put one code [L, D] into an existing PNG, replacing an earlier one; pixels and other texts stay as they are.

    Raises:
        CheckpointError: when the file is no PNG, or a damaged one.
    """
    path = Path(path)
    metadata = {"format": FORMAT, "kind": KIND, "config": json.dumps({"names": [name]}), "family": family}
    content = b"".join(pack_safetensors({"codes": code.float()[None]}, metadata))
    chunk = KEYWORD + b"\0\0" + zlib.compress(base64.b64encode(content), 9)
    chunks = [_SIGNATURE]
    for kind, body in _chunks(path.read_bytes(), path):
        if kind == b"IDAT" and chunk:  # readers that stop at the pixels, as Pillow does, still see it
            chunks.append(_chunk(b"zTXt", chunk))
            chunk = b""
        if not _carries_code(kind, body):
            chunks.append(_chunk(kind, body))
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"".join(chunks))


def extract_latent(path: str | Path) -> StoredLatent:
    """Read the code that a PNG carries, as a batch of one.

    Raises:
        CheckpointError: when it is no PNG, a damaged one, or one that carries no code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path.name} does not exist; expected a PNG that carries its code.")
    texts = [body for kind, body in _chunks(path.read_bytes(), path) if _carries_code(kind, body)]
    if not texts:
        raise CheckpointError(
            f"{path.name} carries no code. Only PNG files saved by Save Latents do, and only while no other program "
            "has saved them again: take the original file, or use Invert Images to find a code for any picture."
        )
    try:
        with no_inference_mode():
            content = base64.b64decode(_inflate(texts[0][len(KEYWORD) + 2 :]), validate=True)
            tensors = load(content)
        length = struct.unpack("<Q", content[:8])[0]
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    except _DAMAGE as error:
        raise CheckpointError(f"{path.name}: its code is damaged ({error}). Take the original file.") from None
    if metadata.get("format") != FORMAT or metadata.get("kind") != KIND:
        raise CheckpointError(f"{path.name}: what it carries is not a code of this pack. Take the original file.")
    return _check_latent(tensors, metadata, path)


def _check_latent(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> StoredLatent:
    """Build the latents of a file's tensors and header; CheckpointError unless they are codes [B, L, D]."""
    codes = tensors.get("codes")
    if codes is None or codes.ndim != 3 or 0 in codes.shape or not codes.is_floating_point():
        actual = "none" if codes is None else f"{codes.dtype} of shape {list(codes.shape)}"
        raise CheckpointError(f"{path.name}: expected the tensor 'codes' [B, L, D] in floating point; got {actual}.")
    codes = codes.to(torch.float32)
    with about_file(path):
        check_range("'codes'", codes)
    names = parse_json(metadata, "config", path).get("names")
    if not isinstance(names, list) or len(names) != len(codes):
        names = [f"{path.stem} #{k + 1}" for k in range(len(codes))]
    return StoredLatent(codes, tuple(printable(str(name)) for name in names), str(metadata.get("family", "")))


def _chunks(content: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) of each chunk of a PNG, checked."""
    if not content.startswith(_SIGNATURE):
        raise CheckpointError(f"{path.name} is no PNG; only PNG files can carry a code.")
    position = len(_SIGNATURE)
    while position < len(content):
        if position + 12 > len(content):
            raise CheckpointError(f"{path.name} is a PNG that was cut short.")
        length = int.from_bytes(content[position : position + 4], "big")
        body_start = position + 8
        kind, body = content[position + 4 : body_start], content[body_start : body_start + length]
        crc = content[body_start + length : body_start + length + 4]
        if len(crc) != 4 or int.from_bytes(crc, "big") != zlib.crc32(kind + body):
            raise CheckpointError(f"{path.name} is a damaged PNG: its checksums do not fit, or it was cut short.")
        yield kind, body
        if kind == b"IEND":
            return
        position += 12 + length
    raise CheckpointError(f"{path.name} is a PNG that was cut short.")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _carries_code(kind: bytes, body: bytes) -> bool:
    return kind == b"zTXt" and body.startswith(KEYWORD + b"\0\0")


def _inflate(packed: bytes) -> bytes:
    # A few bytes can unpack to gigabytes: stop at what a code can need.
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(packed, _LARGEST_CODE)
    if not unpacker.eof:
        raise ValueError("it does not end where it should")
    return content
