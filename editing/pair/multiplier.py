"""LoRA with a multiplier per picture: one batch holds the network as it is and the slider at both ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from ..common.diffusion.lora import Lora, lora_output

__all__ = ["MixedRowsError", "Multiplier", "scaled_hooks"]


class MixedRowsError(Exception):
    """A layer sees other rows than one for each picture, such as tokens that go to experts."""


class Multiplier:
    """How strongly a slider acts on each picture of the batch that is in the network now."""

    def __init__(self) -> None:
        self.strengths: Tensor | None = None  # [B], or [1] for all; None turns the slider off

    @contextlib.contextmanager
    def at(self, strengths: Tensor) -> Iterator[None]:
        """Apply the slider at strengths [B], or [1] for all, while inside."""
        previous, self.strengths = self.strengths, strengths
        try:
            yield
        finally:
            self.strengths = previous

    def scale(self, delta: Tensor) -> Tensor:
        """Multiply a layer's change by the strength of the picture each row belongs to.

        Args:
            delta: [B, ...], or [1, ...] where a layer sees what all pictures share, whose result is then one for each.
                With one strength for all, any number of rows.

        Raises:
            MixedRowsError: when there are other rows: which picture they belong to is not known.
        """
        strengths = self.strengths.to(delta)
        if len(strengths) > 1 and len(delta) not in (1, len(strengths)):
            raise MixedRowsError
        return delta * strengths.reshape(-1, *[1] * (delta.ndim - 1))


@contextlib.contextmanager
def scaled_hooks(layers: Mapping[str, nn.Module], loras: Mapping[str, Lora]) -> Iterator[Multiplier]:
    """Add these changes to the layers' outputs while inside, as far as the multiplier says; at first not at all."""
    multiplier = Multiplier()
    hooks = [
        layers[name].register_forward_hook(_hook(lora, multiplier), with_kwargs=True) for name, lora in loras.items()
    ]
    try:
        yield multiplier
    finally:
        for hook in hooks:
            hook.remove()


def _hook(lora: Lora, multiplier: Multiplier):
    def hook(layer: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor:
        if multiplier.strengths is None:
            return output
        return output + multiplier.scale(lora_output(layer, lora, args[0] if args else kwargs["input"]))

    return hook
