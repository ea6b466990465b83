"""Ways to edit one photo by one sentence with a model from a diffusers folder: ours, its variants, and the baselines.

Every way gives pictures along one axis: eta for those that learn the photo, denoise for SDEdit, guidance for DDIB.
Where a scorer is given, one of them is chosen without looking at any truth.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from baselines.diffusion import ddib, sdedit
from semantic_edit.editing.common.similarity import perceptual_distance
from semantic_edit.editing.imagic.conditioning import Conditioning, conditioning_list, single_conditioning
from semantic_edit.editing.imagic.embedding import EmbeddingSettings, optimize_embedding
from semantic_edit.editing.imagic.eta import choose_eta
from semantic_edit.editing.imagic.interpolation import interpolate
from semantic_edit.editing.imagic.presets import PRESETS
from semantic_edit.editing.imagic.sampling import Renderer, Sampling
from semantic_edit.editing.imagic.sweep import EtaSweep, SentenceScore, sweep_eta
from semantic_edit.editing.imagic.tuning import TuneSettings, tune_model
from semantic_edit.headless import use_headless
from semantic_edit.headless.host.diffusion import HeadlessDiffusion
from semantic_edit.models.diffusion.folder import DiffusionBundle, load_diffusion
from semantic_edit.models.diffusion.held_attention import hold_attention
from semantic_edit.models.diffusion.lora import with_lora
from semantic_edit.models.diffusion.model import DiffusionModel
from semantic_edit.models.diffusion.sampling import sample
from semantic_edit.models.scorers.scorer import TextImageScorer
from torch import Tensor

_LORA, _JOINT, _HELD = "LoRA, rank ", "standard, joint", "standard, layout held"
RANDOM, CAPTIONED = ", random noise", ", captioned"  # other samplings of what a preset learned
SEVERAL = ("standard", "quick")  # presets that are sampled in several ways
SEED = ", seed "  # of the learning; sampling from the photo's own noise draws nothing
SEEDS = ("", *(f"{SEED}{k}" for k in (1, 2)))
AGAIN = "standard, tuned again"  # under the same embedding, with the next seed
LEARNED = (  # by a preset, or as `Workshop` is set
    *(f"{way}{seed}" for way in (*PRESETS, AGAIN) for seed in SEEDS),
    *(f"{_LORA}{rank}" for rank in (16, 4, 64)), "LoRA, attention alone", _JOINT, _HELD,
    "imagic", "joint", "all weights", "no tuning", "no embedding",
)  # fmt: skip
BASELINES = ("sdedit", "ddib")
METHODS = (*LEARNED, *BASELINES)
ETAS = (0.4, 0.6, 0.8, 1.0, 1.2, 1.4)
DENOISES = (0.4, 0.5, 0.6, 0.7, 0.8)
GUIDANCES = (1.0, 2.0, 4.0, 6.0)
# KSampler with the photo's latent at denoise 1 adds its noise to the photo instead of starting from noise alone. At the
# most noise little of a photo is left but its mean colours, and those are what a few tuning steps learn last.
FROM_PHOTO = True


@dataclass(frozen=True, eq=False)
class Task:
    """One photo [1, H, W, 3] in 0..1, what it shall show, and what it shows now."""

    name: str
    photo: Tensor
    target: str
    source: str = "a person"


@dataclass(frozen=True, eq=False)
class Learned:
    """A photo that was learned: the model that paints it, the embedding it is painted under, CPU seconds.

    Args:
        tuning: those of the second stage among them.
    """

    model: DiffusionModel
    conditioning: Conditioning
    seconds: float
    report: str = ""
    tuning: float = 0.0
    own_noise: bool = True  # as the nodes do by default, instead of random noise
    negative: str = ""  # what guidance leads away from, and what the photo is inverted under
    noises: list[Tensor] = field(default_factory=list)  # the photo's own, once it was found


@dataclass(frozen=True, eq=False)
class Edits:
    """What a way made of a photo.

    Args:
        places: E values of its axis, rising.
        pictures: [E, H, W, 3] in 0..1.
        chosen: index of the choice made without knowing the truth, None where there is none.
        learning: CPU seconds before the first picture.
        painting: CPU seconds of all pictures together, choice included.
        sweep: what the choice saw.
    """

    places: tuple[float, ...]
    pictures: Tensor
    chosen: int | None
    learning: float
    painting: float
    report: str = ""
    sweep: Mapping[str, Any] = field(default_factory=dict)


class Workshop:
    """A model, how it is sampled, and settings of the learning.

    Args:
        folder: a diffusers folder.
        scorer: chooses eta; None for none.
    """

    def __init__(
        self,
        folder: Path,
        scorer: TextImageScorer | None = None,
        embedding: EmbeddingSettings | None = None,
        tuning: TuneSettings | None = None,
        sampling: Sampling | None = None,
        device: str = "cpu",
    ) -> None:
        use_headless()
        self.folder, self.scorer = folder, scorer
        self.bundle: DiffusionBundle = load_diffusion(folder, device)
        self.embedding, self.tuning = embedding or EmbeddingSettings(), tuning or TuneSettings()
        self.sampling = sampling or Sampling()

    @property
    def side(self) -> int:
        """Pixels of the pictures that the model was trained on."""
        return int(self.bundle.model.network.config.sample_size) * self.bundle.vae.downscale_ratio

    def said(self, text: str) -> Conditioning:
        """A sentence as an entry of a CONDITIONING."""
        return single_conditioning(self.bundle.clip.encode_from_tokens_scheduled(text))

    def edit(self, method: str, task: Task, places: Sequence[float] | None = None, seed: int = 0) -> Edits:
        """One photo, one way."""
        if method in LEARNED:
            learned = self.learn(method, task)
            return self.sweep(learned, task, places or ETAS, seed)
        latent, target, negative = self.bundle.vae.encode(task.photo), self.said(task.target), self.said("")
        places = places or {"sdedit": DENOISES, "ddib": GUIDANCES}[method]
        started, pictures = time.process_time(), []
        for place in places:
            if method == "sdedit":
                found = sdedit(
                    self.bundle.model,
                    latent,
                    target,
                    negative,
                    place,
                    self.sampling.steps,
                    self.sampling.cfg,
                    seed,
                )
            else:
                found = ddib(
                    self.bundle.model, latent, self.said(task.source), target, negative, self.sampling.steps, place
                )
            pictures.append(self.bundle.vae.decode(found)[0])
        images = torch.stack(pictures)
        chosen = self.chosen(task, places, images)
        return Edits(tuple(places), images, chosen, 0.0, time.process_time() - started)

    def learn(self, method: str, task: Task) -> Learned:
        """The first two stages, as the method has them."""
        model, latent = self.bundle.model, self.bundle.vae.encode(task.photo)
        target, source = self.said(task.target), self.said(task.source)
        embedding, tuning, stop_early = self.settings_of(method)
        started, report = time.process_time(), ""
        entry = source
        if method not in ("joint", _JOINT, "no embedding"):
            fit = optimize_embedding(model, latent, target, embedding)
            entry, report = fit.conditioning, fit.report()
        begun = time.process_time()
        if method != "no tuning":
            tuned = tune_model(model, latent, entry, tuning, stop_early=stop_early)
            model, entry, report = with_lora(model, tuned.lora), tuned.conditioning, f"{report} {tuned.report()}"
        if method == _HELD:
            model = hold_attention(model, (entry.embedding, entry.extras), 0.3)
        now = time.process_time()
        return Learned(model, entry, now - started, report, now - begun)

    def settings_of(self, method: str) -> tuple[EmbeddingSettings, TuneSettings, bool]:
        """Return a method's settings of both stages, and whether it stops early."""
        if method in ("joint", "all weights"):
            change = {"joint": True} if method == "joint" else {"method": "all weights", "rate": 0.0}
            return self.embedding, replace(self.tuning, **change), False
        if method in ("imagic", "no tuning", "no embedding"):
            return self.embedding, self.tuning, False
        method, _, number = method.partition(SEED)
        preset, seed = PRESETS[method if method in PRESETS else "standard"], int(number or 0)
        embedding = replace(preset.embedding, seed=seed)
        tuning = replace(preset.tuning, seed=(seed + 1) % len(SEEDS) if method == AGAIN else seed)
        if method.startswith(_LORA):
            tuning = replace(tuning, method="LoRA", rank=int(method.removeprefix(_LORA)))
        elif method == "LoRA, attention alone":
            tuning = replace(tuning, method="LoRA", blocks=("attention",))
        elif method == _JOINT:  # as many steps as both stages have
            tuning = replace(tuning, joint=True, steps=tuning.steps + embedding.steps // 2)
        return embedding, tuning, preset.stop_early

    def sweep(
        self, learned: Learned, task: Task, etas: Sequence[float] = ETAS, seed: int = 0, from_photo: bool = FROM_PHOTO
    ) -> Edits:
        """The third stage, at all etas, and the one that is chosen."""
        started = time.process_time()
        found = self.swept(learned, task, etas, seed, from_photo)
        chosen = None if self.scorer is None else found.best_index
        return Edits(
            found.etas, found.images[:, 0], chosen, learned.seconds, time.process_time() - started,
            f"{learned.report} {found.report()}",
            {"scores": found.scores, "photo_score": found.photo_score, "distances": found.distances,
             "besides": found.besides, "moved": [move.moved for move in found.moves], "eta": found.best_eta,
             "tuning": learned.tuning},
        )  # fmt: skip

    def swept(
        self, learned: Learned, task: Task, etas: Sequence[float], seed: int = 0, from_photo: bool = FROM_PHOTO
    ) -> EtaSweep:
        """Sweep all etas, painted as one batch: the same pictures as one by one, in half of the time."""
        target, etas, s = self.said(task.target), sorted(etas), self.sampling
        entries = [interpolate(learned.conditioning, target, eta) for eta in etas]
        batch = [[torch.cat([entry.embedding for entry in entries]), dict(entries[0].extras)]]
        latent = self.bundle.vae.encode(task.photo)
        start = (latent if from_photo else torch.zeros_like(latent)).expand(len(etas), -1, -1, -1)
        painted = iter(self.bundle.vae.decode(sample(
            learned.model, start, batch, conditioning_list(self.said(learned.negative)), s.sampler, s.scheduler,
            s.steps, s.cfg, seed=seed, indices=[0] * len(etas), noise=self.noise(learned, latent),
        )))  # fmt: skip
        renderer = Renderer(lambda conditioning, seed: latent, lambda _: next(painted)[None], learned.own_noise)
        score = None if self.scorer is None else SentenceScore(self.scorer, task.target, task.source)
        return sweep_eta(renderer, learned.conditioning, target, task.photo, etas, [seed], score=score)

    def noise(self, learned: Learned, latent: Tensor) -> Tensor | None:
        """The photo's own noise [1, C, h, w], or None for a seed's."""
        if not learned.own_noise:
            return None
        if not learned.noises:
            negative = conditioning_list(self.said(learned.negative))
            learned.noises.append(HeadlessDiffusion().photo_noise(learned.model, negative, latent, self.sampling))
        return learned.noises[0]

    def renderer(self, learned: Learned, task: Task, from_photo: bool = FROM_PHOTO) -> Renderer:
        """What paints pictures of the photo's size, from noise alone or from noise on the photo's latent."""
        latent = self.bundle.vae.encode(task.photo)
        start, s = latent if from_photo else torch.zeros_like(latent), self.sampling
        noise, negative = self.noise(learned, latent), conditioning_list(self.said(learned.negative))

        def painted(conditioning: list, seed: int) -> Tensor:
            return sample(
                learned.model, start, conditioning, negative, s.sampler, s.scheduler, s.steps, s.cfg, seed=seed,
                noise=noise,
            )  # fmt: skip

        return Renderer(painted, self.bundle.vae.decode, learned.own_noise)

    def chosen(self, task: Task, places: Sequence[float], images: Tensor) -> int | None:
        """The place that a scorer would choose among the given ones."""
        if self.scorer is None:
            return None
        score = SentenceScore(self.scorer, task.target, task.source)
        of_photo, features = score.features(task.photo), score.features(images)
        distances, besides = distance_from(task.photo, images), score.beside(features, of_photo)
        eta = choose_eta(places, score.of(features), distances, score.of(of_photo)[0], besides=besides)
        return list(places).index(eta)


def settings_from(pairs: Sequence[str]) -> dict[str, Any]:
    """``embedding.rate=0.02 tuning.steps=100 sampling.cfg=3`` as the three settings of a `Workshop`."""
    made: dict[str, Any] = {"embedding": EmbeddingSettings(), "tuning": TuneSettings(), "sampling": Sampling()}
    for pair in pairs:
        place, _, value = pair.partition("=")
        part, _, name = place.partition(".")
        now = getattr(made[part], name)
        parsed: Any = value
        if isinstance(now, tuple):  # blocks by name, levels as two numbers
            parsed = (value,) if isinstance(now[0], str) else tuple(float(level) for level in value.split(","))
        else:
            parsed = type(now)(value)
        made[part] = replace(made[part], **{name: parsed})
    return made


def distance_from(photo: Tensor, images: Tensor) -> list[float]:
    """Perceptual distances of pictures [E, H, W, 3] from a photo [1, H, W, 3]."""
    a, b = (tensor.movedim(-1, 1) * 2 - 1 for tensor in (photo.expand_as(images), images))
    return perceptual_distance(a, b).tolist()
