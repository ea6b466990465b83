"""Concept files: the result of a GAN dissection (1811.10597), which takes minutes, and is small."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..checkpoint import parse_json, read_safetensors, write_safetensors
from ..code_range import LARGEST_WEIGHT, check_range
from ..errors import CheckpointError, about_file
from ..printable import printable

KIND = "concepts"
TENSORS = ("iou", "effect", "top", "inside", "outside", "threshold", "share")
STEPS = ("steps", "normals", "levels")


def write_concepts(
    path: str | Path,
    tensors: dict[str, Tensor | None],  # TENSORS, and STEPS where they are known
    layer: int,  # of the units
    names: tuple[str, ...],
    family: str = "",
    provenance: dict[str, object] | None = None,
    exclusive: bool = False,  # never replace a file; raises TakenError
) -> Path:
    """Write one dissection; shapes as in `ConceptUnits`."""
    stored = {name: tensors[name].float() for name in (*TENSORS, *STEPS) if tensors.get(name) is not None}
    config = {"layer": layer, "names": list(names)}
    return write_safetensors(path, stored, KIND, config, provenance, family, exclusive)


def read_concepts(path: str | Path) -> dict[str, object]:
    """Read the fields of :func:`write_concepts`: layer, names, family and the tensors, float32.

    The shapes are checked by the `ConceptUnits` that they become.

    Raises:
        CheckpointError: names the field that is wrong.
    """
    path = Path(path)
    tensors, metadata = read_safetensors(path, kind=KIND)
    config = parse_json(metadata, "config", path)
    layer, names = config.get("layer"), config.get("names")
    if type(layer) is not int or not 0 <= layer < 1000:
        raise CheckpointError(f"{path.name}: its field 'layer' should be the number of a layer.")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path.name}: its field 'names' should list the names of concepts.")
    for name in TENSORS:
        if name not in tensors:
            raise CheckpointError(f"{path.name} holds no tensor '{name}'; it is not a file of concepts.")
    fields: dict[str, object] = {
        "layer": layer,
        "names": tuple(map(printable, names)),
        "family": metadata.get("family", ""),
    }
    for name in (*TENSORS, *STEPS):
        tensor = tensors.get(name)
        if tensor is None:
            continue
        if not tensor.is_floating_point() or not tensor.numel():
            raise CheckpointError(f"{path.name}: '{name}' should hold finite numbers.")
        with about_file(path):
            check_range(f"'{name}'", tensor, LARGEST_WEIGHT)
        fields[name] = tensor.float()
    return fields
