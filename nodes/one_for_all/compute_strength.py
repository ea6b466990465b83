"""Compute Strength: alpha of each picture, in closed form or corrected by rendering."""

from __future__ import annotations

import torch

from ...editing.common.types import EditDirection, EditStrength, GanLatent, check_family
from ...editing.one_for_all.render_and_correct import ROUNDS
from ...editing.one_for_all.strength_modes import MODES, Target, strengths_for
from ...host import io
from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.feature_space import AUTOMATIC, feature_space, features_fingerprint, features_input, network_of_score
from ..common.images import from_image_batch
from ..common.latents import check_latent
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, with_advanced
from ..common.sockets import EditDirectionType, EditStrengthType, GanGeneratorType, GanLatentType


class ComputeStrength(io.ComfyNode):
    """Edit One for All, step 2: cheap, so a strength slider here re-runs only the tail of the graph."""

    @classmethod
    @with_advanced("limit", "features")
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditComputeStrength",
            display_name="Compute Strength",
            category=menu_category("batch"),
            description="Computes for each picture how far it must move so that all reach the example's final state.",
            **search_aliases("Edit One for All", "same state", "how much", "slider strength"),
            inputs=[
                EditDirectionType.Input("direction", tooltip="From Optimize Direction, Record Edit or Load Direction."),
                GanLatentType.Input("latents", tooltip="The batch that shall follow the example."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="1: the example's state after its edit. 0: before it. Above 1: further.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    tooltip="same state: each picture moves as far as it needs. constant: all move equally far. "
                    "number: each picture reaches 'target'.",
                ),
                io.Float.Input(
                    "limit",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="The farthest any picture may move, in lengths of the direction. 0: no limit.",
                ),
                GanLatentType.Input(
                    "reference",
                    optional=True,
                    tooltip="One code whose state is the target, instead of the edited example's.",
                ),
                GanGeneratorType.Input(
                    "generator",
                    optional=True,
                    tooltip="Connect it to correct the strengths by looking at the edited pictures, and for 'number' "
                    "and reference_image.",
                ),
                io.Int.Input(
                    "corrections",
                    default=ROUNDS,
                    min=0,
                    max=5,
                    optional=True,
                    tooltip="With a generator: how often pictures are drawn, measured and moved. 0: the formula.",
                ),
                io.Float.Input(
                    "target",
                    default=0.0,
                    min=-10.0,
                    max=10.0,
                    step=0.1,
                    optional=True,
                    tooltip="For mode 'number': the state to reach, in standard deviations from the average picture.",
                ),
                io.Image.Input(
                    "reference_image",
                    optional=True,
                    tooltip="One picture whose state is the target; needs a generator and features that see pictures.",
                ),
                features_input(optional=True),
            ],
            outputs=[
                EditStrengthType.Output(
                    "strengths", "strengths", tooltip="The strength of each picture, for Apply Edit."
                ),
                io.Float.Output("alphas", "alphas", is_output_list=True, tooltip="The same as a list of numbers."),
                io.String.Output(
                    "report", "report", tooltip="Strength per picture, who was held back, and how certain it is."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, features: str | None = AUTOMATIC, **_: object) -> str:
        return features_fingerprint(features)

    @classmethod
    def execute(
        cls,
        direction: EditDirection,
        latents: GanLatent,
        strength: float,
        mode: str,
        limit: float,
        reference: GanLatent | None = None,
        generator: GanGenerator | None = None,
        corrections: int = ROUNDS,
        target: float = 0.0,
        reference_image: torch.Tensor | None = None,
        features: str = "automatic",
    ) -> io.NodeOutput:
        check_family(direction.family, latents.family, f"The direction '{direction.name}'", "the latents")
        _check_reference(direction, reference, reference_image, generator, mode)
        if generator is not None:
            check_latent(generator, latents)
            place(generator, network_of_score(direction))
        result = strengths_for(
            direction,
            latents.codes,
            mode,
            strength,
            limit or None,
            Target(
                number=target if mode == "number" else None,
                code=None if reference is None else reference.codes,
                picture=None if reference_image is None else from_image_batch(reference_image, generator.device),
            ),
            generator,
            corrections,
            None if generator is None else lambda: feature_space(generator, features),
            progress_for(len(latents), "measuring"),
        )
        own_state = mode == MODES[0] and reference is None and reference_image is None
        report = _report(result, latents, direction.note if own_state else "")
        return io.NodeOutput(result, result.alpha.tolist(), report)


def _check_reference(direction, reference, reference_image, generator: GanGenerator, mode: str) -> None:
    """Refuse more than one target, and targets that cannot be used."""
    targets = [mode == "number", reference is not None, reference_image is not None]
    if sum(targets) > 1:
        raise InputError(
            "More than one target is given. Use one of: mode 'number', 'reference' (a code), 'reference_image'."
        )
    if generator is None and (mode == "number" or reference_image is not None):
        target = "Mode 'number'" if mode == "number" else "A reference_image"
        raise InputError(f"{target} needs the generator: connect it to 'generator'.")
    if reference is not None:
        check_family(direction.family, reference.family, f"The direction '{direction.name}'", "the reference")
        if len(reference) != 1:
            raise InputError(f"The reference holds {len(reference)} codes; pick one with Select Latents.")
    if reference_image is not None and len(reference_image) != 1:
        raise InputError(f"reference_image holds {len(reference_image)} pictures; connect one.")


def _report(result: EditStrength, latents: GanLatent, note: str) -> str:
    """Describe each picture's strength, one a line; last, what the direction says of its example."""
    lines = [f"{result.method}; {len(result)} pictures, {int(result.clamped.sum())} held back by the limit"]
    confidences = [None] * len(result) if result.confidence is None else result.confidence.tolist()
    for name, alpha, clamped, confidence in zip(
        latents.names, result.alpha.tolist(), result.clamped.tolist(), confidences, strict=True
    ):
        certainty = "" if confidence is None else f", confidence {confidence:.0%}"
        lines.append(f"{name}: {alpha:+.3f}{certainty}{' (limit)' if clamped else ''}")
    return "\n".join([*lines, note] if note else lines)
