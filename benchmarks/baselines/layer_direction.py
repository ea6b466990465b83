"""A direction that shows at one hand-picked layer, inside one learned mask, for comparison (after FEAT, 2202.02713).

The codes are edited up to a layer; there the features of the edited and of the plain picture are mixed by a mask, and
the rest of the picture is painted with the plain codes. FEAT draws its mask by a network; here it is chosen among the
labelled parts, as the text edits do, so that only the layers differ. The benchmark of text edits uses it; no node does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.common.progress import Progress, silent
from semantic_edit.editing.text.clip_loss import TextGoal
from semantic_edit.editing.text.edit import check_styles
from semantic_edit.editing.text.initial_direction import initial_direction
from semantic_edit.editing.text.masks import selected_mask
from semantic_edit.editing.text.optimizers import AdamScalarV
from semantic_edit.editing.text.trainable_edit import w_basis
from semantic_edit.models.errors import InputError
from semantic_edit.models.gan.generator import GanGenerator
from semantic_edit.models.gan.stylegan2 import LayerState
from semantic_edit.models.gan.synthesis_run import SynthesisOptions
from semantic_edit.models.inference import clone_from_inference, enable_training
from torch import Tensor

__all__ = ["LayerDirection", "apply_layer_direction", "train_layer_direction"]


@dataclass(frozen=True, eq=False)
class LayerDirection:
    """A change of every row up to a layer, and the parts that show it."""

    change: Tensor  # [D]
    weights: Tensor  # [P] in 0..1, how much of each part shows it
    layer: int


def train_layer_direction(
    generator: GanGenerator,
    goal: TextGoal,
    codes: Tensor,  # [N, L, D]: the pictures to learn from
    parts: PartLabels,  # of these pictures
    layer: int,  # hand-picked
    steps: int = 40,
    batch: int = 4,
    rate: float = 0.03,
    mask_rate: float = 0.4,
    l2: float = 0.01,
    area: float = 0.15,
    samples: int = 256,
    stop_resolution: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> LayerDirection:
    """Learn change and mask by the sentence, the squared change and the mask's area.

    Raises:
        InputError: codes, parts or a layer that do not fit.
    """
    check_styles(generator)
    generator.check_latent(codes, "", "The latent")
    synthesis = generator.network.synthesis
    synthesis.layer_size(layer)
    if len(parts) not in (1, len(codes)):
        raise InputError(f"There are part labels of {len(parts)} pictures, the latent has {len(codes)}; label these.")
    rng = torch.Generator().manual_seed(seed)
    with enable_training():
        codes, labels = (
            clone_from_inference(codes).to(generator.device).float(),
            clone_from_inference(parts.masks).to(generator.device).float(),
        )
        basis = w_basis(generator, "spread of W").to(codes)
        rows = range(layer + 1)
        direction = initial_direction(generator, goal, basis, codes, rows, samples, l2, stop_resolution, rng)
        units = direction[None].requires_grad_()
        logits = torch.full((labels.shape[1],), 3.0, device=codes.device, requires_grad=True)
        optimizers = [AdamScalarV([units], rate), torch.optim.Adam([logits], mask_rate)]
        with torch.no_grad():
            before = torch.cat(
                [
                    goal.embed(synthesis(some_codes, SynthesisOptions(stop_resolution=stop_resolution)).image)
                    for some_codes in codes.split(batch)
                ]
            )
        for step in range(steps):
            indices = torch.randint(len(codes), (batch,), generator=rng).to(codes.device)
            batch_labels = labels if len(labels) == 1 else labels[indices]
            weights = torch.sigmoid(logits)
            pictures, mask = _draw(
                generator, codes[indices], units @ basis.t(), batch_labels, weights, layer, stop_resolution
            )
            loss = goal.loss(pictures, before[indices]).mean() + l2 * units.square().sum()
            loss = loss + area * (mask.mean() + weights.mean())
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            progress(step + 1, steps)
        return LayerDirection((units @ basis.t())[0].detach(), torch.sigmoid(logits).detach(), layer)


def apply_layer_direction(
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    direction: LayerDirection,
    parts: PartLabels,  # of these pictures
) -> Tensor:
    """Draw pictures with the change inside its mask: [B, 3, H, W]."""
    labels = parts.masks.to(codes).expand(len(codes), -1, -1, -1)
    with torch.no_grad():
        pictures = [
            _draw(generator, some_codes, direction.change, some_labels, direction.weights, direction.layer, None)[0]
            for some_codes, some_labels in zip(codes.split(8), labels.split(8), strict=True)
        ]
    return torch.cat(pictures)


def _draw(generator, codes, change, labels, weights, layer: int, stop_resolution) -> tuple[Tensor, Tensor]:
    """Mix the features of codes [B, L, D] at a layer; return pictures [B, 3, H, W] and the mask [B or 1, 1, h, w]."""
    synthesis = generator.network.synthesis
    edited = synthesis(codes + change, SynthesisOptions(stop_layer=layer)).state
    with torch.no_grad():
        plain = synthesis(codes, SynthesisOptions(stop_layer=layer)).state
    mask = selected_mask(labels, weights, synthesis.layer_size(layer)[1:])
    mixed = torch.lerp(plain.features, edited.features, mask)
    state = LayerState(layer, mixed, plain.image, plain.residual)
    return synthesis(codes, SynthesisOptions(stop_resolution=stop_resolution, resume=state)).image, mask
