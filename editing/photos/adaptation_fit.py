"""The work inside `adapt`: changed weights, the perturbation network, free deltas, and the colours that are left."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.gan.adaptation import Adaptation, DeltaHook
from ...models.gan.feature_flow import FeatureFlow, feature_flow
from ...models.gan.perturbation import PerturbationNetwork, perturbation_deltas
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.inference import clone_from_inference
from ..common.adam import adam
from ..common.pictures import to_rgb

_BETAS = (0.9, 0.99)
_AT_ONCE = 8  # photos per pass at most: bounds the memory of a large batch
_WEIGHTS_FROM = 2  # sizes below the first layer with deltas whose weights are tuned too
_KEPT_BYTES = 256 * 1024**2  # of the features before the layers with deltas
_SETTLING = 8  # rounds in which a residual is brought below an edit's flow
Deltas = Mapping[int, Tensor]


class Job:
    """What every method needs: the photos, where they count, and what is kept frozen."""

    def __init__(self, generator, images, codes, mask, layers, regularizer, guide, hook, noise, seed) -> None:
        self.synthesis, self.layers = generator.network.synthesis, layers
        self.regularizer, self.guide, self.hook, self.noise, self.seed = regularizer, guide, hook, noise, seed
        self.channels = generator.network.config.img_channels
        self.images = clone_from_inference(images.to(generator.device, torch.float32))
        self.codes = clone_from_inference(codes.to(generator.device, torch.float32)).detach()
        mask = None if mask is None else clone_from_inference(mask.to(self.images)).clamp(0, 1)
        self.mask = None if mask is None else mask.expand(len(self.images), -1, -1, -1)
        self.known = {
            name: clone_from_inference(tensor).detach()
            for name, tensor in generator.network.synthesis.named_parameters()
        }
        # A hook knows the whole batch and cannot be given a part of it.
        size = len(codes) if hook is not None else generator.pictures_per_graph(_AT_ONCE)
        self.parts = [slice(k, min(k + size, len(codes))) for k in range(0, len(codes), size)]
        before = math.prod(self.synthesis.layer_size(layers[0] - 1)) if layers[0] else 0
        self.keeps = 0 < 4 * before * len(codes) <= _KEPT_BYTES
        self.begun: dict[int, object] = {}  # where the plain generator stands before the first layer with deltas

    def sizes(self) -> list[tuple[int, int, int]]:
        """(C, h, w) of each layer with deltas."""
        return [self.synthesis.layer_size(layer) for layer in self.layers]

    def with_changes(self, changes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The changed parameters themselves."""
        return {name: self.known[name] + change.to(self.known[name]) for name, change in changes.items()}


class Late:
    """The layers from ``first`` on, on some photos: all before them is done once and kept."""

    def __init__(self, job: Job, part: slice, weights: Mapping[str, Tensor], first: int) -> None:
        self.job, self.part, self.weights = job, part, weights
        self.codes, self.images = job.codes[part], job.images[part]
        self.mask = None if job.mask is None else job.mask[part]
        self.state: object = None
        self.flow: FeatureFlow | None = None
        if first > 0:
            shared = job.keeps and not weights and first == job.layers[0]
            with torch.no_grad():
                self.state = job.begun.get(part.start) if shared else None
                if self.state is None:
                    self.state = self._run(first - 1, None, job.hook).state
                if shared:
                    job.begun[part.start] = self.state
                if job.guide is not None and job.hook is not None and job.hook.mask is None:
                    untouched, painted = (self._run(job.guide, None, hook).state for hook in (None, job.hook))
                    self.flow = feature_flow(untouched.features, painted.features)

    def delta_hook(self, deltas: Deltas) -> DeltaHook:
        """Return the hook by which deltas come into a run."""
        return DeltaHook(deltas, hook=self.job.hook, flow=self.flow)

    def draw(self, deltas: Deltas) -> Tensor:
        """[b, 3, H, W], without the residual."""
        return to_rgb(self._run(None, self.state, self.delta_hook(deltas)).image)

    def loss(self, drawn: Tensor) -> Tensor:
        """[b]: mean |x' - x| outside the mask."""
        weight = weight_outside(self.images, self.mask)
        error = ((drawn - self.images).abs() * weight).sum(dim=(1, 2, 3))
        return error / (3 * weight.sum(dim=(1, 2, 3))).clamp(min=1e-6)

    def _run(self, stop_layer, state, hook):
        options = SynthesisOptions(
            noise=self.job.noise, stop_layer=stop_layer, resume=state, hook=hook, first_index=self.part.start
        )
        if not self.weights:
            return self.job.synthesis(self.codes, options)
        return torch.func.functional_call(self.job.synthesis, dict(self.weights), (self.codes, options))


class Counter:
    """Steps done, told to the caller's progress."""

    def __init__(self, progress: Callable[..., None] | None, total: int) -> None:
        self.progress, self.total, self.done = progress, max(total, 1), 0

    def __call__(self, drawn: Tensor) -> None:
        self.done += 1
        if self.progress is not None:
            preview = (drawn[0].detach() + 1) / 2 if self.done % 5 == 0 else None
            self.progress(min(self.done, self.total), self.total, preview)


def fit_free(job: Job, made: Adaptation, steps: int, rate: float, count: Counter) -> Adaptation:
    """A free number for each feature of the late layers."""
    found: dict[int, list[Tensor]] = {layer: [] for layer in job.layers}
    weights = job.with_changes(made.weights)
    for part in job.parts:
        late = Late(job, part, weights, job.layers[0])
        deltas = {
            layer: made.deltas[layer][part].detach().clone().to(job.images)
            if layer in made.deltas
            else job.images.new_zeros(len(late.codes), *shape)
            for layer, shape in zip(job.layers, job.sizes(), strict=True)
        }
        for delta in deltas.values():
            delta.requires_grad_(True)
        # The mean square's gradient is what Adam calls weight decay: added on its way, it costs nothing.
        decays = [{"params": [x], "weight_decay": 2 * job.regularizer / x[0].numel()} for x in deltas.values()]
        _descend(late, lambda deltas=deltas: deltas, decays, steps, rate, count, 0.0)
        for layer, delta in deltas.items():
            found[layer].append(as_stored(delta))
    return replace(made, deltas={layer: torch.cat(parts) for layer, parts in found.items()}, state={})


def fit_network(job: Job, made: Adaptation, steps: int, rate: float, count: Counter) -> Adaptation:
    """A perturbation network for each photo, the paper's way; its weights are kept, to go on from."""
    kept: dict[str, list[Tensor]] = {}
    weights = job.with_changes(made.weights)
    seed = made.seed if made.state else job.seed
    for part in job.parts:
        late = Late(job, part, weights, job.layers[0])
        networks = [PerturbationNetwork(job.sizes(), seed).to(job.images.device) for _ in late.codes]
        for k, network in enumerate(networks):
            if made.state:
                network.load_state_dict({name: tensor[part.start + k] for name, tensor in made.state.items()})

        def deltas(networks=networks) -> dict[int, Tensor]:
            of_layers = zip(*(network() for network in networks), strict=True)
            return {layer: torch.cat(each) for layer, each in zip(job.layers, of_layers, strict=True)}

        parameters = [parameter for network in networks for parameter in network.parameters()]
        _descend(late, deltas, [{"params": parameters}], steps, rate, count, job.regularizer)
        for network in networks:
            for name, tensor in network.state_dict().items():
                kept.setdefault(name, []).append(as_stored(tensor))
    state = {name: torch.stack(tensors) for name, tensors in kept.items()}
    sizes = dict(zip(job.layers, job.sizes(), strict=True))
    return replace(made, deltas=perturbation_deltas(state, sizes, seed), state=state, seed=seed)


def fit_weights(job: Job, made: Adaptation, steps: int, rate: float, count: Counter) -> Adaptation:
    """Changed weights of late layers, one change for all photos. Rates are relative to each weight's size."""
    first = max(job.layers[0] - _WEIGHTS_FROM, 1) if job.layers[0] > 0 else 0
    lates = [Late(job, part, {}, first) for part in job.parts]
    scale = {name: tensor.square().mean().sqrt().clamp(min=0.01) for name, tensor in job.known.items()}
    changes = {name: torch.zeros_like(job.known[name]) for name in _reached(job, lates[0])}
    for name, change in changes.items():
        if name in made.weights:
            change.copy_(made.weights[name].to(change) / scale[name])
        change.requires_grad_(True)
    optimizer = adam(changes.values(), rate, betas=_BETAS)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * _schedule(step / steps)
        optimizer.zero_grad(set_to_none=True)
        for late in lates:
            late.weights = job.with_changes({name: scale[name] * change for name, change in changes.items()})
            drawn = late.draw(_rows(made.deltas, late.part))
            (late.loss(drawn).sum() / len(job.codes)).backward()
        optimizer.step()
        count(drawn)
    return replace(made, weights={name: as_stored(scale[name] * change) for name, change in changes.items()})


def fit_residual(job: Job, made: Adaptation, steps: int, rate: float, count: Counter) -> Adaptation:
    """The colours that are missing outside the mask, in one pass: nothing is optimised."""
    found = []
    weights = job.with_changes(made.weights)
    with torch.no_grad():
        for part in job.parts:
            late = Late(job, part, weights, job.layers[0])
            missing = late.images - late.draw(_rows(made.deltas, part))
            counts = weight_outside(late.images, late.mask)
            residual = missing * counts
            carry, most = late.delta_hook({}).carry, 2 * float(missing.abs().max())
            for _ in range(_SETTLING if job.hook is not None else 0):
                residual = (residual + (missing - carry(residual)) * counts).clamp(-most, most)
            found.append(as_stored(_in_channels(residual, job.channels)))
            count(late.images - missing + residual)
    return replace(made, residual=torch.cat(found))


FITS = {"free": fit_free, "network": fit_network, "weights": fit_weights, "residual": fit_residual}


def as_stored(tensor: Tensor) -> Tensor:
    """Rounded to what a file keeps, so that a saved adaptation draws the same picture, and a residual corrects it."""
    return tensor.detach().half().float()


def weight_outside(images: Tensor, mask: Tensor | None) -> Tensor:
    """[B, 1, H, W], 1 where the photo counts."""
    ones = torch.ones_like(images[:, :1])
    return ones if mask is None else ones * (1 - mask.to(ones))


def _descend(
    late: Late,
    deltas: Callable[[], Deltas],
    groups: list[dict],  # of parameters, as torch's optimisers take them
    steps: int,
    rate: float,
    count: Counter,
    regularizer: float,  # weight of the mean square of each layer's deltas
) -> None:
    optimizer = adam(groups, rate, betas=_BETAS)
    for step in range(steps):
        # A rise, because the first steps of Adam are as long for all numbers together, whatever the loss asks for.
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 10) * _schedule(step / steps)
        now = deltas()
        drawn = late.draw(now)
        loss = late.loss(drawn)
        for delta in now.values() if regularizer else ():
            loss = loss + regularizer * delta.square().mean(dim=(1, 2, 3))
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()  # a sum, so that every photo has the gradient it would have alone
        optimizer.step()
        count(drawn)


def _reached(job: Job, late: Late) -> list[str]:
    """The parameters that the layers of ``late`` read: only they can be tuned from there on."""
    leaves = {name: tensor.clone().requires_grad_(True) for name, tensor in job.known.items()}
    kept, late.weights = late.weights, leaves
    drawn = late.draw({})
    late.weights = kept
    grads = torch.autograd.grad(drawn.sum(), list(leaves.values()), allow_unused=True)
    return [name for name, grad in zip(leaves, grads, strict=True) if grad is not None]


def _in_channels(colour: Tensor, channels: int) -> Tensor:
    """[B, 3, H, W] as a generator of another number of channels adds it: grey, or without transparency."""
    return colour.mean(dim=1, keepdim=True) if channels == 1 else F.pad(colour, (0, 0, 0, 0, 0, channels - 3))


def _rows(deltas: Deltas, part: slice) -> dict[int, Tensor]:
    return {layer: delta[part] for layer, delta in deltas.items()}


def _schedule(share: float) -> float:
    """1, falling to zero over the last two thirds."""
    return 0.5 - 0.5 * math.cos(math.pi * min(1.0, 1.5 * (1 - share)))
