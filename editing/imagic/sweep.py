"""A sweep over eta and seed: pictures, their scores and distances, and the eta that follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError
from ...models.scorers.scorer import TextImageScorer
from ..common.progress import Progress, silent
from ..common.sentence_direction import sentence_direction
from ..common.similarity import perceptual_distance
from .camera import CameraMove, estimate_camera_move
from .conditioning import Conditioning, conditioning_list
from .eta import choose_between, choose_eta
from .interpolation import FORMS, interpolate
from .sampling import Renderer

__all__ = ["EtaSweep", "SentenceScore", "join_sweeps", "sweep_eta"]

_USUAL_ETA = 0.7  # the middle of the published range
_SMALL_RISE = 0.02  # of a score over a sweep


class SentenceScore:
    """Directional CLIP score (StyleGAN-NADA, 2108.00946): how well pictures fit one sentence rather than another.

    A difference of two cosines, -1..1.

    Args:
        scorer: the text-image model.
        prompt: what the edit asks for.
        source: what the photo shows now, in few words.
        ready: called before each use of the scorer: sampling in between may have pushed it out of the memory.

    Raises:
        InputError: when a sentence is empty, or the scorer cannot tell it from the source.
    """

    def __init__(
        self, scorer: TextImageScorer, prompt: str, source: str, ready: Callable[[], None] = lambda: None
    ) -> None:
        self.scorer, self.prompt, self.ready = scorer, prompt, ready
        ready()
        self.direction = sentence_direction(scorer, prompt, source)  # [D]

    def __call__(self, images: Tensor) -> list[float]:
        """Return the B scores of pictures [B, H, W, 3] in 0..1."""
        return self.of(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Return the scorer's unit features [B, D] of pictures [B, H, W, 3] in 0..1."""
        self.ready()
        with torch.no_grad():
            return self.scorer.encode_images(rearrange(images[..., :3], "b h w c -> b c h w") * 2 - 1)

    def of(self, features: Tensor) -> list[float]:
        """Return the B scores of features [B, D]."""
        return (features @ self.direction.to(features)).tolist()

    def beside(self, features: Tensor, photo: Tensor) -> list[float]:
        """Return how far pictures' features [B, D] moved from the photo's [1, D] across the sentence's direction.

        What an edit changes that nobody asked for, 0..2: a hat that comes along with glasses, another face.
        """
        change = features - photo
        along = change @ self.direction.to(change)
        return (change - along[:, None] * self.direction.to(change)).norm(dim=1).tolist()


@dataclass(frozen=True, eq=False)
class EtaSweep:
    """The pictures of a sweep and what was measured on them.

    Args:
        photo: [H, W, 3] in 0..1.
        etas: E values, rising.
        seeds: S seeds.
        images: [E, S, H, W, 3].
        scores: E mean scores, or None without a scorer.
        besides: E means of how far the scorer's features moved across the sentence's direction, likewise.
        photo_score: the photo's own score.
        distances: E mean perceptual distances from the photo.
        moves: E camera moves, of the first seed's pictures; none from the photo's own noise.
        best_eta: the automatic eta, one of those; without a scorer the one nearest to 0.7, the middle of the published
            range.
        rows: S names of the rows of pictures; none: the seeds.
        best_row: the row that was chosen, where rows are no seeds.
    """

    photo: Tensor
    etas: tuple[float, ...]
    seeds: tuple[int, ...]
    images: Tensor
    scores: tuple[float, ...] | None
    besides: tuple[float, ...] | None
    photo_score: float | None
    distances: tuple[float, ...]
    moves: tuple[CameraMove, ...]
    best_eta: float
    rows: tuple[str, ...] = ()
    best_row: int | None = None

    @property
    def best_index(self) -> int:
        """Return which of the etas is the best."""
        return min(range(len(self.etas)), key=lambda k: abs(self.etas[k] - self.best_eta))

    def report(self) -> str:
        """Say in sentences which eta is best and what to look out for."""
        if self.scores is None:
            text = f"No scorer is connected: eta {self.best_eta:g} is the one nearest to 0.7, which is usual."
        elif len(self.etas) == 1:
            text = f"eta {self.best_eta:g}: score {self.scores[0]:.3f} (the photo itself: {self.photo_score:.3f})."
        else:
            text = (
                f"eta {self.best_eta:.2f}: the score rises from {self.scores[0]:.3f} at eta {self.etas[0]:g} to "
                f"{max(self.scores):.3f} (the photo itself: {self.photo_score:.3f})."
            )
            if self.best_row is not None:
                best = "better picture of the two" if len(self.rows) == 2 else f"best picture of {len(self.rows)}"
                text += f" The {best} is painted {self.rows[self.best_row]}."
            if max(self.scores) - min(self.scores) < _SMALL_RISE:
                text += " It hardly rises: optimise the embedding for longer, or write a plainer sentence."
        moved = [(eta, move) for eta, move in zip(self.etas, self.moves, strict=True) if move.moved]
        if moved:
            eta, move = moved[0]
            text += f" From eta {eta:g} the camera moves instead ({move}); stay below, or try another seed."
        return text


def join_sweeps(sweeps: Sequence[EtaSweep], rows: Sequence[str]) -> EtaSweep:
    """Join sweeps of one photo over the same etas, a seed each, and choose the best picture of all.

    Args:
        sweeps: with scores.
        rows: how each was painted, such as "away from the caption".

    Returns:
        A row of pictures for each; scores, distances and moves are those of the row that was chosen.

    Raises:
        InputError: without scores.
    """
    if any(sweep.scores is None for sweep in sweeps):
        raise InputError("Choosing between sweeps needs the scores of all of them; give each a scorer.")
    row, index = choose_between(
        [sweep.scores for sweep in sweeps], [sweep.distances for sweep in sweeps], sweeps[0].photo_score,
        [sweep.besides for sweep in sweeps], [[move.moved for move in sweep.moves] for sweep in sweeps],
    )  # fmt: skip
    best = sweeps[row]
    return replace(
        best,
        seeds=tuple(sweep.seeds[0] for sweep in sweeps),
        images=torch.cat([sweep.images[:, :1] for sweep in sweeps], dim=1),
        best_eta=best.etas[index],
        rows=tuple(rows),
        best_row=row,
    )


def sweep_eta(
    renderer: Renderer,
    optimised: Conditioning,
    target: Conditioning,
    photo: Tensor,  # [1, H, W, 3] in 0..1
    etas: Sequence[float],
    seeds: Sequence[int],
    form: str = FORMS[0],
    score: SentenceScore | None = None,
    progress: Progress = silent,
) -> EtaSweep:
    """Render every (eta, seed), and measure the pictures.

    Args:
        etas: in any order; equal ones are rendered once.
        seeds: likewise.
        form: one of `interpolation.FORMS`.

    Raises:
        InputError: when there is no eta or seed, there are several photos, the embeddings do not go together, or the
            pictures hold numbers that are not finite.
    """
    etas, seeds = tuple(sorted(set(etas))), tuple(dict.fromkeys(seeds))
    if not etas or not seeds or len(photo) != 1:
        raise InputError(f"A sweep needs etas, seeds and one photo; got {len(etas)}, {len(seeds)} and {len(photo)}.")
    if photo.ndim != 4 or photo.shape[-1] not in (3, 4) or 0 in photo.shape or not bool(torch.isfinite(photo).all()):
        raise InputError(f"The photo has shape {list(photo.shape)}; expected an IMAGE [1, H, W, 3] of finite numbers.")
    images = _render_grid(renderer, optimised, target, etas, seeds, form, progress)
    photo = _resized(photo, images.shape[-3:-1])
    distances = [float(_distance(photo, row).mean()) for row in images]
    if renderer.from_photo_noise:  # what then looks like a move is a change of the content: of hair, of a pose
        moves = [CameraMove(1.0, 0.0, (0.0, 0.0), 0.0)] * len(etas)
    else:
        moves = [estimate_camera_move(photo[0], row[0]) for row in images]
    scores = besides = photo_score = None
    best_eta = min(etas, key=lambda eta: abs(eta - _USUAL_ETA))
    if score is not None:
        of_photo, features = score.features(photo), [score.features(row) for row in images]
        photo_score = score.of(of_photo)[0]
        scores = tuple(fmean(score.of(row)) for row in features)
        besides = tuple(fmean(score.beside(row, of_photo)) for row in features)
        if len(etas) > 1:
            moved = [move.moved for move in moves]
            best_eta = choose_eta(etas, scores, distances, photo_score, moved, besides)
    return EtaSweep(
        photo[0], etas, seeds, images, scores, besides, photo_score, tuple(distances), tuple(moves), round(best_eta, 4)
    )


def _render_grid(
    renderer: Renderer,
    optimised: Conditioning,
    target: Conditioning,
    etas: Sequence[float],
    seeds: Sequence[int],
    form: str,
    progress: Progress,
) -> Tensor:
    """Render [E, S, H, W, 3] in 0..1, float32 on the CPU."""
    rows, total = [], len(etas) * len(seeds)
    for eta in etas:
        conditioning, row = conditioning_list(interpolate(optimised, target, eta, form)), []
        for seed in seeds:
            row.append(renderer.render(conditioning, seed))
            if not bool(torch.isfinite(row[-1]).all()):
                raise InputError(
                    f"At eta {eta:g} and seed {seed} the model painted numbers that are not finite. Check the latent "
                    "and both embeddings, lower the eta or the cfg, or load the model in a wider type than float16."
                )
            progress(len(rows) * len(seeds) + len(row), total, preview=row[-1])
        rows.append(torch.stack(row))
    return torch.stack(rows).float().cpu()


def _resized(photo: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize a photo [B, H, W, 3 or 4] to the pictures' size, [B, h, w, 3]."""
    colours = rearrange(photo[..., :3].detach().float().cpu(), "b h w c -> b c h w")
    if tuple(colours.shape[-2:]) != tuple(size):
        colours = F.interpolate(colours, size=tuple(size), mode="area")
    return rearrange(colours, "b c h w -> b h w c")


def _distance(photo: Tensor, images: Tensor) -> Tensor:
    """Return the perceptual distances [B] of pictures [B, H, W, 3] from a photo [1, H, W, 3]."""
    a, b = (rearrange(tensor, "b h w c -> b c h w") * 2 - 1 for tensor in (photo.expand_as(images), images))
    return perceptual_distance(a, b, levels=3)  # what the choice of eta was measured with
