"""Regions and layers for a direction that exists already: keep its effect, give up the area that does little for it.

The same trade as in the training of a text edit, with the change itself as target: of the picture of the whole edit,
as much as possible where the edit acts most, with the smallest masks. No sentence takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import KeepOutside, LayerBlend
from ...models.gan.synthesis_run import SynthesisOptions, SynthesisResult
from ...models.inference import clone_from_inference, enable_training
from ..common.part_labels import PartLabels
from ..common.types import EditDirection
from .edit import TextEdit, check_styles, selected_mask

__all__ = ["localize_direction"]


def localize_direction(
    generator: GanGenerator,
    direction: EditDirection,
    codes: Tensor,  # [N, L, D]: pictures to learn from
    parts: PartLabels,  # of these pictures (N, or 1 for all)
    amount: float = 1.0,  # lengths of the direction that the trade is made for
    area: float = 0.3,  # what a mask over everything costs, against 1 for losing the whole effect
    steps: int = 80,
    batch: int = 4,
    rate: float = 0.1,
    threshold: float = 0.1,
    stop_resolution: int | None = None,
    seed: int = 0,
    keep_outside: bool = False,  # where no mask reaches, every layer stays the unedited picture's
    progress: Callable[..., None] | None = None,
) -> TextEdit:
    """The direction as an edit with regions and layers; strength 1 of it is one length of the direction.

    An effect counts by its share of the strongest one of the picture, squared: a change of the mouth that everybody
    sees outweighs a faint drift of the whole background. Raises InputError for codes, parts or families that do not
    fit.
    """
    generator.check_latent(codes, "", "The latent")
    generator.check_latent(direction.direction[None], direction.family, f"The direction '{direction.name}'")
    check_styles(generator)
    if len(parts) not in (1, len(codes)):
        raise InputError(f"There are part labels of {len(parts)} pictures for {len(codes)} codes; label this batch.")
    if amount == 0:
        raise InputError("The amount is 0, which changes nothing; give the lengths of the direction that are wanted.")
    rng = torch.Generator().manual_seed(seed)
    synthesis = generator.network.synthesis
    with enable_training():
        codes, labels = (
            clone_from_inference(codes).to(generator.device).float(),
            clone_from_inference(parts.masks).to(generator.device).float(),
        )
        change = clone_from_inference(direction.direction).to(codes) * amount
        logits = torch.zeros(len(parts.names), generator.num_layers, device=codes.device, requires_grad=True)
        optimizer = torch.optim.Adam([logits], rate, (0.9, 0.98))
        last = len(synthesis.layers) - 1
        height = stop_resolution or generator.resolution[0]
        drawn = [layer for layer in range(len(synthesis.layers)) if synthesis.layer_size(layer)[1] <= height]
        seen = drawn if keep_outside else ()
        sizes = [synthesis.layer_size(min(row, last))[1:] for row in range(generator.num_layers)]
        at_once = max(1, generator.pictures_per_graph() // 2)  # a graph holds both branches

        def looked_at(chosen: Tensor, wanted: Sequence[int]) -> tuple[SynthesisResult, Tensor, Tensor]:
            """The unedited pictures with features, the edited ones, and how much each place of these counts."""
            with torch.no_grad():
                unedited = synthesis(
                    codes[chosen], SynthesisOptions(stop_resolution=stop_resolution, want_features=wanted)
                )
                whole = synthesis(codes[chosen] + change, SynthesisOptions(stop_resolution=stop_resolution)).image
                return unedited, whole, _importance(whole - unedited.image)

        def effect(unedited: SynthesisResult, whole: Tensor, weight: Tensor) -> Tensor:
            return ((unedited.image - whole).abs() * weight).sum()

        for step in range(steps):
            drawn_now = torch.randint(len(codes), (batch,), generator=rng).to(codes.device).split(at_once)
            given = looked_at(drawn_now[0], seen)
            effects = [effect(*given), *(effect(*looked_at(chosen, ())) for chosen in drawn_now[1:])]
            all_effects = torch.stack(effects).sum().clamp(min=1e-8)
            optimizer.zero_grad(set_to_none=True)
            for place, chosen in enumerate(drawn_now):
                unedited, whole, weight = given if place == 0 else looked_at(chosen, seen)
                plain = codes[chosen]
                here = labels if len(labels) == 1 else labels[chosen]
                selection = torch.sigmoid(logits)
                masks = [
                    selected_mask(here, selection[:, row], sizes[row]) if row in direction.layers else None
                    for row in range(generator.num_layers)
                ]  # fmt: skip
                hook = KeepOutside(masks, unedited.features) if keep_outside else None
                blend = LayerBlend(plain + change, masks)
                found = synthesis(
                    plain, SynthesisOptions(stop_resolution=stop_resolution, blend=blend, hook=hook)
                ).image
                lost = ((found - whole).abs() * weight).sum() / all_effects
                size = torch.stack([mask.mean() for mask in masks if mask is not None]).mean()
                (lost + area * size * (len(chosen) / batch)).backward()
            optimizer.step()
            if progress is not None:
                progress(step + 1, steps, (found[0].detach() + 1) / 2 if step % 10 == 0 else None)
        inside = torch.zeros(generator.num_layers, device=codes.device)
        inside[list(direction.layers)] = 1
        selection = torch.sigmoid(logits.detach()) * inside
    return TextEdit(
        prompt=direction.name, offset=change, selection=selection, parts=parts.names, rows=direction.layers,
        threshold=threshold, keeps_outside=keep_outside, family=direction.family or generator.family,
        name=direction.name,
        method=f"localized: {direction.method}",
    )  # fmt: skip


def _importance(change: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1, H, W] in 0..1: the local change against the strongest of its picture, squared."""
    size = torch.nn.functional.avg_pool2d(change.abs().mean(dim=1, keepdim=True), 5, 1, 2, count_include_pad=False)
    strongest = size.flatten(1).quantile(0.98, dim=1).clamp(min=1e-6)
    return (size / strongest[:, None, None, None]).clamp(max=1).square()
