"""Compute Strength: how far each picture has to move, in closed form."""

from __future__ import annotations

from ..editing.strength import attribute_values, constant_strength, plan_strength
from ..editing.types import EditDirection, EditStrength, GanLatent, check_family
from ..host import io
from ..models.errors import InputError
from ._common import CATEGORY, EditDirectionType, EditStrengthType, GanLatentType

_MODES = ("same state", "constant")


class ComputeStrength(io.ComfyNode):
    """Edit One for All, step 2: costs nothing, so a strength slider here re-runs only the tail of the graph."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditComputeStrength",
            display_name="Compute Strength",
            category=CATEGORY("batch"),
            description="Computes for each picture how far it must move so that all reach the example's final state.",
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
                    options=list(_MODES),
                    tooltip="same state: each picture moves as far as it needs. constant: all move equally far.",
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
            ],
            outputs=[
                EditStrengthType.Output("strengths", tooltip="The strength of each picture, for Apply Edit."),
                io.Float.Output("alphas", is_output_list=True, tooltip="The same as a list of numbers."),
                io.String.Output("report", tooltip="Strength per picture, and who was held back by the limit."),
            ],
        )

    @classmethod
    def execute(
        cls,
        direction: EditDirection,
        latents: GanLatent,
        strength: float,
        mode: str,
        limit: float,
        reference: GanLatent | None = None,
    ) -> io.NodeOutput:
        check_family(direction.family, latents.family, f"The direction '{direction.name}'", "the latents")
        if mode not in _MODES:
            raise InputError(f"Unknown mode '{mode}'; expected one of {', '.join(_MODES)}.")
        if mode == "constant":
            result = constant_strength(direction, latents.codes, strength)
        else:
            target = None
            if reference is not None:
                target = _reference_value(direction, reference)
            result = plan_strength(direction, latents.codes, strength, target, limit or None)
        return io.NodeOutput(result, result.alpha.tolist(), _report(result, latents))


def _reference_value(direction: EditDirection, reference: GanLatent) -> float:
    check_family(direction.family, reference.family, f"The direction '{direction.name}'", "the reference")
    if len(reference) != 1:
        raise InputError(f"The reference holds {len(reference)} codes; pick one with Select Latents.")
    return float(attribute_values(direction, reference.codes)[0])


def _report(result: EditStrength, latents: GanLatent) -> str:
    lines = [f"{result.method}; {len(result)} pictures, {int(result.clamped.sum())} held back by the limit"]
    for name, alpha, clamped in zip(latents.names, result.alpha.tolist(), result.clamped.tolist(), strict=True):
        lines.append(f"{name}: {alpha:+.3f}{' (limit)' if clamped else ''}")
    return "\n".join(lines)
