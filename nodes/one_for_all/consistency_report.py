"""Consistency Report: did the whole batch arrive in one state?"""

from __future__ import annotations

import json

import torch

from ... import host
from ...editing.common.figures import before_after_plot
from ...editing.common.types import EditDirection, GanLatent, check_family
from ...editing.one_for_all.closed_form import attribute_values
from ...editing.one_for_all.consistency import Consistency, measure_consistency
from ...host import io
from ...models.errors import InputError
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, GanLatentType


class ConsistencyReport(io.ComfyNode):
    """Plots the edit's own projection, or an attribute that was measured on the pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditConsistencyReport",
            display_name="Consistency Report",
            category=menu_category("batch"),
            description="Plots each picture before and after the edit, with how far the batch came together.",
            **search_aliases("check the batch", "plot", "did it work"),
            inputs=[
                EditDirectionType.Input("direction", tooltip="The edit that was applied."),
                GanLatentType.Input("before", tooltip="The codes before the edit."),
                GanLatentType.Input("after", tooltip="The codes after the edit, in the same order."),
                io.String.Input(
                    "attribute",
                    default="",
                    tooltip="Which measured attribute to plot. Empty plots the projection on the edit itself.",
                ),
                io.String.Input(
                    "measured_before",
                    optional=True,
                    force_input=True,
                    tooltip="Attributes of the pictures before the edit, from Measure Portraits.",
                ),
                io.String.Input(
                    "measured_after",
                    optional=True,
                    force_input=True,
                    tooltip="Attributes of the pictures after the edit, from Measure Portraits.",
                ),
            ],
            outputs=[
                io.Image.Output("plot", "plot", tooltip="One line per picture from before to after."),
                io.String.Output("report", "report", tooltip="Spread and landing in numbers."),
            ],
        )

    @classmethod
    def execute(
        cls,
        direction: EditDirection,
        before: GanLatent,
        after: GanLatent,
        attribute: str,
        measured_before: str | None = None,
        measured_after: str | None = None,
    ) -> io.NodeOutput:
        for latent, name in ((before, "the codes before"), (after, "the codes after")):
            check_family(direction.family, latent.family, f"The direction '{direction.name}'", name)
        attribute = attribute.strip()
        if attribute:
            values_before = _column(measured_before, attribute, "measured_before", len(before))
            values_after = _column(measured_after, attribute, "measured_after", len(after))
            target, axis = None, f"measured {attribute}"
        else:
            values_before = attribute_values(direction, before.codes)
            values_after = attribute_values(direction, after.codes)
            target, axis = direction.offset, "projection on the edit"
        result = measure_consistency(values_before, values_after, target)
        title = f"{direction.name}: {_headline(result)}"
        plot = before_after_plot(values_before.tolist(), values_after.tolist(), target, title, axis)
        return io.NodeOutput(plot[None].to(host.current().result_device()), _report(direction, result, axis))


def _column(text: str | None, attribute: str, socket: str, count: int) -> torch.Tensor:
    """Return an attribute [count] out of a JSON table of measurements."""
    if text is None:
        raise InputError(f"To plot '{attribute}', connect {socket} from Measure Portraits, or leave 'attribute' empty.")
    try:
        table = json.loads(text)
        values = table[attribute]
        column = torch.tensor([float(v) for v in values])
    except KeyError:
        raise InputError(f"'{attribute}' was not measured; available: {', '.join(list(table)[:20])}.") from None
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise InputError(f"{socket} is not a table of measurements; connect it to Measure Portraits.") from None
    if column.numel() != count:
        raise InputError(f"{socket} holds {column.numel()} pictures, the codes are {count}; measure the same batch.")
    return column


def _headline(result: Consistency) -> str:
    """Say how much of the spread is left."""
    if result.spread != result.spread:  # nan: one picture, or all alike before
        return "one state before as after" if result.std_after == 0 else "no spread before to compare with"
    return f"spread {result.spread:.2f} of before"


def _report(direction: EditDirection, result: Consistency, axis: str) -> str:
    """Describe spread and landing in numbers."""
    lines = [
        f"{direction.name} ({direction.method}), {axis}",
        f"before: mean {result.mean_before:.4g}, standard deviation {result.std_before:.4g}",
        f"after: mean {result.mean_after:.4g}, standard deviation {result.std_after:.4g}",
        _headline(result),
    ]
    if result.landing is not None:
        lines.append(f"distance from the example's state: {result.landing:.3f} standard deviations")
    return "\n".join(lines)
