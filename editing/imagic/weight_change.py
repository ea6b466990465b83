"""A trainable change of a network's weights, low-rank (LoRA) or full, which the tuning turns on and off."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor, nn

from ..common.diffusion.lora import init_loras, lora_hooks
from ..common.diffusion.lora_file import diff_tensors, lora_tensors
from .full_weights import FullWeights

__all__ = ["FullChange", "LoraChange", "WeightChange"]


class WeightChange(Protocol):
    """A change that is trained while it is applied; the user's own weights are never written."""

    parameters: list[Tensor]

    def applied(self) -> AbstractContextManager[None]:
        """Let the network compute with the change while inside."""

    def off(self) -> AbstractContextManager[None]:
        """Run the network as it was, while inside; itself inside of `applied`."""

    def lora_file(self, lora_name: Callable[[str], str]) -> dict[str, Tensor]:
        """Return the change as the tensors of a LoRA file.

        Args:
            lora_name: layer of the network -> its name in LoRA files.
        """


class LoraChange:
    """Low-rank changes, added to the layers' outputs."""

    def __init__(self, layers: Mapping[str, nn.Module], rank: int, rng: torch.Generator) -> None:
        self.layers, self.loras = layers, init_loras(layers, rank, rng)
        self.parameters = [tensor for lora in self.loras.values() for tensor in (lora.up, lora.down)]

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network compute with the change while inside."""
        with lora_hooks(self.layers, self.loras) as self._switch:
            yield

    def off(self) -> AbstractContextManager[None]:
        """Run the network as it was, while inside."""
        return self._switch.off()

    def lora_file(self, lora_name: Callable[[str], str]) -> dict[str, Tensor]:
        """Return the changes as up, down and alpha."""
        return lora_tensors(self.loras, {layer: lora_name(layer) for layer in self.loras})


class FullChange:
    """Full weights, which stand in for the network's own."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self.weights = FullWeights(layers)
        self.parameters = self.weights.copies

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network compute with the copies while inside."""
        with self.weights.swapped_in():
            yield

    def off(self) -> AbstractContextManager[None]:
        """Run the network as it was, while inside."""
        return self.weights.off()

    def lora_file(self, lora_name: Callable[[str], str]) -> dict[str, Tensor]:
        """Return the changes as differences of weights and biases."""
        return diff_tensors(self.weights.changes(), lora_name)
