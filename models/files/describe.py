"""Description of a .safetensors file in a few lines (`semantic-edit info`)."""

from __future__ import annotations

import json
import math
from pathlib import Path

from torch import Tensor

from ..checkpoint import FORMAT, parse_json, read_safetensors
from ..gan.progan import ARCHITECTURE
from ..gan.stylegan3_config import ALIAS_FREE
from ..printable import printable

MAX_LINES = 12  # of tensors, or groups of them
MAX_VALUE = 200  # characters


def describe_file(path: str | Path) -> str:
    """Describe kind, size, config, family, provenance and shapes of a safetensors file, in lines of text.

    Raises:
        CheckpointError: for anything that is no readable safetensors file.
    """
    path = Path(path)
    tensors, metadata = read_safetensors(path)
    lines = [f"{path.name}: {_kind(metadata)}, {path.stat().st_size / 1e6:.1f} MB"]
    if metadata.get("format") == FORMAT:
        lines.append(f"family: {metadata.get('family') or 'unknown (checked by shape when used)'}")
        for title in ("config", "provenance"):
            values = parse_json(metadata, title, path)
            if title == "config" and metadata.get("kind") == "generator":
                lines.append(f"network: {_network(values)}")
            lines += [f"{title}:"] * bool(values) + [f"  {name}: {_shorten(value)}" for name, value in values.items()]
    lines.append(f"tensors: {len(tensors)}, {sum(t.numel() for t in tensors.values()):,} numbers")
    lines += [f"  {line}" for line in _shapes(tensors)]
    return "\n".join(printable(line) for line in lines)


def _kind(metadata: dict[str, str]) -> str:
    if metadata.get("format") == FORMAT:
        return metadata.get("kind") or "a Semantic Edit file that does not say its kind"
    return "a safetensors file that does not come from Semantic Edit"


def _network(values: dict) -> str:
    """Name the kind of generator that a config is of."""
    if values.get("architecture") == ALIAS_FREE:
        rotates = values.get("kernel") == 1 and values.get("radial") is True
        return f"StyleGAN3, configuration {'R' if rotates else 'T'}"
    return "Progressive GAN" if values.get("architecture") == ARCHITECTURE else "StyleGAN2"


def _shorten(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]} ..."


def _shapes(tensors: dict[str, Tensor]) -> list[str]:
    """List the tensors of small files, and of large ones the modules of the network."""
    if len(tensors) <= MAX_LINES:
        return [f"{name} {list(t.shape)} {str(t.dtype).removeprefix('torch.')}" for name, t in sorted(tensors.items())]
    groups: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        module = ".".join(name.split(".")[:2]) if name.count(".") > 1 else name.split(".")[0]
        groups.setdefault(module, []).append(tensor)
    lines = [
        f"{group}: {len(members)} tensors, {sum(math.prod(t.shape) for t in members):,} numbers"
        for group, members in list(groups.items())[:MAX_LINES]
    ]
    return lines + [f"... and {len(groups) - MAX_LINES} more parts"] * (len(groups) > MAX_LINES)
