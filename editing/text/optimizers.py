"""Optimizers and learning rates of a text edit's training: AdamScalarV for the direction, Adam for the others."""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.adam import adam
from .settings import TextEditSettings
from .trainable_edit import TrainableEdit

__all__ = ["AdamScalarV", "create_optimizers", "set_rates"]

_BETAS = (0.9, 0.98)
_MAPPER_RATE = 0.03  # of the rate of a direction: a network's weights are finer than a code
_NETWORK_RATE = 0.05  # the same of an attention's weights against a selection


class AdamScalarV(torch.optim.Optimizer):
    """Adam (1412.6980) with one second moment for all of a tensor instead of one for each number.

    Adam moves every coordinate equally fast, however little it matters; of the hundreds of a code most are noise, and
    together they spoil the picture. Here a step follows the gradient, and a row of unit gradient moves by ``lr``.

    Args:
        parameters: each [L, D], its second moment a mean over L rows.
        lr: the learning rate.
    """

    def __init__(self, parameters: list[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002  (the base class's signature)
        """Update every parameter by its gradient, Algorithm 1 of 1412.6980 with a scalar v."""
        beta1, beta2 = _BETAS
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state.update(step=0, m=torch.zeros_like(p), v=torch.zeros((), device=p.device))
                state["step"] += 1
                state["m"].lerp_(p.grad, 1 - beta1)
                state["v"].lerp_(p.grad.square().sum() / len(p), 1 - beta2)
                rms = (state["v"] / (1 - beta2 ** state["step"])).sqrt() + 1e-12
                p.sub_(state["m"] / (1 - beta1 ** state["step"]) / rms * group["lr"])


def create_optimizers(model: TrainableEdit, settings: TextEditSettings) -> list[torch.optim.Optimizer]:
    """Create one for the change of codes, and one for selection and attention where there are any."""
    change: torch.optim.Optimizer
    if model.mapper is not None:
        change = adam(model.mapper.parameters(), settings.rate * _MAPPER_RATE, betas=_BETAS)
    elif settings.coordinates == "plain":
        change = adam([model.offset], settings.rate, betas=_BETAS)
    else:
        change = AdamScalarV([model.offset], settings.rate)
    masks: list[dict[str, object]] = []
    if model.logits is not None:
        masks.append({"params": [model.logits], "lr": settings.mask_rate})
    if model.attention is not None:
        masks.append({"params": list(model.attention.parameters()), "lr": settings.mask_rate * _NETWORK_RATE})
    return [change, adam(masks, betas=_BETAS)] if masks else [change]


def set_rates(optimizers: list[torch.optim.Optimizer], settings: TextEditSettings, step: int) -> None:
    """Set the learning rates of a step: full for two thirds of the steps, then down to a tenth, in place."""
    progress = step / max(1, settings.steps - 1)
    factor = 1.0 if progress < 2 / 3 else 1 - 0.9 * (progress - 2 / 3) * 3
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
