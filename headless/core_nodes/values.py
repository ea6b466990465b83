"""ComfyUI's nodes for single values and masks that shared workflows use beside ours."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from einops import repeat
from torch import Tensor

from ..comfy_api import io


def grey_pictures(mask: Tensor) -> Tensor:
    """Turn masks [..., H, W] into grey pictures [B, H, W, 3]."""
    return repeat(mask, "... h w -> (...) h w c", c=3)


class PrimitiveString(io.ComfyNode):
    """A text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return _primitive("PrimitiveString", "String", io.String.Input("value"), io.String.Output())

    @classmethod
    def execute(cls, value: str) -> io.NodeOutput:
        return io.NodeOutput(value)


class PrimitiveStringMultiline(io.ComfyNode):
    """A text of several lines."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        field = io.String.Input("value", multiline=True)
        return _primitive("PrimitiveStringMultiline", "String (Multiline)", field, io.String.Output())

    @classmethod
    def execute(cls, value: str) -> io.NodeOutput:
        return io.NodeOutput(value)


class PrimitiveInt(io.ComfyNode):
    """A whole number."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        field = io.Int.Input("value", min=-sys.maxsize, max=sys.maxsize, control_after_generate=True)
        return _primitive("PrimitiveInt", "Int", field, io.Int.Output())

    @classmethod
    def execute(cls, value: int) -> io.NodeOutput:
        return io.NodeOutput(value)


class PrimitiveFloat(io.ComfyNode):
    """A number."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        field = io.Float.Input("value", min=-sys.maxsize, max=sys.maxsize)
        return _primitive("PrimitiveFloat", "Float", field, io.Float.Output())

    @classmethod
    def execute(cls, value: float) -> io.NodeOutput:
        return io.NodeOutput(value)


class PrimitiveBoolean(io.ComfyNode):
    """True or False."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return _primitive("PrimitiveBoolean", "Boolean", io.Boolean.Input("value"), io.Boolean.Output())

    @classmethod
    def execute(cls, value: bool) -> io.NodeOutput:
        return io.NodeOutput(value)


class PreviewAny(io.ComfyNode):
    """Shows any value as text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreviewAny",
            display_name="Preview Any",
            category="utils",
            inputs=[io.AnyType.Input("source")],
            outputs=[io.String.Output(display_name="STRING")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, source: Any = None) -> io.NodeOutput:
        if source is None or isinstance(source, str | int | float):
            text = str(source)
        else:
            try:
                text = json.dumps(source)
            except (TypeError, ValueError):
                text = str(source)
        return io.NodeOutput(text, ui={"text": (text,)})


class GetImageSize(io.ComfyNode):
    """Measures width, height and number of pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GetImageSize",
            display_name="Get Image Size",
            category="image",
            inputs=[io.Image.Input("image")],
            outputs=[io.Int.Output(display_name=name) for name in ("width", "height", "batch_size")],
        )

    @classmethod
    def execute(cls, image: Tensor) -> io.NodeOutput:
        batch, height, width = image.shape[:3]
        return io.NodeOutput(width, height, batch)


class MaskToImage(io.ComfyNode):
    """Turns masks into grey pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MaskToImage",
            display_name="Convert Mask to Image",
            category="mask",
            inputs=[io.Mask.Input("mask")],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, mask: Tensor) -> io.NodeOutput:
        return io.NodeOutput(grey_pictures(mask))


class ImageToMask(io.ComfyNode):
    """Takes one channel of pictures as masks."""

    CHANNELS = ["red", "green", "blue", "alpha"]

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageToMask",
            display_name="Convert Image to Mask",
            category="mask",
            inputs=[io.Image.Input("image"), io.Combo.Input("channel", options=cls.CHANNELS)],
            outputs=[io.Mask.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor, channel: str) -> io.NodeOutput:
        return io.NodeOutput(image[..., cls.CHANNELS.index(channel)])


class SolidMask(io.ComfyNode):
    """Makes a mask of one value."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        limits = {"default": 512, "min": 1, "max": 16384, "step": 1}
        return io.Schema(
            node_id="SolidMask",
            category="mask",
            inputs=[
                io.Float.Input("value", default=1.0, min=0.0, max=1.0, step=0.01),
                io.Int.Input("width", **limits),
                io.Int.Input("height", **limits),
            ],
            outputs=[io.Mask.Output()],
        )

    @classmethod
    def execute(cls, value: float, width: int, height: int) -> io.NodeOutput:
        return io.NodeOutput(torch.full((1, height, width), value, dtype=torch.float32))


class InvertMask(io.ComfyNode):
    """Inverts a mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="InvertMask", category="mask", inputs=[io.Mask.Input("mask")], outputs=[io.Mask.Output()]
        )

    @classmethod
    def execute(cls, mask: Tensor) -> io.NodeOutput:
        return io.NodeOutput(1.0 - mask)


def _primitive(node_id: str, display_name: str, field: io.Input, output: io.Output) -> io.Schema:
    return io.Schema(node_id, display_name, "utils/primitive", inputs=[field], outputs=[output])
