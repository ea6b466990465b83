"""Several photos: each tuned on its own, swept over eta, and painted at the eta that brings all to one state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError
from .common_state import CommonState
from .conditioning import Entry, as_conditioning
from .denoiser import Denoiser
from .embedding import EmbeddingSettings, optimize_embedding
from .interpolation import FORMS, interpolate
from .sampling import Studio
from .sweep import EtaSweep, SentenceScore, sweep_eta
from .tuning import TuneSettings, tune_model

__all__ = [
    "PhotoEdits",
    "PhotoSweeps",
    "TunedPhoto",
    "model_key",
    "paint_common",
    "photo_key",
    "sweep_photos",
    "tune_photos",
]

_LOOKED_AT = 16  # numbers of a weight that tell a model from another


@dataclass(frozen=True, eq=False)
class TunedPhoto:
    """One photo, learned.

    Args:
        name: for messages and files.
        photo: [1, H, W, 3] in 0..1.
        latent: [1, C, h, w], from the VAE.
        entry: its optimised embedding.
        lora: what was added to the model.
        report: how that went.
        key: `photo_key`, by which a later job knows it again.
    """

    name: str
    photo: Tensor
    latent: Tensor
    entry: Entry
    lora: dict[str, Tensor]
    report: str
    key: str


@dataclass(frozen=True, eq=False)
class PhotoEdits:
    """Photos that were learned with one model (socket IMAGIC_PHOTOS)."""

    photos: tuple[TunedPhoto, ...]

    def __post_init__(self) -> None:
        if not self.photos:
            raise InputError("There are no photos.")

    def __len__(self) -> int:
        return len(self.photos)

    def report(self) -> str:
        """A line per photo."""
        return "\n".join(f"{photo.name}: {photo.report}" for photo in self.photos)


@dataclass(frozen=True, eq=False)
class PhotoSweeps:
    """A sweep for each photo (socket IMAGIC_SWEEPS), and what paints one more picture of it.

    Args:
        names: B names.
        sweeps: B sweeps over the same etas.
        paint: (index of a photo, eta) -> a picture [H, W, 3] in 0..1.
    """

    names: tuple[str, ...]
    sweeps: tuple[EtaSweep, ...]
    paint: Callable[[int, float], Tensor]

    @property
    def etas(self) -> tuple[float, ...]:
        """The etas that were swept."""
        return self.sweeps[0].etas

    @property
    def moved(self) -> list[list[bool]]:
        """B x E: whether the camera had moved."""
        return [[move.moved for move in sweep.moves] for sweep in self.sweeps]

    @property
    def scores(self) -> list[tuple[float, ...]]:
        """B x E mean scores."""
        return [sweep.scores or () for sweep in self.sweeps]

    @property
    def chosen(self) -> list[float]:
        """B automatic etas."""
        return [sweep.chosen for sweep in self.sweeps]


def tune_photos(
    denoiser: Denoiser,
    photos: Tensor,  # [B, H, W, 3] in 0..1
    latents: Tensor,  # [B, C, h, w]
    target: Entry,
    names: Sequence[str],
    embedding: EmbeddingSettings,
    tuning: TuneSettings,
    start: Entry | None = None,
    free: int | None = None,
    finished: Callable[[TunedPhoto], None] = lambda photo: None,
    found: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Callable[..., None] = lambda step, total, preview=None: None,
) -> PhotoEdits:
    """Imagic's first two stages for each photo in turn.

    Args:
        finished: called with each photo as soon as it is done, so that a later interruption costs no work.
        found: by `photo_key`, what an earlier job has learned: embedding, extras, lora.

    Raises:
        InputError: photos, latents and names differ in number, or as `optimize_embedding` and `tune_model`.
    """
    if not len(photos) == len(latents) == len(names):
        raise InputError(f"Got {len(photos)} photos, {len(latents)} latents and {len(names)} names.")
    each = (0 if tuning.joint else embedding.steps) + tuning.steps
    model, done = model_key(denoiser), []
    for k, name in enumerate(names):
        latent, first = latents[k : k + 1], k * each
        key = photo_key(model, photos[k], target, start, embedding, tuning)
        known = (found or {}).get(key)
        if known is not None:
            entry = Entry(known["embedding"], dict(known["extras"]))
            done.append(TunedPhoto(name, photos[k : k + 1], latent, entry, known["lora"], "learned before.", key))
            progress(first + each, len(names) * each)
            continue

        def report(step: int, total: int, preview: Tensor | None = None, first: int = first) -> None:
            progress(first + step, len(names) * each, preview=preview)

        entry, text = start or target, ""
        if not tuning.joint:
            fit = optimize_embedding(denoiser, latent, target, embedding, start, free=free, progress=report)
            entry, text = fit.entry, fit.report() + " "

        def report_tuning(step: int, total: int, preview: Tensor | None = None, first: int = first) -> None:
            progress(first + each - tuning.steps + step, len(names) * each, preview=preview)

        tuned = tune_model(denoiser, latent, entry, tuning, free=free, progress=report_tuning)
        done.append(TunedPhoto(name, photos[k : k + 1], latent, tuned.entry, tuned.lora, text + tuned.report(), key))
        finished(done[-1])
    return PhotoEdits(tuple(done))


def photo_key(
    model: str,  # `model_key`
    photo: Tensor,
    target: Entry,
    start: Entry | None,
    embedding: EmbeddingSettings,
    tuning: TuneSettings,
) -> str:
    """What a learned photo depends on, but for the VAE: equal keys need no second learning."""
    digest = hashlib.sha256(repr((model, embedding, tuning, tuple(photo.shape))).encode())
    digest.update(_bytes(photo))
    for entry in (target, *(() if start is None else (start,))):
        digest.update(_bytes(entry.embedding))
        for name, value in sorted(entry.extras.items()):
            if isinstance(value, Tensor):
                digest.update(name.encode() + _bytes(value))
            elif isinstance(value, bool | int | float | str):
                digest.update(repr((name, value)).encode())
    return digest.hexdigest()[:32]


def model_key(denoiser: Denoiser) -> str:
    """A model and the LoRAs on it, told from others by a few numbers of each of its weights."""
    digest = hashlib.sha256(denoiser.name.encode())
    numbers = [
        weight.detach().flatten()[:: max(1, weight.numel() // _LOOKED_AT)][:_LOOKED_AT].float()
        for weight in denoiser.network.parameters()
        if weight.numel()
    ]
    digest.update(_bytes(torch.cat(numbers)))
    return digest.hexdigest()[:32]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().float().cpu().contiguous().numpy().tobytes()


def sweep_photos(
    edits: PhotoEdits,
    target: Entry,
    studio_of: Callable[[TunedPhoto], Studio],
    etas: Sequence[float],
    seeds: Sequence[int],
    score: SentenceScore,
    form: str = FORMS[0],
    progress: Callable[..., None] = lambda step, total, preview=None: None,
) -> PhotoSweeps:
    """Sweep every photo over the same etas and seeds.

    Raises:
        InputError: fewer than two etas, or as `sweep_eta`.
    """
    etas = tuple(sorted(set(etas)))
    if len(etas) < 2:
        raise InputError("A sweep of several photos needs two or more etas.")
    each, sweeps = len(etas) * len(seeds), []
    for k, photo in enumerate(edits.photos):

        def report(step: int, total: int, preview: Tensor | None = None, first: int = k * each) -> None:
            progress(first + step, len(edits) * each, preview=preview)

        sweeps.append(sweep_eta(studio_of(photo), photo.entry, target, photo.photo, etas, seeds, form, score, report))

    def paint(index: int, eta: float) -> Tensor:
        photo = edits.photos[index]
        conditioning: list[Any] = as_conditioning(interpolate(photo.entry, target, eta, form))
        return studio_of(photo).paint(conditioning, seeds[0])

    return PhotoSweeps(tuple(photo.name for photo in edits.photos), tuple(sweeps), paint)


def paint_common(
    sweeps: PhotoSweeps, state: CommonState, progress: Callable[..., None] = lambda step, total, preview=None: None
) -> Tensor:
    """Every photo at its own eta, [B, H, W, 3] in 0..1; photos of several sizes are brought to the first one's."""
    pictures = []
    for k, eta in enumerate(state.etas):
        picture = sweeps.paint(k, eta).float().cpu()
        if pictures and picture.shape != pictures[0].shape:
            resized = torch.nn.functional.interpolate(picture.movedim(-1, 0)[None], pictures[0].shape[:2], mode="area")
            picture = resized[0].movedim(0, -1)
        pictures.append(picture)
        progress(k + 1, len(state.etas), preview=picture)
    return torch.stack(pictures)
