"""Full fine-tuning: trainable copies of some layers' weights stand in for the user's own while the work lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

__all__ = ["FullWeights", "count_parameters"]

_KINDS = ("weight", "bias")


def count_parameters(layers: Mapping[str, nn.Module]) -> int:
    """Count the numbers in the weights and biases of these layers."""
    return sum(
        tensor.numel() for layer in layers.values() for tensor in (layer.weight, layer.bias) if tensor is not None
    )


class FullWeights:
    """Float32 copies of the weights and biases of some layers; `swapped_in` lets the network compute with them.

    The user's tensors are set aside, not written, and put back whatever happens.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self._layers = dict(layers)
        self._originals = {
            (layer, kind): module._parameters[kind]
            for layer, module in layers.items()
            for kind in _KINDS
            if module._parameters.get(kind) is not None
        }
        self._copies = {
            key: original.detach().float().clone().requires_grad_(True) for key, original in self._originals.items()
        }
        self._on = False

    @property
    def copies(self) -> list[Tensor]:
        """Return the trainable tensors."""
        return list(self._copies.values())

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[FullWeights]:
        """Let the network compute with the copies while inside."""
        hooks = [module.register_forward_pre_hook(_SwapHook(self, layer)) for layer, module in self._layers.items()]
        self._on = True
        try:
            yield self
        finally:
            self._on = False
            for hook in hooks:
                hook.remove()
            self._restore()

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """Run the network as it was, while inside."""
        self._on = False
        self._restore()
        try:
            yield
        finally:
            self._on = True

    def changes(self) -> dict[tuple[str, str], Tensor]:
        """Return what was added, float32: (layer, "weight" or "bias") -> a tensor of that parameter's shape."""
        return {key: copy.detach() - self._originals[key].detach().float() for key, copy in self._copies.items()}

    def swap_in(self, layer: str) -> None:
        """Give one layer its copies, in the precision of the user's weights."""
        module = self._layers[layer]
        for kind in _KINDS:
            original = self._originals.get((layer, kind))
            if self._on and original is not None:
                module._parameters.pop(kind, None)
                # A plain tensor attribute keeps the graph to the float32 copy, which a parameter would cut.
                module.__dict__[kind] = self._copies[layer, kind].to(original.dtype)

    def _restore(self) -> None:
        for (layer, kind), original in self._originals.items():
            module = self._layers[layer]
            module.__dict__.pop(kind, None)
            module._parameters[kind] = original


class _SwapHook:
    """A forward pre-hook that swaps a layer's copies in."""

    def __init__(self, weights: FullWeights, layer: str) -> None:
        self.weights, self.layer = weights, layer

    def __call__(self, module: nn.Module, args: tuple) -> None:
        self.weights.swap_in(self.layer)
