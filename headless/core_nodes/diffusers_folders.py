"""The diffusion models that are there without ComfyUI: diffusers folders below models/checkpoints and .../diffusers."""

from __future__ import annotations

from pathlib import Path

from ... import host
from ...models.diffusion.folder import INDEX, is_diffusers_folder
from ...models.errors import InputError

ROOTS = ("checkpoints", "diffusers")


def folders(root: str) -> list[str]:
    """Return the diffusers folders below models/<root>, as "a/b", sorted."""
    top, names = _root(root), []
    for folder, subfolders, files in host.folders_below(top, follow_links=True):
        if INDEX in files:
            names.append(folder or ".")
            subfolders[:] = []
    return sorted(names)


def checkpoints() -> list[str]:
    """Return what ComfyUI's checkpoint loader would list: single files, and the diffusers folders that stand for them.

    Files inside of a diffusers folder are its own.
    """
    top, folder_names = _root("checkpoints"), folders("checkpoints")
    files = [Path(folder, file).as_posix() for folder, _, files in host.folders_below(top) for file in files]
    files = [name for name in files if name.endswith(".safetensors")]
    single = [name for name in files if not any(name.startswith(f"{folder}/") for folder in folder_names)]
    return sorted(folder_names + single)


def folder_named(root: str, name: str) -> Path:
    """Return a folder from `folders`.

    Raises:
        InputError: when there is none of this name; the sentence lists what there is.
    """
    names = folders(root)
    if name in names:
        return _root(root) / name
    available = ", ".join(names) or "none yet"
    raise InputError(f"There is no diffusers folder {str(name)[:80]!r} in {_root(root)}. Available: {available}.")


def checkpoint_folder(name: str) -> Path:
    """Return the diffusers folder that stands for a checkpoint: of its name, or of its name without ".safetensors".

    Raises:
        InputError: when there is no such folder; says where it belongs, and what to do with a single file.
    """
    stem = str(name).removesuffix(".safetensors")
    for root in ROOTS:
        for candidate in (str(name), stem):
            if candidate in folders(root) and is_diffusers_folder(_root(root) / candidate):
                return _root(root) / candidate
    is_single_file = name in checkpoints()
    problem = "is a single file, which is read inside ComfyUI only" if is_single_file else "is not there"
    raise InputError(
        f"The checkpoint {str(name)[:80]!r} {problem}. Without ComfyUI, put the model as a diffusers folder into "
        f"{_root('diffusers') / Path(stem).name}."
    )


def _root(name: str) -> Path:
    return host.current().settings.models.absolute() / name  # type: ignore[attr-defined]  (headless only)
