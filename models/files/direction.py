"""Direction files: an edit direction is fitted once and used on every later batch."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..checkpoint import parse_json, read_safetensors, write_safetensors
from ..code_range import LARGEST_CODE, LARGEST_WEIGHT, check_range, finite_number
from ..errors import CheckpointError, about_file
from ..printable import printable
from .atomic import atomic_write

KIND = "direction"
THUMBNAIL = ".jpg"  # beside the file, under the same name
_LARGEST_THUMBNAIL = 4096  # px: beyond, a picture beside a direction is something else


@dataclass(frozen=True)
class DirectionSummary:
    """Summary of a direction file, as a library lists it."""

    name: str
    shape: tuple[int, int]  # [L, D], or [1, D] for all rows alike
    layers: tuple[int, ...] | None  # edited rows; None: all
    has_states: bool  # a same final state can be asked for
    family: str
    method: str
    notes: str
    date: str


def write_direction(
    path: str | Path,
    direction: Tensor,  # [L, D], or [1, D] for all rows alike
    normal: Tensor | None = None,  # v, of the same shape
    layers: tuple[int, ...] | None = None,  # edited rows; None: all
    start: float | None = None,  # v . w of the example before its edit
    offset: float | None = None,  # v . w of the edited example
    method: str = "",
    family: str = "",
    name: str = "",
    example: Tensor | None = None,  # [2, L, D]: the example's codes before and after
    provenance: dict[str, object] | None = None,
    exclusive: bool = False,  # never replace a file; raises TakenError
) -> Path:
    """Write one direction; None for what is not known."""
    tensors = {"direction": direction.float()}
    if normal is not None:
        tensors["normal"] = normal.float()
    if example is not None:
        tensors["example"] = example.float()
    config = {"layers": None if layers is None else list(layers), "start": start, "offset": offset}
    config.update(method=method, name=name)
    return write_safetensors(path, tensors, KIND, config, provenance, family, exclusive)


def read_direction(path: str | Path) -> dict[str, object]:
    """Read the fields of :func:`write_direction`, checked; a field that the file does not know is None or ''.

    Returns:
        Fields by name; direction and normal are [L, D] or [1, D], the example [2, L, D].

    Raises:
        CheckpointError: names the field that is wrong.
    """
    path = Path(path)
    tensors, metadata = read_safetensors(path, kind=KIND)
    config = parse_json(metadata, "config", path)
    direction = _rows(path, tensors, "direction")
    normal = _rows(path, tensors, "normal") if "normal" in tensors else None
    if normal is not None and normal.shape != direction.shape:
        raise CheckpointError(
            f"{path.name}: its normal has shape {tuple(normal.shape)}, its direction {tuple(direction.shape)}."
        )
    example = tensors.get("example")
    if example is not None and (example.ndim != 3 or tuple(example.shape) != (2, *direction.shape)):
        raise CheckpointError(f"{path.name}: its example codes have shape {tuple(example.shape)}; expected [2, L, D].")
    if example is not None:
        with about_file(path):
            check_range("Its example", example.float())
    return {
        "direction": direction,
        "normal": normal,
        "layers": _layers(path, config.get("layers"), direction.shape[0]),
        "start": _number(path, config, "start"),
        "offset": _number(path, config, "offset"),
        "method": _text(path, config, "method"),
        "name": printable(_text(path, config, "name") or path.stem),
        "family": metadata.get("family", ""),
        "example": example if example is None else example.float(),
    }


def summarize_direction(path: str | Path) -> DirectionSummary:
    """Summarize a direction file.

    Raises:
        CheckpointError: as :func:`read_direction`.
    """
    path = Path(path)
    fields = read_direction(path)
    _, metadata = read_safetensors(path, kind=KIND)
    provenance = parse_json(metadata, "provenance", path)
    notes, date = (str(provenance.get(key) or "") for key in ("notes", "date"))
    direction = fields["direction"]
    return DirectionSummary(
        name=fields["name"],
        shape=(direction.shape[0], direction.shape[1]),
        layers=fields["layers"],
        has_states=fields["start"] is not None and fields["offset"] is not None,
        family=fields["family"],
        method=fields["method"],
        notes=notes,
        date=date,
    )


def write_thumbnail(path: str | Path, image: Tensor) -> Path:  # [H, W, 3] in 0..1
    """Write the picture of a direction file as a .jpg of the same name beside it, whole or not at all.

    Raises:
        TakenError: there is such a picture; it is not replaced.
    """
    target = Path(path).with_suffix(THUMBNAIL)
    pixels = image.detach().float().cpu().clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    content = io.BytesIO()  # Pillow's own writing of JPEG takes a half-written file on a full disk for a whole one
    Image.fromarray(pixels).save(content, "JPEG", quality=90)
    with atomic_write(target, exclusive=True) as temporary:
        temporary.write_bytes(content.getbuffer())
    return target


def read_thumbnail(path: str | Path) -> Tensor | None:
    """Read the picture beside a direction file, [H, W, 3] in 0..1; None when there is none that can be read."""
    target = Path(path).with_suffix(THUMBNAIL)
    try:
        with Image.open(target, formats=("JPEG",)) as picture:
            if max(picture.size) > _LARGEST_THUMBNAIL:
                return None
            pixels = np.array(picture.convert("RGB"), dtype=np.float32)
    except Exception:  # decoders raise whatever they like on damaged files, and a list goes on without its picture
        return None
    return torch.from_numpy(pixels / 255.0)


def _rows(path: Path, tensors: dict[str, Tensor], name: str) -> Tensor:
    """Return a tensor [L, D] or [D] as [L, D] or [1, D], checked."""
    tensor = tensors.get(name)
    if tensor is None:
        raise CheckpointError(f"{path.name} holds no tensor '{name}'; it is not a direction file.")
    if not tensor.is_floating_point() or tensor.ndim not in (1, 2) or tensor.numel() == 0:
        raise CheckpointError(
            f"{path.name}: '{name}' has shape {tuple(tensor.shape)} and type {tensor.dtype}; expected numbers [L, D]."
        )
    tensor = tensor.float().reshape(-1, tensor.shape[-1])
    with about_file(path):
        check_range(f"'{name}'", tensor, LARGEST_WEIGHT if name == "normal" else LARGEST_CODE)
    return tensor


def _layers(path: Path, value: object, rows: int) -> tuple[int, ...] | None:
    if value is None:
        return None
    valid = isinstance(value, list) and value and all(isinstance(k, int) and not isinstance(k, bool) for k in value)
    if not valid or min(value) < 0 or (rows > 1 and max(value) >= rows):
        raise CheckpointError(f"{path.name}: its list of edited rows is damaged.")
    return tuple(sorted(set(value)))


def _number(path: Path, config: dict, name: str) -> float | None:
    value = config.get(name)
    if value is None:
        return None
    number = finite_number(value)
    if number is None:
        raise CheckpointError(f"{path.name}: its field '{name}' should be a number.")
    return number


def _text(path: Path, config: dict, name: str) -> str:
    value = config.get(name) or ""
    if not isinstance(value, str):
        raise CheckpointError(f"{path.name}: its field '{name}' should be text.")
    return value
