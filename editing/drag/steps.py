"""Motion supervision and point tracking (DragGAN, 2305.10973), and damped Gauss-Newton: the two ways a drag proceeds.

Both are iterators over states; drag.py chooses one, counts, shows and stops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.gan.network import GeneratorNetwork, picture_part
from ...models.gan.synthesis_run import LayerState, SynthesisOptions
from ..common.progress import Progress, silent
from .changes import ChangeGrams, ChangeMemory, measure_changes
from .features import Templates, disk, published_patch, sample
from .settings import PUBLISHED_TOLERANCE, DragSettings

_TRUST_RADIUS = 0.03  # of the height: how far a handle may go in the first step
_SIGMA = 0.002  # of the height: this far from the target costs as much as one standard deviation of W
_REGION_WEIGHT = 4000.0  # of a mean square change of the fixed features, in their variance
_WITHOUT_REGION = 0.1  # of that weight holds the whole picture where no region says what may move
_VARIANCE = 0.999  # share of W's variance that the components cover, unless there are more than _COMPONENTS of them
_COMPONENTS = 64
_SMALLEST_GAIN = 1e-3  # of the cost: less is no progress
_SETTLED = 0.1  # of the cost: while a step gains more, it goes on after the handles have arrived
_PATIENCE = 4  # steps in a row that do not lower the cost


@dataclass(frozen=True, eq=False)
class DragScene:
    """Everything a drag works with, on the generator's device."""

    network: GeneratorNetwork
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
    progress: Progress = silent  # told 0 steps now and then during the work before the first

    def pixels(self, share: float, minimum: float = 1.0) -> float:
        """Convert a share of the picture's height to pixels, at least ``minimum``."""
        return max(share * self.size[0], minimum)

    def features_at(self, code: Tensor) -> LayerState:
        """Synthesize codes [n, L, D] up to the feature layer: their features, and where the synthesis can go on."""
        photos = self.network.photos_of(self.start)  # an adapted network would take several codes for several photos
        photos = None if photos is None else photos.expand(len(code))
        return self.network.synthesis(code, SynthesisOptions(stop_layer=self.layer, photos=photos)).state

    def of_picture(self, state: LayerState) -> Tensor:
        """Return a state's features [n, C, h, w] without the margin that a StyleGAN3's have beyond the picture."""
        return picture_part(self.network.synthesis, self.layer, state.features)

    def arrived(self, positions: Tensor, tolerance: float) -> str:
        """Return "arrived" when all handles [N, 2] are within ``tolerance`` px of their targets, else ""."""
        return "arrived" if float((positions - self.targets).norm(dim=1).max()) <= tolerance else ""


@dataclass(frozen=True, eq=False)
class DragState:
    """The state after a step: code, where the handles are, and why it stops."""

    code: Tensor  # [1, L, D]
    positions: Tensor  # [N, 2] px
    layer_state: LayerState  # features of `layer_code`
    layer_code: Tensor  # [1, L, D], the last one that was drawn: `code` itself, or one before or beyond it
    stop: str = ""  # "" while it goes on


def published_steps(scene: DragScene) -> Iterator[DragState]:
    """Iterate motion supervision and point tracking as published, equations 1 to 3 of 2305.10973.

    A handle is followed to the nearest feature of the square r2; the features at distance 1 ahead, in a disk of r1,
    are pulled toward those at the handle, which get no gradient; lambda * L1 keeps what is fixed. Adam on the rows.
    """
    settings, size = scene.settings, scene.size
    # At least two pixels where nobody asked for less.
    tolerance = scene.pixels(settings.tolerance, 2.0 if settings.tolerance == PUBLISHED_TOLERANCE else 0.0)
    patch = published_patch(round(scene.pixels(settings.patch))).to(scene.handles)
    search = float(round(scene.pixels(settings.search)))
    rows = list(scene.rows)
    row_codes = scene.start[:, rows].clone().requires_grad_(True)
    optimizer = torch.optim.Adam([row_codes], lr=settings.learning_rate)
    with torch.no_grad():
        layer_state = scene.features_at(scene.start)
        reference = scene.of_picture(layer_state)
        templates = Templates.of(reference, scene.handles, patch.new_zeros(1, 2), size)
    positions = scene.handles
    yield DragState(scene.start, positions, layer_state, scene.start, scene.arrived(positions, tolerance))
    for step in range(settings.steps):
        code = scene.start.clone()
        code[:, rows] = row_codes
        layer_state = scene.features_at(code)
        features = scene.of_picture(layer_state)
        if step:
            with torch.no_grad():
                positions, _ = templates.track(features, positions, search, 1.0, refine=False)
        stop = scene.arrived(positions, tolerance)
        if stop:
            yield DragState(code.detach(), positions, _detached(layer_state), code.detach(), stop)
            return
        loss = _motion_supervision(scene, features, positions, patch, min(1.0, tolerance))
        if scene.fixed is not None:
            loss = loss + settings.region_weight * ((features - reference) * scene.fixed).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        next_code = scene.start.clone()
        next_code[:, rows] = row_codes.detach()
        stop = "out of steps" if step + 1 == settings.steps else ""
        yield DragState(next_code, positions, _detached(layer_state), code.detach(), stop)


def _motion_supervision(
    scene: DragScene, features: Tensor, positions: Tensor, patch: Tensor, tolerance: float
) -> Tensor:
    """Compute the first term of Eq. 1 of 2305.10973 over handles that are farther than ``tolerance`` px: a scalar."""
    with torch.no_grad():
        offsets = scene.targets - positions
        distances = offsets.norm(dim=1, keepdim=True)
        points = positions[:, None] + patch
        target = sample(features, points, scene.size)
    ahead = sample(features, points + (offsets / distances.clamp(min=1e-7))[:, None], scene.size)
    active = (distances[:, 0] > tolerance).to(ahead)
    return ((ahead - target).abs().mean(dim=(1, 2)) * active).sum()


def least_change_steps(scene: DragScene) -> Iterator[DragState]:
    """Iterate damped Gauss-Newton toward the least change that brings the handles to their targets.

    The code goes from the start along the principal components of W, the same way in all chosen rows: start + U theta,
    in standard deviations. Minimised over theta is

        |positions - targets|^2 / sigma^2 + lambda * (mean square change of the fixed features) + |theta|^2.

    The linear model of a step: how each handle moves (optical flow through the features' gradient, one backward pass
    per coordinate) and how strongly every component changes what is fixed (measured once, by trying each). A step that
    does not lower the cost is taken back, and tried again shorter and more damped.
    """
    settings, size = scene.settings, scene.handles.new_tensor(scene.size[::-1])
    model = _LinearModel(scene)
    tolerance = scene.pixels(settings.tolerance, 0.0)
    theta, positions = scene.start.new_zeros(model.basis.shape[1]), scene.handles
    layer_state = model.features_at(theta)
    features = scene.of_picture(layer_state)
    model.set_reference(features)
    cost, stop = model.cost(theta, positions, features), scene.arrived(positions, tolerance)
    yield DragState(scene.start, positions, layer_state, scene.start, stop)
    model.linearise(theta, positions)
    damping, trust_radius, failures = 1.0, scene.pixels(_TRUST_RADIUS), 0
    for step in range(settings.steps):
        change = model.solve_step(theta, positions, damping, trust_radius)
        predicted = (positions + model.predict_motion(change)).clamp(min=0).minimum(size)
        layer_state = model.features_at(theta + change)
        features = scene.of_picture(layer_state)
        new_positions = model.track(features, predicted)
        new_cost = model.cost(theta + change, new_positions, features)
        if new_cost < cost:
            gain, failures = (cost - new_cost) / cost, 0
            theta, positions, cost = theta + change, new_positions, new_cost
            damping, trust_radius = max(damping / 3, 1e-3), min(trust_radius * 1.5, scene.pixels(4 * _TRUST_RADIUS))
            if gain < _SMALLEST_GAIN:
                stop = scene.arrived(positions, tolerance) or "no further"
            elif gain < _SETTLED:
                stop = scene.arrived(positions, tolerance)
        else:
            damping, trust_radius, failures = damping * 4, trust_radius / 2, failures + 1
            if failures > _PATIENCE:
                stop = scene.arrived(positions, tolerance) or "no further"
        if not stop and step + 1 == settings.steps:
            stop = scene.arrived(positions, tolerance) or "out of steps"
        code = model.code(theta)
        yield DragState(code, positions, layer_state, model.code(theta + change if failures else theta), stop)
        if not stop and not failures:
            model.linearise(theta, positions)


class _LinearModel:
    """The linear model of a drag about its present code."""

    def __init__(self, scene: DragScene) -> None:
        self.scene, settings = scene, scene.settings
        self.basis = _components(scene.covariance)
        self.sigma = _SIGMA * scene.size[0]
        self.region_weight = _REGION_WEIGHT * settings.region_weight * (_WITHOUT_REGION if scene.fixed is None else 1.0)
        self.patch = disk(scene.pixels(settings.patch, 1.5 * scene.pitch), scene.pitch)
        self.search = scene.pixels(settings.search, 2 * scene.pitch)
        self.row_mask = scene.start.new_zeros(scene.start.shape[1], 1)
        self.row_mask[list(scene.rows)] = 1

    def code(self, theta: Tensor) -> Tensor:
        """theta [..., K] -> codes [..., L, D]; one theta gives [1, L, D]."""
        return self.scene.start + (theta @ self.basis.t())[..., None, :] * self.row_mask

    def features_at(self, theta: Tensor) -> LayerState:
        """Synthesize theta [..., K] up to the feature layer, without gradients."""
        with torch.no_grad():
            return self.scene.features_at(self.code(theta))

    def set_reference(self, features: Tensor) -> None:
        """Take the first picture's features as the handles' templates, and as what the fixed region shall stay."""
        scene = self.scene
        self.reference, self.inverse_std = features, 1 / features.std(dim=(2, 3), keepdim=True).clamp(min=1e-6)
        self.templates = Templates.of(features * self.inverse_std, scene.handles, self.patch, scene.size)
        if self.region_weight:
            fixed = torch.ones_like(features[:, :1]) if scene.fixed is None else scene.fixed
            share = fixed / (fixed.sum() * features.shape[1])
            # Squares sum to a mean square, in the features' variance.
            self.fixed_weight = share.sqrt() * self.inverse_std
            changes = scene.memory.changes(scene.network, scene.layer, scene.rows, self._measure_changes)
            # [K, K]: how much the fixed features change when components change, to second order.
            self.stiffness = changes.stiffness(share).to(features)

    def _measure_changes(self) -> ChangeGrams:
        return measure_changes(
            lambda theta: self.scene.of_picture(self.features_at(theta)),
            self.reference,
            1 / self.inverse_std,
            self.basis.shape[1],
            lambda: self.scene.progress(0, self.scene.settings.steps, None),
        )

    def track(self, features: Tensor, near: Tensor) -> Tensor:
        """Find the handles [N, 2] near where they are expected."""
        return self.templates.track(features * self.inverse_std, near, self.search, self.scene.pitch / 2)[0]

    def cost(self, theta: Tensor, positions: Tensor, features: Tensor) -> float:
        """Compute the cost of theta [K] with handles at positions [N, 2], see `least_change_steps`."""
        total = (positions - self.scene.targets).square().sum() / self.sigma**2 + theta.square().sum()
        if self.region_weight:
            total = total + self.region_weight * ((features - self.reference) * self.fixed_weight).square().sum()
        return float(total)

    def linearise(self, theta: Tensor, positions: Tensor) -> None:
        """Take the gradients by theta: of every handle coordinate [2 N, K], and of the fixed features' change [K]."""
        scene = self.scene
        theta = theta.detach().requires_grad_(True)
        scaled = scene.of_picture(scene.features_at(self.code(theta))) * self.inverse_std
        weights, points = self.templates.motion_weights(scaled.detach(), positions, scene.pitch)
        samples = sample(scaled, points, scene.size)  # [N, K, C]
        coordinates = torch.einsum("nakc,nkc->na", weights, samples).flatten()
        self.handle_jacobian = torch.stack(
            [torch.autograd.grad(coordinate, theta, retain_graph=True)[0] for coordinate in coordinates]
        )
        if self.region_weight:
            change = (scaled / self.inverse_std - self.reference) * self.fixed_weight
            self.fixed_gradient = torch.autograd.grad(0.5 * change.square().sum(), theta)[0]

    def solve_step(self, theta: Tensor, positions: Tensor, damping: float, trust_radius: float) -> Tensor:
        """Minimise the damped model for a change of theta [K]; handles aim ``trust_radius`` pixels ahead at most."""
        ahead = self.scene.targets - positions
        ahead = ahead * (trust_radius / ahead.norm(dim=1, keepdim=True).clamp(min=1e-9)).clamp(max=1)
        # In float64 on the CPU, since some devices have none; the system is small.
        jacobian = self.handle_jacobian.cpu().double() / self.sigma
        curvature = jacobian.t() @ jacobian + (1 + damping) * torch.eye(len(theta)).to(jacobian)
        slope = jacobian.t() @ (ahead.flatten().cpu().double() / self.sigma) - theta.cpu().double()
        if self.region_weight:
            curvature = curvature + self.region_weight * self.stiffness.cpu().double()
            slope = slope - self.region_weight * self.fixed_gradient.cpu().double()
        return torch.linalg.solve(curvature, slope).to(theta)

    def predict_motion(self, change: Tensor) -> Tensor:
        """Predict how far the handles go [N, 2] when theta changes."""
        return (self.handle_jacobian @ change).reshape(-1, 2)


def _components(covariance: Tensor) -> Tensor:
    """Return the principal directions of W [D, K], each as long as its standard deviation."""
    values, vectors = torch.linalg.eigh(covariance.cpu().double())
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    covered = (values.cumsum(0) / values.sum().clamp(min=1e-30)) < _VARIANCE
    count = min(int(covered.sum()) + 1, _COMPONENTS, len(values))
    return (vectors[:, :count] * values[:count].sqrt()).to(covariance)


def _detached(state: LayerState) -> LayerState:
    image = None if state.image is None else state.image.detach()
    residual = None if state.residual is None else state.residual.detach()
    return LayerState(state.layer, state.features.detach(), image, residual)
