"""Optimize Direction: from one example's edit to a direction for every picture."""

from __future__ import annotations

from ...editing.common.types import EditDirection
from ...editing.one_for_all.attribute_score import SAMPLES
from ...editing.one_for_all.directions import LEARNING_RATE, SEARCHES, VARIANTS
from ...editing.one_for_all.fit_normal import EXAMPLE, NORMALS, learn_direction, pictures_needed
from ...host import io
from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.feature_space import AUTOMATIC, feature_space, features_fingerprint, features_input
from ..common.presets import AS_SET, preset_input, with_preset
from ..common.progress import progress_for
from ..common.published import DIRECTION
from ..common.schema import menu_category, search_aliases, seed_input
from ..common.sockets import EditDirectionType, GanGeneratorType, TextImageScorerType


class OptimizeDirection(io.ComfyNode):
    """Edit One for All, step 1 (2401.10219): its three published forms, or the example's own change; and a normal."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditOptimizeDirection",
            display_name="Optimize Direction",
            category=menu_category("batch"),
            description="Finds the direction that changes every picture as the edit changed the example, and learns "
            "to measure that change in any picture.",
            **search_aliases("Edit One for All", "learn the edit", "follow the example"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of the edit."),
                EditDirectionType.Input("edit", tooltip="What was done to the example, from Record Edit."),
                io.Combo.Input(
                    "variant",
                    options=[*VARIANTS, EXAMPLE],
                    default=EXAMPLE,
                    tooltip="example: the example's own change, nothing to optimise. batch: 16 samples, starting at "
                    "the edit. single: the example alone. text: for text edits.",
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
                    tooltip="What strength 1 means: the example's own state, or (as published) the direction's length, "
                    "where the direction also measures the pictures.",
                ),
                seed_input(tooltip="Chooses the sampled pictures and the strengths tried."),
                io.Combo.Input(
                    "normal",
                    options=list(NORMALS),
                    default=NORMALS[0],
                    optional=True,
                    tooltip="What measures the attribute. features: learned from the edit on sampled pictures. as "
                    "recorded: from Record Edit. direction: as published. automatic: the best of these.",
                ),
                features_input(optional=True),
                io.Int.Input(
                    "samples",
                    default=SAMPLES,
                    min=64,
                    max=20_000,
                    optional=True,
                    tooltip="Pictures that the measure is learned from: they are kept, so the next edit learns faster.",
                ),
                io.Combo.Input(
                    "search",
                    options=list(SEARCHES),
                    optional=True,
                    tooltip="adam: as published. quasi-newton: as near in a sixth of the steps or less; rate and "
                    "published regulariser play no part.",
                ),
                TextImageScorerType.Input(
                    "scorer",
                    optional=True,
                    tooltip="An open_clip model, in whose features pictures are compared instead.",
                ),
                preset_input(DIRECTION),
            ],
            outputs=[
                EditDirectionType.Output("direction", "direction", tooltip="For Compute Strength and Apply Edit.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, features: str | None = AUTOMATIC, **_: object) -> str:
        return features_fingerprint(features)

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        edit: EditDirection,
        variant: str,
        steps: int,
        learning_rate: float,
        picture_height: int,
        landing: str,
        seed: int,
        normal: str = NORMALS[0],
        features: str = "automatic",
        samples: int = SAMPLES,
        search: str = SEARCHES[0],
        scorer: object | None = None,
        preset: str = AS_SET,
    ) -> io.NodeOutput:
        if edit.example is None:
            raise InputError(
                f"The direction '{edit.name}' comes without an example's codes; connect an edit from Record Edit."
            )
        generator.check_latent(edit.example, edit.family, f"The example of '{edit.name}'")
        chosen, _ = with_preset(
            DIRECTION, preset, variant=variant, steps=steps, learning_rate=learning_rate,
            picture_height=picture_height, landing=landing, normal=normal, search=search, layers="as recorded",
        )  # fmt: skip
        variant, normal, search = chosen["variant"], chosen["normal"], chosen["search"]
        check_choice("variant", variant, [*VARIANTS, EXAMPLE])
        check_choice("normal", normal, NORMALS)
        check_choice("search", search, SEARCHES)
        place(generator)
        moves = 0 if variant == EXAMPLE else chosen["steps"] or VARIANTS[variant].steps
        rows = {"first six": range(min(6, generator.num_layers)), "all": range(generator.num_layers)}
        learning = 0 if normal == "direction" else pictures_needed(samples)
        direction = learn_direction(
            generator,
            edit,
            variant=variant,
            normal=normal,
            space=feature_space(generator, features, scorer),
            samples=samples,
            progress=progress_for(max(1, moves + learning), "learning the direction"),
            steps=chosen["steps"] or None,
            layers=rows.get(chosen["layers"]),
            learning_rate=chosen["learning_rate"],
            stop_resolution=chosen["picture_height"] or None,
            landing=chosen["landing"],
            search=search,
            seed=seed,
        )
        return io.NodeOutput(direction)
