"""The host interface: what ComfyUI and the command line both offer to the nodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..editing.common.progress import Progress
from ..models.errors import InputError
from .diffusion import DiffusionBackend
from .files import MODEL_SUFFIX, folders_below, is_text, model_files_below

__all__ = ["KINDS", "PACK", "Host"]

PACK = Path(__file__).resolve().parents[1]
# Each kind is one folder of safetensors files, known to ComfyUI as "semantic_edit_<kind>".
KINDS = (
    "generators",
    "encoders",
    "latents",
    "directions",
    "text_edits",
    "concepts",
    "adaptations",
    "imagic",
    "pair_edits",
    "scorers",
    "jobs",
    "losses",
    "segmenters",
)
_MOST_NAMED = 8  # files that a message lists


class Host(ABC):
    """What every host offers. Paths are absolute; kinds are those of `KINDS`."""

    io: Any  # the V3 node interface: Schema, ComfyNode, NodeOutput, Int, Image, ...
    ui: Any  # its previews: PreviewImage, PreviewText, ...

    @abstractmethod
    def device(self) -> torch.device:
        """Return the device that networks work on."""

    @abstractmethod
    def result_device(self) -> torch.device:
        """Return the device that pictures leave a node on."""

    @abstractmethod
    def progress(self, total: int, label: str = "") -> Progress:
        """Return a reporter for one piece of work.

        Its preview tensor is [3, H, W] or [H, W, 3] in 0..1 (clamped). It raises the host's own interruption when the
        person has stopped the work: let it through.

        Args:
            total: number of steps expected; a later call may correct it.
            label: a few words for hosts that show them.
        """

    @abstractmethod
    def check_interrupt(self) -> None:
        """Raise the host's interruption when the person has stopped the work."""

    @abstractmethod
    def model_folders(self, kind: str) -> list[Path]:
        """Return the folders searched for files of this kind, the first match wins."""

    @abstractmethod
    def save_path(self, kind: str, name: str, extension: str = MODEL_SUFFIX) -> Path:
        """Return a new, numbered file path below output/semantic_edit/<kind>; its folder exists, the file does not.

        Another process may take the number before the file is written: `write_new` then goes on to the next one.

        Args:
            kind: one of `KINDS`.
            name: file name without number and extension, as typed; "set1/smile" makes a subfolder.
            extension: with its dot.

        Raises:
            InputError: when the name is empty, absolute, or leads out of the folder.
        """

    @abstractmethod
    def input_directory(self) -> Path:
        """Return the folder that pictures are chosen from."""

    @abstractmethod
    def output_directory(self) -> Path:
        """Return the folder that results are written to."""

    @abstractmethod
    def temp_directory(self) -> Path:
        """Return the folder for previews."""

    @property
    @abstractmethod
    def diffusion(self) -> DiffusionBackend:
        """Return what runs diffusion models here."""

    @abstractmethod
    def place(self, *modules: nn.Module) -> None:
        """Bring the weights of networks to `device`, making room for all of them together.

        Call it before each use: the host may have moved the weights away since. Networks that are placed one after the
        other may push each other out where memory is short.
        """

    def list_models(self, kind: str) -> list[str]:
        """Return the names of the files of this kind, with subfolders, sorted; every name is valid for `model_path`."""
        names = set()
        for folder in self.model_folders(kind):
            names.update(model_files_below(folder))
        return sorted(names)

    def model_path(self, kind: str, name: str) -> Path:
        """Return the file that a name from `list_models` stands for.

        Raises:
            InputError: when there is no such file; the sentence lists what there is.
        """
        names = self.list_models(kind)
        if name in names:
            for folder in self.model_folders(kind):
                if (folder / name).is_file():
                    return folder / name
        available = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
        raise InputError(
            f"There is no file {name!r} among the {kind.replace('_', ' ')}. Available: {available or 'none yet'}. "
            f"Put {MODEL_SUFFIX} files into {self.model_folders(kind)[0]}, refresh, and choose one from the list."
        )

    def input_subfolders(self) -> list[str]:
        """Return the folders below the input folder, recursively, as "a/b", sorted; hidden ones are left out."""
        subfolders = []
        for folder, names, _ in folders_below(self.input_directory()):
            names[:] = [name for name in names if not name.startswith(".") and is_text(name)]
            subfolders += [f"{folder}/{name}" if folder else name for name in names]
        return sorted(subfolders)
