"""Render Painted Photo: draw the strokes and join them to the photo."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch

from ...editing.common.types import GanLatent
from ...editing.paint.blending import DILATION, FEATHER
from ...editing.paint.painted_photo import JOINS, Canvas, render_painted_photo
from ...editing.paint.painting import Painting
from ...host import current, io
from ...models.errors import check_choice
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.images import from_image_batch, to_image_batch
from ..common.latents import check_latent
from ..common.progress import layer_progress
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType, GanLatentType, GanPaintingType

# The features below the strokes, for as long as the codes are in use: a further stroke begins there.
_canvases: WeakKeyDictionary[GanLatent, Canvas] = WeakKeyDictionary()


class RenderPaintedPhoto(io.ComfyNode):
    """The one node of painting that draws: a stroke costs a part of one synthesis."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditRenderPaintedPhoto",
            display_name="Render Painted Photo",
            category=menu_category("paint"),
            description="Draws a painting with the generator, best one adapted to the photo, and joins it to the "
            "photo. Every pixel outside the grown mask stays the photo's own, except with laplacian blending.",
            **search_aliases("GANPaint", "composite", "inpaint", "blend"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator, best one adapted to the photos."),
                GanLatentType.Input("latents", tooltip="The codes of the photos, from Invert Images."),
                GanPaintingType.Input("painting", tooltip="The strokes, from Paint Concept or Copy Appearance."),
                io.Image.Input("photos", tooltip="The photos, in the generator's aspect and any size."),
                io.Float.Input(
                    "dilation",
                    default=DILATION,
                    min=0.0,
                    max=256.0,
                    step=0.5,
                    tooltip="How far the mask grows before joining, in pixels of a picture of 256.",
                ),
                io.Float.Input(
                    "feather",
                    default=FEATHER,
                    min=0.0,
                    max=64.0,
                    step=0.5,
                    tooltip="Sigma of the mask's soft edge, in pixels of a picture of 256.",
                ),
                io.Combo.Input(
                    "blending",
                    options=list(JOINS),
                    tooltip="linear mixes by the soft mask. change only adds to the photo what painting changed: for "
                    "new looks of what is there. laplacian and poisson are the classical ways, to compare; laplacian "
                    "reaches beyond the mask.",
                ),
                io.Boolean.Input(
                    "keep_details",
                    default=True,
                    tooltip="Keep the photo under the stroke too, wherever painting changes nothing in what the "
                    "generator draws: a wide stroke then takes no details away.",
                ),
                io.Boolean.Input(
                    "match_tones",
                    default=False,
                    tooltip="Give what is painted the tones of the picture round it: for drawings and other styles. "
                    "On photos it is better off.",
                ),
            ],
            outputs=[
                io.Image.Output("composite", "composite", tooltip="The photos with the painting in them."),
                io.Image.Output("raw", "raw", tooltip="What the generator drew, before it was joined to the photo."),
                io.Mask.Output(
                    "joined", "joined", tooltip="How much of each pixel is the generator's: 0 is the photo's own."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        latents: GanLatent,
        painting: Painting,
        photos: torch.Tensor,
        dilation: float,
        feather: float,
        blending: str,
        keep_details: bool,
        match_tones: bool,
    ) -> io.NodeOutput:
        check_choice("blending", blending, JOINS)
        check_latent(generator, latents)
        pictures = from_image_batch(photos, generator.device)
        place(generator)
        canvas = _canvases.get(latents)
        if canvas is None or canvas.generator is not generator:
            canvas = _canvases[latents] = Canvas(generator, latents.codes)
        with layer_progress(generator, 2, "drawing the painting"):
            painted = render_painted_photo(
                canvas, painting, pictures, dilation, feather, blending, keep_details, match_tones
            )
        mask = painted.mask[:, 0].expand(len(pictures), -1, -1).to(current().result_device()).contiguous()
        composite = to_image_batch(painted.composite)
        # On the way to -1..1 and back a pixel loses its last bits, and so a level when saved.
        if blending != "laplacian":
            composite = torch.where(mask[..., None] > 0, composite, photos[..., :3].to(composite))
        return io.NodeOutput(composite, to_image_batch(painted.raw), mask)
