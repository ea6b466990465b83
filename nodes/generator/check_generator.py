"""Check Generator: one page of pictures and numbers about a generator of one's own."""

from __future__ import annotations

import torch

from ...host import current, io
from ...jobs.check import check_generator
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.images import from_image_batch
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, seed_input
from ..common.sockets import GanGeneratorType


class CheckGenerator(io.ComfyNode):
    """What `semantic-edit check` measures, on a canvas."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditCheckGenerator",
            display_name="Check Generator",
            category=menu_category("generator"),
            description="Measures a generator once: layout, samples, statistics, one edit brought to all, inversion of "
            "a few photos, times and memory, and where a default will not suit it. One page to look at and to share.",
            **search_aliases("inspect checkpoint", "model info", "benchmark", "does my generator work"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator, also one with random weights."),
                seed_input(tooltip="Draws the samples."),
                io.Image.Input(
                    "photos",
                    optional=True,
                    tooltip="Photos to invert; the first four count. They are on the page: leave them out to share it.",
                ),
                io.Int.Input(
                    "inversion_steps",
                    default=0,
                    min=0,
                    max=1000,
                    optional=True,
                    tooltip="Steps of the inversion. 0: those of Invert Images, or what fits into a minute and a half.",
                ),
            ],
            outputs=[
                io.Image.Output("page", "page", tooltip="Warnings, figures and pictures on one page, for Save Image."),
                io.String.Output("report", "report", tooltip="The warnings and figures as text."),
            ],
        )

    @classmethod
    def execute(
        cls, generator: GanGenerator, seed: int, photos: torch.Tensor | None = None, inversion_steps: int = 0
    ) -> io.NodeOutput:
        place(generator)
        given = None if photos is None else from_image_batch(photos, generator.device)
        progress = progress_for(1, "checking")
        report = check_generator(generator, given, seed, inversion_steps or None, progress)
        return io.NodeOutput(report.page()[None].to(current().result_device()), report.text())
