"""Set Strengths: a list of numbers as the strengths of a batch."""

from __future__ import annotations

from typing import Any

import torch

from ...editing.common.types import EditStrength
from ...host import io
from ...models.errors import InputError
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, EditStrengthType, GanLatentType
from ._lists import numbers_of, single


class SetStrengths(io.ComfyNode):
    """The door from lists of FLOAT to nodes that edit a whole batch at once."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSetStrengths",
            display_name="Set Strengths",
            category=menu_category("state"),
            description="Takes a list of numbers as the strengths of a batch, one for each picture, for Apply Edit, "
            "Apply Text Edit and Animate Strength.",
            is_input_list=True,
            **search_aliases("float list", "strength per picture", "weights"),
            inputs=[
                io.Float.Input(
                    "numbers",
                    force_input=True,
                    tooltip="A list of numbers, one for each picture, from Plan Strengths, Measure State or any node.",
                ),
                io.Float.Input(
                    "factor",
                    default=1.0,
                    min=-100.0,
                    max=100.0,
                    step=0.05,
                    tooltip="Multiplies every number. 0.5: half of the edit. Below 0: the opposite.",
                ),
                GanLatentType.Input(
                    "latents", optional=True, tooltip="The batch: one number then serves all of its pictures."
                ),
                EditDirectionType.Input(
                    "direction", optional=True, tooltip="The edit, whose generator family the strengths then name."
                ),
            ],
            outputs=[
                EditStrengthType.Output(
                    "strengths", "strengths", tooltip="The strength of each picture, in lengths of the direction."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        numbers: list[Any],
        factor: list[float],
        latents: list[Any] | None = None,
        direction: list[Any] | None = None,
    ) -> io.NodeOutput:
        alphas = numbers_of(numbers, "numbers")
        batch, edit = single(latents, "latents"), single(direction, "direction")
        if not alphas:
            raise InputError("The list 'numbers' is empty; expected a number for each picture.")
        if batch is not None:
            alphas = alphas * len(batch) if len(alphas) == 1 else alphas
            if len(alphas) != len(batch):
                raise InputError(f"There are {len(alphas)} numbers for {len(batch)} pictures; expected one for each.")
        family = next((value.family for value in (edit, batch) if value is not None), "")
        return io.NodeOutput(EditStrength(torch.tensor(alphas) * single(factor, "factor"), family=family))
