"""Load Demo Scene: a full photo to cut faces from, on a fresh machine."""

from __future__ import annotations

import json

from ...demo.portraits.snapshots import SNAPSHOTS, paint_snapshot
from ...host import current, io
from ...models.errors import check_choice
from ..common.images import to_image_batch
from ..common.schema import menu_category, search_aliases

_NAMES = tuple(snapshot.name for snapshot in SNAPSHOTS)


class LoadDemoScene(io.ComfyNode):
    """Painted on demand, with what a face detector would say about it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadDemoScene",
            display_name="Load Demo Scene",
            category=menu_category("demo"),
            description="Paints a full photo of people outdoors, small and tilted, with the points and masks that a "
            "face detector would give: something to try Align Crop and Paste Back on.",
            **search_aliases("sample group photo", "several faces"),
            inputs=[
                io.Combo.Input("scene", options=list(_NAMES), tooltip="Which photo: one person, or several."),
                io.Int.Input(
                    "height", default=512, min=64, max=4096, tooltip="Height in pixels; the photo is 1.5 times as wide."
                ),
            ],
            outputs=[
                io.Image.Output("photo", "photo", tooltip="The full photo."),
                io.String.Output(
                    "points", "points", tooltip="Eyes, nose and mouth corners of each face as JSON, for Align Crop."
                ),
                io.Mask.Output("faces", "faces", tooltip="1 on the faces, as a segmenter would mark them."),
                io.String.Output(
                    "people", "people", tooltip="The names of the people, one a line, from left to right."
                ),
            ],
        )

    @classmethod
    def execute(cls, scene: str, height: int) -> io.NodeOutput:
        check_choice("scene", scene, _NAMES)
        snapshot = paint_snapshot(SNAPSHOTS[_NAMES.index(scene)], height)
        points = [[[round(value, 2) for value in point] for point in face] for face in snapshot.points.tolist()]
        faces = snapshot.faces.amax(dim=0)[None].to(current().result_device())
        return io.NodeOutput(to_image_batch(snapshot.image[None]), json.dumps(points), faces, "\n".join(snapshot.names))
