"""Localization of a slider: a strength per block that keeps the edit and gives up what changes elsewhere.

CORAL's trade of area against effect (2303.05031) on a diffusion model: where the edit acts, the slider's change shall
stay what it is; elsewhere, the area, as little as possible of it shall be left. Both are measured at one size of the
edit, as strength is chosen afterwards for each picture: weaker blocks alone would save nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.inference import enable_training
from ..common.diffusion.autograd.out_of_place import out_of_place
from ..common.diffusion.denoiser import Denoiser
from ..common.diffusion.lora import Lora
from ..common.diffusion.trial_gradient import GRADIENT_ADVICE, trial_gradients, usable
from ..common.importance import importance
from ..common.progress import Progress, silent
from .blocks import block_of, block_strengths, with_block_strengths
from .edit import PairEdit
from .losses import Draws, PairLatents
from .multiplier import scaled_hooks
from .pairs import pair_latents
from .settings import PairSettings

__all__ = ["LocalizedEdit", "localize_pair_edit"]

_LEVELS = (0.1, 0.9)  # shares of the timesteps at which the trade is made
_DRAWS, _FIXED_DRAWS = 2, 8
_FAINT = 0.05  # a strength below that is none
_LEAST_EFFECT = 0.2  # of the whole: a change that is weaker is not taken as strongly as it would have to be


@dataclass(frozen=True, eq=False)
class LocalizedEdit:
    """A slider with a strength per block.

    Args:
        edit: the slider, its strengths in its alphas.
        strengths: block -> strength.
        effect: share of the change that is left where the edit acts.
        elsewhere: share of the change that is left elsewhere.
    """

    edit: PairEdit
    strengths: Mapping[str, float]
    effect: float
    elsewhere: float

    def report(self) -> str:
        """Say in sentences what was kept."""
        half = sum(abs(strength) > 0.5 for strength in self.strengths.values())
        return (
            f"{half} of {len(self.strengths)} blocks stay above one half. Where the edit acts, {self.effect:.0%} of "
            f"its change is left; elsewhere, {self.elsewhere:.0%}."
        )


def localize_pair_edit(
    denoiser: Denoiser,
    edit: PairEdit,
    before: Tensor,  # [K, C, h, w], the pictures that it was learned from, from the VAE
    after: Tensor | None,  # [K, C, h, w]
    entry: Any,  # the sentence that it was learned under
    area: float = 3.0,  # what all the change elsewhere costs, against 1 for another change where the edit acts
    steps: int = 40,
    rate: float = 0.05,
    fixed: Mapping[str, float] | None = None,  # block -> strength, set by hand
    seed: int = 0,
    progress: Progress = silent,
    instruction: Any = None,  # of a slider learned by "SliderEdit"
) -> LocalizedEdit:
    """Find a strength in 0..1 for each block of the network; those set by hand stay as they are.

    Raises:
        InputError: when pairs, sentence or slider do not fit the model, a block is unknown, or there are no gradients.
    """
    if steps < 0 or not 0 <= area <= 100 or not 0 < rate <= 1:
        raise InputError(
            "steps have to be 0 or more, area from 0 to 100, and rate above 0 up to 1; got "
            f"{steps}, {area:g} and {rate:g}."
        )
    fixed = dict(fixed or {})
    # Of the slider with all of its blocks, as it was learned.
    edit = with_block_strengths(edit, denoiser, dict.fromkeys(block_strengths(edit, denoiser), 1.0))
    with_block_strengths(edit, denoiser, fixed)
    settings = PairSettings(
        loss="two-sided" if instruction is None else "SliderEdit", draws=_DRAWS, levels=_LEVELS, seed=seed,
        reference=edit.reference,
    )  # fmt: skip
    with enable_training(), denoiser.training():
        loras = edit.loras_for(denoiser)
        layers = {layer: denoiser.network.get_submodule(layer) for layer in loras}
        pairs = pair_latents(denoiser, before, after, entry, settings, instruction, layers)
        trade = _Trade(denoiser, pairs, settings, loras, area)
        strengths = trade.search(fixed, steps, rate, progress)
        effect, elsewhere = trade.shares(strengths)
    return LocalizedEdit(with_block_strengths(edit, denoiser, strengths), strengths, effect, elsewhere)


class _Trade:
    """The trade of lost effect against area, for one slider."""

    def __init__(
        self, denoiser: Denoiser, pairs: PairLatents, settings: PairSettings, loras: dict[str, Lora], area: float
    ) -> None:
        self.denoiser, self.pairs, self.settings, self.loras, self.area = denoiser, pairs, settings, loras, area
        self.layers = {layer: denoiser.network.get_submodule(layer) for layer in loras}
        self.blocks = list(dict.fromkeys(block_of(layer) for layer in loras))

    def search(self, fixed: Mapping[str, float], steps: int, rate: float, progress: Progress) -> dict[str, float]:
        """Return a strength for each block."""
        strengths = torch.tensor([fixed.get(block, 1.0) for block in self.blocks], device=self.denoiser.device)
        free = torch.tensor([block not in fixed for block in self.blocks], device=self.denoiser.device)
        strengths.requires_grad_(True)
        optimizer = torch.optim.Adam([strengths], rate, (0.9, 0.98))
        rng = torch.Generator().manual_seed(self.settings.seed)
        with ExitStack() as stack:
            if steps:
                stack.enter_context(out_of_place(self.denoiser.network, self._overwrites(strengths)))
            for step in range(steps):
                draws = self.pairs.draw(self.settings, rng)
                optimizer.zero_grad(set_to_none=True)
                lost, spilled = self._costs(draws, strengths)
                (lost + self.area * spilled).backward()
                strengths.grad.mul_(free)
                optimizer.step()
                with torch.no_grad():
                    strengths.copy_(torch.where(free, strengths.clamp(0, 1), strengths))
                progress(step + 1, steps)
        strengths = strengths.detach().where(~free | (strengths.detach() >= _FAINT), 0.0).tolist()
        # Two decimals, so that the text that people change says all of it.
        return {
            block: fixed.get(block, round(strength, 2)) for block, strength in zip(self.blocks, strengths, strict=True)
        }

    def shares(self, strengths: Mapping[str, float]) -> tuple[float, float]:
        """Return the shares of the change that are left, where the edit acts and elsewhere."""
        scales = torch.tensor([strengths[block] for block in self.blocks], device=self.denoiser.device)
        draws = self.pairs.draw(self.settings, torch.Generator().manual_seed(self.settings.seed + 1), _FIXED_DRAWS)
        inside = all_inside = outside = all_outside = 0.0
        with torch.no_grad():
            for part in draws.split(_DRAWS):
                full, weights = self._odd_part(part, None)
                odd, _ = self._odd_part(part, scales)
                inside += float((odd * full * weights).sum())
                all_inside += float((full * full * weights).sum())
                outside += float((odd.abs() * (1 - weights)).sum())
                all_outside += float((full.abs() * (1 - weights)).sum())
        return inside / max(all_inside, 1e-12), outside / max(all_outside, 1e-12)

    def _overwrites(self, strengths: Tensor) -> bool:
        draws = self.pairs.draw(self.settings, torch.Generator().manual_seed(self.settings.seed), 1)
        gradients, overwrites = trial_gradients(self.denoiser, lambda: sum(self._costs(draws, strengths)), [strengths])
        if not usable(gradients):
            raise InputError(f"'{self.denoiser.name}' gives no gradient to the strengths. {GRADIENT_ADVICE}")
        return overwrites

    def _costs(self, draws: Draws, strengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far the change differs where the edit acts, and how much is left elsewhere, as shares.

        The change is taken as strongly as it has to be for the whole effect.
        """
        with torch.no_grad():
            full, weights = self._odd_part(draws, None)
        odd, _ = self._odd_part(draws, strengths)
        effect = (odd * full * weights).sum() / (full.square() * weights).sum().clamp(min=1e-12)
        odd = odd / effect.clamp(min=_LEAST_EFFECT)
        lost = ((odd - full).abs() * weights).sum() / (full.abs() * weights).sum().clamp(min=1e-8)
        spilled = (odd.abs() * (1 - weights)).sum() / (full.abs() * (1 - weights)).sum().clamp(min=1e-8)
        return lost, spilled

    def _odd_part(self, draws: Draws, strengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return (D+ - D-) / 2 at strengths per block, and where the edit acts, [B, C, h, w] each."""
        loras = self.loras
        if strengths is not None:
            scale = dict(zip(self.blocks, strengths, strict=True))
            loras = {layer: Lora(lora.up * scale[block_of(layer)], lora.down) for layer, lora in loras.items()}
        with scaled_hooks(self.layers, loras) as slider:
            _, plus, minus, change = self.pairs.ends(draws, slider)
        return (plus - minus) / 2, importance(change)
