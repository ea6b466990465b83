"""Recognition of open_clip models in files: by the config beside them, a name, or the shapes of the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoint import read_shapes
from ..errors import CheckpointError, InputError
from ..loading.config_limits import check_config_limits
from ..printable import printable, printable_logger
from ..wrappers import strip_wrappers
from .names import from_transformers, is_transformers

log = printable_logger(__name__)
CONFIG_NAME = "open_clip_config.json"
TRANSFORMERS_CONFIG = "config.json"
_WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")
_LARGEST_CONFIG = 1 << 20


@dataclass(frozen=True)
class ScorerDescription:
    """Description of an open_clip model."""

    name: str  # of its folder or architecture
    model: dict[str, Any]  # open_clip's model_cfg
    preprocess: dict[str, Any]  # open_clip's preprocess_cfg
    weights: Path  # the .safetensors file

    def rename(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights under open_clip's names, whichever library wrote them."""
        weights = _unwrap(weights, self.weights)
        return from_transformers(weights) if is_transformers(weights) else dict(weights)


def describe_scorer(path: Path, architecture: str, open_clip: Any) -> ScorerDescription:
    """Find config and weights of a folder or file.

    Args:
        path: a folder, or a .safetensors file.
        architecture: one of open_clip's names; "auto": the config beside the weights, else by their shapes.
        open_clip: the library.

    Raises:
        CheckpointError: when the files are damaged or of no known architecture.
        InputError: for an architecture that open_clip does not have.
    """
    folder = path if path.is_dir() else path.parent
    weights = _find_weights(path) if path.is_dir() else path
    config = folder / CONFIG_NAME
    if config.is_file() and architecture == "auto":
        model, preprocess = _read_config(config)
        check_config_limits(model, read_shapes(weights), f"The {CONFIG_NAME} of {folder.name}")
        return ScorerDescription(folder.name, model, preprocess, weights)
    shapes = _unwrap(read_shapes(weights), weights)
    if architecture == "auto":
        architecture = recognise(shapes, open_clip, weights.name, _uses_quick_gelu(folder, shapes))
    model = open_clip.get_model_config(architecture)
    if model is None:
        raise InputError(f"open_clip has no architecture '{architecture}'; leave it on 'auto' or choose from its list.")
    _refuse_downloads(model, architecture)
    return ScorerDescription(architecture, model, _usual_preprocessing(architecture, open_clip), weights)


def _unwrap(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return what a file holds by name, without the wrappers of its training."""
    try:
        return strip_wrappers(values)
    except CheckpointError as problem:
        raise CheckpointError(f"{path.name} {problem}.") from None


def _usual_preprocessing(architecture: str, open_clip: Any) -> dict[str, Any]:
    """Return the preprocessing of the weights that open_clip lists, {} where those differ from each other."""
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    configs = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    options = [{name: cfg[name] for name in ("mean", "std", "resize_mode") if cfg.get(name)} for cfg in configs]
    return options[0] if options and all(option == options[0] for option in options) else {}


def recognise(
    shapes: Mapping[str, tuple[int, ...]], open_clip: Any, file_name: str, quick_gelu: bool | None = None
) -> str:
    """Name the open_clip architecture whose towers have these shapes.

    Where two differ in nothing but their activation and the file's own config does not say it, weights in the form of
    the transformers library are taken for OpenAI's ("quickgelu"), others for open_clip's; a warning names the other.

    Args:
        shapes: of all tensors.
        open_clip: the library.
        file_name: for the sentences.
        quick_gelu: the activation, where it is known.

    Raises:
        CheckpointError: when no architecture has these shapes, or none with this activation.
    """
    transformers = is_transformers(shapes)
    signature = _signature(from_transformers_shapes(shapes) if transformers else shapes)
    if signature is None:
        raise CheckpointError(
            f"{file_name} does not hold both towers of a CLIP model; choose a file with an image and a text tower."
        )
    configs = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    matches = [name for name, config in configs.items() if _config_signature(config) == signature]
    if not matches:
        raise CheckpointError(f"{file_name} has the shapes of no architecture that this open_clip knows.")
    quick = [name for name in matches if name.endswith("-quickgelu")]
    gelu = [name for name in matches if name not in quick]
    if quick_gelu is not None:
        matches = quick if quick_gelu else gelu
        if not matches:
            kind = "quick_gelu" if quick_gelu else "gelu"
            raise CheckpointError(f"{file_name}: open_clip knows no model of these shapes with the activation {kind}.")
        return matches[0]
    best = (quick or gelu)[0] if transformers else (gelu or quick)[0]
    if len(matches) > 1:
        log.warning("%s: taken for %s; it could also be %s.", file_name, best, ", ".join(sorted({*matches} - {best})))
    return best


def _uses_quick_gelu(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> bool | None:
    """Return the activation that the transformers library's config.json names beside the weights, None without one.

    Raises:
        CheckpointError: when it is damaged, or names an activation that CLIP does not have in open_clip.
    """
    path = folder / TRANSFORMERS_CONFIG
    if not is_transformers(shapes) or not path.is_file():
        return None
    values = read_json(path)
    if values.get("model_type") != "clip":
        return None
    # The library leaves out what has its default.
    towers = [values.get(name) or {} for name in ("text_config", "vision_config")]
    names = {tower.get("hidden_act", "quick_gelu") if isinstance(tower, dict) else None for tower in towers}
    if names not in ({"quick_gelu"}, {"gelu"}):
        listed = ", ".join(sorted(printable(str(name))[:40] for name in names))
        raise CheckpointError(
            f"{path.name} in {folder.name} names the activation {listed}; expected quick_gelu or gelu, the same "
            "in both towers."
        )
    return names == {"quick_gelu"}


def read_json(path: Path) -> dict[str, Any]:
    """Read a config file, of a megabyte at most.

    Raises:
        CheckpointError: when it is no JSON object.
    """
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise ValueError("it is larger than any such file")
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError, RecursionError) as problem:
        raise CheckpointError(f"{path.name} in {path.parent.name} cannot be read: {problem}.") from None
    return values


def from_transformers_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the few shapes that distinguish architectures, under open_clip's names."""
    names = {
        "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
    }
    renamed = {ours: shapes[theirs] for theirs, ours in names.items() if theirs in shapes}
    if "text_projection.weight" in shapes:
        renamed["text_projection"] = tuple(reversed(shapes["text_projection.weight"]))
    for tower, ours in (("vision_model", "visual.transformer"), ("text_model", "transformer")):
        prefix = f"{tower}.encoder.layers."
        for index in {name[len(prefix) :].split(".")[0] for name in shapes if name.startswith(prefix)}:
            renamed[f"{ours}.resblocks.{index}.ln_1.weight"] = (0,)
    return renamed


def _signature(shapes: Mapping[str, tuple[int, ...]]) -> tuple | None:
    """Return text width, context, vocabulary, depth and embedding, then the same of the image tower."""
    text = {name.removeprefix("text."): shape for name, shape in shapes.items()}
    required = ("token_embedding.weight", "positional_embedding", "text_projection")
    if any(name not in text for name in required) or "visual.conv1.weight" not in shapes:
        return None
    vocabulary, width = text["token_embedding.weight"]
    head = (width, text["positional_embedding"][0], vocabulary, _depth(text, "transformer"), text["text_projection"][1])
    if "visual.positional_embedding" in shapes:
        width, _, patch, _ = shapes["visual.conv1.weight"]
        patches = shapes["visual.positional_embedding"][0] - 1
        return (*head, width, patch, patches, _depth(shapes, "visual.transformer"))
    stages = tuple(_depth(shapes, f"visual.layer{stage}", "") for stage in range(1, 5))
    return (*head, 2 * shapes["visual.conv1.weight"][0], stages)


def _config_signature(config: dict[str, Any] | None) -> tuple | None:
    try:
        text, vision = config["text_cfg"], config["vision_cfg"]  # type: ignore[index]
        head = (text["width"], text.get("context_length", 77), text.get("vocab_size", 49408), text["layers"],
                config["embed_dim"])  # fmt: skip
        size = vision["image_size"]
        height, width = (size, size) if isinstance(size, int) else size
        if isinstance(vision["layers"], int):
            patch = vision["patch_size"]
            return (*head, vision["width"], patch, (height // patch) * (width // patch), vision["layers"])
        return (*head, vision["width"], tuple(vision["layers"]))
    except (KeyError, TypeError):
        return None  # towers of timm or of the transformers library


def _depth(shapes: Mapping[str, tuple[int, ...]], prefix: str, blocks: str = ".resblocks") -> int:
    """Count the blocks of a tower."""
    start = f"{prefix}{blocks}."
    return len({name[len(start) :].split(".")[0] for name in shapes if name.startswith(start)})


def _find_weights(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    raise CheckpointError(
        f"The folder {folder.name} holds {len(files)} .safetensors files; expected one, or {_WEIGHTS[0]}."
    )


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise ValueError("it is larger than any such file")
        values = json.loads(path.read_text(encoding="utf-8"))
        model, preprocess = values["model_cfg"], values.get("preprocess_cfg") or {}
        sections = (model, model["text_cfg"], model["vision_cfg"], preprocess)
        if not all(isinstance(section, dict) for section in sections):
            raise ValueError("its parts are no objects")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise CheckpointError(
            f"{path.name} in {path.parent.name} does not describe an open_clip model: {problem}."
        ) from None
    _refuse_downloads(model, path.parent.name)
    return model, preprocess


def _refuse_downloads(model: dict[str, Any], name: str) -> None:
    """Refuse towers of other libraries, which fetch their own descriptions when they are built."""
    if model["text_cfg"].get("hf_model_name"):
        raise CheckpointError(f"{name} takes its text tower from another library, which would download it: not usable.")
    if model["vision_cfg"].get("timm_model_name"):
        model["vision_cfg"]["timm_model_pretrained"] = False
