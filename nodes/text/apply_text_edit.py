"""Apply Text Edit: paint a trained edit into any batch."""

from __future__ import annotations

from ...editing.common.part_labels import PartLabels
from ...editing.common.types import EditStrength, GanLatent, check_family
from ...editing.text.apply import apply_text_edit
from ...editing.text.edit import TextEdit
from ...host import current, io
from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.images import to_image_batch
from ..common.latents import check_latent
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditStrengthType, GanGeneratorType, GanLatentType, PartLabelsType, TextEditType


class ApplyTextEdit(io.ComfyNode):
    """Each picture with its own masks, and with its own strength where one is connected."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditApplyTextEdit",
            display_name="Apply Text Edit",
            category=menu_category("text"),
            description="Paints a text edit into the pictures of any codes, inside its regions and layers.",
            **search_aliases("prompt edit", "StyleCLIP", "edit by text"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of the edit, adapted to a photo or not."),
                GanLatentType.Input("latents", tooltip="The pictures to edit: sampled, encoded or inverted."),
                TextEditType.Input("text_edit", tooltip="From Train Text Edit, Load Text Edit or Localize Direction."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-5.0,
                    max=5.0,
                    step=0.05,
                    tooltip="1: as trained. Below 0: the opposite. Multiplies connected strengths.",
                ),
                io.Float.Input(
                    "frames",
                    default=0.0,
                    min=0.0,
                    max=20.0,
                    step=0.5,
                    tooltip="For films: masks are averaged over so many neighbouring frames. 0: every picture alone.",
                ),
                PartLabelsType.Input(
                    "parts", optional=True, tooltip="Part labels of these latents; needed where the edit uses parts."
                ),
                EditStrengthType.Input(
                    "strengths", optional=True, tooltip="A strength per picture, from Compute Strength."
                ),
            ],
            outputs=[
                io.Image.Output("images", "images", tooltip="The edited pictures."),
                io.Mask.Output("mask", "mask", tooltip="Where each picture could change at all, at any layer."),
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        latents: GanLatent,
        text_edit: TextEdit,
        strength: float,
        frames: float,
        parts: PartLabels | None = None,
        strengths: EditStrength | None = None,
    ) -> io.NodeOutput:
        check_latent(generator, latents)
        alpha = strength
        if strengths is not None:
            check_family(text_edit.family, strengths.family, "The text edit", "the strengths")
            if len(strengths) != len(latents):
                raise InputError(f"There are {len(strengths)} strengths for {len(latents)} pictures; connect theirs.")
            alpha = strengths.alpha.to(latents.codes) * strength
        place(generator)
        applied = apply_text_edit(
            generator, latents.codes, text_edit, parts, alpha, frames=frames,
            progress=progress_for(len(latents), "painting"),
        )  # fmt: skip
        return io.NodeOutput(to_image_batch(applied.images), applied.masks.to(current().result_device()))
