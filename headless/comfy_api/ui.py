"""UI outputs: the slice of ComfyUI's `comfy_api.latest.ui` that the pack uses, what a node shows on itself."""

from __future__ import annotations

import io
import json
import random
import string
from typing import Any

import numpy as np
from einops import repeat
from PIL import Image, PngImagePlugin
from torch import Tensor

from ... import host
from ...models.files.atomic import write_new_bytes
from .io import ComfyNode
from .save_paths import number_of, numbered
from .sockets import FolderType


class SavedResult(dict):
    """One saved file, as the interface names it."""

    def __init__(self, filename: str, subfolder: str, type: FolderType):
        super().__init__(filename=filename, subfolder=subfolder, type=FolderType(type).value)


class SavedImages:
    """Pictures that were saved."""

    def __init__(self, results: list[SavedResult], is_animated: bool = False):
        self.results, self.is_animated = results, is_animated

    def as_dict(self) -> dict:
        return {"images": self.results} | ({"animated": (True,)} if self.is_animated else {})


class ImageSaveHelper:
    """Saves IMAGE batches as numbered PNG files."""

    @staticmethod
    def save_images(
        images: Tensor,
        filename_prefix: str,
        folder_type: FolderType,
        cls: type[ComfyNode] | None,
        compress_level: int = 4,
    ) -> list[SavedResult]:
        """Save a batch [B,H,W,C] in 0..1, with the workflow of `cls.hidden` inside, and return one entry per file."""
        hidden = cls.hidden if cls is not None else None
        texts = png_texts(hidden.prompt, hidden.extra_pnginfo) if hidden is not None else {}
        return save_pictures(images, filename_prefix, FolderType(folder_type), texts, compress_level)

    @staticmethod
    def get_save_images_ui(
        images: Tensor, filename_prefix: str, cls: type[ComfyNode] | None, compress_level: int = 4
    ) -> SavedImages:
        """Save a batch to the output folder and return it ready for `NodeOutput(ui=...)`."""
        return SavedImages(ImageSaveHelper.save_images(images, filename_prefix, FolderType.output, cls, compress_level))


class PreviewImage:
    """Pictures [B,H,W,3] in 0..1 shown on the node."""

    def __init__(self, image: Tensor, animated: bool = False, cls: type[ComfyNode] | None = None, **unused: Any):
        prefix = "ComfyUI_temp_" + "".join(random.SystemRandom().choices(string.ascii_lowercase, k=5))
        self.values = ImageSaveHelper.save_images(image, prefix, FolderType.temp, cls, compress_level=1)
        self.animated = animated

    def as_dict(self) -> dict:
        return {"images": self.values, "animated": (self.animated,)}


class PreviewMask(PreviewImage):
    """Masks [B,H,W] or [H,W] in 0..1 shown on the node."""

    def __init__(self, mask: Tensor, animated: bool = False, cls: type[ComfyNode] | None = None, **unused: Any):
        super().__init__(repeat(mask, "... h w -> (...) h w c", c=3), animated, cls)


class PreviewText:
    """A text shown on the node."""

    def __init__(self, value: str, **unused: Any):
        self.value = value

    def as_dict(self) -> dict:
        return {"text": (self.value,)}


def png_texts(prompt: Any, extra_pnginfo: dict | None) -> dict[str, str]:
    """Return the text chunks that ComfyUI writes into a PNG: the prompt and, under its own name, the workflow."""
    texts = {} if not prompt else {"prompt": json.dumps(prompt)}
    return texts | {name: json.dumps(value) for name, value in (extra_pnginfo or {}).items()}


def save_pictures(
    images: Tensor, prefix: str, folder_type: FolderType, texts: dict[str, str], compress_level: int
) -> list[SavedResult]:
    """Save pictures as numbered PNG files; each appears whole or not at all, and never in the place of another.

    Args:
        images: [B, H, W, C] in 0..1.
        prefix: "name" or "folder/name", as `numbered` takes it.
        folder_type: which of the host's folders the prefix is below.
        texts: chunks that are written into each file, unless the host's settings leave them out.
        compress_level: of zlib, 0..9.

    Returns:
        One entry per file.
    """
    backend = host.current()
    root = {
        FolderType.output: backend.output_directory,
        FolderType.temp: backend.temp_directory,
        FolderType.input: backend.input_directory,
    }[folder_type]()
    series = numbered(prefix, root, images[0].shape[1], images[0].shape[0])
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items() if backend.settings.metadata else ():
        info.add_text(name, text)
    results, counter = [], series.counter
    for index, image in enumerate(images):
        content = io.BytesIO()
        picture_of(image).save(content, format="PNG", pnginfo=info, compress_level=compress_level)
        saved = write_new_bytes(series.path(".png", counter, index), content.getbuffer())
        counter = number_of(saved.name) + 1  # others may have taken numbers meanwhile
        results.append(SavedResult(saved.name, series.subfolder, folder_type))
    return results


def picture_of(image: Tensor) -> Image.Image:
    """Turn one picture [H,W,C] in 0..1 into 8 bits by ComfyUI's rule: times 255, cut, not rounded."""
    return Image.fromarray(np.clip(255.0 * image.cpu().numpy(), 0, 255).astype(np.uint8))
