"""ComfyUI's nodes that load, save and preview pictures, for workflows that run without it."""

from __future__ import annotations

import hashlib
import mimetypes
import random
import string
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ... import host
from ...models.errors import InputError
from ...models.files.picture_formats import FORMAT_NAMES, is_picture_name
from ...models.files.picture_reader import NOT_A_PICTURE, PictureError, read_frames
from ..comfy_api import io
from ..comfy_api.ui import SavedImages, png_texts, save_pictures
from .values import grey_pictures

NO_MASK = (64, 64)  # the empty mask of a picture without transparency, as in ComfyUI
_CHANNELS = ("red", "green", "blue", "alpha")
_BAND = 256  # rows at a time


class LoadImage(io.ComfyNode):
    """Loads a picture from the input folder, with its transparency as a mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadImage",
            display_name="Load Image",
            category="image",
            inputs=[io.Combo.Input("image", options=_picture_names(pictures_only=True), upload=io.UploadType.image)],
            outputs=[io.Image.Output(), io.Mask.Output()],
        )

    @classmethod
    def validate_inputs(cls, image: str) -> bool | str:
        return _check_name(image)

    @classmethod
    def fingerprint_inputs(cls, image: str) -> str:
        return hashlib.sha256(_path(image).read_bytes()).hexdigest()

    @classmethod
    def execute(cls, image: str) -> io.NodeOutput:
        frames = _read(image)
        pictures = torch.empty(len(frames), *frames[0].shape[:2], 3)
        masks = torch.zeros(len(frames), *(pictures.shape[1:3] if any(f.shape[2] == 4 for f in frames) else NO_MASK))
        for index, frame in enumerate(frames):
            _fill_fraction(pictures[index], frame[..., :3])
            if frame.shape[2] == 4:
                _fill_fraction(masks[index], frame[..., 3])
                masks[index].neg_().add_(1)
        return io.NodeOutput(pictures, masks)


class LoadImageMask(io.ComfyNode):
    """Loads one channel of a picture from the input folder as a mask; of alpha, its inverse."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadImageMask",
            display_name="Load Image (as Mask)",
            category="mask",
            inputs=[
                io.Combo.Input("image", options=_picture_names(pictures_only=False), upload=io.UploadType.image),
                io.Combo.Input("channel", options=["alpha", *_CHANNELS[:3]]),
            ],
            outputs=[io.Mask.Output()],
        )

    @classmethod
    def validate_inputs(cls, image: str) -> bool | str:
        return _check_name(image)

    @classmethod
    def fingerprint_inputs(cls, image: str, channel: str) -> str:
        return hashlib.sha256(_path(image).read_bytes()).hexdigest()

    @classmethod
    def execute(cls, image: str, channel: str) -> io.NodeOutput:
        (frame,) = _read(image, count=1, follow_profile=False)  # a mask's numbers are no colours
        index = _CHANNELS.index(channel)
        mask = torch.ones(1, *frame.shape[:2])
        if index < frame.shape[2]:
            _fill_fraction(mask[0], frame[..., index])
        return io.NodeOutput(mask.neg_().add_(1) if channel == "alpha" else mask)


class SaveImage(io.ComfyNode):
    """Writes pictures as numbered PNG files with the workflow inside."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveImage",
            display_name="Save Image",
            category="image",
            description="Saves pictures to the output folder.",
            inputs=[io.Image.Input("images"), io.String.Input("filename_prefix", default="ComfyUI")],
            outputs=[io.Image.Output(display_name="images")],  # newer versions hand on what they save or show
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Tensor, filename_prefix: str = "ComfyUI") -> io.NodeOutput:
        texts = png_texts(cls.hidden.prompt, cls.hidden.extra_pnginfo)
        saved = save_pictures(images, filename_prefix, io.FolderType.output, texts, 4)
        return io.NodeOutput(images, ui=SavedImages(saved))


class PreviewImage(io.ComfyNode):
    """Writes pictures to the folder of previews."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreviewImage",
            display_name="Preview Image",
            category="image",
            inputs=[io.Image.Input("images")],
            outputs=[io.Image.Output(display_name="images")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Tensor) -> io.NodeOutput:
        return io.NodeOutput(images, ui=SavedImages(_previews(images, cls.hidden)))


class MaskPreview(io.ComfyNode):
    """Writes masks as grey pictures to the folder of previews."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MaskPreview",
            display_name="Preview Mask",
            category="mask",
            inputs=[io.Mask.Input("mask")],
            outputs=[io.Mask.Output(display_name="mask")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, mask: Tensor) -> io.NodeOutput:
        return io.NodeOutput(mask, ui=SavedImages(_previews(grey_pictures(mask), cls.hidden)))


def _previews(images: Tensor, hidden: io.HiddenHolder) -> list:
    prefix = "ComfyUI_temp_" + "".join(random.SystemRandom().choices(string.ascii_lowercase, k=5))
    texts = png_texts(hidden.prompt, hidden.extra_pnginfo)
    return save_pictures(images, prefix, io.FolderType.temp, texts, 1)


def _picture_names(pictures_only: bool) -> list[str]:
    folder = host.current().input_directory()
    if not folder.is_dir():
        return []
    files = sorted(file.name for file in folder.iterdir() if file.is_file())
    return [name for name in files if not pictures_only or _is_picture(name)]


def _is_picture(name: str) -> bool:
    kind = "image/webp" if name.lower().endswith(".webp") else mimetypes.guess_type(name, strict=False)[0]
    return (kind or "").startswith("image/") or is_picture_name(name)


def _path(name: str) -> Path:
    """Return the file of "photo.png", "folder/photo.png" or "photo.png [output]", which may not leave its folder."""
    backend = host.current()
    folder = backend.input_directory()
    roots = {"input": folder, "output": backend.output_directory(), "temp": backend.temp_directory()}
    for kind, root in roots.items():
        if name.endswith(f" [{kind}]"):
            name, folder = name[: -len(kind) - 3], root
    path = host.file_below(folder, name)
    if path is None:
        raise InputError(
            f"there is no picture {name[:80]!r} in the folder {folder}: put it there, or name its folder (--input)."
        )
    return path


def _check_name(name: str) -> bool | str:
    """Return True where there is such a picture, a sentence otherwise."""
    try:
        _path(str(name))
    except InputError as error:
        return str(error)
    return True


def _read(name: str, count: int | None = None, follow_profile: bool = True) -> list[np.ndarray]:
    """Return the frames of a picture of the input folder, uint8 [H, W, 3 or 4].

    Args:
        count: the most frames; None: all.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        frames = [np.asarray(frame) for frame in read_frames(_path(name), count, follow_profile)]
    except PictureError as error:
        if str(error) == NOT_A_PICTURE:
            raise InputError(f"The file {name!r} is not a picture that can be opened ({FORMAT_NAMES}).") from None
        raise InputError(f"The picture {name!r} cannot be read: {error}.") from None
    return [frame for frame in frames if frame.shape[:2] == frames[0].shape[:2]]  # all but thumbnails


def _fill_fraction(target: Tensor, levels: np.ndarray) -> None:
    """Write levels of 0..255, uint8 [H, ...], as fractions of 1 to a float32 tensor of the same shape."""
    for top in range(0, len(levels), _BAND):
        rows = slice(top, top + _BAND)
        target[rows] = torch.from_numpy(levels[rows].astype(np.float32) / 255.0)
