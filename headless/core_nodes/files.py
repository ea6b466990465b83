"""ComfyUI's nodes that load, save and preview pictures, for workflows that run without it."""

from __future__ import annotations

import hashlib
import mimetypes
import random
import string
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, ImageSequence, UnidentifiedImageError
from torch import Tensor

from ... import host
from ...models.errors import InputError
from ..comfy_api import io
from ..comfy_api.ui import SavedImages, png_texts, save_pictures
from .values import grey_pictures

NO_MASK = (64, 64)  # the empty mask of a picture without transparency, as in ComfyUI


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
        file = _open(image)
        pictures, masks = [], []
        for frame in ImageSequence.Iterator(file):
            frame = _allow_truncated(ImageOps.exif_transpose, frame)
            if frame.mode == "I":
                frame = frame.point(lambda value: value * (1 / 255))
            picture = torch.from_numpy(np.array(frame.convert("RGB")).astype(np.float32) / 255.0)
            if pictures and picture.shape != pictures[0].shape:
                continue  # a thumbnail among the frames
            pictures.append(picture)
            masks.append(_transparency(frame))
        if file.format == "MPO":  # the other frames are views of a stereo camera
            del pictures[1:], masks[1:]
        return io.NodeOutput(torch.stack(pictures), torch.stack(masks))


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
                io.Combo.Input("channel", options=["alpha", "red", "green", "blue"]),
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
        file = _allow_truncated(ImageOps.exif_transpose, _open(image))
        if file.getbands() != ("R", "G", "B", "A"):
            if file.mode == "I":
                file = file.point(lambda value: value * (1 / 255))
            file = file.convert("RGBA")
        mask = _channel(file, channel[0].upper())
        return io.NodeOutput((1.0 - mask if channel == "alpha" else mask)[None])


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
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Tensor, filename_prefix: str = "ComfyUI") -> io.NodeOutput:
        texts = png_texts(cls.hidden.prompt, cls.hidden.extra_pnginfo)
        return io.NodeOutput(ui=SavedImages(save_pictures(images, filename_prefix, io.FolderType.output, texts, 4)))


class PreviewImage(io.ComfyNode):
    """Writes pictures to the folder of previews."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreviewImage",
            display_name="Preview Image",
            category="image",
            inputs=[io.Image.Input("images")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Tensor) -> io.NodeOutput:
        return io.NodeOutput(ui=SavedImages(_previews(images, cls.hidden)))


class MaskPreview(io.ComfyNode):
    """Writes masks as grey pictures to the folder of previews."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MaskPreview",
            display_name="Preview Mask",
            category="mask",
            inputs=[io.Mask.Input("mask")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, mask: Tensor) -> io.NodeOutput:
        return io.NodeOutput(ui=SavedImages(_previews(grey_pictures(mask), cls.hidden)))


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
    return (kind or "").startswith("image/")


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


def _open(name: str) -> Image.Image:
    try:
        return _allow_truncated(Image.open, _path(name))
    except UnidentifiedImageError:
        raise InputError(f"The file {name!r} is not a picture that can be opened.") from None


def _allow_truncated(function, argument):
    """Call a Pillow function, and if it fails once more allowing truncated files: half a picture beats none."""
    setting = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        return function(argument)
    except (OSError, ValueError):
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        return function(argument)
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = setting


def _transparency(frame: Image.Image) -> Tensor:
    """Return 1 where a frame is transparent, [H, W]."""
    if frame.mode == "P" and "transparency" in frame.info:
        frame = frame.convert("RGBA")
    return 1.0 - _channel(frame, "A") if "A" in frame.getbands() else torch.zeros(NO_MASK)


def _channel(picture: Image.Image, band: str) -> Tensor:
    """Return a channel [H, W] in 0..1."""
    return torch.from_numpy(np.array(picture.getchannel(band)).astype(np.float32) / 255.0)
