"""Training state that is saved and resumed: weights, running average (EMA), optimiser and step."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from ...models.checkpoint import parse_json, read_safetensors, write_safetensors
from .common import TrainingRun

_EVERY_SECONDS = 100.0


class Resumable:
    """``model`` in training, with a running ``average`` of its weights, saved in ``path`` as training goes on."""

    def __init__(
        self,
        run: TrainingRun,
        path: Path,
        model: nn.Module,
        rate: float,
        decay: float = 0.999,  # of the running average
        optimizer: torch.optim.Optimizer | None = None,  # of all parameters that learn; None: Adam
    ):
        self.run, self.path, self.model, self.decay = run, path, model, decay
        self.average = copy.deepcopy(model).requires_grad_(False).eval()
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = optimizer or torch.optim.Adam(self.trained, rate, (0.9, 0.99), 1e-8, fused=True)
        self.step, self.seconds_before, self._saved = 0, 0.0, run.seconds()
        self._started = run.seconds()
        if run.resume and path.is_file():
            self._load()

    def seconds(self) -> float:
        """Return the seconds spent on this network, earlier runs included."""
        return self.seconds_before + self.run.seconds() - self._started

    def progress(self, minutes: float, steps: int | None) -> float:
        """Return the share of a training of ``steps``, or else of ``minutes``, that is done."""
        return self.seconds() / (60 * minutes) if steps is None else self.step / steps

    def generator(self) -> torch.Generator:
        """Return a random generator, another one after each resumption: where the last one stopped is not saved."""
        return torch.Generator().manual_seed(self.run.seed + 1000 * self.step)

    def update(self, loss: Tensor) -> None:
        """Take one step of the optimiser down the scalar ``loss``, and update the running average."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.advance()

    def advance(self) -> None:
        """Take one step of the optimiser along the gradients that the parameters hold, and update the average."""
        self.optimizer.step()
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def due(self) -> bool:
        """Return whether it is time to save again."""
        return self.run.seconds() - self._saved > _EVERY_SECONDS

    def save(self) -> None:
        """Write everything that training needs to go on."""
        self._saved = self.run.seconds()
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for index, parameter in enumerate(self.trained):
            tensors |= {f"optimizer.{index}.{k}": v for k, v in self.optimizer.state[parameter].items()}
        position = {"step": self.step, "seconds": self.seconds()}
        write_safetensors(self.path, {k: v.contiguous() for k, v in tensors.items()}, "training", position)

    def _load(self) -> None:
        tensors, metadata = read_safetensors(self.path, "training")
        position = parse_json(metadata, "config", self.path)
        self.step, self.seconds_before = position["step"], position["seconds"]
        self.model.load_state_dict(tensors_under(tensors, "model."))
        self.average.load_state_dict(tensors_under(tensors, "average."))
        for index, parameter in enumerate(self.trained):
            self.optimizer.state[parameter] = tensors_under(tensors, f"optimizer.{index}.")
        self.run.say(f"{self.path.stem}: resumed at step {self.step}")


def tensors_under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix``, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
