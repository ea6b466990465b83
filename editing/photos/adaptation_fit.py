"""Fitting an adaptation: changed weights, the perturbation network, free deltas, and the residual of colours.

The work inside `adapt`. Papers: GANPaint (2005.07727, section 3.3), pivotal tuning (2106.05744).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.gan.adaptation import Adaptation, DeltaHook
from ...models.gan.feature_flow import FeatureFlow, feature_flow
from ...models.gan.generator import GanGenerator
from ...models.gan.hooks import SynthesisHook
from ...models.gan.perturbation import PerturbationNetwork, perturbation_deltas
from ...models.gan.synthesis_run import LayerState, SynthesisOptions, SynthesisResult
from ...models.inference import clone_from_inference
from ..common.adam import adam
from ..common.pictures import to_rgb
from ..common.progress import StepCounter

_BETAS = (0.9, 0.99)
_AT_ONCE = 8  # photos per pass at most: bounds the memory of a large batch
_WEIGHTS_FROM = 2  # sizes below the first layer with deltas whose weights are tuned too
_CACHE_BYTES = 256 * 1024**2  # of the features before the layers with deltas
_SETTLING = 8  # rounds in which a residual is brought below an edit's flow
Deltas = Mapping[int, Tensor]  # layer -> [B, C, h, w]


class FitProblem:
    """What every method of fitting needs: the photos, where they count, and the frozen generator.

    Args:
        generator: without an adaptation.
        images: [B, 3, H, W] in -1..1, the photos.
        codes: [B, L, D].
        mask: [B or 1, 1, H, W], 1 where the photo says nothing; None: it counts everywhere.
        layers: with deltas, ascending.
        regularizer: weight of the mean square of the deltas.
        guide: the layer whose features deltas follow; None: they stay where they are.
        hook: the edit under which the photos are fitted.
        noise: of the synthesis.
        seed: of the perturbation network.
    """

    def __init__(
        self,
        generator: GanGenerator,
        images: Tensor,
        codes: Tensor,
        mask: Tensor | None,
        layers: tuple[int, ...],
        regularizer: float,
        guide: int | None,
        hook: SynthesisHook | None,
        noise: str | int,
        seed: int,
    ) -> None:
        self.synthesis, self.layers = generator.network.synthesis, layers
        self.regularizer, self.guide, self.hook, self.noise, self.seed = regularizer, guide, hook, noise, seed
        self.channels = generator.network.config.img_channels
        self.images = clone_from_inference(images.to(generator.device, torch.float32))
        self.codes = clone_from_inference(codes.to(generator.device, torch.float32)).detach()
        mask = None if mask is None else clone_from_inference(mask.to(self.images)).clamp(0, 1)
        self.mask = None if mask is None else mask.expand(len(self.images), -1, -1, -1)
        self.weights = {
            name: clone_from_inference(tensor).detach()
            for name, tensor in generator.network.synthesis.named_parameters()
        }
        # A hook knows the whole batch and cannot be given a part of it.
        size = len(codes) if hook is not None else generator.pictures_per_graph(_AT_ONCE)
        self.batches = [slice(k, min(k + size, len(codes))) for k in range(0, len(codes), size)]
        features = math.prod(self.synthesis.layer_size(layers[0] - 1)) if layers[0] else 0
        self.caches_states = 0 < 4 * features * len(codes) <= _CACHE_BYTES
        # Where the plain generator stands before the first layer with deltas, by the first photo of the batch.
        self.states: dict[int, LayerState] = {}

    def sizes(self) -> list[tuple[int, int, int]]:
        """Return (C, h, w) of each layer with deltas."""
        return [self.synthesis.layer_size(layer) for layer in self.layers]

    def changed_weights(self, changes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add changes to the parameters that they are of; the others are not in the result."""
        return {name: self.weights[name] + change.to(self.weights[name]) for name, change in changes.items()}


class LateLayers:
    """The layers from ``first`` on, on a batch of photos: all before them is done once and kept.

    Args:
        problem: the photos and the generator.
        batch: which photos.
        weights: changed parameters by name; empty: the generator's own.
        first: the first layer that runs each time.
    """

    def __init__(self, problem: FitProblem, batch: slice, weights: Mapping[str, Tensor], first: int) -> None:
        self.problem, self.batch, self.weights = problem, batch, weights
        self.codes, self.images = problem.codes[batch], problem.images[batch]
        self.mask = None if problem.mask is None else problem.mask[batch]
        self.state: LayerState | None = None
        self.flow: FeatureFlow | None = None
        if first > 0:
            shared = problem.caches_states and not weights and first == problem.layers[0]
            hook = problem.hook
            with torch.no_grad():
                self.state = problem.states.get(batch.start) if shared else None
                if self.state is None:
                    self.state = self._run(first - 1, None, hook).state
                if shared:
                    problem.states[batch.start] = self.state
                if problem.guide is not None and hook is not None and hook.mask is None:
                    plain, painted = (self._run(problem.guide, None, hook).state for hook in (None, problem.hook))
                    self.flow = feature_flow(plain.features, painted.features)

    def delta_hook(self, deltas: Deltas) -> DeltaHook:
        """Return the hook by which deltas come into a run."""
        return DeltaHook(deltas, hook=self.problem.hook, flow=self.flow)

    def draw(self, deltas: Deltas) -> Tensor:
        """Draw the photos' codes with deltas, without the residual: [b, 3, H, W]."""
        return to_rgb(self._run(None, self.state, self.delta_hook(deltas)).image)

    def loss(self, images: Tensor) -> Tensor:
        """Compute the mean |x' - x| outside the mask of drawn pictures [b, 3, H, W]: [b]."""
        weight = weight_outside(self.images, self.mask)
        error = ((images - self.images).abs() * weight).sum(dim=(1, 2, 3))
        return error / (3 * weight.sum(dim=(1, 2, 3))).clamp(min=1e-6)

    def _run(self, stop_layer: int | None, state: LayerState | None, hook: SynthesisHook | None) -> SynthesisResult:
        problem = self.problem
        options = SynthesisOptions(
            noise=problem.noise, stop_layer=stop_layer, resume=state, hook=hook, first_index=self.batch.start
        )
        if not self.weights:
            return problem.synthesis(self.codes, options)
        return torch.func.functional_call(problem.synthesis, dict(self.weights), (self.codes, options))


def fit_free(problem: FitProblem, adaptation: Adaptation, steps: int, rate: float, progress: StepCounter) -> Adaptation:
    """Fit a free number for each feature of the late layers."""
    fitted: dict[int, list[Tensor]] = {layer: [] for layer in problem.layers}
    weights = problem.changed_weights(adaptation.weights)
    for batch in problem.batches:
        late = LateLayers(problem, batch, weights, problem.layers[0])
        deltas = {
            layer: adaptation.deltas[layer][batch].detach().clone().to(problem.images)
            if layer in adaptation.deltas
            else problem.images.new_zeros(len(late.codes), *shape)
            for layer, shape in zip(problem.layers, problem.sizes(), strict=True)
        }
        for delta in deltas.values():
            delta.requires_grad_(True)
        # The mean square's gradient is what Adam calls weight decay: added on its way, it costs nothing.
        decays = [{"params": [x], "weight_decay": 2 * problem.regularizer / x[0].numel()} for x in deltas.values()]
        _descend(late, lambda deltas=deltas: deltas, decays, steps, rate, progress, 0.0)
        for layer, delta in deltas.items():
            fitted[layer].append(as_stored(delta))
    return replace(adaptation, deltas={layer: torch.cat(batches) for layer, batches in fitted.items()}, state={})


def fit_network(
    problem: FitProblem, adaptation: Adaptation, steps: int, rate: float, progress: StepCounter
) -> Adaptation:
    """Fit a perturbation network for each photo, the paper's way; its weights stay in the result, to go on from."""
    states: dict[str, list[Tensor]] = {}
    weights = problem.changed_weights(adaptation.weights)
    seed = adaptation.seed if adaptation.state else problem.seed
    for batch in problem.batches:
        late = LateLayers(problem, batch, weights, problem.layers[0])
        networks = [PerturbationNetwork(problem.sizes(), seed).to(problem.images.device) for _ in late.codes]
        for k, network in enumerate(networks):
            if adaptation.state:
                network.load_state_dict({name: tensor[batch.start + k] for name, tensor in adaptation.state.items()})

        def deltas(networks=networks) -> dict[int, Tensor]:
            of_layers = zip(*(network() for network in networks), strict=True)
            return {layer: torch.cat(photos) for layer, photos in zip(problem.layers, of_layers, strict=True)}

        parameters = [parameter for network in networks for parameter in network.parameters()]
        _descend(late, deltas, [{"params": parameters}], steps, rate, progress, problem.regularizer)
        for network in networks:
            for name, tensor in network.state_dict().items():
                states.setdefault(name, []).append(as_stored(tensor))
    state = {name: torch.stack(tensors) for name, tensors in states.items()}
    sizes = dict(zip(problem.layers, problem.sizes(), strict=True))
    return replace(adaptation, deltas=perturbation_deltas(state, sizes, seed), state=state, seed=seed)


def fit_weights(
    problem: FitProblem, adaptation: Adaptation, steps: int, rate: float, progress: StepCounter
) -> Adaptation:
    """Fit changed weights of late layers, one change for all photos. Rates are relative to each weight's size."""
    first = max(problem.layers[0] - _WEIGHTS_FROM, 1) if problem.layers[0] > 0 else 0
    batches = [LateLayers(problem, batch, {}, first) for batch in problem.batches]
    scale = {name: tensor.square().mean().sqrt().clamp(min=0.01) for name, tensor in problem.weights.items()}
    changes = {name: torch.zeros_like(problem.weights[name]) for name in _used_weights(problem, batches[0])}
    for name, change in changes.items():
        if name in adaptation.weights:
            change.copy_(adaptation.weights[name].to(change) / scale[name])
        change.requires_grad_(True)
    optimizer = adam(changes.values(), rate, betas=_BETAS)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * _schedule(step / steps)
        optimizer.zero_grad(set_to_none=True)
        for late in batches:
            late.weights = problem.changed_weights({name: scale[name] * change for name, change in changes.items()})
            images = late.draw(_of_batch(adaptation.deltas, late.batch))
            (late.loss(images).sum() / len(problem.codes)).backward()
        optimizer.step()
        progress.step(images)
    return replace(adaptation, weights={name: as_stored(scale[name] * change) for name, change in changes.items()})


def fit_residual(
    problem: FitProblem,
    adaptation: Adaptation,
    steps: int,
    rate: float,
    progress: StepCounter,
) -> Adaptation:
    """Take the colours that are missing outside the mask, in one pass: nothing is optimised."""
    residuals = []
    weights = problem.changed_weights(adaptation.weights)
    with torch.no_grad():
        for batch in problem.batches:
            late = LateLayers(problem, batch, weights, problem.layers[0])
            missing = late.images - late.draw(_of_batch(adaptation.deltas, batch))
            outside = weight_outside(late.images, late.mask)
            residual = missing * outside
            carry, limit = late.delta_hook({}).carry, 2 * float(missing.abs().max())
            for _ in range(_SETTLING if problem.hook is not None else 0):
                residual = (residual + (missing - carry(residual)) * outside).clamp(-limit, limit)
            residuals.append(as_stored(_in_channels(residual, problem.channels)))
            progress.step(late.images - missing + residual)
    return replace(adaptation, residual=torch.cat(residuals))


FITS = {"free": fit_free, "network": fit_network, "weights": fit_weights, "residual": fit_residual}


def as_stored(tensor: Tensor) -> Tensor:
    """Round to what a file keeps, so that a saved adaptation draws the same picture, and a residual corrects it."""
    return tensor.detach().half().float()


def weight_outside(images: Tensor, mask: Tensor | None) -> Tensor:
    """Return where photos [B, 3, H, W] count outside a mask [B or 1, 1, H, W]: [B, 1, H, W] in 0..1."""
    ones = torch.ones_like(images[:, :1])
    return ones if mask is None else ones * (1 - mask.to(ones))


def _descend(
    late: LateLayers,
    deltas: Callable[[], Deltas],
    groups: list[dict],  # of parameters, as torch's optimisers take them
    steps: int,
    rate: float,
    progress: StepCounter,
    regularizer: float,  # weight of the mean square of each layer's deltas
) -> None:
    """Minimise the loss of a batch by Adam, in place."""
    optimizer = adam(groups, rate, betas=_BETAS)
    for step in range(steps):
        # A rise, because the first steps of Adam are as long for all numbers together, whatever the loss asks for.
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 10) * _schedule(step / steps)
        current = deltas()
        images = late.draw(current)
        loss = late.loss(images)
        for delta in current.values() if regularizer else ():
            loss = loss + regularizer * delta.square().mean(dim=(1, 2, 3))
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()  # a sum, so that every photo has the gradient it would have alone
        optimizer.step()
        progress.step(images)


def _used_weights(problem: FitProblem, late: LateLayers) -> list[str]:
    """Name the parameters that the layers of ``late`` read: only they can be tuned from there on."""
    leaves = {name: tensor.clone().requires_grad_(True) for name, tensor in problem.weights.items()}
    weights, late.weights = late.weights, leaves
    images = late.draw({})
    late.weights = weights
    grads = torch.autograd.grad(images.sum(), list(leaves.values()), allow_unused=True)
    return [name for name, grad in zip(leaves, grads, strict=True) if grad is not None]


def _in_channels(colours: Tensor, channels: int) -> Tensor:
    """[B, 3, H, W] as a generator of another number of channels adds it: grey, or without transparency."""
    return colours.mean(dim=1, keepdim=True) if channels == 1 else F.pad(colours, (0, 0, 0, 0, 0, channels - 3))


def _of_batch(deltas: Deltas, batch: slice) -> dict[int, Tensor]:
    return {layer: delta[batch] for layer, delta in deltas.items()}


def _schedule(share: float) -> float:
    """1, falling to zero over the last two thirds."""
    return 0.5 - 0.5 * math.cos(math.pi * min(1.0, 1.5 * (1 - share)))
