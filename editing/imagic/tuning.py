"""Stage 2 of Imagic: the model learns the photo, as a small change beside its weights, the embedding held fixed.

Or both at once (``joint``), from the photo's own caption, as Forgedit does (2309.10556).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.inference import enable_training
from .autograd.checkpointing import checkpointed
from .autograd.memory import fitting_draws, graph_bytes
from .autograd.out_of_place import out_of_place
from .conditioning import Entry
from .denoiser import Denoiser
from .fixed_noise_loss import Gained, Probe, Reporter, check_gradient, weight_storages
from .full_weights import WholeWeights, count_numbers
from .lora import adapted, chosen_layers, new_loras
from .lora_file import lora_tensors, whole_tensors
from .loss import Draws, Photo, check_levels, denoising_loss, network_error
from .scaled_adam import Descent

__all__ = ["METHODS", "TuneSettings", "Tuning", "tune_model"]

METHODS = ("LoRA", "all weights")
_LARGE = 200_000_000  # parameters
_ADVICE = "Turn on checkpointing, choose fewer blocks or a smaller rank, or use a smaller picture."


@dataclass(frozen=True)
class TuneSettings:
    """How the model is tuned.

    Args:
        method: one of METHODS.
        steps: Adam steps.
        rate: learning rate of the model's change; 0 for what suits the method and the size of the model.
        rank: of the LoRA.
        draws: noise draws per step.
        levels: share of the timesteps used, from least (0) to most noise (1).
        blocks: where the model may change, some of `lora.BLOCKS`.
        joint: optimise the embedding as well.
        embedding_rate: its learning rate, as a share of its root mean square.
        prior_weight: how much the model's answer to the prior text may not change.
        checkpointing: half the speed or less of memory: blocks are computed twice.
        seed: decides noise and start.
    """

    method: str = METHODS[0]
    steps: int = 100
    rate: float = 0.0
    rank: int = 16
    draws: int = 4
    levels: tuple[float, float] = (0.0, 1.0)
    blocks: tuple[str, ...] = ("all",)
    joint: bool = False
    embedding_rate: float = 0.01
    prior_weight: float = 1.0
    checkpointing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"The method is {self.method!r}; expected one of {', '.join(METHODS)}.")
        if self.steps < 1 or self.draws < 1 or self.rank < 1 or not 0 <= self.rate <= 1:
            raise InputError("Steps, draws and rank have to be 1 or more, and the rate between 0 and 1.")
        check_levels(self.levels)


@dataclass(frozen=True, eq=False)
class Tuning(Gained):
    """A tuned model, as what was added to it.

    Args:
        lora: tensors of a LoRA file.
        entry: the embedding it was tuned under; the optimised one where it was joint.
        losses: mean loss of each step.
        before, after: loss over the same fixed noise draws.
        at_once: noise draws that fitted the memory together.
        settings: how it came about.
    """

    lora: dict[str, Tensor]
    entry: Entry
    losses: tuple[float, ...]
    before: float
    after: float
    at_once: int
    settings: TuneSettings

    def report(self) -> str:
        """A sentence for people."""
        count = sum(tensor.numel() for key, tensor in self.lora.items() if not key.endswith(".alpha"))
        text = (
            f"The loss on fixed noise fell from {self.before:.4f} to {self.after:.4f} ({self.gain:.0%}), with "
            f"{count:,} numbers beside the model's own."
        )
        if self.at_once < self.settings.draws:
            text += f" Memory allowed {self.at_once} of {self.settings.draws} draws at once."
        if self.gain < 0.05:
            text += " That is little: the photo may not come back. Raise the steps or the rate."
        return text


def tune_model(
    denoiser: Denoiser,
    latent: Tensor,  # [1, C, h, w], from the VAE
    entry: Entry,
    settings: TuneSettings | None = None,
    prior: Entry | None = None,
    mask: Tensor | None = None,  # [1, H, W]
    mask_weight: float = 1.0,
    free: int | None = None,
    progress: Callable[..., None] = lambda step, total, preview=None: None,
) -> Tuning:
    """Let the model paint this photo under this embedding.

    Args:
        prior: a text whose meaning the model must keep; its answer under it is compared with its answer before.

    Returns:
        The change; the model itself is as it was.

    Raises:
        InputError: several photos, layers without gradients, too little memory, a loss that explodes.

    Source: Imagic, section 3.2 (B); LoRA as in FastEdit; the joint form is Forgedit's.
    """
    settings = settings or TuneSettings()
    rng = torch.Generator().manual_seed(settings.seed)
    with enable_training(), denoiser.training(), ExitStack() as stack:
        photo = Photo.of(denoiser, latent.detach().clone(), mask, mask_weight)
        layers = chosen_layers(denoiser.network, settings.blocks)
        if settings.method != METHODS[0]:  # before the copies are made
            fitting_draws(1, 0, count_numbers(layers), free, f"Tuning {METHODS[1]}", _ADVICE)
        change = _LoraChange(layers, settings.rank, rng) if settings.method == METHODS[0] else _WholeChange(layers)
        own, kept = entry.trainable(denoiser.device), None if prior is None else prior.trainable(denoiser.device)
        own.embedding.requires_grad_(True)
        blocks = stack.enter_context(checkpointed(denoiser.network, settings.checkpointing))
        stack.enter_context(out_of_place(denoiser.network, check_gradient(denoiser, photo, own)))
        learned = [own.embedding] if settings.joint else []
        if settings.joint and own.pooled is not None:
            learned.append(own.pooled.requires_grad_(True))
        own.embedding.requires_grad_(settings.joint)

        def loss_of(part: Draws) -> Tensor:
            loss = denoising_loss(denoiser, photo, part, own)
            return (
                loss if kept is None else loss + settings.prior_weight * _forgotten(denoiser, photo, part, kept, change)
            )

        probe = Probe(denoiser, photo, settings.levels, settings.seed)
        before = probe.loss(own)
        with change.inside():
            one = photo.draws(denoiser, 1, settings.levels, torch.Generator().manual_seed(0))
            own_memory = weight_storages(denoiser.network) | {t.untyped_storage().data_ptr() for t in change.parameters}
            per_draw = graph_bytes(lambda: loss_of(one), own_memory, blocks if settings.checkpointing else None)
            trained = sum(tensor.numel() for tensor in (*change.parameters, *learned))
            at_once = fitting_draws(settings.draws, per_draw, trained, free, f"Tuning with {settings.method}", _ADVICE)
            groups = [(change.parameters, settings.rate or automatic_rate(settings.method, denoiser))]
            groups += [([t], settings.embedding_rate * float(t.detach().square().mean().sqrt())) for t in learned]
            descent = Descent(groups, denoiser.dtype == torch.float16)
            losses, reporter = [], Reporter(denoiser, photo, progress)
            for step in range(settings.steps):
                draws = photo.draws(denoiser, settings.draws, settings.levels, rng)
                parts = draws.parts(at_once)
                losses.append(descent.step(loss_of(part) * (len(part.sigma) / settings.draws) for part in parts))
                reporter.step(step + 1, settings.steps, own)
            after = probe.loss(own)
        lora = change.tensors(denoiser)
        found = entry
        if settings.joint:
            placed = entry.embedding
            pooled = None if own.pooled is None else own.pooled.detach().to(placed.device, placed.dtype)
            found = entry.replaced(own.embedding.detach().to(placed.device, placed.dtype), pooled)
    return Tuning(lora, found, tuple(losses), before, after, at_once, settings)


def automatic_rate(method: str, denoiser: Denoiser) -> float:
    """A learning rate by method and size: large networks want smaller steps, and whole weights smaller ones."""
    large = sum(weight.numel() for weight in denoiser.network.parameters()) > _LARGE
    return {METHODS[0]: (1e-3, 1e-4), METHODS[1]: (1e-4, 1e-6)}[method][large]


def _forgotten(denoiser: Denoiser, photo: Photo, draws: Draws, prior: Entry, change: _Change) -> Tensor:
    """How far the model's answer to the prior text has moved from what it was."""
    with torch.no_grad(), change.off():
        before = network_error(denoiser, photo, draws, prior)
    return (network_error(denoiser, photo, draws, prior) - before).square().mean()


class _LoraChange:
    def __init__(self, layers: dict, rank: int, rng: torch.Generator) -> None:
        self.layers, self.loras = layers, new_loras(layers, rank, rng)
        self.parameters = [tensor for lora in self.loras.values() for tensor in (lora.up, lora.down)]

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        with adapted(self.layers, self.loras) as self._switch:
            yield

    def off(self):
        return self._switch.off()

    def tensors(self, denoiser: Denoiser) -> dict[str, Tensor]:
        return lora_tensors(self.loras, {layer: denoiser.lora_name(layer) for layer in self.loras})


class _WholeChange:
    def __init__(self, layers: dict) -> None:
        self.weights = WholeWeights(layers)
        self.parameters = self.weights.copies

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        with self.weights.standing_in():
            yield

    def off(self):
        return self.weights.off()

    def tensors(self, denoiser: Denoiser) -> dict[str, Tensor]:
        return whole_tensors(self.weights.changes(), denoiser.lora_name)


_Change = _LoraChange | _WholeChange
