"""Optimize Direction: from one example's edit to a direction for every picture."""

from __future__ import annotations

from ..editing.directions import LEARNING_RATE, VARIANTS, optimize_direction
from ..editing.types import EditDirection
from ..host import io
from ..models.errors import InputError
from ._common import CATEGORY, EditDirectionType, GanGeneratorType, place, progress_for, seed_input


class OptimizeDirection(io.ComfyNode):
    """Edit One for All, step 1 (2401.10219), in its three published forms."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditOptimizeDirection",
            display_name="Optimize Direction",
            category=CATEGORY("batch"),
            description="Optimises a direction that changes every picture as the recorded edit changed the example.",
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of the edit."),
                EditDirectionType.Input("edit", tooltip="What was done to the example, from Record Edit."),
                io.Combo.Input(
                    "variant",
                    options=list(VARIANTS),
                    default="batch",
                    tooltip="batch: 16 samples, starting at the edit. single: the example alone. text: for text edits.",
                ),
                io.Int.Input("steps", default=0, min=0, max=10_000, tooltip="0 takes the published number of steps."),
                io.Float.Input(
                    "learning_rate",
                    default=LEARNING_RATE,
                    min=1e-5,
                    max=1.0,
                    step=0.0001,
                    tooltip="Step size of AdamW; published: 0.001.",
                ),
                io.Int.Input(
                    "picture_height",
                    default=0,
                    min=0,
                    max=4096,
                    tooltip="Compare pictures of this height, one of the generator's resolutions: 0 the finished ones.",
                ),
                io.Combo.Input(
                    "landing",
                    options=["example", "direction"],
                    tooltip="What strength 1 means: the example's own state, or (as published) the direction's length.",
                ),
                seed_input(tooltip="Chooses the sampled pictures and the strengths tried."),
            ],
            outputs=[EditDirectionType.Output("direction", tooltip="For Compute Strength and Apply Edit.")],
        )

    @classmethod
    def execute(
        cls,
        generator,
        edit: EditDirection,
        variant: str,
        steps: int,
        learning_rate: float,
        picture_height: int,
        landing: str,
        seed: int,
    ) -> io.NodeOutput:
        if edit.example is None:
            raise InputError(
                f"The direction '{edit.name}' comes without an example's codes; connect an edit from Record Edit."
            )
        generator.check_latent(edit.example, edit.family, f"The example of '{edit.name}'")
        place(generator)
        total = steps or VARIANTS[variant].steps if variant in VARIANTS else 1
        direction = optimize_direction(
            generator,
            edit.example[0],
            edit.example[1],
            variant=variant,
            layers=edit.layers,
            steps=steps or None,
            learning_rate=learning_rate,
            stop_resolution=picture_height or None,
            landing=landing,
            seed=seed,
            progress=progress_for(total, "optimising the direction"),
            name=edit.name,
        )
        return io.NodeOutput(direction)
