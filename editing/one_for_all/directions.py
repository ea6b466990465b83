"""Edit One for All (2401.10219), step 1: turn one example's edit into a direction that works for every picture.

The released code optimises a fresh d* so that G(w + a d*) looks like G(w + a d), where d is the example's own edit,
with a term that ties the projection on d* to its length. Three forms are published; they differ in their start, in
the pictures they look at, in the range of a, and in the rows. Our arithmetic differs from the released code only where
the result is the same: nothing flows into the generator's weights or through the target picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import LayerState
from ...models.inference import enable_training
from ..common.types import EditDirection
from .example_edit import edited_rows, row_mask, single_code, with_example

Progress = Callable[..., None]


@dataclass(frozen=True)
class Variant:
    """The settings of one published form."""

    start_at_edit: bool  # begin with d (else with 0)
    steps: int
    batch: int  # pictures per step
    sampled: bool  # look at sampled pictures (else at the example alone)
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
_KEPT_BYTES = 256 * 1024**2  # of layers that no row of the edit changes
_PIXELS_PER_PASS = 16 * 64 * 64  # with a graph: below 2 GB for the widest generators


def optimize_direction(
    generator: GanGenerator,
    w_start: Tensor,  # [L, D]: the example before
    w_edited: Tensor,  # [L, D]: the example after
    variant: str = "batch",
    layers: Sequence[int] | None = None,  # rows that take part; None: those that the edit changed
    steps: int | None = None,  # None: the published number
    batch: int | None = None,
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
    """d* of the example's edit as an :class:`EditDirection`, its own normal, on the generator's device.

    landing "direction" is the published closed form: the target is start + |d*|^2. The optimisation shortens d*, so
    the batch stops short of the example; "example" aims at the edited example's own projection instead.

    The pictures' error is nearly a square in d*, which the quasi-Newton search (L-BFGS with line search) uses: its
    pictures keep their amounts a, evenly spread, a step is one look at all of them, and the best one seen is returned.
    The regulariser is left out, since the published one does not descend along its own gradient; from 0 the search
    stays within what moves pictures anyway.

    Pictures go through in passes whose gradients add up: what a pass holds changes the memory and the last digits only.

    Raises InputError for codes that do not fit, equal codes, and unknown variants.
    """
    if variant not in VARIANTS:
        raise InputError(f"Unknown variant '{variant}'; expected one of {', '.join(VARIANTS)}.")
    if landing not in ("example", "direction"):
        raise InputError(f"Unknown landing '{landing}'; expected 'example' or 'direction'.")
    if search not in SEARCHES:
        raise InputError(f"Unknown search '{search}'; expected one of {', '.join(SEARCHES)}.")
    if chunk is not None and chunk < 1:
        raise InputError(f"A pass holds at least one picture; got {chunk}.")
    form = VARIANTS[variant]
    start, edited = single_code(generator, w_start, "The start"), single_code(generator, w_edited, "The edited code")
    rows = edited_rows(edited - start, layers)
    rng = torch.Generator().manual_seed(seed)
    with enable_training():
        inside = row_mask(rows, start)
        edit = (edited - start) * inside
        pool = _pictures(generator, form, start, batch or form.batch, rng)
        found = edit.clone() if form.start_at_edit else torch.zeros_like(edit)
        found.requires_grad_(True)
        total = steps or form.steps
        per_pass = chunk or _pictures_per_pass(generator, stop_resolution)

        begun = _begun(generator, pool, rows[0], stop_resolution, per_pass)
        kept: dict[int, Tensor] = {}  # the pictures to reach, where amounts stay the same

        def wanted(here: slice, alpha: Tensor) -> Tensor:
            if here.start in kept:
                return kept[here.start]
            with torch.no_grad():
                goal = _picture(generator, pool[here] + alpha[here] * edit, stop_resolution, begun.get(here.start))
            if search != "adam":
                kept[here.start] = goal
            return goal

        def look(alpha: Tensor, alpha_regular: Tensor) -> tuple[float, Tensor]:
            """The loss, whose gradient is left in ``found``, and the last picture."""
            loss, found.grad = 0.0, None
            for first in range(0, pool.shape[0], per_pass):
                here = slice(first, first + per_pass)
                goal = wanted(here, alpha)
                moved = pool[here] + alpha[here] * (found * inside)
                seen = _picture(generator, moved, stop_resolution, begun.get(first))
                apart = (seen - goal).square().mean(dim=(1, 2, 3))
                if search == "adam":
                    off = _regulariser(form, start, moved, found * inside, alpha_regular[here])
                    apart = apart + regularisation * off
                part = apart.sum() / pool.shape[0]
                part.backward()
                loss += float(part.detach())
            return loss, seen[-1].detach()

        def report(step: int, seen: Tensor) -> None:
            if progress is not None:
                progress(step, total, (seen + 1) / 2 if step % 10 == 1 else None)

        if search == "adam":
            optimizer = torch.optim.AdamW([found], lr=learning_rate)
            for step in range(total):
                _, seen = look(*(_alphas(pool.shape[0], form.signed, rng, pool) for _ in range(2)))
                optimizer.step()
                report(step + 1, seen)
        else:
            alpha = _alphas(pool.shape[0], form.signed, rng, pool, spread=True)
            _quasi_newton(found, lambda: look(alpha, alpha), total, report)
        result = (found.detach() * inside).clone()
        if float(result.norm()) < 1e-8:
            raise InputError("The optimisation ended with a direction of length 0: give it more steps.")
        edit_direction = with_example(
            result, result, rows, start, edited, f"Edit One for All, {variant}", generator.family, name
        )
    if landing == "direction":
        return edit_direction.with_offset(edit_direction.start + float(result.square().sum()))
    return edit_direction


def _pictures(generator: GanGenerator, form: Variant, start: Tensor, batch: int, rng: torch.Generator) -> Tensor:
    """The codes whose pictures are compared, fixed for the whole optimisation: [batch, L, D]."""
    if not form.sampled:
        return start[None]
    z = torch.randn(batch, generator.z_dim, generator=rng)
    labels = None
    if generator.label_dim:
        classes = torch.randint(generator.label_dim, (batch,), generator=rng)
        labels = torch.nn.functional.one_hot(classes, generator.label_dim).float()
    with torch.no_grad():
        return generator.map(z, labels, truncation=TRUNCATION)


def _alphas(count: int, signed: bool, rng: torch.Generator, like: Tensor, spread: bool = False) -> Tensor:
    """[count, 1, 1] in 0..1 or -1..1; ``spread``: one in each of as many equal parts, in random order."""
    uniform = torch.rand(count, 1, 1, generator=rng)
    if spread:
        uniform = (uniform + torch.randperm(count, generator=rng)[:, None, None]) / count
    return (uniform * 2 - 1 if signed else uniform).to(like)


class _Enough(Exception):  # noqa: N818  (no error)
    pass


def _quasi_newton(
    found: Tensor, look: Callable[[], tuple[float, Tensor]], total: int, report: Callable[[int, Tensor], None]
) -> None:
    """Bring ``found`` to the best of ``total`` looks by L-BFGS (Liu and Nocedal 1989) with strong Wolfe conditions."""
    optimizer = torch.optim.LBFGS(
        [found], max_iter=total, max_eval=total, history_size=20, tolerance_grad=0.0, tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip
    looks, least, best = 0, float("inf"), found.detach().clone()

    def closure() -> float:
        nonlocal looks, least, best
        if looks == total:
            raise _Enough
        loss, seen = look()
        looks += 1
        if loss < least:
            least, best = loss, found.detach().clone()
        report(looks, seen)
        return loss

    try:
        optimizer.step(closure)
    except _Enough:  # in the middle of a line search
        pass
    with torch.no_grad():
        found.copy_(best)


def _pictures_per_pass(generator: GanGenerator, stop_resolution: int | None) -> int:
    height, width = generator.resolution
    if stop_resolution is not None:
        height, width = stop_resolution, width * stop_resolution // height
    return max(1, _PIXELS_PER_PASS // (height * width))


def _begun(
    generator: GanGenerator, pool: Tensor, first_row: int, stop_resolution: int | None, per_pass: int
) -> dict[int, LayerState]:
    """Where each pass's pictures stand before the first row that changes; empty where there is nothing to share."""
    synthesis, layer = generator.network.synthesis, first_row - 1
    if layer < 0 or generator.adaptation is not None:
        return {}
    channels, height, width = synthesis.layer_size(layer)
    if height > (stop_resolution or height) or 4 * channels * height * width * len(pool) > _KEPT_BYTES:
        return {}
    return {
        first: synthesis(pool[first : first + per_pass], "constant", stop_layer=layer).state
        for first in range(0, len(pool), per_pass)
    }


def _picture(
    generator: GanGenerator, w: Tensor, stop_resolution: int | None, begun: LayerState | None = None
) -> Tensor:
    return generator.network.synthesis(w, "constant", stop_resolution, resume=begun).image


def _regulariser(form: Variant, start: Tensor, moved: Tensor, found: Tensor, alpha: Tensor) -> Tensor:
    """[B]: |sg[projection on d*] - what the slider says it should be|, as released."""
    length = found.square().sum()
    if not form.sampled:
        scale = alpha.flatten()[0]
        projection = ((start + scale * found) * found).sum().detach()
        return (projection - (scale - 1) * length).abs()[None]
    projection = (moved * found).sum(dim=(1, 2)).detach()
    return (projection - alpha.flatten().square() * length).abs()
