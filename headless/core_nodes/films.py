"""ComfyUI's SaveAnimatedWEBP, for workflows that run without it."""

from __future__ import annotations

import json
from io import BytesIO

from PIL import Image
from torch import Tensor

from ... import host
from ...models.files.atomic import write_new_bytes
from ..comfy_api import io
from ..comfy_api.save_paths import numbered
from ..comfy_api.ui import SavedImages, SavedResult, picture_of

_EFFORT = {"default": 4, "fastest": 0, "slowest": 6}  # of the encoder
_MODEL, _MAKE = 0x0110, 0x010F  # EXIF tags under which ComfyUI keeps prompt and workflow


class SaveAnimatedWEBP(io.ComfyNode):
    """Writes a batch as one animated WebP, with the workflow inside."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveAnimatedWEBP",
            category="image/animation",
            inputs=[
                io.Image.Input("images"),
                io.String.Input("filename_prefix", default="ComfyUI"),
                io.Float.Input("fps", default=6.0, min=0.01, max=1000.0, step=0.01),
                io.Boolean.Input("lossless", default=True),
                io.Int.Input("quality", default=80, min=0, max=100),
                io.Combo.Input("method", options=list(_EFFORT)),
            ],
            outputs=[io.Image.Output(display_name="images")],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, images: Tensor, filename_prefix: str, fps: float, lossless: bool, quality: int, method: str
    ) -> io.NodeOutput:
        backend = host.current()
        series = numbered(filename_prefix, backend.output_directory(), images.shape[2], images.shape[1])
        first, *others = (picture_of(image) for image in images)
        exif = _with_workflow(first.getexif(), cls.hidden) if backend.settings.metadata else first.getexif()
        content = BytesIO()
        first.save(
            content, "WEBP", save_all=True, append_images=others, duration=int(1000.0 / fps), exif=exif,
            lossless=lossless, quality=quality, method=_EFFORT[method],
        )  # fmt: skip
        path = write_new_bytes(series.path(".webp"), content.getbuffer())
        saved = SavedResult(path.name, series.subfolder, io.FolderType.output)
        return io.NodeOutput(images, ui=SavedImages([saved], is_animated=len(images) != 1))


def _with_workflow(exif: Image.Exif, hidden: io.HiddenHolder) -> Image.Exif:
    if hidden.prompt:
        exif[_MODEL] = f"prompt:{json.dumps(hidden.prompt)}"
    for tag, (name, value) in zip(range(_MAKE, 0, -1), (hidden.extra_pnginfo or {}).items(), strict=False):
        exif[tag] = f"{name}:{json.dumps(value)}"
    return exif
