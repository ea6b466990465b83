"""Edit One for All (2401.10219), step 1: optimise a direction d* that does for every picture what one edit did.

The released code optimises a fresh d* so that G(w + a d*) looks like G(w + a d), where d is the example's own edit,
with a term that ties the projection on d* to its length. Three forms are published; they differ in their start, in
the pictures they compare, in the range of a, and in the rows. Our arithmetic differs from the released code only where
the result is the same: nothing flows into the generator's weights or through the target picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import LayerState, SynthesisOptions
from ...models.inference import enable_training
from ..common.progress import Progress
from ..common.sample import random_labels
from ..common.types import EditDirection
from .example_edit import edited_rows, row_mask, single_code, with_example

__all__ = ["LANDINGS", "LEARNING_RATE", "REGULARISATION", "SEARCHES", "TRUNCATION", "VARIANTS", "Variant",
           "optimize_direction"]  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """The settings of one published form."""

    start_at_edit: bool  # begin with d (else with 0)
    steps: int
    batch: int  # pictures per step
    sampled: bool  # compare sampled pictures (else the example alone)
    signed: bool  # a in -1..1 (else 0..1)


VARIANTS = {
    "single": Variant(start_at_edit=False, steps=1000, batch=1, sampled=False, signed=False),
    "batch": Variant(start_at_edit=True, steps=60, batch=16, sampled=True, signed=True),
    "text": Variant(start_at_edit=False, steps=150, batch=8, sampled=True, signed=False),
}
LEARNING_RATE = 1e-3
REGULARISATION = 0.02
TRUNCATION = 0.7
SEARCHES = ("adam", "quasi-newton")
LANDINGS = ("example", "direction")
_CACHE_BYTES = 256 * 1024**2  # of layers that no row of the edit changes
_PIXELS_PER_PASS = 16 * 64 * 64  # with a graph: below 2 GB for the widest generators
_SMALLEST_LENGTH = 1e-8
_PREVIEW_EVERY = 10  # steps


def optimize_direction(
    generator: GanGenerator,
    w_start: Tensor,  # [L, D]: the example before
    w_edited: Tensor,  # [L, D]: the example after
    variant: str = "batch",
    layers: Sequence[int] | None = None,  # rows that take part; None: those that the edit changed
    steps: int | None = None,  # None: the published number
    batch: int | None = None,  # pictures per step; None: the published number
    learning_rate: float = LEARNING_RATE,
    regularisation: float = REGULARISATION,
    stop_resolution: int | None = None,  # compare pictures of this height instead of finished ones
    search: str = "adam",  # as published; "quasi-newton" comes as near in a sixth of the steps
    chunk: int | None = None,  # pictures per pass, which bounds the memory; None chooses by their size
    landing: str = "example",  # what a strength of 1 means: the "example"'s state, or the "direction"'s length
    seed: int = 0,
    progress: Progress | None = None,
    name: str = "edit",
) -> EditDirection:
    """Optimise d* of the example's edit, its own normal, on the generator's device.

    landing "direction" is the published closed form: the target is start + |d*|^2. The optimisation shortens d*, so
    the batch stops short of the example; "example" aims at the edited example's own projection instead.

    The pictures' error is nearly a square in d*, which the quasi-Newton search (L-BFGS with line search) uses: its
    pictures keep their amounts a, evenly spread, a step is one evaluation of all of them, and the best one is returned.
    The regulariser is left out, since the published one does not descend along its own gradient; from 0 the search
    stays within what moves pictures anyway.

    Pictures go through in passes whose gradients add up: what a pass holds changes the memory and the last digits only.

    Raises:
        InputError: codes that do not fit, equal codes, or an unknown variant, search or landing.
    """
    check_choice("variant", variant, VARIANTS)
    check_choice("landing", landing, LANDINGS)
    check_choice("search", search, SEARCHES)
    if chunk is not None and chunk < 1:
        raise InputError(f"A pass holds at least one picture; got {chunk}.")
    form = VARIANTS[variant]
    start, edited = single_code(generator, w_start, "The start"), single_code(generator, w_edited, "The edited code")
    rows = edited_rows(edited - start, layers)
    rng = torch.Generator().manual_seed(seed)
    with enable_training():
        codes = _compared_codes(generator, form, start, batch or form.batch, rng)
        per_pass = chunk or _pictures_per_pass(generator, stop_resolution)
        mask = row_mask(rows, start)
        problem = _Problem(
            generator, form, start, (edited - start) * mask, mask, codes, regularisation, stop_resolution, per_pass,
            _shared_states(generator, codes, rows[0], stop_resolution, per_pass),
        )  # fmt: skip
        d_star = problem.initial_direction()
        total = steps or form.steps
        report = _reporter(progress, total)
        if search == "adam":
            _search_adam(problem, d_star, total, learning_rate, rng, report)
        else:
            _search_quasi_newton(problem, d_star, total, rng, report)
        result = (d_star.detach() * mask).clone()
        if float(result.norm()) < _SMALLEST_LENGTH:
            raise InputError("The optimisation ended with a direction of length 0: give it more steps.")
        method = f"Edit One for All, {variant}"
        direction = with_example(result, result, rows, start, edited, method, generator.family, name)
    if landing == "direction":
        return direction.with_offset(direction.start + float(result.square().sum()))
    return direction


@dataclass(frozen=True, eq=False)
class _Problem:
    """The released objective: mean |G(w + a d*) - G(w + a d)|^2 over N pictures, and the projection term."""

    generator: GanGenerator
    variant: Variant
    start: Tensor  # [L, D], the example before its edit
    edit: Tensor  # [L, D], d on the edited rows, zero elsewhere
    mask: Tensor  # [L, 1], 1 on the edited rows
    codes: Tensor  # [N, L, D], w of the compared pictures
    regularisation: float
    stop_resolution: int | None
    per_pass: int
    states: Mapping[int, LayerState]  # by the first picture of a pass: its layers before the first edited row

    @property
    def passes(self) -> list[slice]:
        """The pictures of each pass."""
        return [slice(first, first + self.per_pass) for first in range(0, len(self.codes), self.per_pass)]

    def initial_direction(self) -> Tensor:
        """Return d* [L, D] to begin with, a leaf that takes gradients."""
        d_star = self.edit.clone() if self.variant.start_at_edit else torch.zeros_like(self.edit)
        return d_star.requires_grad_(True)

    def target_images(self, batch: slice, alpha: Tensor) -> Tensor:
        """Draw G(w + a d) of one pass, [n, 3, H, W], for alpha [N, 1, 1]."""
        with torch.no_grad():
            return self._draw(batch, self.codes[batch] + alpha[batch] * self.edit)

    def loss_and_image(
        self,
        d_star: Tensor,  # [L, D]
        alpha: Tensor,  # [N, 1, 1]
        penalty_alpha: Tensor | None = None,  # [N, 1, 1], amounts of the projection term; None leaves it out
        targets: Sequence[Tensor] | None = None,  # `target_images` of each pass where they are kept
    ) -> tuple[float, Tensor]:
        """Return the loss, whose gradient is left in ``d_star.grad``, and the last picture [3, H, W]."""
        loss, d_star.grad = 0.0, None
        for k, batch in enumerate(self.passes):
            target = self.target_images(batch, alpha) if targets is None else targets[k]
            direction = d_star * self.mask
            codes = self.codes[batch] + alpha[batch] * direction
            images = self._draw(batch, codes)
            errors = (images - target).square().mean(dim=(1, 2, 3))
            if penalty_alpha is not None:
                errors = errors + self.regularisation * self._penalty(codes, direction, penalty_alpha[batch])
            pass_loss = errors.sum() / len(self.codes)
            pass_loss.backward()
            loss += float(pass_loss.detach())
        return loss, images[-1].detach()

    def _draw(self, batch: slice, codes: Tensor) -> Tensor:
        state = self.states.get(batch.start)
        return self.generator.network.synthesis(
            codes, SynthesisOptions(stop_resolution=self.stop_resolution, resume=state)
        ).image

    def _penalty(self, codes: Tensor, direction: Tensor, alpha: Tensor) -> Tensor:
        """Return |sg[projection on d*] - what the slider says it should be| [n], as released."""
        squared_length = direction.square().sum()
        if not self.variant.sampled:
            scale = alpha.flatten()[0]
            projection = ((self.start + scale * direction) * direction).sum().detach()
            return (projection - (scale - 1) * squared_length).abs()[None]
        projection = (codes * direction).sum(dim=(1, 2)).detach()
        return (projection - alpha.flatten().square() * squared_length).abs()


def _search_adam(
    problem: _Problem,
    d_star: Tensor,
    steps: int,
    learning_rate: float,
    rng: torch.Generator,
    report: Callable[[int, Tensor], None],
) -> None:
    """Move ``d_star`` by AdamW as released: new amounts a at every step, and the projection term."""
    optimizer = torch.optim.AdamW([d_star], lr=learning_rate)
    for step in range(steps):
        alpha, penalty_alpha = (_random_alphas(problem, rng) for _ in range(2))
        _, image = problem.loss_and_image(d_star, alpha, penalty_alpha)
        optimizer.step()
        report(step + 1, image)


class _BudgetSpent(Exception):  # noqa: N818  (no error)
    pass


def _search_quasi_newton(
    problem: _Problem,
    d_star: Tensor,
    evaluations: int,
    rng: torch.Generator,
    report: Callable[[int, Tensor], None],
) -> None:
    """Move ``d_star`` to the best of some evaluations of L-BFGS (Liu and Nocedal 1989) with strong Wolfe conditions."""
    alpha = _random_alphas(problem, rng, spread=True)
    targets = [problem.target_images(batch, alpha) for batch in problem.passes]
    optimizer = torch.optim.LBFGS(
        [d_star], max_iter=evaluations, max_eval=evaluations, history_size=20, tolerance_grad=0.0,
        tolerance_change=0.0, line_search_fn="strong_wolfe",
    )  # fmt: skip
    evaluated, least, best = 0, float("inf"), d_star.detach().clone()

    def closure() -> float:
        nonlocal evaluated, least, best
        if evaluated == evaluations:
            raise _BudgetSpent
        loss, image = problem.loss_and_image(d_star, alpha, targets=targets)
        evaluated += 1
        if loss < least:
            least, best = loss, d_star.detach().clone()
        report(evaluated, image)
        return loss

    try:
        optimizer.step(closure)
    except _BudgetSpent:  # in the middle of a line search
        pass
    with torch.no_grad():
        d_star.copy_(best)


def _random_alphas(problem: _Problem, rng: torch.Generator, spread: bool = False) -> Tensor:
    """Draw amounts a [N, 1, 1]; ``spread``: one in each of N equal intervals of their range, in random order."""
    count = len(problem.codes)
    uniform = torch.rand(count, 1, 1, generator=rng)
    if spread:
        uniform = (uniform + torch.randperm(count, generator=rng)[:, None, None]) / count
    return (uniform * 2 - 1 if problem.variant.signed else uniform).to(problem.codes)


def _compared_codes(generator: GanGenerator, form: Variant, start: Tensor, batch: int, rng: torch.Generator) -> Tensor:
    """Return w [N, L, D] of the pictures that are compared: the example alone, or a batch drawn once."""
    if not form.sampled:
        return start[None]
    z = torch.randn(batch, generator.z_dim, generator=rng)
    labels = random_labels(generator, batch, rng)
    with torch.no_grad():
        return generator.map(z, labels, truncation=TRUNCATION)


def _pictures_per_pass(generator: GanGenerator, stop_resolution: int | None) -> int:
    height, width = generator.resolution
    if stop_resolution is not None:
        height, width = stop_resolution, width * stop_resolution // height
    return max(1, _PIXELS_PER_PASS // (height * width))


def _shared_states(
    generator: GanGenerator, codes: Tensor, first_row: int, stop_resolution: int | None, per_pass: int
) -> dict[int, LayerState]:
    """Run the layers before ``first_row`` once per pass of codes [N, L, D]; empty where there is nothing to share."""
    synthesis, layer = generator.network.synthesis, first_row - 1
    if layer < 0 or generator.adaptation is not None:
        return {}
    channels, height, width = synthesis.layer_size(layer)
    if height > (stop_resolution or height) or 4 * channels * height * width * len(codes) > _CACHE_BYTES:
        return {}
    return {
        first: synthesis(codes[first : first + per_pass], SynthesisOptions(stop_layer=layer)).state
        for first in range(0, len(codes), per_pass)
    }


def _reporter(progress: Progress | None, total: int) -> Callable[[int, Tensor], None]:
    """Return a report of (step, picture [3, H, W] in -1..1) that shows every tenth picture."""

    def report(step: int, image: Tensor) -> None:
        if progress is not None:
            progress(step, total, (image + 1) / 2 if step % _PREVIEW_EVERY == 1 else None)

    return report
