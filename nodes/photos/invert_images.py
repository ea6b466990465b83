"""Invert Images: the codes with which the generator draws the given pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ...editing.common.pictures import fit_mask, fit_to_resolution, padding_mask
from ...editing.common.types import GanLatent
from ...editing.photos.inversion import PULL, SPACES, Inversion, invert
from ...editing.photos.inversion_report import heat_picture
from ...host import io
from ...models.errors import InputError
from ...models.files.picture_reader import FITS
from ...models.gan.generator import GanGenerator
from ...models.losses.identity import IdentityNetwork
from ...models.losses.perceptual import PerceptualNetwork
from ..common.devices import place
from ..common.images import fit_input, from_image_batch, to_image_batch
from ..common.latents import check_latent, picture_names
from ..common.progress import progress_for
from ..common.schema import MAX_SEED, menu_category, search_aliases, with_advanced
from ..common.sockets import GanGeneratorType, GanLatentType, IdentityNetworkType, PerceptualNetworkType


class InvertImages(io.ComfyNode):
    """Optimises all pictures of a batch at once, from an encoder's codes when they are connected."""

    @classmethod
    @with_advanced("learning_rate", "perceptual", "starts", "early_layers", "seed")
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditInvertImages",
            display_name="Invert Images",
            category=menu_category("photos"),
            description="Finds latent codes whose pictures equal yours, so that they can be edited. All at once.",
            **search_aliases("GAN inversion", "projection", "project photo", "own photo", "photo to latent"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator that shall draw the pictures."),
                io.Image.Input("images", tooltip="The pictures, of any size."),
                io.Combo.Input(
                    "space",
                    options=list(SPACES),
                    tooltip="w+: a code per layer, closest to the picture. w: one code for all layers, edits best.",
                ),
                io.Int.Input("steps", default=150, min=0, max=10_000, tooltip="Optimisation steps. 0 keeps the start."),
                io.Float.Input(
                    "learning_rate",
                    default=0.05,
                    min=0.0001,
                    max=1.0,
                    step=0.001,
                    tooltip="Largest step, in standard deviations of W.",
                ),
                io.Float.Input(
                    "pull",
                    display_name="W regularization",
                    default=PULL,
                    min=0.0,
                    max=10.0,
                    step=0.001,
                    tooltip="Keeps codes where the generator is at home. More edits better, less fits closer.",
                ),
                io.Float.Input(
                    "perceptual",
                    default=0.3,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Weight of structure and edges beside the plain difference of pixels.",
                ),
                GanLatentType.Input(
                    "start", optional=True, tooltip="Codes to start from, one per picture: Encode Images makes them."
                ),
                io.Mask.Input("mask", optional=True, tooltip="1 where the picture counts; elsewhere it may differ."),
                io.String.Input(
                    "names",
                    optional=True,
                    force_input=True,
                    tooltip="Names of the pictures, one a line, as Load Image Folder gives them.",
                ),
                io.Int.Input(
                    "starts",
                    default=1,
                    min=1,
                    max=16,
                    optional=True,
                    tooltip="Starts that race for each picture: the given codes, the mean, then sampled codes near it.",
                ),
                io.Int.Input(
                    "early_layers",
                    default=0,
                    min=0,
                    max=32,
                    optional=True,
                    tooltip="So many layers from the first get features of their own: closer, mostly for Progressive "
                    "GANs. 0: codes alone.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=False,
                    optional=True,  # graphs made before it was there stay valid
                    tooltip="Which sampled codes may take part in the race of the starts.",
                ),
                fit_input(),
                PerceptualNetworkType.Input(
                    "perceptual_network",
                    optional=True,
                    tooltip="LPIPS or VGG16: measures how different pictures look, in place of structure and edges.",
                ),
                IdentityNetworkType.Input(
                    "identity_network", optional=True, tooltip="Keeps the person: a face recogniser such as ArcFace."
                ),
            ],
            outputs=[
                GanLatentType.Output("latents", "latents", tooltip="A code [L, D] for each picture."),
                io.Image.Output(
                    "redrawn", "redrawn", tooltip="The pictures as the generator draws them from these codes."
                ),
                io.Float.Output(
                    "psnr", "psnr", is_output_list=True, tooltip="Likeness per picture in dB; above 30 is close."
                ),
                io.String.Output(
                    "report", "report", tooltip="Likeness, distance from the mean of W, and where the rest is."
                ),
                io.Image.Output(
                    "residual", "residual", tooltip="Where pictures differ: black equal, red, yellow, white most."
                ),
                GanGeneratorType.Output(
                    "fitted",
                    "fitted",
                    tooltip="The generator, with the pictures' early features when early_layers asks for them.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        images: torch.Tensor,
        space: str,
        steps: int,
        learning_rate: float,
        pull: float,
        perceptual: float,
        start: GanLatent | None = None,
        mask: torch.Tensor | None = None,
        names: str | None = None,
        starts: int = 1,
        early_layers: int = 0,
        seed: int = 0,
        fit: str = FITS[0],
        perceptual_network: PerceptualNetwork | None = None,
        identity_network: IdentityNetwork | None = None,
    ) -> io.NodeOutput:
        originals = from_image_batch(images, generator.device)
        pictures = fit_to_resolution(generator, originals, fit)
        counted = _counted(mask, originals, generator.resolution, fit)
        if start is not None:
            check_latent(generator, start, "The start of the inversion")
        labels = picture_names(names, len(pictures)) if names or start is None else start.names
        place(generator, perceptual_network, identity_network)
        result = invert(
            generator,
            pictures,
            start=None if start is None else start.codes,
            space=space,
            steps=steps,
            learning_rate=learning_rate,
            pull=pull,
            perceptual=perceptual,
            mask=counted,
            starts=starts,
            early_layers=early_layers,
            seed=seed,
            names=labels,
            progress=progress_for(max(steps, 1), "inverting"),
            perceptual_network=perceptual_network,
            identity=identity_network,
        )
        latent = GanLatent(result.codes, labels, generator.family)
        residual = to_image_batch(heat_picture(result.error))
        redrawn = to_image_batch(result.images)
        report = _report(result, labels, starts)
        return io.NodeOutput(latent, redrawn, result.psnr.tolist(), report, residual, result.generator)


def _report(result: Inversion, names: tuple[str, ...], starts: int) -> str:
    """Describe PSNR, distance from the mean of W and residual of each picture."""
    rows = zip(names, result.psnr.tolist(), result.distance.tolist(), result.where, result.starts, strict=True)
    lines = [
        f"{name}: {psnr:.1f} dB, {distance:.2f} standard deviations from the mean of W; residual {region}"
        + (f"; from the start '{start}'" if starts > 1 else "")
        for name, psnr, distance, region, start in rows
    ]
    return "\n".join([f"mean {float(result.psnr.mean()):.1f} dB over {len(names)} pictures", *lines])


def _counted(mask: torch.Tensor | None, pictures: torch.Tensor, size: tuple[int, int], fit: str) -> torch.Tensor | None:
    """Return where the pictures [B, 3, h, w] count, [B or 1, 1, H, W]: by the MASK, and not in an added border."""
    border = padding_mask(pictures, size, fit)
    if mask is None:
        return border
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or 0 in mask.shape:
        raise InputError(f"The mask has shape {list(mask.shape)}; expected a MASK [B, H, W].")
    mask = mask[:, None].to(pictures)
    as_photos = mask.shape[2] * pictures.shape[3] == mask.shape[3] * pictures.shape[2]
    if as_photos and mask.shape[2] * size[1] != mask.shape[3] * size[0]:
        fitted = fit_mask(mask, size, fit)
    else:
        fitted = mask if mask.shape[2:] == size else F.interpolate(mask, size, mode="area")
    return fitted if border is None else fitted * border
