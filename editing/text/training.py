"""Training a text edit: what changes, in which regions and at which layers, by one loss (CoralStyleCLIP, 2303.05031).

    loss = 1/2 (L(blended picture) + L(picture of the whole edit))     the sentence, see `text_score`
         + l2 |change|^2                                                 in standard deviations of W
         + area (share of pixels and layers that may change, and of parts and layers that are selected)
         + smoothness (total variation of attention masks)
         + identity (1 - similarity of the person)                       where an identity network is given

At the end the change is made longer where masks have cost some of its effect, see `_stretch`.

The whole edit is scored too, so that the codes learn what to change even where the masks are still closed; area and
sentence then decide where the change is worth showing. The paper gives no weights; the defaults were chosen on the
demo world.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import KeepOutside, LayerBlend
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.inference import clone_from_inference, enable_training
from ..common.part_labels import PartLabels
from .clip_loss import TextGoal
from .edit import TextEdit, check_styles
from .initial_direction import start_of
from .optimizers import create_optimizers, set_rates
from .settings import TextEditSettings, trained_rows
from .trainable_edit import TrainableEdit

__all__ = ["Trained", "report_of", "selection_report", "train_text_edit"]

Progress = Callable[..., None]
_SEEN = 12  # pictures that decide how far a masked edit has to go
_STRETCHES = (1.0, 1.1, 1.2, 1.35, 1.5, 1.75)
_KEPT_BYTES = 512 * 1024**2  # of features that are kept during a training


@dataclass(frozen=True, eq=False)
class Trained:
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
    identity: Callable[[Tensor], Tensor] | None = None,  # pictures [B, 3, H, W] -> unit vectors [B, E]
    source: str = "",
    progress: Progress | None = None,
) -> Trained:
    """Train a :class:`TextEdit` that moves ``codes`` toward the goal.

    Raises InputError for codes, parts or rows that do not fit, before any work.
    """
    settings = settings or TextEditSettings()
    _check(generator, codes, parts, settings)
    rows = trained_rows(generator, settings)
    rng = torch.Generator().manual_seed(settings.seed)
    with enable_training():
        codes = clone_from_inference(codes).to(generator.device).float()
        model = TrainableEdit(generator, codes, parts, rows, settings, rng)
        if settings.start > 1:  # what several have in common; one picture alone has no spread
            beginning = start_of(
                generator, goal, model.basis, codes, rows, settings.start, settings.l2, settings.stop_resolution, rng,
                lambda: progress(0, settings.steps, None) if progress is not None else None,
            )  # fmt: skip
            model.init_from(beginning)
        pool = _Pool(generator, goal, codes, model, settings, identity)
        optimizers = create_optimizers(model, settings)
        losses: dict[str, list[float]] = {}
        best, since = float("inf"), 0
        for step in range(settings.steps):
            set_rates(optimizers, settings, step)
            chosen = torch.randint(len(codes), (settings.batch,), generator=rng)
            terms, picture = _step_losses(generator, goal, model, pool, chosen, settings, identity)
            total = torch.stack(list(terms.values())).sum()
            if not bool(torch.isfinite(total)):
                raise InputError("The training of the text edit left the range of numbers; lower its rate.")
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            total.backward()
            for optimizer in optimizers:
                optimizer.step()
            for name, value in (*terms.items(), ("total", total)):
                losses.setdefault(name, []).append(float(value.detach()))
            if progress is not None:
                progress(step + 1, settings.steps, (picture[0].detach() + 1) / 2 if step % 10 == 0 else None)
            recent = sum(losses["total"][-10:]) / min(10, step + 1)
            best, since = (recent, 0) if recent < best - 1e-4 else (best, since + 1)
            if settings.patience and since >= settings.patience:
                break
        if settings.masks != "none" and settings.full > 0:
            _stretch(generator, goal, model, pool, settings)
        edit = model.to_text_edit(prompt, source, generator, settings)
    return Trained(edit, losses)


def report_of(trained: Trained) -> str:
    """What a training chose, and how the loss went, as lines of text."""
    edit, total = trained.edit, trained.losses["total"]
    sizes = edit.offset.norm(dim=1)
    lines = [f"'{edit.prompt}', {edit.method}; loss {total[0]:.3f} to {total[-1]:.3f}", *selection_report(edit)]
    lines.append("change per row: " + ", ".join(f"{row}: {float(sizes[row]):.2f}" for row in edit.rows))
    return "\n".join(lines)


def selection_report(edit: TextEdit) -> list[str]:
    """For each part the rows it changes, the strongest part first."""
    if edit.selection is None:
        return []
    lines = []
    for name, weights in sorted(zip(edit.parts, edit.selection, strict=True), key=lambda entry: -float(entry[1].max())):
        rows = [f"{row} ({weight:.2f})" for row, weight in enumerate(weights.tolist()) if weight > edit.threshold]
        if rows:
            lines.append(f"{name}: rows {', '.join(rows)}")
    return lines


class _Pool:
    """What is the same at every step, computed once: unedited embeddings, identities and, for attention, features.

    Features of every layer weigh 64 MB a picture at 256 px and full width, 470 MB at 1024: where all of them together
    go beyond ``_KEPT_BYTES``, they are drawn again for the pictures of each step.
    """

    def __init__(self, generator, goal, codes, model, settings: TextEditSettings, identity) -> None:
        self.generator, self.codes, self.stop_resolution = generator, codes, settings.stop_resolution
        synthesis = generator.network.synthesis
        wanted: set[int] = set()
        if model.attention is not None:
            wanted |= {min(row, len(synthesis.layers) - 1) for row in model.rows}
        if settings.keep_outside and settings.masks != "none":
            height = settings.stop_resolution or generator.resolution[0]
            wanted |= {k for k in range(len(synthesis.layers)) if synthesis.layer_size(k)[1] <= height}
        self.layers = tuple(sorted(wanted))
        numbers = sum(math.prod(synthesis.layer_size(layer)) for layer in self.layers)
        self.keeps = 4 * numbers * len(codes) <= _KEPT_BYTES
        kept: dict[int, list[Tensor]] = {layer: [] for layer in self.layers if self.keeps}
        before, people = [], []
        with torch.no_grad():
            for part in codes.split(settings.batch):
                run = synthesis(
                    part, SynthesisOptions(stop_resolution=settings.stop_resolution, want_features=tuple(kept))
                )
                before.append(goal.embed(run.image))
                if identity is not None:
                    people.append(identity(run.image))
                for layer, found in kept.items():
                    found.append(run.features[layer])
        self.before = torch.cat(before)
        self.people = torch.cat(people) if people else None
        self.features = {layer: torch.cat(found) for layer, found in kept.items()}

    def of(self, chosen: Tensor) -> dict[int, Tensor]:
        """Features of the chosen pictures, layer -> [B, C, h, w]."""
        if self.keeps or not self.layers:
            return {layer: found[chosen.to(found.device)] for layer, found in self.features.items()}
        with torch.no_grad():
            return self.generator.features(self.codes[chosen.to(self.codes.device)], self.layers)


def _step_losses(generator, goal, model, pool, chosen, settings, identity) -> tuple[dict[str, Tensor], Tensor]:
    codes = pool.codes[chosen.to(pool.codes.device)]
    before = pool.before[chosen.to(pool.before.device)]
    change, units = model.change(codes)
    edited = (codes + change).expand_as(codes)
    synthesis = generator.network.synthesis
    masked = settings.masks != "none"
    terms: dict[str, Tensor] = {}
    if masked:
        features = pool.of(chosen)
        masks = model.masks(generator, chosen, features)
        hook = KeepOutside(masks, features) if settings.keep_outside else None
        blend = LayerBlend(edited, masks)
        blended = synthesis(
            codes, SynthesisOptions(stop_resolution=settings.stop_resolution, blend=blend, hook=hook)
        ).image
        terms["sentence"] = (1 - settings.full) * goal.loss(blended, before).mean()
        if settings.full > 0:
            whole = synthesis(edited, SynthesisOptions(stop_resolution=settings.stop_resolution)).image
            terms["sentence, whole edit"] = settings.full * goal.loss(whole, before).mean()
        terms["area"] = settings.area * (
            torch.stack([m.mean() for m in masks if m is not None]).mean() + model.selected_share()
        )
        if model.attention is not None and settings.smoothness > 0:
            terms["smoothness"] = settings.smoothness * _variation(masks)
    else:
        blended = synthesis(edited, SynthesisOptions(stop_resolution=settings.stop_resolution)).image
        terms["sentence"] = goal.loss(blended, before).mean()
    terms["l2"] = settings.l2 * units.square().sum(dim=(1, 2)).mean() / len(model.rows)
    if identity is not None and settings.identity > 0:
        same = (identity(blended) * pool.people[chosen.to(blended.device)]).sum(dim=1)
        terms["identity"] = settings.identity * (1 - same).mean()
    return terms, blended


def _stretch(generator, goal, model: TrainableEdit, pool: _Pool, settings: TextEditSettings) -> None:
    """Lengthen the change until the masked edit fits the sentence as well as the whole edit does, or best."""
    chosen = torch.arange(min(_SEEN, len(pool.codes)))
    codes, before = pool.codes[chosen], pool.before[chosen]
    with torch.no_grad():
        masks = model.masks(generator, chosen, features := pool.of(chosen))
        hook = KeepOutside(masks, features) if settings.keep_outside else None
        wanted = float(goal.loss(_whole(generator, codes, model, settings), before).mean())
        found = []
        for model.scale in _STRETCHES:
            edited = (codes + model.change(codes)[0]).expand_as(codes)
            run = generator.network.synthesis(
                codes,
                SynthesisOptions(stop_resolution=settings.stop_resolution, blend=LayerBlend(edited, masks), hook=hook),
            )
            found.append(float(goal.loss(run.image, before).mean()))
            if found[-1] <= wanted:
                break
        model.scale = _STRETCHES[found.index(min(found))]


def _whole(generator, codes: Tensor, model: TrainableEdit, settings: TextEditSettings) -> Tensor:
    edited = (codes + model.change(codes)[0]).expand_as(codes)
    return generator.network.synthesis(edited, SynthesisOptions(stop_resolution=settings.stop_resolution)).image


def _variation(masks: list[Tensor | None]) -> Tensor:
    """Mean absolute difference of neighbours, summed over the layers' sizes alike."""
    found = []
    for mask in masks:
        if mask is not None and min(mask.shape[-2:]) > 1:
            found.append(mask.diff(dim=-1).abs().mean() + mask.diff(dim=-2).abs().mean())
    return torch.stack(found).mean()


def _check(generator: GanGenerator, codes: Tensor, parts: PartLabels | None, settings: TextEditSettings) -> None:
    check_styles(generator)
    generator.check_latent(codes, "", "The latent")
    if settings.masks not in ("regions", "attention in regions"):
        return
    if parts is None:
        raise InputError(f"Masks of the kind '{settings.masks}' need part labels of the pictures to learn from.")
    if len(parts) not in (1, len(codes)):
        raise InputError(f"There are part labels of {len(parts)} pictures, the latent has {len(codes)}; label these.")
