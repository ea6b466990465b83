"""Combine Edits: several edits at once, each in the state that it asks for."""

from __future__ import annotations

import json

import torch

from ...editing.common.types import EditDirection, EditStrength, GanLatent, check_family
from ...editing.one_for_all.closed_form import constant_strength
from ...editing.one_for_all.combine import Combination, combine_edits
from ...host import io
from ...models.errors import InputError, check_choice
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, EditStrengthType, GanLatentType

_MODES = ("same state", "constant")
_COUNT = 4
_OWN_NORMAL = 0.9999  # cosine
_NOTABLE = 0.1  # lengths by which the other edits would move a state


def _strength_input(k: int) -> io.Float.Input:
    return io.Float.Input(
        f"strength_{k}",
        default=1.0,
        min=-10.0,
        max=10.0,
        step=0.05,
        tooltip=f"How much of edit {k}. Same state: 1 is its example's state, 0 the state before. Constant: lengths of "
        f"its direction. Not used while strengths_{k} is connected.",
    )


class CombineEdits(io.ComfyNode):
    """Apply Edit for more than one edit: solves for the strengths with which none of them undoes another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [GanLatentType.Input("latents", tooltip="The batch to edit.")]
        for k in range(1, _COUNT + 1):
            tooltip = f"Edit {k}. Which edit is first does not matter." + (" May stay open." if k > 2 else "")
            inputs.append(EditDirectionType.Input(f"edit_{k}", optional=k > 2, tooltip=tooltip))
        inputs += [_strength_input(k) for k in range(1, _COUNT + 1)]
        inputs += [
            io.Combo.Input(
                "mode",
                options=list(_MODES),
                tooltip="same state: every picture reaches the state of each edit's example. constant: every picture "
                "changes by as much, as with one edit alone; for edits without an example.",
            ),
            io.Float.Input(
                "limit",
                default=0.0,
                min=0.0,
                max=100.0,
                step=0.1,
                tooltip="The farthest any edit may move a picture, in lengths of its direction. The others still "
                "arrive. 0: no limit.",
            ),
        ]
        inputs += [
            EditStrengthType.Input(
                f"strengths_{k}",
                optional=True,
                tooltip=f"Edit {k}'s strengths from Compute Strength, for these latents: it reaches the state that "
                "it would reach with them alone.",
            )
            for k in range(1, _COUNT + 1)
        ]
        return io.Schema(
            node_id="SemanticEditCombineEdits",
            display_name="Combine Edits",
            category=menu_category("batch"),
            description="Applies two to four edits at once, so that the second does not move what the first has set.",
            **search_aliases("several edits", "two edits at once", "multiple sliders"),
            inputs=inputs,
            outputs=[
                GanLatentType.Output("edited", "edited", tooltip="The edited codes, with the names of the originals."),
                io.String.Output(
                    "report", "report", tooltip="Per edit: strengths, who was held back, and what order would do."
                ),
                io.String.Output(
                    "table", "table", tooltip="A JSON table: the name of each edit to one strength per picture."
                ),
            ],
        )

    @classmethod
    def execute(cls, latents: GanLatent, mode: str, limit: float, **inputs) -> io.NodeOutput:
        check_choice("mode", mode, _MODES)
        edits, strengths = [], []
        for k in range(1, _COUNT + 1):
            edit, planned = inputs.get(f"edit_{k}"), inputs.get(f"strengths_{k}")
            if edit is None and planned is not None:
                raise InputError(f"strengths_{k} is connected, but edit_{k} is not; connect the edit they belong to.")
            if edit is not None:
                check_family(edit.family, latents.family, f"The edit '{edit.name}'", "the latents")
                edits.append(edit)
                strengths.append(_strength(edit, latents, mode, inputs.get(f"strength_{k}", 1.0), planned))
        combination = combine_edits(latents.codes, edits, strengths, limit or None)
        names = _distinct([edit.name for edit in edits])
        table = {name: [round(a, 5) for a in combination.alphas[:, k].tolist()] for k, name in enumerate(names)}
        edited = GanLatent(combination.codes, latents.names, latents.family)
        report = _report(combination, names, [_is_own_normal(edit) for edit in edits])
        if mode == _MODES[0]:
            notes = [edits[k].note for k in range(len(edits)) if not isinstance(strengths[k], EditStrength)]
            report = "\n".join([report, *filter(None, notes)])
        return io.NodeOutput(edited, report, json.dumps(table))


def _strength(
    edit: EditDirection, latents: GanLatent, mode: str, slider: float, planned: EditStrength | None
) -> EditStrength | float:
    """Return the strengths to reach: connected ones, constant ones, or the slider's state of the example."""
    if planned is not None:
        return planned
    if mode == "constant":
        return constant_strength(edit, latents.codes, slider)
    if not edit.has_example:
        raise InputError(
            f"The edit '{edit.name}' comes without an example, so it has no state to reach. Connect its strengths from "
            "Compute Strength, which knows a constant mode and a reference picture, or set the mode to 'constant'."
        )
    return slider


def _distinct(names: list[str]) -> list[str]:
    """Number the names that occur more than once."""
    return [name if names.count(name) == 1 else f"{name} ({k + 1})" for k, name in enumerate(names)]


def _is_own_normal(edit: EditDirection) -> bool:
    """Return True for an edit whose normal is parallel to its direction."""
    cosine = torch.nn.functional.cosine_similarity(edit.direction.flatten(), edit.normal.flatten(), dim=0)
    return abs(float(cosine)) > _OWN_NORMAL


def _report(combination: Combination, names: list[str], own_normal: list[bool]) -> str:
    """Describe each edit's strengths, in lengths of its direction."""
    lines = [f"{len(names)} edits, {len(combination.codes)} pictures"]
    crosstalk = combination.crosstalk()
    for k, name in enumerate(names):
        alphas, alone = combination.alphas[:, k], combination.solo_alphas[:, k]
        lines.append(
            f"{name}: moved by {alphas.min():+.3f} to {alphas.max():+.3f} lengths (alone {alone.min():+.3f} to "
            f"{alone.max():+.3f}), {int(combination.clamped[:, k].sum())} held back by the limit"
        )
        others = [f"{crosstalk[k, j]:.3f} by {names[j]}" for j in range(len(names)) if j != k]
        lines.append(f"  one after the other, its state would have been moved by {', '.join(others)} lengths")
        if own_normal[k] and float(crosstalk[k].max()) > _NOTABLE:
            lines.append(
                "  it is its own normal, which feels other attributes too: look whether one after the other is better, "
                "or fit a normal"
            )
    return "\n".join(lines)
