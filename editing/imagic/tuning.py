"""Model tuning, Imagic's stage 2: the model learns the photo, as a change beside its weights, the embedding held fixed.

Or both at once (``joint``), from the photo's own caption, as Forgedit does (2309.10556).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.inference import enable_training
from ..common.diffusion.autograd.checkpointing import CheckpointedBlocks, checkpointed
from ..common.diffusion.autograd.memory import (
    MemoryShortError,
    draws_at_once,
    graph_bytes,
    memory_sentence,
    storage_addresses,
    weight_storages,
)
from ..common.diffusion.autograd.out_of_place import out_of_place
from ..common.diffusion.denoiser import Denoiser
from ..common.diffusion.lora import check_unquantised, is_quantised, select_layers
from ..common.diffusion.scaled_adam import ScaledAdam
from ..common.progress import Progress, silent
from .conditioning import Conditioning
from .embedding import root_mean_square
from .fixed_noise_loss import FixedNoiseLoss, LossReport, Plateau, photo_recall
from .full_weights import count_parameters
from .gradient_check import check_gradient
from .loss import NoiseBatch, TargetLatent, check_levels, denoising_loss, network_error
from .preview_progress import PreviewProgress
from .rates import rate_rule, scaled_rate
from .schedule import SCHEDULES, rate_factor
from .weight_average import WeightAverage
from .weight_change import FullChange, LoraChange, WeightChange

__all__ = ["METHODS", "TuneSettings", "Tuning", "automatic_rate", "tune_model"]

METHODS = ("LoRA", "all weights", "all weights where they fit")
_LARGE = 200_000_000  # parameters
_SMALL_GAIN, _SMALL_RETURN = 0.05, 0.5
_ADVICE = "Turn on checkpointing, choose fewer blocks or a smaller rank, or use a smaller picture."


@dataclass(frozen=True)
class TuneSettings:
    """Settings of the tuning.

    Args:
        method: one of METHODS; the third is a LoRA where all weights fit no memory, or are quantised.
        steps: Adam steps.
        rate: learning rate of the model's change; 0 for what suits the method and the size of the model.
        rank: of the LoRA.
        draws: noise draws per step.
        levels: share of the timesteps used, from least (0) to most noise (1).
        blocks: where the model may change, some of `lora.BLOCKS`.
        joint: optimise the embedding as well.
        embedding_rate: its learning rate, as a share of its root mean square.
        prior_weight: weight of keeping the model's answer to the prior text.
        checkpointing: compute blocks twice instead of keeping them: less memory, a third more time.
        seed: decides noise and start.
        schedule: of the rates, one of `schedule.SCHEDULES`.
        reference_rate: where ``rate`` is 0, learning rate of all weights of a network of four million numbers, from
            which `rates.scaled_rate` makes this one's; 0 for `automatic_rate`.
        average: decay of a moving average of what is learned, which is the result then; 0 for none.

    Raises:
        InputError: when a value is out of range.
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
    schedule: str = SCHEDULES[0]
    reference_rate: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("method", self.method, METHODS)
        if self.steps < 1 or self.draws < 1 or self.rank < 1 or not 0 <= self.rate <= 1:
            raise InputError(
                f"steps, draws (noise samples) and rank have to be 1 or more, and rate from 0 to 1; got {self.steps}, "
                f"{self.draws}, {self.rank} and {self.rate:g}."
            )
        if not 0 <= self.average < 1 or not 0 <= self.reference_rate <= 1:
            raise InputError(
                f"average has to be 0 or more, and below 1, and reference_rate from 0 to 1; got {self.average:g} and "
                f"{self.reference_rate:g}."
            )
        check_levels(self.levels)


@dataclass(frozen=True, eq=False)
class Tuning(LossReport):
    """A tuned model, as what was added to it.

    Args:
        lora: tensors of a LoRA file.
        conditioning: the entry it was tuned under; the optimised one where it was joint.
        losses: mean loss of each step.
        loss_before, loss_after: over the same fixed noise.
        at_once: noise draws that fitted the memory together.
        settings: how it came about; the method is the one that was taken.
        rate: the learning rate.
        rate_rule: where that comes from, with numbers.
        memory: what it took, as said before it began; why a LoRA was tuned where all weights did not fit.
        recall_before, recall: share of the photo that comes back from noise; see `photo_recall`.
    """

    lora: dict[str, Tensor]
    conditioning: Conditioning
    losses: tuple[float, ...]
    loss_before: float
    loss_after: float
    at_once: int
    settings: TuneSettings
    rate: float = 0.0
    rate_rule: str = ""
    memory: str = ""
    recall_before: float = 0.0
    recall: float = 1.0

    @property
    def provenance(self) -> dict[str, object]:
        """Return how the change came about, for the file that it is saved in."""
        settings, lora = self.settings, self.settings.method == METHODS[0]
        return {
            "method": settings.method,
            **({"rank": settings.rank} if lora else {}),
            "blocks": list(settings.blocks),
            "steps": len(self.losses),
            "draws": settings.draws,
            "rate": self.rate,
            "rate_rule": self.rate_rule,
            "schedule": settings.schedule,
            "average": settings.average,
            "joint": settings.joint,
            "seed": settings.seed,
            "loss": [self.loss_before, self.loss_after],
            "recall": [self.recall_before, self.recall],
        }

    @property
    def _is_back(self) -> bool:
        """Tell whether half of what was missing of the photo came back at least."""
        missing = max(1 - self.recall_before, 0.02)
        return self.gain >= _SMALL_GAIN and 1 - self.recall <= (1 - _SMALL_RETURN) * missing

    def report(self) -> str:
        """Say in sentences what was learned, with a warning where it is little."""
        count = sum(tensor.numel() for key, tensor in self.lora.items() if not key.endswith(".alpha"))
        text = (
            f"The loss on fixed noise fell from {self.loss_before:.4f} to {self.loss_after:.4f} ({self.gain:.0%}), "
            f"with {count:,} numbers beside the model's own."
        )
        if self.at_once < self.settings.draws:
            text += f" Memory allowed {self.at_once} of {self.settings.draws} draws at once."
        if len(self.losses) < self.settings.steps:
            text += f" It fell no further, and learning stopped after {len(self.losses)} of {self.settings.steps} steps"
            text += ": the photo is back." if self._is_back else ": the photo will not come back like this."
        text += (
            f" Where noise hides the photo, the model paints {self.recall:.0%} of it ({self.recall_before:.0%} before)."
        )
        if not self._is_back:
            text += " That is little: the photo may not come back. Raise the steps or the rate."
        return f"{text} {self.memory}".strip()


def tune_model(
    denoiser: Denoiser,
    latent: Tensor,  # [1, C, h, w], from the VAE
    conditioning: Conditioning,
    settings: TuneSettings | None = None,
    prior: Conditioning | None = None,
    mask: Tensor | None = None,  # [1, H, W], 1 where the photo counts `mask_weight` fold
    mask_weight: float = 1.0,
    free: int | None = None,  # bytes of memory that may be used
    progress: Progress = silent,
    stop_early: bool = False,
    announce: Callable[[str], None] = lambda sentence: None,
) -> Tuning:
    """Fine-tune the model to paint this photo under this conditioning.

    Args:
        stop_early: stop once the loss over fixed noise no longer falls; `Tuning.report` says whether the photo is back.
        prior: a text whose meaning the model must keep; its answer under it is compared with its answer before.
        announce: told before the first step what memory the work takes.

    Returns:
        The change; the model itself is as it was.

    Raises:
        InputError: when there are several photos, layers have no gradients, the memory is too small, or the loss
            explodes.

    Source: Imagic (2210.09276), section 3.2 (B); LoRA as in FastEdit; the joint form is Forgedit's.
    """
    settings = settings or TuneSettings()

    def tune(settings: TuneSettings, reason: str = "") -> Tuning:
        return _tune(
            denoiser, latent, conditioning, settings, prior, mask, mask_weight, free, progress, stop_early,
            lambda sentence: announce(f"{reason} {sentence}".strip()), reason,
        )  # fmt: skip

    if settings.method != METHODS[2]:
        return tune(settings)
    layers = select_layers(denoiser.network, settings.blocks)
    if any(is_quantised(layer.weight) for layer in layers.values()):
        reason = "Quantised weights cannot be tuned themselves."
    else:
        try:
            return tune(replace(settings, method=METHODS[1]))
        except MemoryShortError as error:  # it is measured before the first step
            reason = str(error).removesuffix(_ADVICE).strip()
    return tune(replace(settings, method=METHODS[0]), f"{reason} A LoRA is tuned instead.")


def _tune(
    denoiser: Denoiser,
    latent: Tensor,  # [1, C, h, w]
    conditioning: Conditioning,
    settings: TuneSettings,
    prior: Conditioning | None,
    mask: Tensor | None,  # [1, H, W]
    mask_weight: float,
    free: int | None,
    progress: Progress,
    stop_early: bool,
    announce: Callable[[str], None],
    reason: str,
) -> Tuning:
    """Run `tune_model` with the first or the second of METHODS."""
    rng = torch.Generator().manual_seed(settings.seed)
    with enable_training(), denoiser.training(), ExitStack() as stack:
        target = TargetLatent.from_vae(denoiser, latent.detach().clone(), mask, mask_weight)
        change = _make_change(denoiser, settings, free, rng)
        blocks = stack.enter_context(checkpointed(denoiser.network, settings.checkpointing))
        trained, overwrites = _trainable_conditioning(denoiser, target, conditioning, settings.joint)
        stack.enter_context(out_of_place(denoiser.network, overwrites))
        objective = _Objective(denoiser, target, trained, change, prior, settings.prior_weight)
        fixed_noise_loss = FixedNoiseLoss(denoiser, target, settings.levels, settings.seed)
        loss_before, recall_before = fixed_noise_loss(trained), photo_recall(denoiser, target, trained)
        with change.applied():
            embedding_tensors = _trained_tensors(trained) if settings.joint else []
            at_once, memory = _draws_at_once(objective, embedding_tensors, settings, free, blocks)
            announce(memory)
            rate, rule = _rate(denoiser, settings)
            optimizer = _optimizer(denoiser, change, embedding_tensors, settings, rate)
            losses, report = [], PreviewProgress(denoiser, target, progress)
            plateau = Plateau(loss_before, settings.steps)
            average = WeightAverage([*change.parameters, *embedding_tensors], settings.average)
            for step in range(settings.steps):
                noise = target.draw_noise(denoiser, settings.draws, settings.levels, rng)
                losses.append(
                    optimizer.step(
                        (objective(draws) * (len(draws.sigma) / settings.draws) for draws in noise.split(at_once)),
                        rate_factor(settings.schedule, step, settings.steps),
                    )
                )
                average.update()
                report(step + 1, settings.steps, trained)
                if stop_early and plateau.reached(step + 1, lambda: fixed_noise_loss(trained)):
                    break
            average.write()
            loss_after, recall = fixed_noise_loss(trained), photo_recall(denoiser, target, trained)
        lora = change.lora_file(denoiser.lora_name)
    tuned = trained.detached_like(conditioning) if settings.joint else conditioning
    memory = f"{reason} {memory}".strip()
    return Tuning(
        lora,
        tuned,
        tuple(losses),
        loss_before,
        loss_after,
        at_once,
        settings,
        rate,
        rule,
        memory,
        recall_before,
        recall,
    )


def automatic_rate(method: str, denoiser: Denoiser) -> float:
    """Return a learning rate by method and size: large networks want smaller steps, and full weights smaller ones."""
    large = sum(weight.numel() for weight in denoiser.network.parameters()) > _LARGE
    return {METHODS[0]: (1e-3, 1e-4), METHODS[1]: (1e-4, 1e-6)}[method][large]


def _trainable_conditioning(
    denoiser: Denoiser, target: TargetLatent, conditioning: Conditioning, joint: bool
) -> tuple[Conditioning, bool]:
    """Return the conditioning to tune under, and whether the network has gradients `out_of_place` alone."""
    trained = conditioning.trainable_copy(denoiser.device)
    trained.embedding.requires_grad_(True)
    overwrites = check_gradient(denoiser, target, trained)
    for tensor in _trained_tensors(trained):
        tensor.requires_grad_(joint)
    return trained, overwrites


def _trained_tensors(conditioning: Conditioning) -> list[Tensor]:
    return [conditioning.embedding, *conditioning.text_tensors.values()]


class _Objective:
    """The loss of one step: the photo's denoising loss, and the drift of the model's answer to the prior text."""

    def __init__(
        self,
        denoiser: Denoiser,
        target: TargetLatent,
        conditioning: Conditioning,
        change: WeightChange,
        prior: Conditioning | None,
        prior_weight: float,
    ) -> None:
        self.denoiser, self.target, self.conditioning, self.change = denoiser, target, conditioning, change
        self.prior = None if prior is None else prior.trainable_copy(denoiser.device)
        self.prior_weight = prior_weight

    def __call__(self, noise: NoiseBatch) -> Tensor:
        """Return the loss [] under this noise."""
        loss = denoising_loss(self.denoiser, self.target, noise, self.conditioning)
        return loss if self.prior is None else loss + self.prior_weight * self._prior_drift(noise, self.prior)

    def _prior_drift(self, noise: NoiseBatch, prior: Conditioning) -> Tensor:
        with torch.no_grad(), self.change.off():
            original = network_error(self.denoiser, self.target, noise, prior)
        return (network_error(self.denoiser, self.target, noise, prior) - original).square().mean()


def _draws_at_once(
    objective: _Objective,
    embedding_tensors: list[Tensor],
    settings: TuneSettings,
    free: int | None,
    blocks: CheckpointedBlocks,
) -> tuple[int, str]:
    """Return how many noise draws fit at once, and a sentence on the memory."""
    denoiser, parameters = objective.denoiser, objective.change.parameters
    noise = objective.target.draw_noise(denoiser, 1, settings.levels, torch.Generator().manual_seed(0))
    permanent = weight_storages(denoiser.network) | storage_addresses(parameters)
    per_draw = graph_bytes(lambda: objective(noise), permanent, blocks if settings.checkpointing else None)
    trained = sum(tensor.numel() for tensor in (*parameters, *embedding_tensors))
    work, averaged = f"Tuning with {settings.method}", settings.average > 0
    count = draws_at_once(settings.draws, per_draw, trained, free, work, _ADVICE, averaged)
    return count, memory_sentence(work, per_draw, trained, free, averaged)


def _rate(denoiser: Denoiser, settings: TuneSettings) -> tuple[float, str]:
    """Return the learning rate of the change, and where it comes from."""
    numbers, lora = sum(weight.numel() for weight in denoiser.network.parameters()), settings.method == METHODS[0]
    if settings.rate:
        return settings.rate, "as set"
    if not settings.reference_rate:
        return automatic_rate(settings.method, denoiser), "by method and size"
    return scaled_rate(settings.reference_rate, numbers, lora), rate_rule(settings.reference_rate, numbers, lora)


def _optimizer(
    denoiser: Denoiser, change: WeightChange, embedding_tensors: list[Tensor], settings: TuneSettings, rate: float
) -> ScaledAdam:
    groups = [(change.parameters, rate)]
    groups += [([tensor], settings.embedding_rate * root_mean_square(tensor)) for tensor in embedding_tensors]
    return ScaledAdam(groups, denoiser.dtype == torch.float16)


def _make_change(denoiser: Denoiser, settings: TuneSettings, free: int | None, rng: torch.Generator) -> WeightChange:
    layers = select_layers(denoiser.network, settings.blocks)
    if settings.method == METHODS[0]:
        return LoraChange(layers, settings.rank, rng)
    check_unquantised(layers)
    count = count_parameters(layers)  # before the copies are made
    draws_at_once(1, 0, count, free, f"Tuning {METHODS[1]}", _ADVICE, settings.average > 0)
    return FullChange(layers)
