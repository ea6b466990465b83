"""Which diffusion models are there without ComfyUI: diffusers folders below models/checkpoints and models/diffusers."""

from __future__ import annotations

import os
from pathlib import Path

from ... import host
from ...models.diffusion.folder import INDEX, is_diffusers_folder
from ...models.errors import InputError

ROOTS = ("checkpoints", "diffusers")


def folders(root: str) -> list[str]:
    """The diffusers folders below models/<root>, as "a/b", sorted."""
    top, found = _root(root), []
    for place, below, files in os.walk(top, followlinks=True):
        if INDEX in files:
            found.append(Path(place).relative_to(top).as_posix())
            below[:] = []
    return sorted(found)


def checkpoints() -> list[str]:
    """What ComfyUI's checkpoint loader would list: single files; and the diffusers folders that stand for them."""
    files = [path for path in _root("checkpoints").rglob("*.safetensors") if path.is_file()]
    inside = folders("checkpoints")
    alone = [path.relative_to(_root("checkpoints")).as_posix() for path in files]
    return sorted(inside + [name for name in alone if not any(name.startswith(f"{folder}/") for folder in inside)])


def folder_named(root: str, name: str) -> Path:
    """A folder from `folders`.

    Raises:
        InputError: there is none of this name; the sentence lists what there is.
    """
    if name in folders(root):
        return _root(root) / name
    there = ", ".join(folders(root)) or "none yet"
    raise InputError(f"There is no diffusers folder {str(name)[:80]!r} in {_root(root)}. Available: {there}.")


def checkpoint_folder(name: str) -> Path:
    """The diffusers folder that stands for a checkpoint: of the same name, or of its name without ".safetensors".

    Raises:
        InputError: no such folder; says where it belongs, and what to do with a single file.
    """
    plain = str(name).removesuffix(".safetensors")
    for root in ROOTS:
        for asked in (str(name), plain):
            if asked in folders(root) and is_diffusers_folder(_root(root) / asked):
                return _root(root) / asked
    single = name in checkpoints()
    why = "is a single file, which is read inside ComfyUI only" if single else "is not there"
    raise InputError(
        f"The checkpoint {str(name)[:80]!r} {why}. Without ComfyUI, put the model as a diffusers folder into "
        f"{_root('diffusers') / Path(plain).name}."
    )


def _root(name: str) -> Path:
    return host.current().settings.models.absolute() / name  # type: ignore[attr-defined]  (headless only)
