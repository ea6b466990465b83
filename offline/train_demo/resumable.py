"""A network in training that can be put down and taken up again: weights, running average, optimiser, place."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from ...models.checkpoint import parse_json, read_safetensors, write_safetensors
from .common import Job

_EVERY_SECONDS = 100.0


class Resumable:
    """``model`` under Adam, with a running ``average`` of its weights, saved in ``path`` as training goes on."""

    def __init__(self, job: Job, path: Path, model: nn.Module, rate: float, keep: float = 0.999):
        self.job, self.path, self.model, self.keep = job, path, model, keep
        self.average = copy.deepcopy(model).requires_grad_(False).eval()
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.trained, rate, (0.9, 0.99), 1e-8, fused=True)
        self.step, self.seconds_before, self._saved = 0, 0.0, job.seconds()
        self._started = job.seconds()
        if job.resume and path.is_file():
            self._load()

    def seconds(self) -> float:
        """Spent on this network, earlier runs included."""
        return self.seconds_before + self.job.seconds() - self._started

    def generator(self) -> torch.Generator:
        """Random numbers of its own, others after each return: where the last ones stopped is not saved."""
        return torch.Generator().manual_seed(self.job.seed + 1000 * self.step)

    def update(self, loss: Tensor) -> None:
        """One step of the optimiser down ``loss``."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(self.keep, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)

    def due(self) -> bool:
        """Whether it is time to save again."""
        return self.job.seconds() - self._saved > _EVERY_SECONDS

    def save(self) -> None:
        """Write everything that training needs to go on."""
        self._saved = self.job.seconds()
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for index, parameter in enumerate(self.trained):
            state = self.optimizer.state[parameter]
            tensors |= {f"first.{index}": state["exp_avg"], f"second.{index}": state["exp_avg_sq"]}
        place = {"step": self.step, "seconds": self.seconds()}
        write_safetensors(self.path, {k: v.contiguous() for k, v in tensors.items()}, "training", place)

    def _load(self) -> None:
        tensors, metadata = read_safetensors(self.path, "training")
        place = parse_json(metadata, "config", self.path)
        self.step, self.seconds_before = place["step"], place["seconds"]
        for part, network in (("model.", self.model), ("average.", self.average)):
            network.load_state_dict({k[len(part) :]: v for k, v in tensors.items() if k.startswith(part)})
        for index, parameter in enumerate(self.trained):
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(self.step)),
                "exp_avg": tensors[f"first.{index}"],
                "exp_avg_sq": tensors[f"second.{index}"],
            }
        self.job.say(f"{self.path.stem}: resumed at step {self.step}")
