"""Ways of bringing an edited example to other photos: ours by loss, and peers at published and at fitted rates.

A way learns from latents, and draws photos at strengths. The peers are published methods in our own code: Concept
Sliders' image form (2311.12092), PairEdit (2506.07992), the plain LoRA of the pictures after, as trainers make it, and
SDEdit (2108.01073), which learns nothing and needs a sentence of the target. Published rates are those of the methods'
own public configurations; "fitted" ones are ours, which suit a model of this size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from baselines.diffusion import sdedit
from semantic_edit.editing import PairEdit, PairSettings, apply_pair_edit, learn_pair_edit
from semantic_edit.editing.common.diffusion.lora import init_loras, select_layers
from semantic_edit.editing.common.diffusion.lora_file import lora_tensors
from semantic_edit.editing.common.diffusion.ode_inversion import noise_levels
from semantic_edit.editing.common.diffusion.scaled_adam import ScaledAdam
from semantic_edit.editing.imagic.conditioning import Conditioning
from semantic_edit.editing.pair.learning import automatic_rate
from semantic_edit.editing.pair.losses import PairLatents
from semantic_edit.editing.pair.multiplier import scaled_hooks
from semantic_edit.editing.pair.settings import LOSSES, PairSampling
from semantic_edit.models.diffusion.folder import DiffusionBundle
from semantic_edit.models.diffusion.guidance import euler_step
from semantic_edit.models.inference import enable_training
from torch import Tensor

Draw = Callable[[Tensor, Tensor, Tensor], Tensor]  # photos, their noise [M, C, h, w], strengths [M] -> latents
SENTENCES = {
    "glasses": "a person with glasses", "hair_len": "a person with long hair", "smile": "a person smiling",
    "hat": "a person with a hat", "hair_light": "a person with light hair", "eye_open": "a person with closed eyes",
    "yaw": "a person looking right", "bg_hue": "a person with a blue background",
    "mouth_open": "a person with the mouth open",
}  # fmt: skip


@dataclass(frozen=True)
class Way:
    """A way: how it learns (None: not at all), how it is applied, and the strengths of the shared curve.

    Args:
        settings: of the learning.
        applied: "odd part" (ours), "plain" (the LoRA at its strength), "one pass" (likewise, at half of it, as the
            nodes do) or "sdedit" (denoise is the strength).
        after_only: the LoRA learns the pictures after alone, at +1.
        cfg: of SDEdit.
        fixed: one strength for all photos, instead of one for each.
        localized: with a strength for each block, found on the pairs.
        threshold: share of a picture's places that the edit leaves alone.
    """

    settings: PairSettings | None
    applied: str = "odd part"
    after_only: bool = False
    cfg: float = 4.0
    fixed: float | None = None
    strengths: tuple[float, ...] = (0.0, 2.0, 4.0)
    localized: bool = False
    threshold: float = 0.0


_THRESHOLD, _WIDE = 0.9, (0.0, 3.0, 6.0)  # of what is left where the edit acts least, more is needed
_PLAIN = (0.0, 1.0, 2.0)  # +1 alone is half of +1 against -1
_FITTED, _TWO_SIDED, _PAIREDIT = (PairSettings(loss=loss) for loss in ("two-sided", "two-sided", "PairEdit"))
WAYS = {
    **{loss: Way(PairSettings(loss=loss)) for loss in LOSSES if loss != "SliderEdit"},
    "Concept Sliders, fitted": Way(_TWO_SIDED, "plain", strengths=_PLAIN),
    # 2e-4 at an alpha of a quarter of the rank, which Adam feels as a quarter of the rate; PairEdit's 2e-3 at a
    # sixteenth likewise.
    "Concept Sliders, published": Way(
        replace(_TWO_SIDED, steps=1000, rank=4, draws=1, rate=5e-5), "plain", strengths=_PLAIN
    ),
    "PairEdit, fitted": Way(_PAIREDIT, "plain", strengths=_PLAIN),
    "PairEdit, published": Way(
        replace(_PAIREDIT, steps=500, content_steps=500, rank=16, draws=1, rate=1.25e-4, eta=4.0),
        "plain",
        strengths=_PLAIN,
    ),
    "pair LoRA, fitted": Way(_FITTED, "plain", after_only=True, strengths=_PLAIN),
    "pair LoRA, published": Way(
        replace(_FITTED, steps=2000, rank=16, draws=1, rate=1e-4), "plain", after_only=True, strengths=_PLAIN
    ),
    "SDEdit, fitted": Way(None, "sdedit", cfg=4.0, strengths=(0.0, 0.5, 0.8)),
    "SDEdit, published": Way(None, "sdedit", cfg=7.5, fixed=0.8),
    "content first, plain": Way(PairSettings(), "plain", strengths=_PLAIN),  # ours without the guidance
    "content first, threshold": Way(PairSettings(), threshold=_THRESHOLD, strengths=_WIDE),
    "content first, plain, threshold": Way(PairSettings(), "one pass", threshold=_THRESHOLD, strengths=_WIDE),
    "content first, plain, localized": Way(PairSettings(), "one pass", localized=True),
    "content first, plain, localized, threshold": Way(
        PairSettings(), "one pass", localized=True, threshold=_THRESHOLD, strengths=_WIDE
    ),
}


def learned(bundle: DiffusionBundle, way: Way, before: Tensor, after: Tensor, entry: tuple) -> PairEdit | None:
    """Learn from latents [K, C, h, w]; None where nothing is learned."""
    if way.settings is None:
        return None
    if not way.after_only:
        return learn_pair_edit(bundle.model, before, after, entry, way.settings)
    model, settings = bundle.model, way.settings
    with enable_training(), model.training():
        x0 = model.latent_in(after)
        pairs = PairLatents(model, x0, x0, model.condition(*entry, (1, *x0.shape[1:])))
        layers = select_layers(model.network, settings.blocks)
        loras = init_loras(layers, settings.rank, torch.Generator().manual_seed(settings.seed))
        tensors = [tensor for lora in loras.values() for tensor in (lora.up, lora.down)]
        optimizer = ScaledAdam([(tensors, settings.rate or automatic_rate(model))])
        rng = torch.Generator().manual_seed(settings.seed + 1)
        with scaled_hooks(layers, loras) as slider:
            slider.strengths = torch.ones(1)
            for _ in range(settings.steps):
                draws = pairs.draw(settings, rng)
                target = x0[draws.pairs]
                denoised = pairs.denoised(target, draws.noise)
                optimizer.step([pairs.squared_error(denoised, target, draws.noise.sigma)])
    return PairEdit(lora_tensors(loras, {layer: model.lora_name(layer) for layer in loras}), model.name)


def drawing(
    bundle: DiffusionBundle, way: Way, edit: PairEdit | None, entry: tuple, sentence: str, sampling: PairSampling
) -> Draw:
    """Return what draws photos at strengths."""
    model = bundle.model
    sampling = replace(sampling, one_pass=way.applied == "one pass", edit_threshold=way.threshold)

    def ours(photos: Tensor, noise: Tensor, strengths: Tensor) -> Tensor:
        return apply_pair_edit(model, photos, edit, strengths.float(), entry, sampling, inverted=noise)

    def plain(photos: Tensor, noise: Tensor, strengths: Tensor) -> Tensor:
        levels, loras, x = noise_levels(model, sampling.steps), edit.loras_for(model), model.latent_in(noise)
        layers = {name: model.network.get_submodule(name) for name in loras}
        condition = model.condition(*entry, (1, *x.shape[1:]))
        with torch.no_grad(), scaled_hooks(layers, loras) as slider, slider.at(strengths):
            for sigma, sigma_next in zip(levels[:-1], levels[1:], strict=True):
                x = euler_step(x, model.denoise(x, sigma.expand(len(x)), condition), sigma, sigma_next)
        return model.latent_out(x)

    def by_sentence(photos: Tensor, noise: Tensor, strengths: Tensor) -> Tensor:
        target, plain_sentence = (Conditioning(*bundle.clip.encode(text)) for text in (sentence, "a person"))
        return torch.cat([
            photo if strength <= 0.02
            else sdedit(model, photo, target, plain_sentence, min(float(strength), 1.0), sampling.steps, way.cfg)
            for photo, strength in zip(photos.split(1), strengths, strict=True)
        ])  # fmt: skip

    return {"plain": plain, "sdedit": by_sentence}.get(way.applied, ours)
