"""Training a text edit: what changes, in which regions and at which layers, by one loss (CoralStyleCLIP, 2303.05031).

    loss = 1/2 (L(blended picture) + L(picture of the whole edit))     the sentence, see `text_score`
         + l2 |change|^2                                                 in standard deviations of W
         + area (share of pixels and layers that may change)
         + smoothness (total variation of attention masks)
         + identity (1 - similarity of the person)                       where an identity network is given

The whole edit is scored too, so that the codes learn what to change even where the masks are still closed; area and
sentence then decide where the change is worth showing. The paper gives no weights; the defaults were chosen on the
demo world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.errors import InputError
from ..models.generator import GanGenerator
from ..models.inference import rehome, training_mode
from ..models.layer_blend import LayerBlend
from ..models.text_edit_networks import LatentMapper, LayerAttention
from .part_labels import PartLabels
from .text_edit import TextEdit, check_styles, selected_mask
from .text_score import TextGoal
from .types import check_rows

MASKS = ("regions", "attention", "attention in regions", "none")
CHANGES = ("direction", "mapper")
Progress = Callable[..., None]


@dataclass(frozen=True)
class TextEditSettings:
    """How a text edit is trained; every weight multiplies a mean, so none depends on sizes."""

    masks: str = "regions"
    changes: str = "direction"
    steps: int = 150
    batch: int = 4
    rate: float = 0.05  # of the change, in standard deviations of W per step
    mask_rate: float = 0.08
    full: float = 0.5  # share of the sentence's loss that the whole edit takes
    l2: float = 0.004
    area: float = 0.03
    smoothness: float = 0.02
    identity: float = 0.0
    rows: tuple[int, ...] = ()  # rows that may change; none: all
    threshold: float = 0.1
    stop_resolution: int | None = None  # height of the pictures that are scored; None: whole pictures
    patience: int = 0  # stop when the loss has not fallen for as many steps; 0: never
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (("masks", self.masks, MASKS), ("changes", self.changes, CHANGES)):
            if value not in known:
                raise InputError(f"Unknown {name} '{value}'; expected one of {', '.join(known)}.")
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"The {name} of a text edit must be at least 1; got {getattr(self, name)}.")


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
    rows = _rows(generator, settings)
    rng = torch.Generator().manual_seed(settings.seed)
    with training_mode():
        codes = rehome(codes).to(generator.device).float()
        model = _Model(generator, codes, parts, rows, settings, rng)
        pool = _Pool(generator, goal, codes, model, settings, identity)
        optimizer = torch.optim.Adam(
            [
                {"params": model.change_parameters(), "lr": settings.rate},
                {"params": model.mask_parameters(), "lr": settings.mask_rate},
            ],
            betas=(0.9, 0.98),
        )
        losses: dict[str, list[float]] = {}
        best, since = float("inf"), 0
        for step in range(settings.steps):
            _set_rates(optimizer, settings, step)
            chosen = torch.randint(len(codes), (settings.batch,), generator=rng)
            terms, picture = _step_losses(generator, goal, model, pool, chosen, settings, identity)
            total = torch.stack(list(terms.values())).sum()
            if not bool(torch.isfinite(total)):
                raise InputError("The training of the text edit left the range of numbers; lower its rate.")
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            optimizer.step()
            for name, value in (*terms.items(), ("total", total)):
                losses.setdefault(name, []).append(float(value.detach()))
            if progress is not None:
                progress(step + 1, settings.steps, (picture[0].detach() + 1) / 2 if step % 10 == 0 else None)
            recent = sum(losses["total"][-10:]) / min(10, step + 1)
            best, since = (recent, 0) if recent < best - 1e-4 else (best, since + 1)
            if settings.patience and since >= settings.patience:
                break
        edit = model.finished(prompt, source, generator, settings)
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


class _Model:
    """What is learned: the change of the codes, the selection of parts, the attention."""

    def __init__(self, generator, codes, parts, rows, settings: TextEditSettings, rng: torch.Generator) -> None:
        layers, width = generator.num_layers, generator.w_dim
        self.rows, self.parts = rows, parts
        self.scale = float(generator.w_covariance.diagonal().mean().sqrt())
        self.offset = self.mapper = self.logits = self.attention = self.part_masks = None
        self.sample = codes
        self.inside = torch.zeros(layers, 1, device=codes.device)
        self.inside[list(rows)] = 1
        if settings.changes == "mapper":
            self.mapper = LatentMapper(layers, width, self.scale, rng).to(codes.device)
        else:
            self.offset = (0.02 * torch.randn(layers, width, generator=rng)).to(codes.device).requires_grad_()
        if settings.masks in ("regions", "attention in regions"):
            self.logits = torch.zeros(len(parts.names), layers, device=codes.device, requires_grad=True)
            self.part_masks = rehome(parts.masks).to(self.inside)  # once: steps only pick from it
        if settings.masks in ("attention", "attention in regions"):
            synthesis = generator.network.synthesis
            channels = [synthesis.layer_size(layer)[0] for layer in range(len(synthesis.layers))]
            self.attention = LayerAttention(channels, rng).to(codes.device)

    def change_parameters(self) -> list[Tensor]:
        return [self.offset] if self.mapper is None else list(self.mapper.parameters())

    def mask_parameters(self) -> list[Tensor]:
        return ([self.logits] if self.logits is not None else []) + (
            list(self.attention.parameters()) if self.attention is not None else []
        )

    def change(self, codes: Tensor) -> Tensor:
        """[B, L, D] -> [B or 1, L, D]."""
        raw = self.mapper(codes) if self.mapper is not None else self.offset[None] * self.scale
        return raw * self.inside

    def masks(self, generator, chosen: Tensor, features: dict[int, Tensor]) -> list[Tensor | None]:
        """One mask per row for the chosen pictures."""
        synthesis = generator.network.synthesis
        last = len(synthesis.layers) - 1
        found: list[Tensor | None] = [None] * generator.num_layers
        labels = self._labels(chosen)
        for row in self.rows:
            layer = min(row, last)
            mask = torch.ones(1, 1, 1, 1, device=self.inside.device)
            if self.logits is not None:
                mask = selected_mask(labels, torch.sigmoid(self.logits[:, row]), synthesis.layer_size(layer)[1:])
            if self.attention is not None:
                mask = mask * self.attention(layer, features[layer])
            found[row] = mask
        return found

    def _labels(self, chosen: Tensor) -> Tensor | None:
        masks = self.part_masks
        return masks if masks is None or len(masks) == 1 else masks[chosen.to(masks.device)]

    def finished(self, prompt: str, source: str, generator, settings: TextEditSettings) -> TextEdit:
        mapper = attention = selection = None
        if self.mapper is not None:
            mapper = self.mapper.requires_grad_(False).eval()
            with torch.no_grad():
                offset = mapper(self.sample).mean(dim=0) * self.inside
        else:
            offset = (self.offset.detach() * self.scale * self.inside).clone()
        if self.attention is not None:
            attention = self.attention.requires_grad_(False).eval()
        if self.logits is not None:
            selection = torch.sigmoid(self.logits.detach()) * self.inside[:, 0]
        return TextEdit(
            prompt=prompt,
            offset=offset,
            mapper=mapper,
            selection=selection,
            parts=self.parts.names if selection is not None else (),
            attention=attention,
            rows=self.rows,
            threshold=settings.threshold if settings.masks != "none" else 0.0,
            source=source,
            family=generator.family,
            name=prompt,
            method=f"{settings.masks}, {settings.changes}, {settings.steps} steps",
        )


class _Pool:
    """What is the same at every step, computed once: unedited embeddings, identities and, for attention, features."""

    def __init__(self, generator, goal, codes, model, settings: TextEditSettings, identity) -> None:
        self.codes = codes
        layers = sorted({min(row, len(generator.network.synthesis.layers) - 1) for row in model.rows})
        wanted = layers if model.attention is not None else ()
        self.features: dict[int, list[Tensor]] = {layer: [] for layer in wanted}
        before, people = [], []
        with torch.no_grad():
            for part in codes.split(settings.batch):
                run = generator.network.synthesis(part, "constant", settings.stop_resolution, want_features=wanted)
                before.append(goal.embed(run.image))
                if identity is not None:
                    people.append(identity(run.image))
                for layer in wanted:
                    self.features[layer].append(run.features[layer])
        self.before = torch.cat(before)
        self.people = torch.cat(people) if people else None
        self.stacked = {layer: torch.cat(found) for layer, found in self.features.items()}

    def of(self, chosen: Tensor) -> dict[int, Tensor]:
        return {layer: found[chosen.to(found.device)] for layer, found in self.stacked.items()}


def _step_losses(generator, goal, model, pool, chosen, settings, identity) -> tuple[dict[str, Tensor], Tensor]:
    codes = pool.codes[chosen.to(pool.codes.device)]
    before = pool.before[chosen.to(pool.before.device)]
    change = model.change(codes)
    edited = (codes + change).expand_as(codes)
    synthesis = generator.network.synthesis
    masked = settings.masks != "none"
    terms: dict[str, Tensor] = {}
    if masked:
        masks = model.masks(generator, chosen, pool.of(chosen))
        blended = synthesis(codes, "constant", settings.stop_resolution, blend=LayerBlend(edited, masks)).image
        terms["sentence"] = (1 - settings.full) * goal.loss(blended, before).mean()
        if settings.full > 0:
            whole = synthesis(edited, "constant", settings.stop_resolution).image
            terms["sentence, whole edit"] = settings.full * goal.loss(whole, before).mean()
        terms["area"] = settings.area * torch.stack([mask.mean() for mask in masks if mask is not None]).mean()
        if model.attention is not None and settings.smoothness > 0:
            terms["smoothness"] = settings.smoothness * _variation(masks)
    else:
        blended = synthesis(edited, "constant", settings.stop_resolution).image
        terms["sentence"] = goal.loss(blended, before).mean()
    terms["l2"] = settings.l2 * (change / model.scale).square().sum(dim=(1, 2)).mean() / len(model.rows)
    if identity is not None and settings.identity > 0:
        same = (identity(blended) * pool.people[chosen.to(blended.device)]).sum(dim=1)
        terms["identity"] = settings.identity * (1 - same).mean()
    return terms, blended


def _variation(masks: list[Tensor | None]) -> Tensor:
    """Mean absolute difference of neighbours, summed over the layers' sizes alike."""
    found = []
    for mask in masks:
        if mask is not None and min(mask.shape[-2:]) > 1:
            found.append(mask.diff(dim=-1).abs().mean() + mask.diff(dim=-2).abs().mean())
    return torch.stack(found).mean()


def _set_rates(optimizer: torch.optim.Optimizer, settings: TextEditSettings, step: int) -> None:
    """Full for two thirds of the steps, then down to a tenth."""
    done = step / max(1, settings.steps - 1)
    share = 1.0 if done < 2 / 3 else 1 - 0.9 * (done - 2 / 3) * 3
    for group, rate in zip(optimizer.param_groups, (settings.rate, settings.mask_rate), strict=True):
        group["lr"] = rate * share * (0.1 if settings.changes == "mapper" and group is optimizer.param_groups[0] else 1)


def _rows(generator: GanGenerator, settings: TextEditSettings) -> tuple[int, ...]:
    """The rows asked for that the scored pictures depend on."""
    count = generator.num_layers
    rows = check_rows(settings.rows or range(count), count, "The text edit")
    if settings.stop_resolution is None:
        return rows
    synthesis = generator.network.synthesis
    made = [k for k in range(len(synthesis.layers)) if synthesis.layer_size(k)[1] <= settings.stop_resolution]
    # A row also styles the colours of the layer before it; trained there alone it would be wrong in its own layer.
    kept = tuple(row for row in rows if row <= max(made, default=-1))
    if not kept:
        raise InputError(f"No chosen row changes pictures of {settings.stop_resolution} pixels; score larger ones.")
    return kept


def _check(generator: GanGenerator, codes: Tensor, parts: PartLabels | None, settings: TextEditSettings) -> None:
    check_styles(generator)
    generator.check_latent(codes, "", "The latent")
    if settings.masks not in ("regions", "attention in regions"):
        return
    if parts is None:
        raise InputError(f"Masks of the kind '{settings.masks}' need part labels of the pictures to learn from.")
    if len(parts) not in (1, len(codes)):
        raise InputError(f"There are part labels of {len(parts)} pictures, the latent has {len(codes)}; label these.")
