"""Where we run: the one place that knows whether ComfyUI or the command line is the host.

Nodes ask this module for devices, progress, folders and memory, and never care who answers. Whoever starts the pack
chooses the side once, explicitly: the root ``__init__`` calls `use_comfyui`, the command line and the tests call
`headless.use_headless`. `io` and `ui` of the node interface come from the chosen side: ``from ..host import io, ui``.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from ..models.errors import InputError
from ..models.inference import clone_from_inference, enable_training, no_inference_mode

__all__ = [
    "KINDS",
    "Host",
    "no_inference_mode",
    "current",
    "preview_picture",
    "clone_from_inference",
    "safe_name",
    "enable_training",
    "use",
    "use_comfyui",
]

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
    "scorers",
)
MODEL_SUFFIX = ".safetensors"
PREVIEW_SECONDS = 0.1  # a preview costs a conversion and a JPEG, so faster steps than this share one
PREVIEW_AFTER = 1.0  # s; a preview makes its node grow over what lies below: not for work that is done at once
PREVIEW_SIZE = 512  # px, longest side

Progress = Callable[..., None]  # (step, total, preview=None); raises the host's interruption


class Host(ABC):
    """What every side offers. Paths are absolute; kinds are those of `KINDS`."""

    io: Any  # the V3 node interface: Schema, ComfyNode, NodeOutput, Int, Image, ...
    ui: Any  # its previews: PreviewImage, PreviewText, ...

    @abstractmethod
    def device(self) -> torch.device:
        """Where networks work."""

    @abstractmethod
    def result_device(self) -> torch.device:
        """Where the pictures that leave a node belong."""

    @abstractmethod
    def progress(self, total: int, label: str = "") -> Progress:
        """Return a reporter ``(step, total, preview=None)`` for one piece of work.

        Args:
            total: number of steps expected; a later call may correct it.
            label: a few words for hosts that show them.

        The reporter takes a preview tensor [3,H,W] or [H,W,3] in 0..1 (clamped), and raises the host's own
        interruption when the person has stopped the work: let it through.
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

        Args:
            kind: one of `KINDS`.
            name: file name without number and extension, as typed; "set1/smile" makes a subfolder.
            extension: with its dot.

        Raises:
            InputError: the name is empty, absolute, or leads out of the folder.
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
    def diffusion(self) -> Any:
        """What deals with MODEL, VAE and LoRA: denoiser, tuned, sample, encode, decode, samplers, free_memory."""

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
            names.update(_files_below(folder))
        return sorted(names)

    def model_path(self, kind: str, name: str) -> Path:
        """Return the file that a name from `list_models` stands for.

        Raises:
            InputError: no such file; the sentence lists what there is.
        """
        names = self.list_models(kind)
        if name in names:
            for folder in self.model_folders(kind):
                if (folder / name).is_file():
                    return folder / name
        there = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "none yet"
        raise InputError(
            f"There is no file {name!r} among the {kind.replace('_', ' ')}. Available: {there}. "
            f"Put {MODEL_SUFFIX} files into {self.model_folders(kind)[0]}, refresh, and choose one from the list."
        )

    def input_subfolders(self) -> list[str]:
        """Return the folders below the input folder, recursively, as "a/b", sorted; hidden ones are left out."""
        root, found = self.input_directory(), []
        for folder, below, _ in os.walk(root):
            below[:] = [name for name in below if not name.startswith(".")]
            found += [(Path(folder) / name).relative_to(root).as_posix() for name in below]
        return sorted(found)


class ComfyHost(Host):
    """ComfyUI: its folders, its memory manager, its progress bar and its interruption."""

    def __init__(self) -> None:
        import comfy.model_management
        import comfy.utils
        import folder_paths
        from comfy_api.latest import io, ui

        self.io, self.ui = io, ui
        self._memory, self._utils, self._paths = comfy.model_management, comfy.utils, folder_paths
        for kind in KINDS:
            self._register(kind)

    def _register(self, kind: str) -> None:
        # Added behind whatever extra_model_paths.yaml has put there already, and never in its place.
        name = f"semantic_edit_{kind}"
        folders = (Path(self._paths.models_dir), Path(self._paths.get_output_directory()))
        for folder in [*(folder / "semantic_edit" / kind for folder in folders), PACK / "models" / "demo" / kind]:
            self._paths.add_model_folder_path(name, str(folder))
        extensions = self._paths.folder_names_and_paths[name][1]
        if not extensions:  # empty means "every file" to ComfyUI
            extensions.add(MODEL_SUFFIX)

    def device(self) -> torch.device:
        return self._memory.get_torch_device()

    def result_device(self) -> torch.device:
        return self._memory.intermediate_device()

    def progress(self, total: int, label: str = "") -> Progress:
        bar = self._utils.ProgressBar(total)
        due = _Due()

        def report(step: int, total: int, preview: Tensor | None = None) -> None:
            picture = None
            if preview is not None and due(last=step >= total):
                picture = ("JPEG", preview_picture(preview), PREVIEW_SIZE)
            bar.update_absolute(step, total, picture)
            self.check_interrupt()

        return report

    def check_interrupt(self) -> None:
        self._memory.throw_exception_if_processing_interrupted()

    def model_folders(self, kind: str) -> list[Path]:
        return [Path(folder) for folder in self._paths.get_folder_paths(f"semantic_edit_{kind}")]

    def list_models(self, kind: str) -> list[str]:
        return [name for name in self._paths.get_filename_list(f"semantic_edit_{kind}") if name.endswith(MODEL_SUFFIX)]

    def save_path(self, kind: str, name: str, extension: str = MODEL_SUFFIX) -> Path:
        prefix = f"semantic_edit/{kind}/{safe_name(name)}"
        folder, filename, counter, _, _ = self._paths.get_save_image_path(prefix, self._paths.get_output_directory())
        return Path(folder) / f"{filename}_{counter:05}_{extension}"

    def input_directory(self) -> Path:
        return Path(self._paths.get_input_directory())

    def output_directory(self) -> Path:
        return Path(self._paths.get_output_directory())

    def temp_directory(self) -> Path:
        return Path(self._paths.get_temp_directory())

    @property
    def diffusion(self) -> Any:
        from .comfyui_diffusion import ComfyDiffusion

        return ComfyDiffusion()

    def place(self, *modules: nn.Module) -> None:
        patchers = [self._patcher(module) for module in modules]
        with no_inference_mode():  # weights that move under inference mode would come back as inference tensors
            self._memory.load_models_gpu(patchers, force_full_load=True)

    def _patcher(self, module: nn.Module) -> Any:
        import comfy.model_patcher

        placement = module.__dict__.get("_placement")
        if placement is None or placement.module is not module:
            placement = _Placement(module)
            load, offload = self.device(), self._memory.unet_offload_device()
            placement.patcher = comfy.model_patcher.ModelPatcher(_Tenant(module), load, offload)
            module.__dict__["_placement"] = placement
        return placement.patcher


class _Tenant(nn.Module):
    """What the memory manager sees of a network: it pins its own attributes on this, not on the network."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


class _Placement:
    """Keeps a network's patcher alive exactly as long as the network, and out of its copies."""

    def __init__(self, module: nn.Module | None = None) -> None:
        self.module, self.patcher = module, None

    def __deepcopy__(self, memo: dict) -> _Placement:
        return _Placement()


class _Due:
    """True once `PREVIEW_AFTER` has passed, then at most once per `PREVIEW_SECONDS`, and for the last step."""

    def __init__(self) -> None:
        self.first = time.monotonic() + PREVIEW_AFTER
        self.next = self.first

    def __call__(self, last: bool) -> bool:
        now = time.monotonic()
        if now < (self.first if last else self.next):
            return False
        self.next = now + PREVIEW_SECONDS
        return True


def preview_picture(preview: Tensor):
    """Turn a tensor [C,H,W] or [H,W,3] in 0..1 into a PIL image; of a batch of them, the first. One channel is grey."""
    from PIL import Image

    picture = preview.detach()
    picture = picture[0] if picture.ndim == 4 else picture
    picture = picture.movedim(0, -1) if picture.shape[-1] != 3 else picture
    picture = picture.expand(-1, -1, 3) if picture.shape[-1] == 1 else picture[..., :3]
    return Image.fromarray(picture.float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy())


_LONGEST_NAME = 160  # bytes; file systems take 255 of a name, and counters and endings are added


def safe_name(name: str) -> str:
    """Return a typed file name in "a/b" form, refusing one that could leave its folder.

    Raises:
        InputError: empty, absolute, too long, with a drive, with "..", or with characters that some system refuses.
    """
    parts = PurePosixPath(str(name).strip().replace("\\", "/"))
    bad = parts.is_absolute() or not parts.name or any(part.startswith((".", "~")) for part in parts.parts)
    if len(str(parts).encode()) > _LONGEST_NAME:
        raise InputError(f"The file name {str(parts)[:40]!r}... is {len(str(parts))} letters long; give a shorter one.")
    if bad or any(character in '<>:"|?*' or ord(character) < 32 for character in str(parts)):
        raise InputError(
            f"The file name {name!r} cannot be used: give a plain name such as 'smile' or 'set1/smile', "
            "without '..', drive or leading dot."
        )
    return str(parts)


def _files_below(folder: Path) -> Iterator[str]:
    if folder.is_dir():
        for file in folder.rglob(f"*{MODEL_SUFFIX}"):
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
                yield str(file.relative_to(folder))


_current: Host | None = None


def use(side: Host) -> Host:
    """Choose the side that answers from now on, and return it."""
    global _current
    _current = side
    return side


def use_comfyui() -> Host:
    """Choose ComfyUI: registers the pack's model folders. Only inside a running ComfyUI."""
    return use(ComfyHost())


def current() -> Host:
    """Return the chosen side.

    Raises:
        RuntimeError: nobody has chosen yet.
    """
    if _current is None:
        raise RuntimeError("No host is chosen: call semantic_edit.headless.use_headless() before importing nodes.")
    return _current


def __getattr__(name: str) -> Any:
    if name in ("io", "ui"):
        return getattr(current(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
