"""The two ways a drag proceeds, as iterators over states; drag.py chooses, counts, shows and stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.gan.stylegan2 import LayerState, StyleGAN2
from .changes import ChangeMemory, Changes, measured_changes
from .features import Templates, disk, sample
from .settings import PUBLISHED_TOLERANCE, DragSettings


@dataclass(frozen=True, eq=False)
class DragScene:
    """Everything a drag works with, on the generator's device."""

    network: StyleGAN2
    start: Tensor  # [1, L, D]
    handles: Tensor  # [N, 2] px
    targets: Tensor  # [N, 2] px
    fixed: Tensor | None  # [1, 1, h, w] at the feature map's size, 1 where nothing may change; None without a region
    rows: tuple[int, ...]
    layer: int
    size: tuple[int, int]  # height, width of the picture
    pitch: float  # picture pixels per feature
    covariance: Tensor  # [D, D] of W
    settings: DragSettings
    memory: ChangeMemory  # of `start`
    pulse: Callable[[], None] = lambda: None  # called now and then during long work; may raise

    def pixels(self, share: float, least: float = 1.0) -> float:
        """A share of the picture's height in pixels."""
        return max(share * self.size[0], least)

    def look(self, code: Tensor) -> LayerState:
        """The features of a code [1, L, D], and where the synthesis can go on."""
        whose = getattr(self.network, "photos_of", None)  # an adapted network takes several codes for several photos
        extra = {} if whose is None else {"photos": whose(self.start).expand(len(code))}
        return self.network.synthesis(code, "constant", stop_layer=self.layer, **extra).state


@dataclass(frozen=True, eq=False)
class DragState:
    """After a step: the code [1, L, D], where the handles are, why it stops ("" while it goes on)."""

    code: Tensor
    places: Tensor  # [N, 2] px
    made: LayerState  # features of `seen_code`
    seen_code: Tensor
    stop: str = ""


def published_steps(scene: DragScene) -> Iterator[DragState]:
    """Motion supervision and point tracking as published, equations 1 to 3 of 2305.10973.

    A handle is followed to the nearest feature of the square r2; the features at distance 1 ahead, in a disk of r1,
    are pulled toward those at the handle, which get no gradient; lambda * L1 keeps what is fixed. Adam on the rows.
    """
    settings, size = scene.settings, scene.size
    # At least two pixels where nobody asked for less.
    tolerance = scene.pixels(settings.tolerance, 2.0 if settings.tolerance == PUBLISHED_TOLERANCE else 0.0)
    around = disk(scene.pixels(settings.patch) - 0.5).to(scene.handles)  # strictly inside r1, as published
    rows = list(scene.rows)
    moving = scene.start[:, rows].clone().requires_grad_(True)
    optimizer = torch.optim.Adam([moving], lr=settings.learning_rate)
    with torch.no_grad():
        made = scene.look(scene.start)
        first = made.features
        templates = Templates.of(first, scene.handles, around.new_zeros(1, 2), size)
    places = scene.handles
    yield DragState(scene.start, places, made, scene.start, _arrived(scene, places, tolerance))
    for step in range(settings.steps):
        code = scene.start.clone()
        code[:, rows] = moving
        made = scene.look(code)
        features = made.features
        with torch.no_grad():
            if step:
                places, _ = templates.track(features, places, scene.pixels(settings.search), 1.0, refine=False)
            ways = scene.targets - places
            lengths = ways.norm(dim=1, keepdim=True)
            points = places[:, None] + around
            wanted = sample(features, points, size)
        stop = _arrived(scene, places, tolerance)
        if stop:
            yield DragState(code.detach(), places, _detached(made), code.detach(), stop)
            return
        ahead = sample(features, points + (ways / lengths.clamp(min=1e-7))[:, None], size)
        active = (lengths[:, 0] > min(1.0, tolerance)).to(ahead)
        loss = ((ahead - wanted).abs().mean(dim=(1, 2)) * active).sum()
        if scene.fixed is not None:
            loss = loss + settings.keep * ((features - first) * scene.fixed).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        moved = scene.start.clone()
        moved[:, rows] = moving.detach()
        last = step + 1 == settings.steps
        yield DragState(moved, places, _detached(made), code.detach(), "out of steps" if last else "")


def least_change_steps(scene: DragScene) -> Iterator[DragState]:
    """The least change that brings the handles home, by damped Gauss-Newton steps.

    The code goes from the start along the principal components of W, the same way in all chosen rows: start + U theta,
    in standard deviations. Minimised over theta is

        |places - targets|^2 / sigma^2 + lambda * (mean square change of the fixed features) + |theta|^2.

    The linear model of a step: how each handle moves (optical flow through the features' gradient, one backward pass
    per coordinate) and how strongly every component changes what is fixed (measured once, by trying each). A step that
    does not lower the cost is taken back, and tried again shorter and more damped.
    """
    settings, size = scene.settings, scene.handles.new_tensor(scene.size[::-1])
    model = _Model(scene)
    tolerance = scene.pixels(settings.tolerance, 0.0)
    theta, places = scene.start.new_zeros(model.basis.shape[1]), scene.handles
    made, features = model.look(theta)
    model.begin(features)
    cost, stop = model.cost(theta, places, features), _arrived(scene, places, tolerance)
    yield DragState(scene.start, places, made, scene.start, stop)
    model.linearise(theta, places)
    damping, reach, failures = 1.0, scene.pixels(_REACH), 0
    for step in range(settings.steps):
        change = model.step(theta, places, damping, reach)
        guess = (places + model.predicted(change)).clamp(min=0).minimum(size)
        made, features = model.look(theta + change)
        found = model.track(features, guess)
        new_cost = model.cost(theta + change, found, features)
        if new_cost < cost:
            gain, failures = (cost - new_cost) / cost, 0
            theta, places, cost = theta + change, found, new_cost
            damping, reach = max(damping / 3, 1e-3), min(reach * 1.5, scene.pixels(4 * _REACH))
            if gain < _SMALLEST_GAIN:
                stop = _arrived(scene, places, tolerance) or "no further"
            elif gain < _SETTLED:
                stop = _arrived(scene, places, tolerance)
        else:
            damping, reach, failures = damping * 4, reach / 2, failures + 1
            if failures > _PATIENCE:
                stop = _arrived(scene, places, tolerance) or "no further"
        if not stop and step + 1 == settings.steps:
            stop = _arrived(scene, places, tolerance) or "out of steps"
        shown = model.code(theta)
        yield DragState(shown, places, made, model.code(theta + change if failures else theta), stop)
        if not stop and not failures:
            model.linearise(theta, places)


_REACH = 0.03  # of the height: how far a handle may go in the first step
_SIGMA = 0.002  # of the height: this far from the target costs as much as one standard deviation of W
_KEEP = 4000.0  # of a mean square change of the fixed features, in their variance
_EVERYWHERE = 0.1  # of that weight holds the whole picture where no region says what may move
_VARIANCE = 0.999  # share of W's variance that the components cover, unless there are more than _COMPONENTS of them
_COMPONENTS = 64
_SMALLEST_GAIN = 1e-3  # of the cost: less is no progress
_SETTLED = 0.1  # of the cost: while a step gains more, it goes on after the handles have arrived
_PATIENCE = 4


class _Model:
    """The linear model of a drag about its present code."""

    def __init__(self, scene: DragScene) -> None:
        self.scene, settings = scene, scene.settings
        self.basis = _components(scene.covariance)
        self.sigma = _SIGMA * scene.size[0]
        self.keep = _KEEP * settings.keep * (_EVERYWHERE if scene.fixed is None else 1.0)
        self.patch = disk(scene.pixels(settings.patch, 1.5 * scene.pitch), scene.pitch)
        self.search = scene.pixels(settings.search, 2 * scene.pitch)
        self.inside = scene.start.new_zeros(scene.start.shape[1], 1)
        self.inside[list(scene.rows)] = 1

    def code(self, theta: Tensor) -> Tensor:
        """theta [..., K] -> codes [..., L, D]; one theta gives [1, L, D]."""
        return self.scene.start + (theta @ self.basis.t())[..., None, :] * self.inside

    def look(self, theta: Tensor) -> tuple[LayerState, Tensor]:
        with torch.no_grad():
            made = self.scene.look(self.code(theta))
        return made, made.features

    def begin(self, features: Tensor) -> None:
        """Take the first picture as what handles look like and what fixed places shall stay."""
        scene = self.scene
        self.first, self.inverse = features, 1 / features.std(dim=(2, 3), keepdim=True).clamp(min=1e-6)
        self.templates = Templates.of(features * self.inverse, scene.handles, self.patch, scene.size)
        if self.keep:
            fixed = torch.ones_like(features[:, :1]) if scene.fixed is None else scene.fixed
            share = fixed / (fixed.sum() * features.shape[1])
            self.weight = share.sqrt() * self.inverse  # squares sum to a mean square, in the features' variance
            changes = scene.memory.changes(scene.network, scene.layer, scene.rows, self._changes)
            # [K, K]: how much the fixed features change when components change, to second order.
            self.stiffness = changes.stiffness(share).to(features)

    def _changes(self) -> Changes:
        count = self.basis.shape[1]
        return measured_changes(
            lambda trial: self.look(trial)[1], self.first, 1 / self.inverse, count, self.scene.pulse
        )

    def track(self, features: Tensor, near: Tensor) -> Tensor:
        return self.templates.track(features * self.inverse, near, self.search, self.scene.pitch / 2)[0]

    def cost(self, theta: Tensor, places: Tensor, features: Tensor) -> float:
        total = (places - self.scene.targets).square().sum() / self.sigma**2 + theta.square().sum()
        if self.keep:
            total = total + self.keep * ((features - self.first) * self.weight).square().sum()
        return float(total)

    def linearise(self, theta: Tensor, places: Tensor) -> None:
        """Gradients of every handle coordinate and of the change of what is fixed."""
        scene = self.scene
        theta = theta.detach().requires_grad_(True)
        scaled = scene.look(self.code(theta)).features * self.inverse
        weights, points = self.templates.motion_weights(scaled.detach(), places, scene.pitch)
        seen = sample(scaled, points, scene.size)  # [N, K, C]
        moves = torch.einsum("nakc,nkc->na", weights, seen).flatten()
        self.moves = torch.stack([torch.autograd.grad(move, theta, retain_graph=True)[0] for move in moves])
        if self.keep:
            change = (scaled / self.inverse - self.first) * self.weight
            self.kept = torch.autograd.grad(0.5 * change.square().sum(), theta)[0]

    def step(self, theta: Tensor, places: Tensor, damping: float, reach: float) -> Tensor:
        """The change of theta [K] that is the damped model's minimum; handles aim ``reach`` pixels ahead at most."""
        ahead = self.scene.targets - places
        ahead = ahead * (reach / ahead.norm(dim=1, keepdim=True).clamp(min=1e-9)).clamp(max=1)
        # In float64 on the CPU, since some devices have none; the system is small.
        moves = self.moves.cpu().double() / self.sigma
        curve = moves.t() @ moves + (1 + damping) * torch.eye(len(theta)).to(moves)
        slope = moves.t() @ (ahead.flatten().cpu().double() / self.sigma) - theta.cpu().double()
        if self.keep:
            curve = curve + self.keep * self.stiffness.cpu().double()
            slope = slope - self.keep * self.kept.cpu().double()
        return torch.linalg.solve(curve, slope).to(theta)

    def predicted(self, change: Tensor) -> Tensor:
        """How far the handles go [N, 2] when theta changes."""
        return (self.moves @ change).reshape(-1, 2)


def _components(covariance: Tensor) -> Tensor:
    """[D, K]: the principal directions of W, each as long as its standard deviation."""
    values, vectors = torch.linalg.eigh(covariance.cpu().double())
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    covered = (values.cumsum(0) / values.sum().clamp(min=1e-30)) < _VARIANCE
    count = min(int(covered.sum()) + 1, _COMPONENTS, len(values))
    return (vectors[:, :count] * values[:count].sqrt()).to(covariance)


def _arrived(scene: DragScene, places: Tensor, tolerance: float) -> str:
    return "arrived" if float((places - scene.targets).norm(dim=1).max()) <= tolerance else ""


def _detached(state: LayerState) -> LayerState:
    image = None if state.image is None else state.image.detach()
    residual = None if state.residual is None else state.residual.detach()
    return LayerState(state.layer, state.features.detach(), image, residual)
