"""Fit Direction: from scored pictures to an attribute."""

from __future__ import annotations

from ...editing.common.rows import parse_rows
from ...editing.common.types import GanLatent
from ...editing.one_for_all.supervised import fit_direction, fit_groups, read_scores
from ...host import io
from ...models.errors import InputError
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, GanLatentType


class FitDirection(io.ComfyNode):
    """Regression of a score on the codes for the normal, and of the codes on the score for the direction."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditFitDirection",
            display_name="Fit Direction",
            category=menu_category("example"),
            description="Learns an attribute from pictures that were scored, or from two groups: what moves it, and "
            "what measures it.",
            **search_aliases("InterFaceGAN", "train slider", "attribute direction", "boundary"),
            inputs=[
                GanLatentType.Input(
                    "latents", tooltip="The codes that were scored; with negatives connected, the group that has it."
                ),
                io.String.Input(
                    "attribute", default="", tooltip="Which column of a table of scores; not needed for plain numbers."
                ),
                io.String.Input(
                    "rows",
                    default="all",
                    tooltip="Layers to act on: all, coarse, middle, fine, or numbers such as 0-5.",
                ),
                io.String.Input("name", default="", tooltip="What to call it; empty takes the attribute's name."),
                io.MultiType.Input(
                    "scores",
                    types=[io.String, io.Float],
                    optional=True,
                    tooltip="One score per code: a list of numbers, text with numbers, or the table of Measure "
                    "Portraits.",
                ),
                GanLatentType.Input(
                    "negatives", optional=True, tooltip="Codes without the attribute, instead of scores."
                ),
            ],
            outputs=[
                EditDirectionType.Output(
                    "direction",
                    "direction",
                    tooltip="One standard deviation of the score, and how to read the score from a code.",
                ),
                io.Float.Output("r2", "r2", tooltip="How much of unseen scores the codes tell, 1 being all of it."),
                io.String.Output(
                    "report", "report", tooltip="Number of samples, spread of the score, and the quality of the fit."
                ),
            ],
            is_input_list=True,
        )

    @classmethod
    def execute(
        cls,
        latents: list[GanLatent],
        attribute: list[str],
        rows: list[str],
        name: list[str],
        scores: list[float | str] | None = None,
        negatives: list[GanLatent] | None = None,
    ) -> io.NodeOutput:
        # Inputs come as lists, so that a list of numbers can be one of them; all others have one entry.
        codes, column = latents[0], attribute[0].strip()
        layers, title = parse_rows(rows[0], codes.num_layers), name[0].strip() or column or "edit"
        if (scores is None) == (negatives is None):
            connected = "nothing" if scores is None else "both"
            raise InputError(f"Connect either scores or negatives; connected: {connected}.")
        if scores is not None:
            edit, report = fit_direction(codes, read_scores(scores, column, len(codes)), layers, title)
        else:
            edit, report = fit_groups(codes, negatives[0], layers, title)
        return io.NodeOutput(edit, report.r2, str(report))
