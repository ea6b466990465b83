"""ComfyUI's small nodes for pictures and masks that shared workflows use beside ours; same numbers as there."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional

from ..comfy_api import io
from .resize import resize

LARGEST = 16384  # px, ComfyUI's limit of a side
METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]


def _size(name: str, default: int = 512, minimum: int = 1) -> io.Input:
    return io.Int.Input(name, default=default, min=minimum, max=LARGEST, step=1)


class ImageScale(io.ComfyNode):
    """Resizes pictures; a side of 0 follows from the other."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageScale",
            display_name="Upscale Image",
            category="image/upscaling",
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("upscale_method", options=METHODS),
                _size("width", minimum=0),
                _size("height", minimum=0),
                io.Combo.Input("crop", options=["disabled", "center"]),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor, upscale_method: str, width: int, height: int, crop: str) -> io.NodeOutput:
        if width == 0 and height == 0:
            return io.NodeOutput(image)
        rows, columns = image.shape[1:3]
        width = width or max(1, round(columns * height / rows))
        height = height or max(1, round(rows * width / columns))
        return io.NodeOutput(resize(image, width, height, upscale_method, crop == "center"))


class ImageScaleBy(io.ComfyNode):
    """Resizes pictures by a factor."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageScaleBy",
            display_name="Upscale Image By",
            category="image/upscaling",
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("upscale_method", options=METHODS),
                io.Float.Input("scale_by", default=1.0, min=0.01, max=8.0, step=0.01),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor, upscale_method: str, scale_by: float) -> io.NodeOutput:
        width, height = round(image.shape[2] * scale_by), round(image.shape[1] * scale_by)
        return io.NodeOutput(resize(image, width, height, upscale_method, crop=False))


class ImageInvert(io.ComfyNode):
    """Inverts the colours of pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageInvert",
            display_name="Invert Image",
            category="image",
            inputs=[io.Image.Input("image")],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor) -> io.NodeOutput:
        return io.NodeOutput(1.0 - image)


class ImageBatch(io.ComfyNode):
    """Joins two batches; the second is resized to the first."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageBatch",
            display_name="Batch Images",
            category="image",
            inputs=[io.Image.Input("image1"), io.Image.Input("image2")],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image1: Tensor, image2: Tensor) -> io.NodeOutput:
        if image1.shape[1:] != image2.shape[1:]:
            image2 = resize(image2, image1.shape[2], image1.shape[1], "bilinear", crop=True)
        return io.NodeOutput(torch.cat((image1, image2)))


class ImageFromBatch(io.ComfyNode):
    """Takes some pictures of a batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageFromBatch",
            category="image/batch",
            inputs=[
                io.Image.Input("image"),
                io.Int.Input("batch_index", default=0, min=0, max=4095),
                io.Int.Input("length", default=1, min=1, max=4096),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor, batch_index: int, length: int) -> io.NodeOutput:
        first = min(batch_index, len(image) - 1)
        return io.NodeOutput(image[first : first + length].clone())


class RepeatImageBatch(io.ComfyNode):
    """Repeats a batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RepeatImageBatch",
            category="image/batch",
            inputs=[io.Image.Input("image"), io.Int.Input("amount", default=1, min=1, max=4096)],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor, amount: int) -> io.NodeOutput:
        return io.NodeOutput(repeat(image, "b h w c -> (amount b) h w c", amount=amount))


class ImageCrop(io.ComfyNode):
    """Crops a rectangle of pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageCrop",
            display_name="Image Crop",
            category="image/transform",
            inputs=[
                io.Image.Input("image"),
                _size("width"),
                _size("height"),
                _size("x", default=0, minimum=0),
                _size("y", default=0, minimum=0),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor, width: int, height: int, x: int, y: int) -> io.NodeOutput:
        x, y = min(x, image.shape[2] - 1), min(y, image.shape[1] - 1)
        return io.NodeOutput(image[:, y : y + height, x : x + width])


class EmptyImage(io.ComfyNode):
    """Makes pictures of one colour."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EmptyImage",
            category="image",
            inputs=[
                _size("width"),
                _size("height"),
                io.Int.Input("batch_size", default=1, min=1, max=4096),
                io.Int.Input("color", default=0, min=0, max=0xFFFFFF, step=1),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, width: int, height: int, batch_size: int = 1, color: int = 0) -> io.NodeOutput:
        channels = [((color >> shift) & 0xFF) / 0xFF for shift in (16, 8, 0)]
        return io.NodeOutput(
            repeat(torch.tensor(channels), "c -> b h w c", b=batch_size, h=height, w=width).contiguous()
        )


class ImageCompositeMasked(io.ComfyNode):
    """Lays pictures over others, where a mask says so."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageCompositeMasked",
            category="image",
            inputs=[
                io.Image.Input("destination"),
                io.Image.Input("source"),
                _size("x", default=0, minimum=0),
                _size("y", default=0, minimum=0),
                io.Boolean.Input("resize_source", default=False),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(
        cls, destination: Tensor, source: Tensor, x: int, y: int, resize_source: bool, mask: Tensor | None = None
    ) -> io.NodeOutput:
        result = destination.clone()
        batch, rows, columns = result.shape[:3]
        if resize_source:
            source = resize(source, columns, rows, "bilinear", crop=False)
        if mask is None:
            mask = torch.ones(1, *source.shape[1:3])
        mask = rearrange(mask, "... h w -> (...) 1 h w")
        mask = functional.interpolate(mask, size=source.shape[1:3], mode="bilinear")
        mask = rearrange(mask, "b 1 h w -> b h w 1")
        x, y = min(x, columns), min(y, rows)
        height, width = min(source.shape[1], rows - y), min(source.shape[2], columns - x)
        mask = _cycle(mask, batch)[:, :height, :width]
        patch = result[:, y : y + height, x : x + width]
        patch[:] = mask * _cycle(source, batch)[:, :height, :width] + (1 - mask) * patch
        return io.NodeOutput(result)


class ImageBlend(io.ComfyNode):
    """Mixes two pictures; the second is resized to the first."""

    MODES = ["normal", "multiply", "screen", "overlay", "soft_light", "difference"]

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageBlend",
            category="image/postprocessing",
            inputs=[
                io.Image.Input("image1"),
                io.Image.Input("image2"),
                io.Float.Input("blend_factor", default=0.5, min=0.0, max=1.0, step=0.01),
                io.Combo.Input("blend_mode", options=cls.MODES),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image1: Tensor, image2: Tensor, blend_factor: float, blend_mode: str) -> io.NodeOutput:
        channels = image1.shape[3]
        if image2.shape[3] < channels:
            image2 = functional.pad(image2, (0, channels - image2.shape[3]), value=1.0)
        image2 = image2[..., :channels].to(image1)
        if image1.shape[1:] != image2.shape[1:]:
            image2 = resize(image2, image1.shape[2], image1.shape[1], "bicubic", crop=True)
        mixed = _mix(image1, image2, blend_mode)
        return io.NodeOutput((image1 * (1 - blend_factor) + mixed * blend_factor).clamp(0, 1))


def _mix(a: Tensor, b: Tensor, mode: str) -> Tensor:
    """Mix pictures in 0..1 by one of `ImageBlend`'s modes, in full."""
    if mode == "multiply":
        return a * b
    if mode == "screen":
        return 1 - (1 - a) * (1 - b)
    if mode == "overlay":
        return torch.where(a <= 0.5, 2 * a * b, 1 - 2 * (1 - a) * (1 - b))
    if mode == "soft_light":
        lightened = torch.where(a <= 0.25, ((16 * a - 12) * a + 4) * a, a.clamp(min=0).sqrt())
        return torch.where(b <= 0.5, a - (1 - 2 * b) * a * (1 - a), a + (2 * b - 1) * (lightened - a))
    return a - b if mode == "difference" else b


def _cycle(images: Tensor, batch: int) -> Tensor:
    """Repeat a batch [B, H, W, C] until it has ``batch`` pictures."""
    return repeat(images, "b h w c -> (times b) h w c", times=-(-batch // len(images)))[:batch]
