"""Reach Common State: one eta per photo, so that all of them end in the same state."""

from __future__ import annotations

from torch import Tensor

from ...editing.imagic.batch import PhotoSweeps, render_common_state
from ...editing.imagic.common_state import common_state
from ...editing.imagic.figures import common_plot
from ...editing.state import StateReader
from ...editing.state.figures import strengths_plot
from ...host import io
from ...models.errors import InputError
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases
from ..common.sockets import StateReaderType
from ..common.state_targets import axis_title, one_reading
from ._inputs import ImagicSweepsType
from ._reading import reach_by_reader


class ReachCommonState(io.ComfyNode):
    """Edit One for All (2401.10219) on diffusion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditReachCommonState",
            display_name="Reach Common State",
            category=menu_category("imagic"),
            description="Chooses an eta for each photo so that all reach the same state of the sentence: that of one "
            "example photo, or the one that suits most. Then paints them.",
            **search_aliases("Imagic", "same state for all", "batch photo edit"),
            inputs=[
                ImagicSweepsType.Input("sweeps", tooltip="From Sweep Photos."),
                io.Int.Input(
                    "example", default=0, min=0, max=4096,
                    tooltip="The photo, counted from 1, whose state all shall reach. 0: the one that suits most.",
                ),
                io.Float.Input(
                    "example_eta", default=0.0, min=0.0, max=4.0, step=0.01,
                    tooltip="The eta of the example photo that you like. 0: its automatic one.",
                ),
                io.Float.Input(
                    "shift", default=0.0, min=-1.0, max=1.0, step=0.005,
                    tooltip="Moves the common state: more of the edit above 0, less below.",
                ),
                StateReaderType.Input(
                    "reader", optional=True,
                    tooltip="Reads the state from the pictures, in place of the scorer's opinion. Without an example "
                    "photo its own example is the state.",
                ),
                io.Image.Input(
                    "example_picture", optional=True,
                    tooltip="With a reader: one picture, by any tool, that shows the state to reach.",
                ),
                io.Int.Input(
                    "corrections", default=1, min=0, max=5, optional=True,
                    tooltip="With a reader: how often the painted photos are read again and their etas corrected.",
                ),
            ],
            outputs=[
                io.Image.Output("images", "images", tooltip="Every photo at its own eta."),
                io.Float.Output("etas", "etas", is_output_list=True, tooltip="The eta of each photo."),
                io.Image.Output(
                    "plot", "plot", tooltip="Each photo's score over eta, and where it meets the common state."
                ),
                io.String.Output("report", "report", tooltip="Which photos reach it and which fall short."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, sweeps: PhotoSweeps, example: int, example_eta: float, shift: float, reader: StateReader | None = None,
        example_picture: Tensor | None = None, corrections: int = 1,
    ) -> io.NodeOutput:  # fmt: skip
        index = None if example == 0 else example - 1
        if reader is not None:
            progress = progress_for((corrections + 1) * len(sweeps.names), "painting at the common state")
            reading = one_reading(reader, "")
            read = reach_by_reader(
                sweeps, reading, index, example_eta or None, example_picture, shift, corrections, progress
            )
            levels = [read.state.level] * len(sweeps.names)
            plot = strengths_plot(
                read.drawings,
                read.state.etas,
                read.readings.tolist(),
                read.landed.tolist(),
                levels,
                read.title(),
                axis_title(reading),
            )
            return io.NodeOutput(read.images, list(read.state.etas), plot[None], read.report(sweeps.names))
        if example_picture is not None:
            raise InputError("example_picture is connected without a reader; connect one of the Read From nodes.")
        state = common_state(
            sweeps.etas, sweeps.scores, sweeps.best_etas, None, index, example_eta or None, sweeps.moved
        )
        if shift:
            state = common_state(sweeps.etas, sweeps.scores, sweeps.best_etas, state.level + shift, moved=sweeps.moved)
        images = render_common_state(sweeps, state, progress_for(len(sweeps.names), "painting at the common state"))
        plot = common_plot(sweeps.etas, sweeps.scores, state, "score over eta; red: the common state")
        return io.NodeOutput(images, list(state.etas), plot[None], state.report(sweeps.names))
