"""Blend Latents: codes between two pictures."""

from __future__ import annotations

from ...editing.common.latents import BLEND_MODES, blend
from ...editing.common.types import GanLatent
from ...host import io
from ...models.gan.generator import GanGenerator
from ..common.latents import check_latent
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType, GanLatentType


class BlendLatents(io.ComfyNode):
    """Linear or spherical interpolation of codes, on some or all rows of W+."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditBlendLatents",
            display_name="Blend Latents",
            category=menu_category("generator"),
            description="Mixes two codes: all rows for a picture in between, or some rows to take pose, features or "
            "colours from another picture.",
            **search_aliases("mix faces", "morph", "style mixing", "interpolate latents"),
            inputs=[
                GanLatentType.Input("a", tooltip="The codes to start from; rows that take no part stay theirs."),
                GanLatentType.Input(
                    "b", tooltip="The codes to go toward: as many as a, or a single one on either side."
                ),
                io.Float.Input(
                    "amount",
                    default=0.5,
                    min=-2.0,
                    max=3.0,
                    step=0.05,
                    tooltip="0 is a, 1 is b, between is a mixture; below 0 or above 1 continues past them.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(BLEND_MODES),
                    default="linear",
                    tooltip="linear: the straight line. spherical: along an arc, which keeps the distance from the "
                    "centre, so that the middle looks less average.",
                ),
                io.String.Input(
                    "layers",
                    default="all",
                    tooltip="Rows that are mixed: 'all', 'coarse' (pose, shape), 'middle' (features), 'fine' (colour, "
                    "texture), or numbers such as '0-5' or 'coarse, 8'.",
                ),
                GanGeneratorType.Input(
                    "generator",
                    optional=True,
                    tooltip="Only for spherical: arcs go round the generator's mean picture. Left out, round zero.",
                ),
            ],
            outputs=[
                GanLatentType.Output("blended", "latents", "The mixed codes."),
            ],
        )

    @classmethod
    def execute(
        cls, a: GanLatent, b: GanLatent, amount: float, mode: str, layers: str, generator: GanGenerator | None = None
    ) -> io.NodeOutput:
        center = None
        if generator is not None:
            check_latent(generator, a, "Latent a")
            center = generator.w_mean
        return io.NodeOutput(blend(a, b, amount, mode, layers, center))
