"""Adapt Generator: make the generator paint these photos, with everything in them that it does not know."""

from __future__ import annotations

import torch

from ...editing.common.pictures import fit_mask, fit_to_resolution, padding_mask
from ...editing.common.types import GanLatent
from ...editing.paint.painting import Painting, painting_mask
from ...editing.paint.painting_hook import painting_hook
from ...editing.photos.adaptation import METHODS, adapt
from ...host import io
from ...models.errors import InputError, check_choice
from ...models.files.picture_reader import FITS
from ...models.gan.adaptation import without_adaptation
from ...models.gan.generator import GanGenerator
from ...models.printable import printable_logger
from ..common.devices import place
from ..common.images import fit_input, from_image_batch, to_image_batch
from ..common.latents import check_latent
from ..common.presets import AS_SET, preset_input, with_preset
from ..common.progress import progress_for
from ..common.published import ADAPTATION
from ..common.schema import menu_category, search_aliases, seed_input, with_advanced
from ..common.sockets import GanGeneratorType, GanLatentType, GanPaintingType

log = printable_logger(__name__)


class AdaptGenerator(io.ComfyNode):
    """Wire it between Invert Images and whatever edits or draws; an adapted generator goes on from where it was."""

    @classmethod
    @with_advanced("learning_rate", "regularizer", "seed")
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditAdaptGenerator",
            display_name="Adapt Generator",
            category=menu_category("photos"),
            description="Teaches a generator the details of your photos that it cannot say, so that every edit runs on "
            "the photo itself. The generator's own weights stay as they are.",
            **search_aliases("PTI", "pivotal tuning", "fine-tune on photo", "keep details", "identity"),
            inputs=[
                GanGeneratorType.Input(
                    "generator", tooltip="The generator. One that is adapted to these photos goes on from there."
                ),
                io.Image.Input("photos", tooltip="The photos, of any size."),
                GanLatentType.Input("latents", tooltip="Their codes, one per photo: Invert Images makes them."),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    tooltip="residual: colours that follow the edit; exact and instant. free: numbers on the features. "
                    "network: the paper's perturbation network. weights: tunes late layers, for all photos alike.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=10_000,
                    tooltip="Optimisation steps; 0: what the method needs. A residual needs none.",
                ),
                io.Float.Input(
                    "learning_rate",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="Rate of the optimiser; 0: the method's own.",
                ),
                io.Float.Input(
                    "regularizer",
                    default=0.1,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Keeps changes of the features small. The paper has 0.1.",
                ),
                io.Boolean.Input(
                    "follow",
                    default=True,
                    tooltip="Details move with what they belong to when a code is edited, and fade where something "
                    "new appears. Off: they stay in place, as published, and leave ghosts.",
                ),
                seed_input(tooltip="Draws the perturbation network's noise and first weights."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 where an edit will act: nothing is learned there. Other sizes are resized.",
                ),
                GanPaintingType.Input(
                    "painting",
                    optional=True,
                    tooltip="Adapts below these strokes, as published; where they lie, nothing is learned.",
                ),
                fit_input(),
                preset_input(ADAPTATION),
            ],
            outputs=[
                GanGeneratorType.Output(
                    "adapted", "adapted", "The adapted generator. It goes wherever a generator goes."
                ),
                io.Image.Output("images", "images", "The photos as the adapted generator draws their codes."),
                io.Float.Output(
                    "psnr", "psnr", is_output_list=True, tooltip="Likeness outside the mask per photo, in dB."
                ),
                io.String.Output("report", "report", "Likeness before and after, one photo a line."),
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        photos: torch.Tensor,
        latents: GanLatent,
        method: str,
        steps: int,
        learning_rate: float,
        regularizer: float,
        follow: bool,
        seed: int,
        mask: torch.Tensor | None = None,
        painting: Painting | None = None,
        fit: str = FITS[0],
        preset: str = AS_SET,
    ) -> io.NodeOutput:
        chosen, note = with_preset(
            ADAPTATION, preset, method=method, steps=steps, learning_rate=learning_rate, regularizer=regularizer,
            follow=follow, layers=0,
        )  # fmt: skip
        check_choice("method", chosen["method"], METHODS)
        originals = from_image_batch(photos, generator.device)
        pictures = fit_to_resolution(generator, originals, fit)
        check_latent(generator, latents, "The photos' latent")
        if len(latents) != len(pictures):
            raise InputError(f"There are {len(pictures)} photos and {len(latents)} codes; each photo needs its own.")
        edit_mask = _unlearned(mask, originals, generator.resolution, fit)
        place(generator)
        hook = None
        if painting is not None:
            hook = painting_hook(painting, without_adaptation(generator), latents.codes)
            strokes = painting_mask(painting, *pictures.shape[2:], len(pictures)).to(pictures)
            edit_mask = strokes if edit_mask is None else torch.maximum(edit_mask, strokes)
        result = adapt(
            generator,
            pictures,
            latents.codes,
            chosen["method"],
            edit_mask,
            chosen["steps"] or None,
            chosen["learning_rate"] or None,
            chosen["regularizer"],
            layers=_last_layers(generator, chosen["layers"]),
            follow=chosen["follow"],
            hook=hook,
            seed=seed,
            names=latents.names,
            progress=progress_for(1, "adapting"),
        )
        psnr = result.psnr.tolist()
        report = _report(latents.names, result.psnr_before.tolist(), psnr, edit_mask is not None)
        report = f"{report}\n{note}" if note else report
        return io.NodeOutput(result.generator, to_image_batch(result.images), psnr, report)


def _last_layers(generator: GanGenerator, count: int) -> range | None:
    """Return so many layers from the last, at most all but the first; None for 0: those that `adapt` takes."""
    layers = len(generator.network.synthesis.layers)
    return range(max(1, layers - count), layers) if count else None


def _report(names: tuple[str, ...], before: list[float], after: list[float], is_masked: bool) -> str:
    """Describe the PSNR of each photo before and after, in dB."""
    lines = [
        f"{name}: {old:.1f} dB before, {new:.1f} dB after" for name, old, new in zip(names, before, after, strict=True)
    ]
    region = " outside the mask" if is_masked else ""
    return "\n".join([f"mean {sum(after) / len(after):.1f} dB{region} over {len(after)} photos", *lines])


def _unlearned(
    mask: torch.Tensor | None, pictures: torch.Tensor, size: tuple[int, int], fit: str
) -> torch.Tensor | None:
    """Return where nothing is learned, [B or 1, 1, H, W]: below the MASK, and in an added border.

    Raises:
        InputError: a mask of another count, or of another shape than the photos' and the generator's.
    """
    border = padding_mask(pictures, size, fit)
    if mask is None:
        return None if border is None else 1 - border
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or len(mask) not in (1, len(pictures)):
        raise InputError(
            f"The mask has shape {list(mask.shape)}; expected [{len(pictures)}, h, w], one for each photo, or one for "
            "all of them."
        )
    ratios = [shape[1] / shape[0] for shape in (mask.shape[1:], pictures.shape[2:], size)]
    if ratios[0] not in ratios[1:]:
        raise InputError(
            f"The mask is {mask.shape[2]} x {mask.shape[1]}, the photos are {pictures.shape[3]} x {pictures.shape[2]} "
            f"and the generator draws {size[1]} x {size[0]}. Paint it on the photo itself, or crop it in the same way "
            "as the photo."
        )
    fitted = fit_mask(mask[:, None].to(pictures), size, fit)
    return fitted if border is None else torch.maximum(fitted, 1 - border)
