"""Text-edit files (CoralStyleCLIP): a sentence, the change of codes and its region, some kB to a few MB."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint import parse_json, read_safetensors, strip_prefix, write_safetensors
from ..code_range import LARGEST_WEIGHT, check_range
from ..errors import CheckpointError, about_file
from ..gan.generator import check_shapes, check_weights
from ..gan.text_edit_networks import LatentMapper, LayerAttention, third_sizes
from ..inference import no_inference_mode

KIND = "text_edit"
_TENSORS = ("offset", "selection", "region", "extra")
_TEXTS = ("prompt", "source", "name", "method")
_LARGEST_ATTENTION = 64  # layers; the largest published generators have 26 and fewer


def write_text_edit(
    path: str | Path,
    values: Mapping[str, Any],
    provenance: Mapping[str, object] | None = None,
    exclusive: bool = False,
) -> Path:
    """Write the fields of a text edit by name; None for those that it lacks.

    Args:
        path: ends in .safetensors.
        values: fields of a `TextEdit`: offset [L, D], selection, region and extra tensors, networks, texts.
        provenance: JSON-ready.
        exclusive: never replace a file; raises TakenError.
    """
    tensors = {name: values[name].float() for name in _TENSORS if values.get(name) is not None}
    config: dict[str, Any] = {name: str(values.get(name) or "") for name in _TEXTS}
    config |= {"parts": list(values.get("parts") or ()), "rows": list(values.get("rows") or ())}
    config["threshold"] = float(values.get("threshold") or 0.0)
    config["keeps_outside"] = bool(values.get("keeps_outside"))
    for name in ("mapper", "attention"):
        network = values.get(name)
        if network is not None:
            tensors |= {f"{name}.{key}": tensor.float() for key, tensor in network.state_dict().items()}
    if values.get("mapper") is not None:
        config["mapper_rows"] = list(values["mapper"].sizes)
    if values.get("attention") is not None:
        config["attention_channels"] = list(values["attention"].channels)
    return write_safetensors(path, tensors, KIND, config, provenance, str(values.get("family") or ""), exclusive)


def read_text_edit(path: str | Path) -> dict[str, Any]:
    """Read the fields of a text edit by name, its networks frozen.

    Raises:
        CheckpointError: for anything damaged.
    """
    path = Path(path)
    with no_inference_mode():
        tensors, metadata = read_safetensors(path, KIND)
        config = parse_json(metadata, "config", path)
        offset = tensors.get("offset")
        if offset is None or offset.ndim != 2 or not offset.is_floating_point() or 0 in offset.shape:
            raise CheckpointError(f"{path.name} holds no change of codes [L, D]; it is damaged.")
        with about_file(path):
            check_range("'offset'", offset)
            for name in _TENSORS:
                if name in tensors:
                    check_range(f"'{name}'", tensors[name].float(), LARGEST_WEIGHT)
        values: dict[str, Any] = {name: _text(config, name, path) for name in _TEXTS}
        values |= {name: tensors[name].float() for name in _TENSORS if name in tensors}
        values |= {"parts": tuple(_part_names(config, path)), "rows": tuple(_rows(config, len(offset), path))}
        values |= {"threshold": _threshold(config, path), "family": metadata.get("family", "")}
        values["keeps_outside"] = config.get("keeps_outside") is True
        mapper, attention = (strip_prefix(tensors, f"{name}.") for name in ("mapper", "attention"))
        if mapper:
            sizes = _mapper_rows(config, len(offset), path)
            values["mapper"] = _load_weights(lambda: LatentMapper(*offset.shape, sizes=sizes), mapper, path)
        if attention:
            channels = _channels(config, path)
            values["attention"] = _load_weights(lambda: LayerAttention(channels), attention, path)
        return values


def _load_weights(build: Callable[[], nn.Module], weights: dict[str, Tensor], path: Path) -> nn.Module:
    """Build a network around the file's weights, once their names and shapes are known to be its own."""
    with torch.device("meta"):  # a few bytes of a header may ask for gigabytes
        network = build()
    check_shapes(network, weights, path, "network")
    check_weights(weights, path)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    return network.eval().requires_grad_(False)


def _text(config: Mapping[str, Any], name: str, path: Path) -> str:
    value = config.get(name, "")
    if not isinstance(value, str):
        raise CheckpointError(f"{path.name}: its header field '{name}' is no text.")
    return value


def _part_names(config: Mapping[str, Any], path: Path) -> list[str]:
    names = config.get("parts", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path.name}: its header names its parts wrongly.")
    return names


def _rows(config: Mapping[str, Any], count: int, path: Path) -> list[int]:
    rows = config.get("rows", [])
    if not isinstance(rows, list) or not all(type(row) is int and 0 <= row < count for row in rows):
        raise CheckpointError(f"{path.name}: its header names rows that do not exist.")
    return rows


def _mapper_rows(config: Mapping[str, Any], count: int, path: Path) -> tuple[int, ...]:
    """Return the rows of each of the mapper's networks; a file of an older version has thirds."""
    sizes = config.get("mapper_rows", list(third_sizes(count)))
    if not isinstance(sizes, list) or not all(type(size) is int and size > 0 for size in sizes) or sum(sizes) != count:
        raise CheckpointError(f"{path.name}: its header does not split {count} rows among the networks of its mapper.")
    return tuple(sizes)


def _threshold(config: Mapping[str, Any], path: Path) -> float:
    value = config.get("threshold", 0.0)
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise CheckpointError(f"{path.name}: its header gives a threshold outside 0..1.")
    return float(value)


def _channels(config: Mapping[str, Any], path: Path) -> list[int]:
    channels = config.get("attention_channels")
    valid = isinstance(channels, list) and 0 < len(channels) <= _LARGEST_ATTENTION
    if not valid or not all(type(width) is int and 1 <= width <= 4096 for width in channels):
        raise CheckpointError(f"{path.name}: its header does not describe its attention.")
    return channels
