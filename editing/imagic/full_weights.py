"""Full tuning: trainable copies of chosen weights stand in for the user's own while the work lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

__all__ = ["WholeWeights", "count_numbers"]


def count_numbers(layers: Mapping[str, nn.Module]) -> int:
    """How many numbers the weights and biases of these layers have."""
    return sum(
        tensor.numel() for layer in layers.values() for tensor in (layer.weight, layer.bias) if tensor is not None
    )


class WholeWeights:
    """Float32 copies of the weights and biases of some layers; `standing_in` puts them in place for a while.

    The user's tensors are set aside, not written, and put back whatever happens.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self._layers = dict(layers)
        self._own = {
            (layer, part): module._parameters[part]
            for layer, module in layers.items()
            for part in ("weight", "bias")
            if module._parameters.get(part) is not None
        }
        self._copies = {place: own.detach().float().clone().requires_grad_(True) for place, own in self._own.items()}
        self._on = False

    @property
    def copies(self) -> list[Tensor]:
        """The trainable tensors."""
        return list(self._copies.values())

    @contextlib.contextmanager
    def standing_in(self) -> Iterator[WholeWeights]:
        """The network computes with the copies while inside."""
        hooks = [module.register_forward_pre_hook(_Putting(self, layer)) for layer, module in self._layers.items()]
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
        """The network as it was, while inside."""
        self._on = False
        self._restore()
        try:
            yield
        finally:
            self._on = True

    def changes(self) -> dict[tuple[str, str], Tensor]:
        """(layer, "weight" or "bias") -> what was added, float32."""
        return {place: copy.detach() - self._own[place].detach().float() for place, copy in self._copies.items()}

    def put(self, layer: str) -> None:
        """Put the copies of one layer in place, in the precision of the user's weights."""
        module = self._layers[layer]
        for part in ("weight", "bias"):
            own = self._own.get((layer, part))
            if self._on and own is not None:
                module._parameters.pop(part, None)
                # A plain tensor attribute keeps the graph to the float32 copy, which a parameter would cut.
                module.__dict__[part] = self._copies[layer, part].to(own.dtype)

    def _restore(self) -> None:
        for (layer, part), own in self._own.items():
            module = self._layers[layer]
            module.__dict__.pop(part, None)
            module._parameters[part] = own


class _Putting:
    """A hook that runs before a layer does."""

    def __init__(self, weights: WholeWeights, layer: str) -> None:
        self.weights, self.layer = weights, layer

    def __call__(self, module: nn.Module, args: tuple) -> None:
        self.weights.put(self.layer)
