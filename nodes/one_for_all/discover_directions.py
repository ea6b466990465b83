"""Discover Directions: directions without labels, to look at and choose from."""

from __future__ import annotations

import torch

from ... import host
from ...editing.common.rows import parse_rows
from ...editing.common.types import GanLatent
from ...editing.one_for_all.discover import METHODS, component_edit, components_sheet, find_components
from ...host import io
from ...models.errors import check_choice
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.latents import check_latent
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, GanGeneratorType, GanLatentType


class DiscoverDirections(io.ComfyNode):
    """GANSpace's and SeFa's components of a generator; look at the sheet, then choose a component by its number."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditDiscoverDirections",
            display_name="Discover Directions",
            category=menu_category("example"),
            description="Finds directions without labels or examples and shows the first ones on a sheet to choose "
            "from.",
            **search_aliases("GANSpace", "SeFa", "PCA", "find sliders"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator to search."),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    tooltip="principal components: what varies most among codes (GANSpace). style weights: what the "
                    "chosen rows' layers react to most (SeFa).",
                ),
                io.String.Input(
                    "rows",
                    default="all",
                    tooltip="Layers to act on: all, coarse, middle, fine, or numbers such as 0-5. Style weights "
                    "also look at these layers only.",
                ),
                io.Int.Input(
                    "component",
                    default=0,
                    min=0,
                    max=65535,
                    tooltip="Which component to take, by its number on the sheet.",
                ),
                io.Int.Input(
                    "preview_count",
                    default=8,
                    min=0,
                    max=64,
                    tooltip="How many of the first components to draw; 0: none.",
                ),
                io.String.Input(
                    "name", default="", tooltip="What to call the edit; empty says the component's number."
                ),
                GanLatentType.Input(
                    "latents",
                    optional=True,
                    tooltip="The sheet changes the first of these codes; open: the mean picture.",
                ),
            ],
            outputs=[
                EditDirectionType.Output(
                    "direction", "direction", tooltip="The component, one standard deviation long."
                ),
                io.Image.Output("sheet", "sheet", tooltip="A row per component, from -3 to 3 standard deviations."),
                io.String.Output("report", "report", tooltip="Each component's share and its standard deviation."),
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        method: str,
        rows: str,
        component: int,
        preview_count: int,
        name: str,
        latents: GanLatent | None = None,
    ) -> io.NodeOutput:
        check_choice("method", method, METHODS)
        layers = parse_rows(rows, generator.num_layers)
        if latents is not None:
            check_latent(generator, latents)
        place(generator)
        components = find_components(generator, method, layers)
        direction = component_edit(generator, components, component, layers, name.strip())
        sheet = torch.ones(8, 8, 3)
        if preview_count:
            progress = progress_for(min(preview_count, len(components)), "drawing components")
            code = None if latents is None else latents.codes[0]
            sheet = components_sheet(generator, components, preview_count, layers, code, progress=progress)
        listed = range(min(max(preview_count, component + 1), len(components)))
        lines = [f"{method} of '{generator.name}', {len(components)} components; share and standard deviation"]
        lines += [f"{k}: {float(components.shares[k]):.1%}, {float(components.deviations[k]):.3g}" for k in listed]
        return io.NodeOutput(direction, sheet[None].to(host.current().result_device()), "\n".join(lines))
