"""ComfyUI as the host: its folders, memory manager, progress bar and interruption.

Nothing of ComfyUI is imported before a `ComfyHost` is made.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from PIL import Image
from torch import Tensor, nn

from ..editing.common.progress import Progress
from ..models.files.storage import storage_problems
from ..models.inference import no_inference_mode
from .diffusion import DiffusionBackend
from .files import MODEL_SUFFIX, safe_name
from .interface import KINDS, PACK, Host

__all__ = ["ComfyHost", "preview_picture"]

PREVIEW_SECONDS = 0.1  # a preview costs a conversion and a JPEG, so faster steps than this share one
PREVIEW_AFTER = 1.0  # s; a preview makes its node grow over what lies below: not for work that is done at once
PREVIEW_SIZE = 512  # px, longest side
_CACHE = "_semantic_edit_patcher"  # a network's attribute that holds its `_PatcherCache`


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
        bar.update_absolute(0, total)  # shown at once: a first step may take half a minute
        preview_due = _Throttle()

        def report(step: int, total: int, preview: Tensor | None = None) -> None:
            picture = None
            if preview is not None and preview_due(last=step >= total):
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
        output = self._paths.get_output_directory()
        with storage_problems(f"The folder for {kind} below {output}"):
            folder, filename, counter, _, _ = self._paths.get_save_image_path(prefix, output)
        return Path(folder) / f"{filename}_{counter:05}_{extension}"

    def input_directory(self) -> Path:
        return Path(self._paths.get_input_directory())

    def output_directory(self) -> Path:
        return Path(self._paths.get_output_directory())

    def temp_directory(self) -> Path:
        return Path(self._paths.get_temp_directory())

    @property
    def diffusion(self) -> DiffusionBackend:
        from .comfyui_diffusion import ComfyDiffusion

        return ComfyDiffusion()

    def place(self, *modules: nn.Module) -> None:
        patchers = [self._patcher(module) for module in modules]
        with no_inference_mode():  # weights that move under inference mode would come back as inference tensors
            self._memory.load_models_gpu(patchers, force_full_load=True)

    def _patcher(self, module: nn.Module) -> Any:
        import comfy.model_patcher

        cache = module.__dict__.get(_CACHE)
        if cache is None or cache.module is not module:
            load, offload = self.device(), self._memory.unet_offload_device()
            cache = _PatcherCache(module, comfy.model_patcher.ModelPatcher(_PatchedModule(module), load, offload))
            module.__dict__[_CACHE] = cache
        return cache.patcher


class _PatchedModule(nn.Module):
    """Stands before a network for the memory manager, which pins its own attributes on this, not on the network."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


class _PatcherCache:
    """Keeps a network's patcher alive exactly as long as the network, and out of its copies."""

    def __init__(self, module: nn.Module | None = None, patcher: Any = None) -> None:
        self.module, self.patcher = module, patcher

    def __deepcopy__(self, memo: dict) -> _PatcherCache:
        return _PatcherCache()


class _Throttle:
    """Lets a preview through once `PREVIEW_AFTER` has passed, then one per `PREVIEW_SECONDS`, and the last step's."""

    def __init__(self) -> None:
        self.first = time.monotonic() + PREVIEW_AFTER
        self.next = self.first

    def __call__(self, last: bool) -> bool:
        now = time.monotonic()
        if now < (self.first if last else self.next):
            return False
        self.next = now + PREVIEW_SECONDS
        return True


def preview_picture(preview: Tensor) -> Image.Image:
    """Turn a preview into a picture.

    Args:
        preview: [C, H, W] or [H, W, 3] in 0..1, or a batch of them, of which the first is shown. One channel is grey.
    """
    image = preview.detach()
    image = image[0] if image.ndim == 4 else image
    image = rearrange(image, "c h w -> h w c") if image.shape[-1] != 3 else image
    image = repeat(image, "h w 1 -> h w 3") if image.shape[-1] == 1 else image[..., :3]
    return Image.fromarray(image.float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy())
