"""DragGAN (2305.10973): pull points of a picture to where they should be, and the code follows.

Two methods share handles, targets, region and tracking. "published" is the paper's: one small Adam step after another
that makes the features one pixel ahead look like those at the handle. "least change" asks which code brings the
handles to their targets with the least change of everything else, and finds it in a few Gauss-Newton steps; see
steps.py. Between previews the synthesis runs only up to the feature layer. Nothing is drawn from global random state,
and the generator's weights stay frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.inference import clone_from_inference, enable_training, no_inference_mode
from ..common.pictures import draw_states
from ..common.progress import Progress, silent
from ..common.types import check_rows
from .changes import ChangeMemory
from .features import feature_layer
from .points import DragPoints
from .settings import METHODS, PUBLISHED, DragSettings
from .steps import DragScene, DragState, least_change_steps, published_steps

__all__ = ["METHODS", "PUBLISHED", "ChangeMemory", "DragResult", "DragSettings", "drag"]

_ROWS = 6


@dataclass(frozen=True, eq=False)
class DragResult:
    """The dragged code, and how the drag went.

    Args:
        code: [1, L, D].
        positions: [S + 1, N, 2] px, where the handles were followed to, step by step.
        distances: [S + 1] px, of the handle that is farthest from its target.
        outside: the mean absolute change of the picture (of 2, black to white) where the region forbids it; None
            without a region.
        stop: why it ended.
    """

    code: Tensor
    positions: Tensor
    distances: Tensor
    outside: float | None
    stop: str

    @property
    def steps(self) -> int:
        """The number of steps that were taken."""
        return len(self.positions) - 1


def drag(
    generator: GanGenerator,
    w: Tensor,  # [L, D] or [1, L, D]
    points: DragPoints,
    region: Tensor | None = None,  # [H, W] in 0..1: 1 where the picture may change; None: everywhere
    rows: Sequence[int] | None = None,  # rows of W+ that may change; None: `default_rows`
    settings: DragSettings | None = None,
    progress: Progress | None = None,  # preview [3, H, W] in 0..1
    preview_every: int = 5,  # steps between previews; 0: none
    memory: ChangeMemory | None = None,  # one for this code alone: a further drag of it begins with what is known
) -> DragResult:
    """Move the picture's content from the handles to the targets.

    Raises:
        InputError: codes or rows that do not fit, points outside the picture, a region of another size or without a
            position that may move, or settings out of range.
    """
    settings = settings or DragSettings()
    progress = progress or silent
    code = w[None] if w.ndim == 2 else w
    _check_inputs(generator, code, points, region)
    _check_settings(settings)
    rows = default_rows(generator) if rows is None else check_rows(rows, generator.num_layers, "The drag")
    with enable_training():
        code = clone_from_inference(code.detach().to(generator.device, torch.float32)).clone()
        fixed = None if region is None else 1 - clone_from_inference(region.to(code)).clamp(0, 1)
        if fixed is not None and not bool(fixed.any()):
            fixed = None
        scene = _scene(generator, code, points, fixed, rows, settings, memory or ChangeMemory(), progress)
        steps = published_steps if settings.method == "published" else least_change_steps
        history, stop, state = [], "", None
        for count, state in enumerate(steps(scene)):
            history.append(state.positions.clone())
            if count > 0:
                due = progress is not silent and preview_every > 0 and (count % preview_every == 0 or state.stop)
                progress(count, settings.steps, _preview(generator, state) if due else None)
            stop = state.stop
            if stop:
                break
        dragged = state.code.detach().clone()
    positions = torch.stack(history)
    distances = (positions - scene.targets).norm(dim=2).amax(dim=1)
    with no_inference_mode():
        outside = None if fixed is None else _change_outside(generator, code, dragged, fixed)
    return DragResult(dragged, positions.cpu(), distances.cpu(), outside, stop)


def default_rows(generator: GanGenerator) -> tuple[int, ...]:
    """Return the rows that a drag changes by default: the first six, as published and as measured best here."""
    return tuple(range(min(_ROWS, generator.num_layers)))


def _scene(
    generator: GanGenerator,
    code: Tensor,  # [1, L, D]
    points: DragPoints,
    fixed: Tensor | None,  # [H, W]
    rows: tuple[int, ...],
    settings: DragSettings,
    memory: ChangeMemory,
    progress: Progress,
) -> DragScene:
    height, width = generator.resolution
    layer = feature_layer(generator, settings.feature_ratio, settings.feature_height)
    synthesis = generator.network.synthesis
    map_height, map_width = (side - 2 * synthesis.margin(layer) for side in synthesis.layer_size(layer)[1:])
    if fixed is not None:
        fixed = F.interpolate(fixed[None, None], (map_height, map_width), mode="area")
    return DragScene(
        network=generator.network,
        start=code,
        handles=clone_from_inference(points.handles.to(code)),
        targets=clone_from_inference(points.targets.to(code)),
        fixed=fixed,
        rows=rows,
        layer=layer,
        size=(height, width),
        pitch=height / map_height,
        covariance=clone_from_inference(generator.w_covariance),
        settings=settings,
        memory=memory,
        progress=progress,
    )


def _preview(generator: GanGenerator, state: DragState) -> Tensor:
    """Finish the picture [3, H, W] in 0..1 from the features of the step."""
    with torch.no_grad():
        image = generator.network.synthesis(state.layer_code, SynthesisOptions(resume=state.layer_state)).image[0]
    return (image + 1) / 2


def _change_outside(generator: GanGenerator, start: Tensor, dragged: Tensor, fixed: Tensor) -> float:
    """Return the mean absolute change between codes [1, L, D] where ``fixed`` [H, W] is 1."""
    pictures = draw_states(generator, torch.cat([start, dragged]))
    difference = (pictures[1] - pictures[0]).abs().mean(dim=0)
    return float((difference * fixed).sum() / fixed.sum())


def _check_inputs(generator: GanGenerator, code: Tensor, points: DragPoints, region: Tensor | None) -> None:
    if code.ndim != 3 or code.shape[0] != 1:
        raise InputError(f"One code is dragged at a time; got codes of shape {tuple(code.shape)}.")
    generator.check_latent(code, "")
    height, width = generator.resolution
    if len(points) == 0:
        raise InputError("There are no points to drag.")
    for name, positions in (("handle", points.handles), ("target", points.targets)):
        inside = (positions >= 0).all() and (positions[:, 0] <= width).all() and (positions[:, 1] <= height).all()
        if positions.shape != (len(points), 2) or not bool(inside):
            raise InputError(f"A {name} lies outside the picture of {width} x {height}.")
    if region is not None:
        if tuple(region.shape) != (height, width):
            raise InputError(f"The region has shape {tuple(region.shape)}; expected [{height}, {width}].")
        if not bool((region > 0).any()):
            raise InputError("The region is empty: nothing may move. Paint 1 where the picture may change.")


def _check_settings(settings: DragSettings) -> None:
    check_choice("method", settings.method, METHODS)
    if settings.steps < 1:
        raise InputError(f"The number of steps must be at least 1; got {settings.steps}.")
    for name in ("tolerance", "patch", "search", "learning_rate"):
        if not 0 < getattr(settings, name) < 1:
            raise InputError(
                f"The {name.replace('_', ' ')} must be above 0 and below 1; got {getattr(settings, name)}."
            )
    if not settings.region_weight >= 0:
        raise InputError(f"The region weight (keep) must not be negative; got {settings.region_weight}.")
