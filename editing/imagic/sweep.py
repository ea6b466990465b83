"""A grid of pictures over eta and seed, what they reach and what they cost, and the eta that follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.scorers.scorer import TextImageScorer
from ..common.similarity import perceptual_distance
from .camera import CameraMove, camera_move
from .conditioning import Entry, as_conditioning
from .eta import choose_eta
from .interpolation import FORMS, interpolate
from .sampling import Studio

__all__ = ["EtaSweep", "SentenceScore", "sweep_eta"]


class SentenceScore:
    """How well pictures fit one sentence rather than another, -1..1: the difference of two cosines.

    Args:
        scorer: the text-image model.
        prompt: what the edit asks for.
        source: what the photo shows now, in few words.
        ready: called before each use of the scorer: what painted meanwhile may have pushed it out of the memory.

    Raises:
        InputError: an empty sentence, or one that the scorer cannot tell from the source.
    """

    def __init__(
        self, scorer: TextImageScorer, prompt: str, source: str, ready: Callable[[], None] = lambda: None
    ) -> None:
        if not prompt.strip() or not source.strip():
            raise InputError("The sentence and the source have to be written out, as in 'a person with glasses'.")
        self.scorer, self.prompt, self.ready = scorer, prompt, ready
        ready()
        target, start = scorer.encode_text([prompt])[0], scorer.encode_text([source])[0]
        if float((target - start).norm()) < 1e-3:
            raise InputError(f"The scorer sees no difference between '{prompt}' and '{source}'; describe a change.")
        self.change = F.normalize(target - start, dim=0)

    def __call__(self, images: Tensor) -> list[float]:
        """Pictures [B, H, W, 3] in 0..1 -> B scores."""
        self.ready()
        with torch.no_grad():
            found = self.scorer.encode_images(images[..., :3].movedim(-1, 1) * 2 - 1)
            return (found @ self.change.to(found)).tolist()


@dataclass(frozen=True, eq=False)
class EtaSweep:
    """What a sweep showed.

    Args:
        photo: [H, W, 3] in 0..1.
        etas: E values, rising.
        seeds: S seeds.
        images: [E, S, H, W, 3].
        scores: E mean scores, or None without a scorer.
        photo_score: the photo's own score.
        distances: E mean perceptual distances from the photo.
        moves: E camera moves, of the first seed's pictures.
        chosen: the automatic eta; without a scorer the one nearest to 0.7, the middle of the published range.
    """

    photo: Tensor
    etas: tuple[float, ...]
    seeds: tuple[int, ...]
    images: Tensor
    scores: tuple[float, ...] | None
    photo_score: float | None
    distances: tuple[float, ...]
    moves: tuple[CameraMove, ...]
    chosen: float

    def report(self) -> str:
        """What to know, in sentences."""
        if self.scores is None:
            text = f"No scorer is connected: eta {self.chosen:g} is the one nearest to 0.7, which is usual."
        elif len(self.etas) == 1:
            text = f"eta {self.chosen:g}: score {self.scores[0]:.3f} (the photo itself: {self.photo_score:.3f})."
        else:
            text = (
                f"eta {self.chosen:.2f}: the score rises from {self.scores[0]:.3f} at eta {self.etas[0]:g} to "
                f"{max(self.scores):.3f} (the photo itself: {self.photo_score:.3f})."
            )
            if max(self.scores) - min(self.scores) < 0.02:
                text += " It hardly rises: optimise the embedding for longer, or write a plainer sentence."
        moved = [(eta, move) for eta, move in zip(self.etas, self.moves, strict=True) if move.moved]
        if moved:
            eta, move = moved[0]
            text += f" From eta {eta:g} the camera moves instead ({move}); stay below, or try another seed."
        return text


def sweep_eta(
    studio: Studio,
    optimised: Entry,
    target: Entry,
    photo: Tensor,  # [1, H, W, 3] in 0..1
    etas: Sequence[float],
    seeds: Sequence[int],
    form: str = FORMS[0],
    score: SentenceScore | None = None,
    progress: Callable[..., None] = lambda step, total, preview=None: None,
) -> EtaSweep:
    """Paint every (eta, seed), and look at what came.

    Raises:
        InputError: no eta or seed, several photos, embeddings that do not go together, or pictures that are none.
    """
    etas, seeds = tuple(sorted(set(etas))), tuple(dict.fromkeys(seeds))
    if not etas or not seeds or len(photo) != 1:
        raise InputError(f"A sweep needs etas, seeds and one photo; got {len(etas)}, {len(seeds)} and {len(photo)}.")
    if photo.ndim != 4 or photo.shape[-1] not in (3, 4) or 0 in photo.shape or not bool(torch.isfinite(photo).all()):
        raise InputError(f"The photo has shape {list(photo.shape)}; expected an IMAGE [1, H, W, 3] of finite numbers.")
    rows, done, total = [], 0, len(etas) * len(seeds)
    for eta in etas:
        conditioning = as_conditioning(interpolate(optimised, target, eta, form))
        row = []
        for seed in seeds:
            row.append(studio.paint(conditioning, seed))
            if not bool(torch.isfinite(row[-1]).all()):
                raise InputError(
                    f"At eta {eta:g} and seed {seed} the model painted numbers that are not finite. Check the latent "
                    "and both embeddings, lower the eta or the cfg, or load the model in a wider type than float16."
                )
            done += 1
            progress(done, total, preview=row[-1])
        rows.append(torch.stack(row))
    images = torch.stack(rows).float().cpu()
    own = fitted(photo, images.shape[-3:-1])
    distances = [float(_distance(own, row).mean()) for row in images]
    moves = [camera_move(own[0], row[0]) for row in images]
    scores = photo_score = None
    chosen = min(etas, key=lambda eta: abs(eta - 0.7))
    if score is not None:
        scores = tuple(sum(found) / len(found) for found in (score(row) for row in images))
        photo_score = score(own)[0]
        if len(etas) > 1:
            chosen = choose_eta(etas, scores, distances, photo_score, [move.moved for move in moves])
    return EtaSweep(own[0], etas, seeds, images, scores, photo_score, tuple(distances), tuple(moves), round(chosen, 4))


def fitted(photo: Tensor, size: tuple[int, ...]) -> Tensor:
    """The photo [B, H, W, 3] in another size, for comparing."""
    picture = photo[..., :3].detach().float().cpu().movedim(-1, 1)
    if tuple(picture.shape[-2:]) != tuple(size):
        picture = F.interpolate(picture, size=tuple(size), mode="area")
    return picture.movedim(1, -1)


def _distance(photo: Tensor, images: Tensor) -> Tensor:
    a, b = (tensor.movedim(-1, 1) * 2 - 1 for tensor in (photo.expand_as(images), images))
    return perceptual_distance(a, b)
