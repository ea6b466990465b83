"""Learning a slider from before/after pairs, beside the weights of a diffusion model that stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.inference import enable_training
from ..common.diffusion.autograd.checkpointing import CheckpointedBlocks, checkpointed
from ..common.diffusion.autograd.memory import draws_at_once, graph_bytes, storage_addresses, weight_storages
from ..common.diffusion.autograd.out_of_place import out_of_place
from ..common.diffusion.denoiser import Denoiser
from ..common.diffusion.lora import Lora, init_loras, select_layers
from ..common.diffusion.lora_file import lora_tensors
from ..common.diffusion.noise import draw_noise
from ..common.diffusion.scaled_adam import ScaledAdam
from ..common.diffusion.trial_gradient import GRADIENT_ADVICE, trial_gradients, usable
from ..common.progress import Progress, silent
from .edit import PairEdit
from .losses import Draws, PairLatents, has_content
from .multiplier import Multiplier, scaled_hooks
from .pairs import pair_latents
from .settings import PairSettings

__all__ = ["automatic_rate", "learn_pair_edit"]

_LARGE = 200_000_000  # parameters
_RATES = (1e-3, 2e-4)  # of small and of large networks
_PREVIEWS, _PREVIEW_LEVELS = 8, (0.55, 0.65)
_FIXED_DRAWS, _EFFECT_LEVELS = 8, (0.3, 0.9)  # where a picture's content is decided, in shares of the timesteps
Terms = Callable[[Draws], Iterator[Tensor]]  # of a loss: their sum
_ADVICE = "Turn on checkpointing, choose fewer blocks or a smaller rank, or use smaller pictures."


def learn_pair_edit(
    denoiser: Denoiser,
    before: Tensor,  # [K, C, h, w], from the VAE
    after: Tensor | None,  # [K, C, h, w]; None for the loss "SliderEdit"
    entry: Any,  # (embedding [1, T, D], extras), or a CONDITIONING of one entry
    settings: PairSettings | None = None,
    free: int | None = None,  # bytes of memory that may be used
    progress: Progress = silent,
    instruction: Any = None,  # a second entry, which asks for the edit; for the loss "SliderEdit"
) -> PairEdit:
    """Learn what turns the pictures before into those after, as a slider for other pictures.

    With the loss "SliderEdit" nothing is looked at after: the slider learns what the instruction does.

    Returns:
        The slider; the model itself is as it was.

    Raises:
        InputError: when the pairs do not fit together or contradict each other, layers have no gradients, the memory
            is too small, the loss explodes, the model takes no reference latents, or "SliderEdit" has no instruction.

    Source: Concept Sliders (2311.12092), section 4.2; the content LoRA as in PairEdit (2506.07992), for both pictures.
    """
    settings = settings or PairSettings()
    with enable_training(), denoiser.training(), ExitStack() as stack:
        layers = select_layers(denoiser.network, settings.blocks)
        latents = pair_latents(denoiser, before, after, entry, settings, instruction, layers)
        rng = torch.Generator().manual_seed(settings.seed)
        content_steps = settings.content_steps if has_content(settings.loss) else 0
        slider_loras = init_loras(layers, settings.rank, rng)
        content_loras = init_loras(layers, settings.rank, rng) if content_steps else {}
        slider = stack.enter_context(scaled_hooks(layers, slider_loras))
        blocks = stack.enter_context(checkpointed(denoiser.network, settings.checkpointing))

        def slider_terms(draws: Draws) -> Iterator[Tensor]:
            return latents.slider_terms(draws, settings, slider)

        def content_terms(draws: Draws) -> Iterator[Tensor]:
            return latents.content_terms(draws, settings)

        total = content_steps + settings.steps
        training = _Training(latents, settings, total, free, progress, blocks, slider)
        stack.enter_context(out_of_place(denoiser.network, training.overwrites(slider_terms, slider_loras)))
        content = stack.enter_context(scaled_hooks(layers, content_loras)) if content_loras else Multiplier()
        slider.strengths = None
        if content_loras:
            content.strengths = torch.ones(1)
            training.run(content_terms, content_loras, content_steps, 2.0)
            _freeze(content_loras)
        before_loss = training.fixed_loss(slider_terms)
        losses = training.run(slider_terms, slider_loras, settings.steps)
        after_loss = training.fixed_loss(slider_terms)
        _freeze(slider_loras)
        slider.strengths = content.strengths = None  # the content is thrown away
        share, content_size = _effect(latents, slider, settings.seed)
        tensors = lora_tensors(slider_loras, {layer: denoiser.lora_name(layer) for layer in slider_loras})
    provenance = {
        "pairs": len(latents.before), "settings": asdict(settings),
        "loss_before": before_loss, "loss_after": after_loss, "share": share, "content": content_size,
    }  # fmt: skip
    return PairEdit(tensors, denoiser.name, {}, provenance, tuple(losses))


def automatic_rate(denoiser: Denoiser) -> float:
    """Return a learning rate by the size of the network: large ones want smaller steps."""
    return _RATES[sum(weight.numel() for weight in denoiser.network.parameters()) > _LARGE]


def _freeze(loras: dict[str, Lora]) -> None:
    for lora in loras.values():
        lora.up.requires_grad_(False)
        lora.down.requires_grad_(False)


def _tensors(loras: dict[str, Lora]) -> list[Tensor]:
    return [tensor for lora in loras.values() for tensor in (lora.up, lora.down)]


class _Training:
    """The stages of one learning: they share settings, memory, progress and previews."""

    def __init__(
        self,
        latents: PairLatents,
        settings: PairSettings,
        total: int,
        free: int | None,
        progress: Progress,
        blocks: CheckpointedBlocks,
        slider: Multiplier,
    ) -> None:
        self.latents, self.settings, self.free, self.progress = latents, settings, free, progress
        self.blocks, self.slider = blocks, slider
        self.rate = settings.rate or automatic_rate(latents.denoiser)
        self.step, self.total = 0, total
        self.rng = torch.Generator().manual_seed((settings.seed + 1) % 2**64)

    def overwrites(self, terms: Terms, loras: dict[str, Lora]) -> bool:
        """Tell whether the network has gradients `out_of_place` alone, by one trial step.

        Raises:
            InputError: when it gives no gradient at all, or one that is not finite.
        """
        draws = self._fixed_draws(1)
        gradients, overwrites = trial_gradients(self.latents.denoiser, lambda: sum(terms(draws)), _tensors(loras))
        if not usable(gradients):
            name = self.latents.denoiser.name
            raise InputError(f"'{name}' gives no gradient to its layers, or none that is finite. {GRADIENT_ADVICE}")
        return overwrites

    def run(self, terms: Terms, loras: dict[str, Lora], steps: int, rate_factor: float = 1.0) -> list[float]:
        """Train one LoRA; return the mean loss of each step."""
        settings, denoiser, tensors = self.settings, self.latents.denoiser, _tensors(loras)
        at_once = self._draws_at_once(terms, tensors)
        optimizer = ScaledAdam([(tensors, self.rate * rate_factor)], denoiser.dtype == torch.float16)
        losses = []
        for _ in range(steps):
            draws = self.latents.draw(settings, self.rng)
            losses.append(
                optimizer.step(
                    term * (len(part.pairs) / settings.draws) for part in draws.split(at_once) for term in terms(part)
                )
            )
            self._report()
        return losses

    def fixed_loss(self, terms: Terms) -> float:
        """Return the mean loss over the same noise each time."""
        with torch.no_grad():
            return float(torch.stack([sum(terms(draws)) for draws in self._fixed_draws(_FIXED_DRAWS).split(4)]).mean())

    def _fixed_draws(self, count: int) -> Draws:
        return self.latents.draw(self.settings, torch.Generator().manual_seed((self.settings.seed + 2) % 2**64), count)

    def _draws_at_once(self, terms: Terms, tensors: list[Tensor]) -> int:
        if self.free is None:
            return self.settings.draws
        permanent = weight_storages(self.latents.denoiser.network) | storage_addresses(tensors)
        blocks = self.blocks if self.settings.checkpointing else None
        per_draw = graph_bytes(lambda: sum(terms(self._fixed_draws(1))), permanent, blocks)
        trained = sum(tensor.numel() for tensor in tensors)
        return draws_at_once(self.settings.draws, per_draw, trained, self.free, "Learning a pair edit", _ADVICE)

    def _report(self) -> None:
        self.step += 1
        if self.step % max(self.total // _PREVIEWS, 1):
            self.progress(self.step, self.total)
            return
        latents = self.latents
        x0 = latents.before[:1]
        noise = draw_noise(latents.denoiser, x0, 1, _PREVIEW_LEVELS, torch.Generator().manual_seed(0))
        with torch.no_grad():
            self.progress(self.step, self.total, preview=latents.denoiser.preview(latents.example(noise, self.slider)))


def _effect(latents: PairLatents, slider: Multiplier, seed: int) -> tuple[float, float]:
    """Return the share of the pairs' difference that the slider makes, and its even part's size over the odd one's."""
    settings = PairSettings(levels=_EFFECT_LEVELS)
    draws = latents.draw(settings, torch.Generator().manual_seed((seed + 3) % 2**64), _FIXED_DRAWS)
    projected = squared = even = odd = 0.0
    with torch.no_grad():
        for part in draws.split(4):
            original, plus, minus, change = latents.ends(part, slider)
            projected += float(((plus - minus) * change).sum())
            squared += float(change.square().sum())
            even += float(((plus + minus) / 2 - original).square().sum())
            odd += float(((plus - minus) / 2).square().sum())
    return projected / max(squared, 1e-12), (even / max(odd, 1e-12)) ** 0.5
