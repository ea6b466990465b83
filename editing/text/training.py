"""Training of a text edit: change, regions and layers by one loss (CoralStyleCLIP, 2303.05031).

    loss = 1/2 (L(blended picture) + L(picture of the full edit))      the sentence, see `clip_loss`
         + l2 |change|^2                                                 in standard deviations of W
         + area (share of pixels and layers that may change, and of parts and layers that are selected)
         + smoothness (total variation of attention masks)
         + identity (1 - similarity of the person)                       where an identity network is given

At the end the change is made longer where masks have cost some of its effect, see `_match_full_edit`.

The full edit is scored too, so that the codes learn what to change even where the masks are still closed; area and
sentence then decide where the change is worth showing. The paper gives no weights; the defaults were chosen on the
demo world.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import KeepOutside, LayerBlend
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.inference import clone_from_inference, enable_training
from ..common.part_labels import PartLabels
from ..common.progress import Progress, silent
from .clip_loss import TextGoal
from .edit import TextEdit, check_styles
from .initial_direction import initial_direction
from .optimizers import create_optimizers, set_rates
from .settings import TextEditSettings, trained_rows
from .trainable_edit import TrainableEdit

__all__ = ["TrainedTextEdit", "UneditedCache", "selection_report", "step_losses", "train_text_edit", "training_report"]

Identity = Callable[[Tensor], Tensor]  # pictures [B, 3, H, W] -> unit vectors [B, E]
_SCALE_PICTURES = 12  # that decide how far a masked edit has to go
_SCALES = (1.0, 1.1, 1.2, 1.35, 1.5, 1.75)
_CACHE_BYTES = 512 * 1024**2  # of features that are kept during a training
_LEAST_GAIN = 1e-4  # of the loss, a mean over ten steps: less is no progress


@dataclass(frozen=True, eq=False)
class TrainedTextEdit:
    """The edit, and its losses step by step: name -> [steps]."""

    edit: TextEdit
    losses: dict[str, list[float]]


def train_text_edit(
    generator: GanGenerator,
    goal: TextGoal,
    codes: Tensor,  # [N, L, D]: the pictures to learn from
    parts: PartLabels | None = None,  # of these pictures (N, or 1 for all); needed for regions
    prompt: str = "",
    settings: TextEditSettings | None = None,
    identity: Identity | None = None,
    source: str = "",
    progress: Progress | None = None,  # previews [3, H, W] in 0..1
) -> TrainedTextEdit:
    """Train a :class:`TextEdit` that moves ``codes`` toward the goal.

    Raises:
        InputError: codes, parts or rows that do not fit, before any work; or losses that are no numbers any more.
    """
    settings = settings or TextEditSettings()
    progress = progress or silent
    _check(generator, codes, parts, settings)
    rows = trained_rows(generator, settings)
    rng = torch.Generator().manual_seed(settings.seed)
    with enable_training():
        codes = clone_from_inference(codes).to(generator.device).float()
        model = TrainableEdit(generator, codes, parts, rows, settings, rng)
        if settings.start > 1:  # what several have in common; one picture alone has no spread
            direction = initial_direction(
                generator, goal, model.basis, codes, rows, settings.start, settings.l2, settings.stop_resolution, rng,
                lambda: progress(0, settings.steps, None),
            )  # fmt: skip
            model.init_from(direction)
        cache = UneditedCache(generator, goal, codes, model, settings, identity)
        losses = _optimise(generator, goal, model, cache, settings, identity, rng, progress)
        if settings.masks != "none" and settings.full > 0:
            _match_full_edit(generator, goal, model, cache, settings)
        edit = model.to_text_edit(prompt, source, generator, settings)
    return TrainedTextEdit(edit, losses)


def _optimise(
    generator: GanGenerator,
    goal: TextGoal,
    model: TrainableEdit,
    cache: UneditedCache,
    settings: TextEditSettings,
    identity: Identity | None,
    rng: torch.Generator,
    progress: Progress,
) -> dict[str, list[float]]:
    """Take the steps of a training, in place; return its losses, name -> [steps]."""
    optimizers = create_optimizers(model, settings)
    losses: dict[str, list[float]] = {}
    best, steps_since_best = float("inf"), 0
    for step in range(settings.steps):
        set_rates(optimizers, settings, step)
        indices = torch.randint(len(cache.codes), (settings.batch,), generator=rng)
        terms, pictures = step_losses(generator, goal, model, cache, indices, settings, identity)
        total = torch.stack(list(terms.values())).sum()
        if not bool(torch.isfinite(total)):
            raise InputError("The training of the text edit left the range of numbers; lower 'rate'.")
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        for optimizer in optimizers:
            optimizer.step()
        for name, value in (*terms.items(), ("total", total)):
            losses.setdefault(name, []).append(float(value.detach()))
        progress(step + 1, settings.steps, (pictures[0].detach() + 1) / 2 if step % 10 == 0 else None)
        mean = sum(losses["total"][-10:]) / min(10, step + 1)
        best, steps_since_best = (mean, 0) if mean < best - _LEAST_GAIN else (best, steps_since_best + 1)
        if settings.patience and steps_since_best >= settings.patience:
            break
    return losses


def training_report(trained: TrainedTextEdit) -> str:
    """Describe what a training selected, and how the loss went, in lines of text."""
    edit, total = trained.edit, trained.losses["total"]
    sizes = edit.offset.norm(dim=1)
    lines = [f"'{edit.prompt}', {edit.method}; loss {total[0]:.3f} to {total[-1]:.3f}", *selection_report(edit)]
    lines.append("change per row: " + ", ".join(f"{row}: {float(sizes[row]):.2f}" for row in edit.rows))
    return "\n".join(lines)


def selection_report(edit: TextEdit) -> list[str]:
    """List for each part the rows it changes, the strongest part first, a line each."""
    if edit.selection is None:
        return []
    lines = []
    for name, weights in sorted(zip(edit.parts, edit.selection, strict=True), key=lambda entry: -float(entry[1].max())):
        rows = [f"{row} ({weight:.2f})" for row, weight in enumerate(weights.tolist()) if weight > edit.threshold]
        if rows:
            lines.append(f"{name}: rows {', '.join(rows)}")
    return lines


class UneditedCache:
    """What is the same at every step, computed once: unedited embeddings, identities and, for masks, features.

    Features of every layer weigh 64 MB a picture at 256 px and full width, 470 MB at 1024: where all of them together
    go beyond ``_CACHE_BYTES``, they are drawn again for the pictures of each step.

    Args:
        generator: draws the pictures.
        goal: embeds them.
        codes: [N, L, D], of the pictures to learn from.
        model: decides which layers' features are needed.
        settings: of the training.
        identity: recognises the person; None: nobody asks.
    """

    def __init__(
        self,
        generator: GanGenerator,
        goal: TextGoal,
        codes: Tensor,
        model: TrainableEdit,
        settings: TextEditSettings,
        identity: Identity | None,
    ) -> None:
        self.generator, self.codes = generator, codes
        synthesis = generator.network.synthesis
        self.layers = _feature_layers(generator, model, settings)
        numbers = sum(math.prod(synthesis.layer_size(layer)) for layer in self.layers)
        self.holds_features = 4 * numbers * len(codes) <= _CACHE_BYTES
        features: dict[int, list[Tensor]] = {layer: [] for layer in self.layers if self.holds_features}
        options = SynthesisOptions(stop_resolution=settings.stop_resolution, want_features=tuple(features))
        embeddings, identities = [], []
        with torch.no_grad():
            for batch in codes.split(settings.batch):
                run = synthesis(batch, options)
                embeddings.append(goal.embed(run.image))
                if identity is not None:
                    identities.append(identity(run.image))
                for layer, batches in features.items():
                    batches.append(run.features[layer])
        self.embeddings = torch.cat(embeddings)  # [N, E]
        self.identities = torch.cat(identities) if identities else None  # [N, E']
        self.features = {layer: torch.cat(batches) for layer, batches in features.items()}

    def features_of(self, indices: Tensor) -> dict[int, Tensor]:
        """Return the features of pictures [B], layer -> [B, C, h, w]."""
        if self.holds_features or not self.layers:
            return {layer: features[indices.to(features.device)] for layer, features in self.features.items()}
        with torch.no_grad():
            return self.generator.features(self.codes[indices.to(self.codes.device)], self.layers)


def _feature_layers(generator: GanGenerator, model: TrainableEdit, settings: TextEditSettings) -> tuple[int, ...]:
    """List the layers whose features attention reads, or that stay unedited outside of masks."""
    synthesis = generator.network.synthesis
    layers: set[int] = set()
    if model.attention is not None:
        layers |= {min(row, len(synthesis.layers) - 1) for row in model.rows}
    if settings.keep_outside and settings.masks != "none":
        height = settings.stop_resolution or generator.resolution[0]
        layers |= {k for k in range(len(synthesis.layers)) if synthesis.layer_size(k)[1] <= height}
    return tuple(sorted(layers))


def step_losses(
    generator: GanGenerator,
    goal: TextGoal,
    model: TrainableEdit,
    cache: UneditedCache,
    indices: Tensor,  # [B], which pictures
    settings: TextEditSettings,
    identity: Identity | None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Compute the weighted terms of the loss of one step, and the edited pictures [B, 3, H, W]."""
    codes = cache.codes[indices.to(cache.codes.device)]
    unedited = cache.embeddings[indices.to(cache.embeddings.device)]
    change, units = model.change(codes)
    edited = (codes + change).expand_as(codes)
    terms: dict[str, Tensor] = {}
    if settings.masks != "none":
        features = cache.features_of(indices)
        masks = model.masks(generator, indices, features)
        reach = model.reach_masks(indices, masks)
        pictures = _draw_masked(generator, codes, edited, masks, reach, features, settings)
        terms["sentence"] = (1 - settings.full) * goal.loss(pictures, unedited).mean()
        if settings.full > 0:
            full = _draw(generator, edited, settings)
            terms["sentence, whole edit"] = settings.full * goal.loss(full, unedited).mean()
        area = torch.stack([mask.mean() for mask in masks if mask is not None]).mean()
        terms["area"] = settings.area * (area + model.selected_share())
        if model.attention is not None and settings.smoothness > 0:
            terms["smoothness"] = settings.smoothness * _total_variation(masks)
    else:
        pictures = _draw(generator, edited, settings)
        terms["sentence"] = goal.loss(pictures, unedited).mean()
    terms["l2"] = settings.l2 * units.square().sum(dim=(1, 2)).mean() / len(model.rows)
    if identity is not None and settings.identity > 0:
        similarity = (identity(pictures) * cache.identities[indices.to(pictures.device)]).sum(dim=1)
        terms["identity"] = settings.identity * (1 - similarity).mean()
    return terms, pictures


def _draw(generator: GanGenerator, codes: Tensor, settings: TextEditSettings) -> Tensor:
    """Draw codes [B, L, D] at the size that is scored: [B, 3, H, W]."""
    return generator.network.synthesis(codes, SynthesisOptions(stop_resolution=settings.stop_resolution)).image


def _draw_masked(
    generator: GanGenerator,
    codes: Tensor,
    edited: Tensor,
    masks: Sequence[Tensor | None],
    reach: Sequence[Tensor | None],  # masks beyond which the picture stays
    features: Mapping[int, Tensor],
    settings: TextEditSettings,
) -> Tensor:
    """Draw codes [B, L, D] with the edited ones inside masks of the L rows: [B, 3, H, W]."""
    options = SynthesisOptions(
        stop_resolution=settings.stop_resolution,
        blend=LayerBlend(edited, masks),
        hook=KeepOutside(reach, features) if settings.keep_outside else None,
    )
    return generator.network.synthesis(codes, options).image


def _match_full_edit(
    generator: GanGenerator, goal: TextGoal, model: TrainableEdit, cache: UneditedCache, settings: TextEditSettings
) -> None:
    """Lengthen the change until the masked edit fits the sentence as well as the full edit does, or best."""
    indices = torch.arange(min(_SCALE_PICTURES, len(cache.codes)))
    codes, unedited = cache.codes[indices], cache.embeddings[indices]
    with torch.no_grad():
        features = cache.features_of(indices)
        masks = model.masks(generator, indices, features)
        reach = model.reach_masks(indices, masks)
        full = _draw(generator, (codes + model.change(codes)[0]).expand_as(codes), settings)
        target = float(goal.loss(full, unedited).mean())
        losses = []
        for model.scale in _SCALES:
            edited = (codes + model.change(codes)[0]).expand_as(codes)
            pictures = _draw_masked(generator, codes, edited, masks, reach, features, settings)
            losses.append(float(goal.loss(pictures, unedited).mean()))
            if losses[-1] <= target:
                break
        model.scale = _SCALES[losses.index(min(losses))]


def _total_variation(masks: Sequence[Tensor | None]) -> Tensor:
    """Compute the mean absolute difference of neighbours, averaged over the layers' sizes alike."""
    variations = []
    for mask in masks:
        if mask is not None and min(mask.shape[-2:]) > 1:
            variations.append(mask.diff(dim=-1).abs().mean() + mask.diff(dim=-2).abs().mean())
    return torch.stack(variations).mean()


def _check(generator: GanGenerator, codes: Tensor, parts: PartLabels | None, settings: TextEditSettings) -> None:
    check_styles(generator)
    generator.check_latent(codes, "", "The latent")
    if settings.masks not in ("regions", "attention in regions"):
        return
    if parts is None:
        raise InputError(f"Masks of the kind '{settings.masks}' need part labels of the pictures to learn from.")
    if len(parts) not in (1, len(codes)):
        raise InputError(f"There are part labels of {len(parts)} pictures, the latent has {len(codes)}; label these.")
