"""Self-attention control: early steps attend as under another text, so that the layout stays as the content changes.

The self-attention says which place looks at which, and what it sees there. Its queries, keys and values of one text
while the cross-attention reads another are the injection of Plug-and-Play (2211.12572) and MasaCtrl (2304.08465), here
from the photo's own embedding (Imagic's eta 0) instead of an inversion.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .model import DiffusionModel

__all__ = ["AttentionHeldModel", "HeldAttention", "hold_attention"]

_MODEL_FIELDS = tuple(item.name for item in fields(DiffusionModel))
_PROJECTIONS = ("to_q", "to_k", "to_v")
_SELF_ATTENTION = ("attn1", "attn")  # names in U-shaped networks and in transformers, which attend to text as well


class HeldAttention:
    """Records what passes through it, then gives it back in the same order in place of what passes next."""

    def __init__(self) -> None:
        self._recorded: list[tuple[Tensor, ...]] = []
        self._mode, self._index = "off", 0
        self._rows: Tensor | None = None

    @property
    def active(self) -> bool:
        """Tell whether it records or gives back at present."""
        return self._mode != "off"

    @property
    def empty(self) -> bool:
        """Tell whether nothing was recorded."""
        return not self._recorded

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record what passes while inside, in place of what was recorded before."""
        self._recorded = []
        with self._in_mode("record"):
            yield

    @contextlib.contextmanager
    def injecting(self, rows: Tensor | None = None) -> Iterator[None]:
        """Give back what was recorded while inside, and forget it.

        Args:
            rows: [B] flags, which of a batch; None for all.
        """
        self._rows = rows
        try:
            with self._in_mode("inject"):
                yield
        finally:
            self._recorded = []

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return these tensors, or the recorded ones where those have the same shapes."""
        if self._mode == "record":
            self._recorded.append(tensors)
        elif self._mode == "inject" and self._index < len(self._recorded):
            recorded = self._recorded[self._index]
            self._index += 1
            if all(one.shape == other.shape for one, other in zip(recorded, tensors, strict=True)):
                return tuple(map(self._mixed, recorded, tensors))
        return tensors

    def _mixed(self, recorded: Tensor, current: Tensor) -> Tensor:
        if self._rows is None:
            return recorded
        return torch.where(self._rows.to(current.device).view(-1, *[1] * (current.ndim - 1)), recorded, current)

    @contextlib.contextmanager
    def _in_mode(self, mode: str) -> Iterator[None]:
        self._mode, self._index = mode, 0
        try:
            yield
        finally:
            self._mode = "off"


@dataclass(frozen=True, eq=False)
class AttentionHeldModel(DiffusionModel):
    """A diffusion model that attends as under ``reference`` at noise levels from ``sigma_from`` up.

    Args:
        reference: (embedding [1, T, D], extras) of a CONDITIONING.
        sigma_from: the least noise at which attention is held.
    """

    reference: tuple[Tensor, Mapping[str, Any]] = field(kw_only=True)
    sigma_from: float = field(kw_only=True)

    @property
    def unheld(self) -> DiffusionModel:
        """Return the model that attends as it does by itself."""
        return DiffusionModel(**{name: getattr(self, name) for name in _MODEL_FIELDS})

    def denoise(self, x: Tensor, sigma: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """Estimate the latents without noise, as `DiffusionModel.denoise`; twice the work while attention is held."""
        if float(sigma.min()) < self.sigma_from:
            return super().denoise(x, sigma, condition)
        held, reference = HeldAttention(), self.condition(*self.reference, tuple(x.shape))
        with _hooked(self.network, held):
            with held.recording():
                super().denoise(x, sigma, reference)
            with held.injecting():
                return super().denoise(x, sigma, condition)


def hold_attention(model: DiffusionModel, reference: tuple[Tensor, Mapping[str, Any]], share: float) -> DiffusionModel:
    """Return a model that attends as under ``reference`` in the first ``share`` of the trained timesteps.

    Args:
        reference: (embedding [1, T, D], extras).
        share: 0..1; 0 holds nothing.

    Raises:
        InputError: when the network has no self-attention of a known kind.
    """
    if not _projections(model.network):
        raise InputError(f"'{model.name}' has no self-attention that could be held.")
    sigma_from = (
        float(model.schedule.sigmas_at(model.schedule.sigmas.new_tensor([1 - share]))) if share else float("inf")
    )
    own = {name: getattr(model, name) for name in _MODEL_FIELDS}
    return AttentionHeldModel(**own, reference=reference, sigma_from=sigma_from)


def _projections(network: nn.Module) -> list[nn.Module]:
    """Return the projections to queries, keys and values of every self-attention."""
    return [
        module
        for name, module in network.named_modules()
        if name.rpartition(".")[2] in _PROJECTIONS and name.split(".")[-2] in _SELF_ATTENTION
    ]


@contextlib.contextmanager
def _hooked(network: nn.Module, held: HeldAttention) -> Iterator[None]:
    hooks = [
        module.register_forward_hook(lambda _, inputs, output: held(output)[0]) for module in _projections(network)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
