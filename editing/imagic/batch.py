"""Imagic for several photos: each tuned on its own, swept over eta, and rendered at the eta of the common state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError
from ...models.files.imagic import LearnedLora
from ..common.diffusion.denoiser import Denoiser
from ..common.progress import Progress, silent, stage
from .common_state import CommonState
from .conditioning import Conditioning, conditioning_list
from .embedding import EmbeddingSettings, optimize_embedding
from .interpolation import FORMS, interpolate
from .sampling import Renderer
from .sweep import EtaSweep, SentenceScore, sweep_eta
from .tuning import TuneSettings, tune_model

__all__ = [
    "PhotoEdits",
    "PhotoSweeps",
    "TunedPhoto",
    "model_key",
    "photo_key",
    "render_common_state",
    "sweep_photos",
    "tune_photos",
]

_SAMPLED = 16  # numbers of a weight that tell a model from another
_LATER_FIELDS = ("schedule", "reference_rate", "average")  # of settings, since photos are saved with keys


@dataclass(frozen=True, eq=False)
class TunedPhoto:
    """One photo, learned.

    Args:
        name: for messages and files.
        photo: [1, H, W, 3] in 0..1.
        latent: [1, C, h, w], from the VAE.
        conditioning: its optimised embedding.
        lora: what was added to the model.
        report: how that went.
        key: `photo_key`, by which a later job knows it again.
    """

    name: str
    photo: Tensor
    latent: Tensor
    conditioning: Conditioning
    lora: dict[str, Tensor]
    report: str
    key: str


@dataclass(frozen=True, eq=False)
class PhotoEdits:
    """Photos that were learned with one model (socket IMAGIC_PHOTOS).

    Raises:
        InputError: when there are none.
    """

    photos: tuple[TunedPhoto, ...]

    def __post_init__(self) -> None:
        if not self.photos:
            raise InputError("There are no photos.")

    def __len__(self) -> int:
        return len(self.photos)

    def report(self) -> str:
        """Return a line per photo."""
        return "\n".join(f"{photo.name}: {photo.report}" for photo in self.photos)


@dataclass(frozen=True, eq=False)
class PhotoSweeps:
    """A sweep for each photo (socket IMAGIC_SWEEPS), and the renderer of one more picture of it.

    Args:
        names: B names.
        sweeps: B sweeps over the same etas.
        render: (index of a photo, eta) -> a picture [H, W, 3] in 0..1.
    """

    names: tuple[str, ...]
    sweeps: tuple[EtaSweep, ...]
    render: Callable[[int, float], Tensor]

    @property
    def etas(self) -> tuple[float, ...]:
        """Return the E etas that were swept."""
        return self.sweeps[0].etas

    @property
    def moved(self) -> list[list[bool]]:
        """Return [B][E] flags, True where the camera moved."""
        return [[move.moved for move in sweep.moves] for sweep in self.sweeps]

    @property
    def scores(self) -> list[tuple[float, ...]]:
        """Return [B][E] mean scores."""
        return [sweep.scores or () for sweep in self.sweeps]

    @property
    def best_etas(self) -> list[float]:
        """Return B automatic etas."""
        return [sweep.best_eta for sweep in self.sweeps]


def tune_photos(
    denoiser: Denoiser,
    photos: Tensor,  # [B, H, W, 3] in 0..1
    latents: Tensor,  # [B, C, h, w]
    target: Conditioning,
    names: Sequence[str],
    embedding: EmbeddingSettings,
    tuning: TuneSettings,
    start: Conditioning | None = None,
    free: int | None = None,  # bytes of memory that may be used
    on_tuned: Callable[[TunedPhoto], None] = lambda photo: None,
    cache: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress = silent,
) -> PhotoEdits:
    """Run Imagic's first two stages for each photo in turn.

    Args:
        names: B.
        start: a caption to start from instead of the target.
        on_tuned: called with each photo as soon as it is done, so that a later interruption costs no work.
        cache: by `photo_key`, what an earlier job has learned: embedding, extras, lora.

    Raises:
        InputError: when photos, latents and names differ in number, or as `optimize_embedding` and `tune_model`.
    """
    if not len(photos) == len(latents) == len(names):
        raise InputError(f"Got {len(photos)} photos, {len(latents)} latents and {len(names)} names.")
    steps_per_photo = (0 if tuning.joint else embedding.steps) + tuning.steps
    total = len(names) * steps_per_photo
    model, tuned = model_key(denoiser), []
    for k, name in enumerate(names):
        photo, latent = photos[k : k + 1], latents[k : k + 1]
        key = photo_key(model, photos[k], target, start, embedding, tuning)
        saved = (cache or {}).get(key)
        if saved is not None:
            conditioning = Conditioning(saved["embedding"], dict(saved["extras"]))
            tuned.append(TunedPhoto(name, photo, latent, conditioning, saved["lora"], "learned before.", key))
            progress((k + 1) * steps_per_photo, total)
            continue
        report = stage(progress, k * steps_per_photo, total)
        conditioning, lora, text = _tune_photo(denoiser, latent, target, embedding, tuning, start, free, report)
        tuned.append(TunedPhoto(name, photo, latent, conditioning, lora, text, key))
        on_tuned(tuned[-1])
    return PhotoEdits(tuple(tuned))


def _tune_photo(
    denoiser: Denoiser,
    latent: Tensor,
    target: Conditioning,
    embedding: EmbeddingSettings,
    tuning: TuneSettings,
    start: Conditioning | None,
    free: int | None,
    progress: Progress,
) -> tuple[Conditioning, dict[str, Tensor], str]:
    """Return the optimised conditioning, the LoRA and a report of both stages."""
    conditioning, text = start or target, ""
    if not tuning.joint:
        fit = optimize_embedding(denoiser, latent, target, embedding, start, free=free, progress=progress)
        conditioning, text = fit.conditioning, fit.report() + " "
        progress = stage(progress, embedding.steps, embedding.steps + tuning.steps)
    tuned = tune_model(denoiser, latent, conditioning, tuning, free=free, progress=progress)
    return tuned.conditioning, LearnedLora(tuned.lora, tuned.provenance), text + tuned.report()


def photo_key(
    model: str,  # `model_key`
    photo: Tensor,  # [H, W, 3]
    target: Conditioning,
    start: Conditioning | None,
    embedding: EmbeddingSettings,
    tuning: TuneSettings,
) -> str:
    """Hash what a learned photo depends on, but for the VAE: equal keys need no second learning."""
    digest = hashlib.sha256(f"({model!r}, {_key_of(embedding)}, {_key_of(tuning)}, {tuple(photo.shape)!r})".encode())
    digest.update(_bytes(photo))
    for conditioning in (target, *(() if start is None else (start,))):
        digest.update(_bytes(conditioning.embedding))
        for name, value in sorted(conditioning.extras.items()):
            if isinstance(value, Tensor):
                digest.update(name.encode() + _bytes(value))
            elif isinstance(value, bool | int | float | str):
                digest.update(repr((name, value)).encode())
    return digest.hexdigest()[:32]


def _key_of(settings: EmbeddingSettings | TuneSettings) -> str:
    """Write settings for the hash: another name of a class or field there would learn saved photos again.

    Fields that came later are written where they differ from what photos were learned with before they were there.
    """
    written = [
        f"{field.name}={getattr(settings, field.name)!r}"
        for field in fields(settings)
        if field.name not in _LATER_FIELDS or getattr(settings, field.name) != field.default
    ]
    return f"{type(settings).__name__}({', '.join(written)})"


def model_key(denoiser: Denoiser) -> str:
    """Hash a model and the LoRAs on it, told from others by a few numbers of each of its weights."""
    digest = hashlib.sha256(denoiser.name.encode())
    numbers = [
        weight.detach().flatten()[:: max(1, weight.numel() // _SAMPLED)][:_SAMPLED].float()
        for weight in denoiser.network.parameters()
        if weight.numel()
    ]
    digest.update(_bytes(torch.cat(numbers)))
    return digest.hexdigest()[:32]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().float().cpu().contiguous().numpy().tobytes()


def sweep_photos(
    edits: PhotoEdits,
    target: Conditioning,
    renderer_for: Callable[[TunedPhoto], Renderer],
    etas: Sequence[float],
    seeds: Sequence[int],
    score: SentenceScore,
    form: str = FORMS[0],
    progress: Progress = silent,
) -> PhotoSweeps:
    """Sweep every photo over the same etas and seeds.

    Args:
        renderer_for: makes the renderer of a photo's tuned model.
        form: one of `interpolation.FORMS`.

    Raises:
        InputError: when there are fewer than two etas, or as `sweep_eta`.
    """
    etas = tuple(sorted(set(etas)))
    if len(etas) < 2:
        raise InputError("A sweep of several photos needs two or more etas.")
    steps_per_photo, sweeps = len(etas) * len(seeds), []
    for k, photo in enumerate(edits.photos):
        report = stage(progress, k * steps_per_photo, len(edits) * steps_per_photo)
        sweeps.append(
            sweep_eta(renderer_for(photo), photo.conditioning, target, photo.photo, etas, seeds, form, score, report)
        )

    def render(index: int, eta: float) -> Tensor:
        photo = edits.photos[index]
        conditioning = conditioning_list(interpolate(photo.conditioning, target, eta, form))
        return renderer_for(photo).render(conditioning, seeds[0])

    return PhotoSweeps(tuple(photo.name for photo in edits.photos), tuple(sweeps), render)


def render_common_state(sweeps: PhotoSweeps, state: CommonState, progress: Progress = silent) -> Tensor:
    """Render every photo at its own eta, [B, H, W, 3] in 0..1; photos of several sizes are brought to the first's."""
    pictures = []
    for k, eta in enumerate(state.etas):
        picture = sweeps.render(k, eta).float().cpu()
        if pictures and picture.shape != pictures[0].shape:
            resized = F.interpolate(rearrange(picture, "h w c -> 1 c h w"), pictures[0].shape[:2], mode="area")
            picture = rearrange(resized, "1 c h w -> h w c")
        pictures.append(picture)
        progress(k + 1, len(state.etas), preview=picture)
    return torch.stack(pictures)
