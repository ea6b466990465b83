"""Pretraining of the mapping network: w regressed onto a random rotation of what the picture will need.

Started from noise, the mapping and the synthesis chase each other for most of the training. A mapping which already
tells portraits apart lets the synthesis learn at once: four times fewer pictures to the same error. It also makes the
factors linear in W by construction, so the weak loss that keeps them so ends with the first phase.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...demo.portraits.factors import INDEX, factors_from_z, normalise_factors
from ...demo.portraits.scene import Scene
from ...models.gan.stylegan2 import MappingNetwork
from .common import TrainingRun, sample_z, set_rate, warm_cosine

_SPREAD = 1.7  # standard deviation of w, near that of StyleGAN2's


class MappingTarget:
    """Regression target of w for a sample: a random rotation of factors, colours and the turned head's geometry."""

    def __init__(self, w_dim: int, generator: torch.Generator):
        inputs = self._attributes(sample_z(2, generator)).shape[1]
        self.rotation = torch.linalg.qr(torch.randn(w_dim, inputs, generator=generator))[0] * _SPREAD

    def __call__(self, z: Tensor) -> Tensor:
        """Return the target ``[B, D]`` of samples ``[B, Z]``."""
        return self._attributes(z) @ self.rotation.t()

    @staticmethod
    def _attributes(z: Tensor) -> Tensor:
        factors = factors_from_z(z)
        scene = Scene(factors, 8, 8, keep_layers=False)
        colours = torch.cat([scene.skin, scene.hair, scene.background, scene.shirt, scene.hat], 1) * 2 - 1
        turned = [torch.sin(scene.yaw + 0.49), torch.sin(scene.yaw - 0.49), scene.cos]
        geometry = [angle[:, :, 0] for angle in turned] + [factors[:, INDEX["eye_open"], None]]
        return torch.cat([1.5 * normalise_factors(factors), colours, *geometry], 1)


def start_mapping(
    run: TrainingRun, mapping: MappingNetwork, target: MappingTarget, steps: int, rng: torch.Generator
) -> None:
    """Regress the mapping onto its target, in place."""
    optimizer = torch.optim.Adam(mapping.parameters(), 3e-3, (0.9, 0.99))
    for step in range(steps):
        set_rate(optimizer, 3e-3 * warm_cosine(step, steps, 100))
        z = sample_z(256, rng)
        loss = (mapping(z) - target(z)).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    run.say(f"mapping start: squared error {loss.item():.4f}, {run.seconds():.0f} s")
