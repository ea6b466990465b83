"""What did the edit change? An attribute learned from one edit, without labels, and pulled back to a normal of W.

Move sampled pictures along the edit, both ways, and look at them in a feature space. The mean change m of the features,
divided by the covariance C of the features over pictures, is the direction u = (C + k I)^-1 m which tells edited from
unedited pictures best (Fisher's linear discriminant). If attributes vary independently and the edit changes only one,
u . f is also the best linear estimate of that attribute, for every picture, edited or not: covariances over people
divide out what people differ in besides. k is the one that is best on pictures which took no part in the fit, by the
ratio of response to variance times the share of the score that codes explain: the ratio alone would also reward what
shows only in pictures of codes beside W. Where each feature is a reading with a meaning of its own, the readings that
changed most are taken.

Regressing this score on the codes gives v with v . w ~ score: a normal which measures what the edit changed, while the
edit itself, taken as its own normal (2401.10219), also measures all that is entangled with it in W.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.sample import draw
from .features import FeatureSpace

SAMPLES = 512
PAIRS = 48
MIXED = 96  # samples that tell the rows of W+ apart
_OWN = 0.35  # how much of another code each of their rows gets
_SHRINKAGE = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # k in units of the mean variance of a feature
_RIDGES = (1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)  # in units of the mean variance of an entry of w
_RIDGE = 0.03  # the usual one among these
_NEARLY = 0.95  # of the best: among such shrinkages the least
_CHOSEN = 0.4  # of the largest change among readings: smaller ones are side effects of this one example
_SMALLEST_RESPONSE = 0.05  # of the score's deviation over people, for one length of the edit

# A score of features that were not made to be read is about as good as its own normal, with other errors; the mean of
# both is better than either (R2 with the truth on the demo generator .90 against .86 and .90).
_HALF = 0.5

Told = Callable[[int], None]

__all__ = [
    "PAIRS",
    "SAMPLES",
    "AttributeScore",
    "Samples",
    "linear_probe",
    "fit_score",
    "sample_w",
    "regress_normal",
    "sample_features",
]


@dataclass(frozen=True, eq=False)
class Samples:
    """Sampled codes [N, L, D] of W and the features [N, F] of their pictures; and others whose rows differ."""

    space: FeatureSpace
    codes: Tensor
    features: Tensor
    mixed_codes: Tensor  # [M, L, D]
    mixed_features: Tensor  # [M, F]

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, eq=False)
class AttributeScore:
    """How much of an attribute a picture shows: features . weights + intercept, 0 for the average picture and in
    standard deviations over sampled pictures."""

    space: FeatureSpace
    weights: Tensor  # [F]
    intercept: float
    response: float  # mean change of the score for one length of the edit, on pictures that took no part in the fit
    origin: str = "one edit, no labels"  # what it was learned from
    trust: float = 1.0  # of a correction by looking: how much the score counts beside the normal it agrees with

    def of_features(self, features: Tensor) -> Tensor:
        """[B, F] -> [B]."""
        return features @ self.weights.to(features) + self.intercept

    def of_pictures(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] in -1..1 -> [B]. Raises InputError where the space reads codes only."""
        return self.of_features(self.space.read(pictures))

    def of_codes(self, generator: GanGenerator, codes: Tensor, told: Told | None = None) -> Tensor:
        """The score of the pictures of codes [B, L, D] -> [B]."""
        return self.of_features(self.space.read_codes(generator, codes, told))


_cache: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # network -> {(space, count, seed): Samples}
_KEPT = 4


def sample_features(
    generator: GanGenerator, space: FeatureSpace, count: int = SAMPLES, seed: int = 0, told: Told | None = None
) -> Samples:
    """Draw codes and read their pictures; kept for as long as the network lives, so that the next edit has them."""
    kept = _cache.setdefault(generator.network, {})
    seen_by = space.key if space.key is not None else space
    key = (seen_by, space.layers, count, seed, str(generator.device), generator.adaptation)
    if key in kept:
        if told is not None:
            told(count + MIXED)
        return replace(kept[key], space=space)
    codes = sample_w(generator, count, seed)
    mixed = sample_w(generator, MIXED, seed + 1)
    if generator.num_layers > 1:
        # A little of another code in each row, as inverted codes have.
        others = sample_w(generator, MIXED * generator.num_layers, seed + 3)[:, 0].unflatten(0, (MIXED, -1))
        mixed = mixed + _OWN * (others - generator.w_mean)
    features = space.read_codes(generator, torch.cat([codes, mixed]), told)
    # On the CPU: what is fitted to them needs float64, which some devices lack, and other work needs the device.
    found = Samples(space, codes.cpu(), features[:count].cpu(), mixed.cpu(), features[count:].cpu())
    while len(kept) >= _KEPT:
        kept.pop(next(iter(kept)))
    kept[key] = found
    return found


def fit_score(
    generator: GanGenerator,
    edit: Tensor,  # [L, D]: what is added to a code
    samples: Samples,
    pairs: int = PAIRS,
    seed: int = 0,
    told: Told | None = None,
) -> AttributeScore:
    """The score of what ``edit`` changes, from ``pairs`` sampled codes moved by + and - the edit.

    Raises InputError when the edit changes nothing that the space sees.
    """
    base = sample_w(generator, pairs, seed + 2)
    edit = edit.to(base)
    forth = samples.space.read_codes(generator, base + edit, told).cpu().double()
    back = samples.space.read_codes(generator, base - edit, told).cpu().double()
    change = (forth - back) / 2
    x = samples.features.double()
    fitted, judged = slice(0, max(2, 3 * len(x) // 4)), slice(3 * len(x) // 4, None)
    early, late = change[: max(1, 3 * pairs // 4)], change[3 * pairs // 4 :]
    if samples.space.readings:
        u = _chosen_readings(x, change)
        ratio = float((late @ u).mean().square() / (x @ u).var().clamp(min=1e-30))
    else:
        trial, codes = RidgeSolver(x[fitted]), RidgeSolver(samples.codes[fitted, 0].double())
        ratios, worths = [], []
        for k in _SHRINKAGE:
            u = trial.solve(early.mean(dim=0), k)
            ratios.append(float((late @ u).mean().square() / (x[judged] @ u).var().clamp(min=1e-30)))
            worths.append(ratios[-1] * max(0.0, _told_by_codes(samples, codes, x @ u)))
        best = next(n for n, worth in enumerate(worths) if worth >= _NEARLY * max(worths))
        ratio = ratios[best]
        u = RidgeSolver(x).solve(change.mean(dim=0), _SHRINKAGE[best])
    spread = float((x @ u).std())
    response = float((change @ u).mean()) / max(spread, 1e-30)
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
        trust=1.0 if samples.space.readings else _HALF,
    )


def _told_by_codes(samples: Samples, codes: RidgeSolver, scores: Tensor) -> float:
    """How much of the held-out scores a regression on codes explains: what it does not is no property of a picture."""
    w, cut = samples.codes[:, 0].double(), len(codes.centred)
    v = codes.solve(codes.centred.t() @ (scores[:cut] - scores[:cut].mean()) / cut, _RIDGE)
    return 1 - _error(w, scores, v, cut) / float(scores[cut:].var().clamp(min=1e-30))


def _chosen_readings(x: Tensor, change: Tensor) -> Tensor:
    """[F] weights of the readings that the edit changed most, in their standard deviations; zero for the rest.

    A single example's edit changes other things a little, and a sum over all readings would carry their whole spread.
    """
    deviation = x.std(dim=0).clamp(min=1e-9)
    moved = change.mean(dim=0) / deviation
    moved = torch.where(moved.abs() >= _CHOSEN * moved.abs().max(), moved, torch.zeros_like(moved))
    return moved / deviation


def linear_probe(
    samples: Samples,
    normal: Tensor,  # [L, D]
    edit: Tensor,  # [L, D]
    origin: str = "the direction's normal",
) -> AttributeScore:
    """A score of pictures for an attribute that a normal measures already: v . w regressed on the features."""
    y = (samples.codes * normal.to(samples.codes)).sum(dim=(1, 2)).double()
    y = (y - y.mean()) / y.std().clamp(min=1e-30)
    x = samples.features.double()
    cut = 3 * len(x) // 4
    trial = RidgeSolver(x[:cut])
    tried = (0.003, 0.01, 0.03, *_SHRINKAGE)
    errors = {k: _error(x, y, trial.solve(trial.centred.t() @ y[:cut] / cut, k), cut) for k in tried}
    whole = RidgeSolver(x)
    u = whole.solve(whole.centred.t() @ y / len(x), min(errors, key=errors.__getitem__))
    # Shrinkage makes the guesses smaller than what they guess: stretched, so that a step of the score is a true step.
    u = u / (x @ u).std().clamp(min=1e-30)
    response = float((normal * edit.to(normal)).sum()) / float(
        (samples.codes * normal.to(samples.codes)).sum(dim=(1, 2)).std().clamp(min=1e-30)
    )
    return AttributeScore(samples.space, u.float(), -float((x @ u).mean()), response, origin, _HALF)


@dataclass(frozen=True)
class NormalFit:
    """normal [L, D] with normal . w + intercept ~ score; ``r2``: how much of the held-out score that explains."""

    normal: Tensor
    intercept: float
    r2: float
    rows: tuple[float, ...] = field(default=())  # the share of each row


def regress_normal(
    score: AttributeScore,
    samples: Samples,
    rows: Sequence[int],  # the edited ones: the normal is zero elsewhere
) -> NormalFit:
    """Regress a score on codes: a normal v_l = share_l * v, with one v [D] and a share for each row of W+.

    v comes from codes of W, in which all rows are equal; the shares come from the mixed samples. A free vector for each
    row would need thousands of samples. Shares are those of the edited rows, since only these are compared and moved.
    """
    w, y = samples.codes[:, rows[0]].double(), score.of_features(samples.features).double()
    cut = 3 * len(y) // 4
    explained = {ridge: _held_out_r2(w, y, cut, ridge) for ridge in _RIDGES}
    ridge = max(explained, key=explained.__getitem__)
    vector = _ridge(w, y, ridge)
    share = _shares(samples.mixed_codes[:, list(rows)].double() @ vector, score.of_features(samples.mixed_features))
    normal = torch.zeros(samples.codes.shape[1:], dtype=torch.float64, device=w.device)
    normal[list(rows)] = share[:, None] * vector
    intercept = float((y - w @ vector).mean())
    return NormalFit(normal.float(), intercept, explained[ridge], tuple(share.tolist()))


def _shares(parts: Tensor, scores: Tensor) -> Tensor:
    """Weights [R] of the rows' parts [M, R] in the score [M]: not negative, of sum 1, drawn toward equal ones."""
    count = parts.shape[1]
    equal = torch.full((count,), 1 / count, dtype=parts.dtype, device=parts.device)
    if count == 1:
        return equal
    x, y = parts - parts.mean(dim=0), scores.double() - scores.double().mean()
    common = x.mean(dim=1, keepdim=True)
    # What is left once each row counts alike is explained by how the rows differ from their mean.
    own, rest = x - common, y - common[:, 0]
    gram = own.t() @ own
    pull = 0.1 * gram.diagonal().mean() * torch.eye(count, dtype=x.dtype, device=x.device)
    found = (equal + torch.linalg.solve(gram + pull, own.t() @ rest)).clamp(min=0)
    return found / found.sum()


class RidgeSolver:
    """(C + k t I)^-1 for the covariance C of features [N, F] with mean variance t, for any k, by one decomposition."""

    def __init__(self, x: Tensor) -> None:
        self.centred = x - x.mean(dim=0)
        _, values, self.axes = torch.linalg.svd(self.centred, full_matrices=False)
        self.variances = values.square() / len(x)
        self.mean_variance = float(self.variances.sum()) / x.shape[1]

    def solve(self, b: Tensor, k: float) -> Tensor:
        """[F] -> [F]."""
        floor = max(k * self.mean_variance, 1e-30)
        inside = self.axes @ b
        return (b - self.axes.t() @ inside) / floor + self.axes.t() @ (inside / (self.variances + floor))


def sample_w(generator: GanGenerator, count: int, seed: int) -> Tensor:
    """Codes [count, L, D] of W."""
    z, labels = draw(generator, count, seed)
    with torch.no_grad():
        return generator.map(z, labels).clone()


def _error(x: Tensor, y: Tensor, u: Tensor, cut: int) -> float:
    rest = (x[cut:] - x[:cut].mean(dim=0)) @ u - (y[cut:] - y[:cut].mean())
    return float(rest.square().mean())


def _ridge(x: Tensor, y: Tensor, ridge: float) -> Tensor:
    return RidgeSolver(x).solve((x - x.mean(dim=0)).t() @ (y - y.mean()) / len(x), ridge)


def _held_out_r2(x: Tensor, y: Tensor, cut: int, ridge: float) -> float:
    u = _ridge(x[:cut], y[:cut], ridge)
    return 1 - _error(x, y, u, cut) / float(y[cut:].var().clamp(min=1e-30))


def _ridge_of(x: Tensor, y: Tensor, cut: int) -> float:
    return max(_RIDGES, key=lambda ridge: _held_out_r2(x, y, cut, ridge))
