"""Read From Example: one edited picture teaches a reader what its edit changed."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...editing.state import reader_from_example
from ...host import io
from ...models.errors import InputError
from ..common.feature_space import AUTOMATIC, features_fingerprint, picture_features, picture_features_input
from ..common.images import from_image_batch
from ..common.middle_space import middle_space
from ..common.schema import menu_category, search_aliases
from ..common.sockets import ClipVisionType, StateReaderType, TextImageScorerType


class ReadFromExample(io.ComfyNode):
    """A pair before and after any edit, made by any tool, in the features of any frozen network, or of several."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditReadFromExample",
            display_name="Read From Example",
            category=menu_category("state"),
            description="Learns from one picture before and after an edit to read how much of that edit any picture "
            "shows: 0 as before, 1 as after. All networks that are connected or chosen read together.",
            **search_aliases("example pair", "before and after", "similarity", "CLIP vision score"),
            inputs=[
                io.Image.Input(
                    "before",
                    tooltip="The example before its edit, or several. Without 'after': pictures before, then the same "
                    "number after, as Slide Attribute gives them.",
                ),
                picture_features_input(),
                io.String.Input("name", default="example", tooltip="What to call the number in plots and reports."),
                io.Image.Input("after", optional=True, tooltip="The same pictures after the edit."),
                io.Image.Input(
                    "pictures",
                    optional=True,
                    tooltip="Eight or more pictures as they will be read: what they differ in anyway then counts less.",
                ),
                TextImageScorerType.Input(
                    "scorer", optional=True, tooltip="An open_clip model from Load Text Image Scorer, to read with."
                ),
                ClipVisionType.Input(
                    "clip_vision", optional=True, tooltip="ComfyUI's own Load CLIP Vision, to read with."
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="A diffusion model, to read with its own middle block: the one that edits will do.",
                ),
                io.Vae.Input("vae", optional=True, tooltip="With model: the VAE of the same model."),
                io.Conditioning.Input(
                    "conditioning", optional=True, tooltip="With model: what all pictures show, such as 'a person'."
                ),
            ],
            outputs=[
                StateReaderType.Output(
                    "reader", "reader", tooltip="For Plan Strengths, Reach State and Measure State; its state is 1."
                ),
                io.String.Output("report", "report", tooltip="How far the edit stands out from the reader's noise."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, features: str | None = AUTOMATIC, **_: object) -> str:
        return features_fingerprint(features)

    @classmethod
    def execute(
        cls,
        before: Tensor,
        features: str,
        name: str,
        after: Tensor | None = None,
        pictures: Tensor | None = None,
        scorer: Any = None,
        clip_vision: Any = None,
        model: Any = None,
        vae: Any = None,
        conditioning: Any = None,
    ) -> io.NodeOutput:
        spaces = picture_features(features, scorer, clip_vision)
        if model is not None or vae is not None or conditioning is not None:
            spaces.append(middle_space(model, vae, conditioning))
        if not spaces:
            raise InputError(
                "features is 'automatic', but no network is connected: connect clip_vision (Load CLIP Vision), a "
                "scorer, or a diffusion model with its VAE, or choose a network from the list."
            )
        start = from_image_batch(before)
        end = None if after is None else from_image_batch(after)
        if end is None:
            if len(start) % 2:
                raise InputError(
                    f"'after' is not connected, and 'before' holds {len(start)} pictures; expected pairs: pictures "
                    "before, then the same number after."
                )
            start, end = start.split(len(start) // 2)
        others = None if pictures is None else from_image_batch(pictures)
        title = name.strip() or "example"
        networks = " and ".join(space.name for space in spaces)
        reader = reader_from_example(
            [space.read for space in spaces], start, end, others, title, f"example pair, read by {networks}"
        )
        noise = float(reader.noise[0])
        report = f"{title}: the example's edit is 1, the noise {noise:.3f}, read by {networks}"
        if noise > 0.3:
            report += "; the edit hardly stands out: make it larger, connect pictures, or read with another network"
        return io.NodeOutput(reader, report)
