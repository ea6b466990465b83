"""Dissect Concepts: which units of a layer stand for which concepts."""

from __future__ import annotations

from ...editing.common.part_labels import PartLabels
from ...editing.common.sample import sample
from ...editing.common.types import GanLatent
from ...editing.paint.dissection import FEWEST, RANKINGS, THRESHOLDS, dissect_and_rank
from ...editing.paint.unit_pictures import picture_units
from ...host import io
from ...host.registry import PartLabeller, part_labellers
from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ...models.segmenters.bisenet import FaceSegmenter
from ..common.devices import place
from ..common.images import to_image_batch
from ..common.latents import check_latent
from ..common.progress import layer_progress, progress_for
from ..common.schema import menu_category, search_aliases, seed_input
from ..common.sockets import ConceptUnitsType, GanGeneratorType, GanLatentType, PartLabelsType, SegmenterType

_SHEET_PICTURES = 96  # pictures that the sheets of units choose from


class DissectConcepts(io.ComfyNode):
    """GAN dissection, streamed: of a thousand pictures little more is in memory than of sixteen."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditDissectConcepts",
            display_name="Dissect Concepts",
            category=menu_category("paint"),
            description="Finds the units of a layer that draw hats, glasses, hair and so on, from the part labels of "
            "many pictures, so that they can be painted.",
            **search_aliases("GAN dissection", "find units", "network dissection"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator to look into."),
                io.Int.Input(
                    "layer",
                    default=-1,
                    min=-1,
                    max=64,
                    tooltip="The layer to dissect. -1 takes the one that paints best: a quarter of the picture's "
                    "height for StyleGAN2, at most 64 px, a thirty-second for Progressive GAN.",
                ),
                io.Int.Input(
                    "samples",
                    default=1024,
                    min=FEWEST,
                    max=100_000,
                    tooltip="Pictures to look at, without latents. A thousand or more give figures to trust.",
                ),
                io.Combo.Input(
                    "threshold",
                    options=list(THRESHOLDS),
                    tooltip="When a unit counts as on: where it tells most about the concept, or in its top 1 %.",
                ),
                io.Combo.Input(
                    "ranking",
                    options=list(RANKINGS),
                    tooltip="effect: by what units cause in the picture, judged by a segmenter. difference: by how far "
                    "they differ inside and outside of the concept. overlap: by intersection over union.",
                ),
                seed_input(tooltip="Chooses the sampled pictures."),
                GanLatentType.Input(
                    "latents", optional=True, tooltip="The pictures to look at, for labels of your own segmenter."
                ),
                PartLabelsType.Input(
                    "parts",
                    optional=True,
                    tooltip="Where the concepts are in the pictures of the latents. Without it the demo world's "
                    "segmenter looks for the parts of portraits.",
                ),
                SegmenterType.Input(
                    "segmenter",
                    optional=True,
                    tooltip="Looks for the concepts in every picture while it is drawn, a few at a time; judges "
                    "effects too. In place of 'parts'.",
                ),
            ],
            outputs=[
                ConceptUnitsType.Output("concepts", "concepts", tooltip="For Paint Concept and Save Concepts."),
                io.Image.Output(
                    "sheets", "sheets", tooltip="A sheet per concept: a row per strong unit, bright where on."
                ),
                io.String.Output(
                    "report", "report", tooltip="The concepts with their units and how well those overlap them."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        layer: int,
        samples: int,
        threshold: str,
        ranking: str,
        seed: int,
        latents: GanLatent | None = None,
        parts: PartLabels | None = None,
        segmenter: FaceSegmenter | None = None,
    ) -> io.NodeOutput:
        check_choice("threshold", threshold, THRESHOLDS)
        check_choice("ranking", ranking, RANKINGS)
        count = len(generator.network.synthesis.layers)
        if layer >= count:
            raise InputError(f"Layer {layer} does not exist; '{generator.name}' has layers 0 to {count - 1}, or -1.")
        if parts is not None and segmenter is not None:
            raise InputError("Both 'parts' and a 'segmenter' say where concepts are; connect one of them.")
        if parts is not None:
            _check_parts(parts, latents, ranking)
        if latents is not None:
            check_latent(generator, latents)
        place(generator, segmenter)
        codes = sample(generator, samples, seed, 1.0, 0, -1).codes if latents is None else latents.codes
        labeller = _labeller(parts, segmenter)
        concepts = dissect_and_rank(
            generator,
            codes,
            labeller.label,
            labeller.names,
            None if layer < 0 else layer,
            threshold,
            ranking,
            labeller.score,
            progress=progress_for(2 * len(codes) + len(labeller.names), "dissecting"),
        )
        with layer_progress(generator, 1, "drawing the sheets"):
            sheets = picture_units(generator, concepts, codes[:_SHEET_PICTURES])
        return io.NodeOutput(concepts, to_image_batch(sheets), concepts.report())


def _check_parts(parts: PartLabels, latents: GanLatent | None, ranking: str) -> None:
    """Refuse labels of other pictures, and a ranking that fixed labels cannot give."""
    if latents is None or len(latents) != len(parts):
        pictures = "none" if latents is None else len(latents)
        raise InputError(
            f"The parts are those of {len(parts)} pictures, the latents of {pictures}. Connect the latents whose "
            "pictures were labelled, one for each."
        )
    if ranking == "effect":
        raise InputError(
            "The ranking 'effect' changes pictures and looks again, which fixed part labels cannot do; connect a "
            "segmenter instead, or set ranking to 'difference' or 'overlap'."
        )


def _labeller(parts: PartLabels | None, segmenter: FaceSegmenter | None) -> PartLabeller:
    """Return connected labels or a connected segmenter as a labeller, else the one that was registered first."""
    if segmenter is not None:
        return PartLabeller(segmenter.names, lambda pictures, _: segmenter(pictures), segmenter)
    if parts is not None:
        return PartLabeller(parts.names, lambda _, index: parts.masks[index])
    names = part_labellers.names()
    if not names:
        raise InputError("There is no segmenter: connect the part labels of the latents' pictures to 'parts'.")
    return part_labellers.create(names[0])
