"""Fisher's linear discriminant of one edit: a score of pictures learned without labels, and its normal in W.

Move sampled pictures along the edit, both ways, and read them in a feature space. The mean change m of the features,
divided by the covariance C of the features over pictures, is the direction u = (C + k I)^-1 m which tells edited from
unedited pictures best. If attributes vary independently and the edit changes only one, u . f is also the best linear
estimate of that attribute, for every picture, edited or not: covariances over people divide out what people differ in
besides. k is the one that is best on pictures which took no part in the fit, by the ratio of response to variance times
the share of the score that codes explain: the ratio alone would also reward what shows only in pictures of codes beside
W. Where each feature is a reading with a meaning of its own, the readings that changed most are taken.

Regressing this score on the codes gives v with v . w ~ score: a normal which measures what the edit changed, while the
edit itself, taken as its own normal (2401.10219), also measures all that is entangled with it in W.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.progress import Progress, stage
from ..common.sample import draw
from .features import FeatureSpace
from .ridge_regression import (
    TINY,
    USUAL_RIDGE,
    RidgeSolver,
    best_ridge,
    held_out_error,
    held_out_r2,
    ridge_regression,
)

SAMPLES = 512
PAIRS = 48
MIXED = 96  # samples that tell the rows of W+ apart
_MIXING = 0.35  # how much of another code each of their rows gets
_SHRINKAGE = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # k in units of the mean variance of a feature
_PROBE_SHRINKAGE = (0.003, 0.01, 0.03, *_SHRINKAGE)
_NEARLY_BEST = 0.95  # of the best: among such shrinkages the least
_SELECTED = 0.4  # of the largest change among readings: smaller ones are side effects of this one example
_SMALLEST_RESPONSE = 0.05  # of the score's deviation over people, for one length of the edit
_EQUAL_SHARES = 0.1  # of the mean variance: how strongly the shares of the rows are drawn toward equal ones
_CACHED_SAMPLES = 4  # per network

# A score of features that were not made to be read is about as good as its own normal, with other errors; the mean of
# both is better than either (R2 with the truth on the demo generator .90 against .86 and .90).
_HALF_TRUST = 0.5

__all__ = [
    "MIXED",
    "PAIRS",
    "SAMPLES",
    "AttributeScore",
    "NormalFit",
    "Samples",
    "fit_score",
    "linear_probe",
    "regress_normal",
    "sample_features",
    "sample_w",
]


@dataclass(frozen=True, eq=False)
class Samples:
    """Sampled codes of W with the features of their pictures, and codes of W+ whose rows differ with theirs.

    Args:
        space: in which the pictures were read.
        codes: [N, L, D], all rows of a code equal.
        features: [N, F].
        mixed_codes: [M, L, D], each row with a little of another code.
        mixed_features: [M, F].
    """

    space: FeatureSpace
    codes: Tensor
    features: Tensor
    mixed_codes: Tensor
    mixed_features: Tensor

    def __len__(self) -> int:
        """N, the number of samples of W."""
        return len(self.codes)


@dataclass(frozen=True, eq=False)
class AttributeScore:
    """How much of an attribute a picture shows: features . weights + intercept.

    The score is 0 for the average picture, and its unit is one standard deviation over sampled pictures.

    Args:
        space: in which pictures are read.
        weights: [F].
        response: mean change of the score for one length of the edit, on pictures that took no part in the fit.
        origin: what it was learned from.
        trust: in 0..1, how much the score counts in a correction beside the normal that it agrees with.
    """

    space: FeatureSpace
    weights: Tensor
    intercept: float
    response: float
    origin: str = "one edit, no labels"
    trust: float = 1.0

    def of_features(self, features: Tensor) -> Tensor:
        """Score features [B, F] -> [B]."""
        return features @ self.weights.to(features) + self.intercept

    def of_pictures(self, pictures: Tensor) -> Tensor:
        """Score pictures [B, 3, H, W] in -1..1 -> [B].

        Raises:
            InputError: the space reads codes only.
        """
        return self.of_features(self.space.read(pictures))

    def of_codes(self, generator: GanGenerator, codes: Tensor, progress: Progress | None = None) -> Tensor:
        """Score the pictures of codes [B, L, D] -> [B]; ``progress`` counts pictures."""
        return self.of_features(self.space.read_codes(generator, codes, progress))


_cache: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # network -> {(space, count, seed): Samples}


def sample_features(
    generator: GanGenerator,
    space: FeatureSpace,
    count: int = SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,  # counts pictures, ``count + MIXED`` in all
) -> Samples:
    """Draw codes and read their pictures; cached for as long as the network lives, for the next edit."""
    cached = _cache.setdefault(generator.network, {})
    space_key = space.key if space.key is not None else space
    key = (space_key, space.layers, count, seed, str(generator.device), generator.adaptation)
    if key in cached:
        if progress is not None:
            progress(count + MIXED, count + MIXED)
        return replace(cached[key], space=space)
    codes = sample_w(generator, count, seed)
    mixed = sample_w(generator, MIXED, seed + 1)
    if generator.num_layers > 1:
        # A little of another code in each row, as inverted codes have.
        other_codes = sample_w(generator, MIXED * generator.num_layers, seed + 3)[:, 0]
        mixed = mixed + _MIXING * (rearrange(other_codes, "(m l) d -> m l d", m=MIXED) - generator.w_mean)
    features = space.read_codes(generator, torch.cat([codes, mixed]), progress)
    # On the CPU: what is fitted to them needs float64, which some devices lack, and other work needs the device.
    samples = Samples(space, codes.cpu(), features[:count].cpu(), mixed.cpu(), features[count:].cpu())
    while len(cached) >= _CACHED_SAMPLES:
        cached.pop(next(iter(cached)))
    cached[key] = samples
    return samples


def sample_w(generator: GanGenerator, count: int, seed: int) -> Tensor:
    """Draw codes [count, L, D] of W."""
    z, labels = draw(generator, count, seed)
    with torch.no_grad():
        return generator.map(z, labels).clone()


def fit_score(
    generator: GanGenerator,
    edit: Tensor,  # [L, D]: what is added to a code
    samples: Samples,
    pairs: int = PAIRS,  # sampled codes that are moved by + and - the edit
    seed: int = 0,
    progress: Progress | None = None,  # counts pictures, ``2 * pairs`` in all
) -> AttributeScore:
    """Fit the score of what ``edit`` changes.

    Raises:
        InputError: the edit changes nothing that the space sees.
    """
    change = _feature_change(generator, edit, samples.space, pairs, seed, progress)
    x = samples.features.double()
    fit = _reading_weights if samples.space.readings else _discriminant_weights
    u, ratio = fit(samples, change)
    spread = float((x @ u).std())
    response = float((change @ u).mean()) / max(spread, TINY)
    if not spread > 0 or abs(response) < _SMALLEST_RESPONSE:
        raise InputError(
            f"The edit changes nothing that '{samples.space.name}' sees beyond what pictures differ in anyway "
            f"({response:.3f} standard deviations). Make a larger edit, choose other features, or use the direction as "
            "its own normal."
        )
    u = u / spread
    return AttributeScore(
        samples.space,
        u.float(),
        -float((x @ u).mean()),
        ratio**0.5 if response > 0 else -(ratio**0.5),
        trust=1.0 if samples.space.readings else _HALF_TRUST,
    )


def linear_probe(
    samples: Samples,
    normal: Tensor,  # [L, D]
    edit: Tensor,  # [L, D]
    origin: str = "the direction's normal",
) -> AttributeScore:
    """Fit a score of pictures for an attribute that a normal measures already: v . w regressed on the features."""
    values = (samples.codes * normal.to(samples.codes)).sum(dim=(1, 2))
    y = values.double()
    y = (y - y.mean()) / y.std().clamp(min=TINY)
    x = samples.features.double()
    split = 3 * len(x) // 4
    trial = RidgeSolver(x[:split])
    errors = {k: held_out_error(x, y, trial.regress(y[:split], k), split) for k in _PROBE_SHRINKAGE}
    u = RidgeSolver(x).regress(y, min(errors, key=errors.__getitem__))
    # Shrinkage makes the guesses smaller than what they guess: stretched, so that a step of the score is a true step.
    u = u / (x @ u).std().clamp(min=TINY)
    response = float((normal * edit.to(normal)).sum()) / float(values.std().clamp(min=TINY))
    return AttributeScore(samples.space, u.float(), -float((x @ u).mean()), response, origin, _HALF_TRUST)


@dataclass(frozen=True, eq=False)
class NormalFit:
    """A normal of W+ regressed on a score: normal . w + intercept ~ score.

    Args:
        normal: [L, D].
        r2: share of the held-out score's variance that it explains.
        row_shares: the share of each edited row, summing to 1.
    """

    normal: Tensor
    intercept: float
    r2: float
    row_shares: tuple[float, ...] = field(default=())


def regress_normal(
    score: AttributeScore,
    samples: Samples,
    rows: Sequence[int],  # the edited ones: the normal is zero elsewhere
) -> NormalFit:
    """Regress a score on codes: a normal v_l = share_l * v, with one v [D] and a share for each row of W+.

    v comes from codes of W, in which all rows are equal; the shares come from the mixed samples. A free vector for each
    row would need thousands of samples. Shares are those of the edited rows, since only these are compared and moved.
    """
    rows = list(rows)
    w, y = samples.codes[:, rows[0]].double(), score.of_features(samples.features).double()
    ridge, r2 = best_ridge(w, y, split=3 * len(y) // 4)
    vector = ridge_regression(w, y, ridge)
    shares = _row_shares(samples.mixed_codes[:, rows].double() @ vector, score.of_features(samples.mixed_features))
    normal = torch.zeros(samples.codes.shape[1:], dtype=torch.float64, device=w.device)
    normal[rows] = shares[:, None] * vector
    intercept = float((y - w @ vector).mean())
    return NormalFit(normal.float(), intercept, r2, tuple(shares.tolist()))


def _feature_change(
    generator: GanGenerator, edit: Tensor, space: FeatureSpace, pairs: int, seed: int, progress: Progress | None
) -> Tensor:
    """Return the change of the features [P, F] for one length of the edit, in float64 on the CPU."""
    codes = sample_w(generator, pairs, seed + 2)
    edit = edit.to(codes)
    raised, lowered = (
        space.read_codes(generator, codes + sign * edit, stage(progress, k * pairs, 2 * pairs)).cpu().double()
        for k, sign in enumerate((1, -1))
    )
    return (raised - lowered) / 2


def _reading_weights(samples: Samples, change: Tensor) -> tuple[Tensor, float]:
    """Weigh the readings that the edit changed most, in their standard deviations, by [F] that is zero elsewhere.

    A single example's edit changes other things a little, and a sum over all readings would carry their whole spread.
    Returned with the ratio of response to variance.
    """
    x = samples.features.double()
    deviation = x.std(dim=0).clamp(min=1e-9)
    moves = change.mean(dim=0) / deviation
    moves = torch.where(moves.abs() >= _SELECTED * moves.abs().max(), moves, torch.zeros_like(moves))
    u = moves / deviation
    return u, _response_ratio(_held_out_pairs(change), x, u)


def _discriminant_weights(samples: Samples, change: Tensor) -> tuple[Tensor, float]:
    """Solve u = (C + k I)^-1 m [F] with the shrinkage k that held-out pictures favour, and return its ratio there."""
    x = samples.features.double()
    split = 3 * len(x) // 4
    fitted = x[: max(2, split)]
    mean_change = change[: max(1, 3 * len(change) // 4)].mean(dim=0)
    solver, code_solver = RidgeSolver(fitted), RidgeSolver(samples.codes[: len(fitted), 0].double())
    ratios, merits = [], []
    for k in _SHRINKAGE:
        u = solver.solve(mean_change, k)
        ratios.append(_response_ratio(_held_out_pairs(change), x[split:], u))
        merits.append(ratios[-1] * max(0.0, _explained_by_codes(samples, code_solver, x @ u)))
    best = next(n for n, merit in enumerate(merits) if merit >= _NEARLY_BEST * max(merits))
    return RidgeSolver(x).solve(change.mean(dim=0), _SHRINKAGE[best]), ratios[best]


def _held_out_pairs(change: Tensor) -> Tensor:
    return change[3 * len(change) // 4 :]


def _response_ratio(change: Tensor, x: Tensor, u: Tensor) -> float:
    """Return Fisher's ratio of weights u [F]: squared mean change of the score over its variance on pictures x."""
    return float((change @ u).mean().square() / (x @ u).var().clamp(min=TINY))


def _explained_by_codes(samples: Samples, solver: RidgeSolver, scores: Tensor) -> float:
    """Return the R2 of a regression on codes for held-out scores: what it leaves is no property of a picture."""
    w, split = samples.codes[:, 0].double(), len(solver.centred)
    v = solver.regress(scores[:split] - scores[:split].mean(), USUAL_RIDGE)
    return held_out_r2(w, scores, v, split)


def _row_shares(contributions: Tensor, scores: Tensor) -> Tensor:
    """Regress scores [M] on the rows' contributions [M, R]: shares [R], not negative, of sum 1, drawn toward equal."""
    count = contributions.shape[1]
    equal = torch.full((count,), 1 / count, dtype=contributions.dtype, device=contributions.device)
    if count == 1:
        return equal
    x, y = contributions - contributions.mean(dim=0), scores.double() - scores.double().mean()
    common = x.mean(dim=1, keepdim=True)
    # What is left once each row counts alike is explained by how the rows differ from their mean.
    deviations, residuals = x - common, y - common[:, 0]
    gram = deviations.t() @ deviations
    damping = _EQUAL_SHARES * gram.diagonal().mean() * torch.eye(count, dtype=x.dtype, device=x.device)
    shares = (equal + torch.linalg.solve(gram + damping, deviations.t() @ residuals)).clamp(min=0)
    return shares / shares.sum()
