"""The headless host: plain folders, one device, a progress bar in the terminal, no ComfyUI."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ... import host
from ...editing.common.progress import Progress
from ...models.errors import InputError
from ...models.loading.torchvision_stubs import allow_declaring
from ..comfy_api import io, ui
from ..comfy_api.save_paths import numbered
from .diffusion import HeadlessDiffusion
from .progress_bar import Bar


class StoppedError(Exception):
    """The work was stopped on request."""


@dataclass
class HeadlessSettings:
    """Folders and the device to work with. Folders need not exist; those written to are made when needed."""

    input: Path = field(default_factory=lambda: Path("input"))
    output: Path = field(default_factory=lambda: Path("output"))
    models: Path = field(default_factory=lambda: Path("models"))
    temp: Path | None = None  # previews; default: <output>/previews
    device: str = "auto"  # "auto" (cuda when there is one), "cpu", "cuda", "cuda:1", "mps"
    metadata: bool = True  # write the workflow into saved pictures
    bar: Bar = field(default_factory=Bar)


class HeadlessHost(host.Host):
    """Answers from `HeadlessSettings`; `interrupt` stops the running node at its next step, from any thread."""

    io, ui = io, ui
    stopped = StoppedError  # what `check_interrupt` raises

    def __init__(self, settings: HeadlessSettings) -> None:
        self.settings = settings
        self._device = _device_named(settings.device)
        self._stop = threading.Event()
        allow_declaring()

    def device(self) -> torch.device:
        return self._device

    def result_device(self) -> torch.device:
        return torch.device("cpu")

    def progress(self, total: int, label: str = "") -> Progress:
        bar = self.settings.bar

        def report(step: int, total: int, preview: Tensor | None = None) -> None:
            bar.step(step, total, label)
            self.check_interrupt()

        return report

    def interrupt(self) -> None:
        """Ask the running work to stop; `resume` allows work again."""
        self._stop.set()

    def resume(self) -> None:
        """Forget an earlier `interrupt`."""
        self._stop.clear()

    def check_interrupt(self) -> None:
        if self._stop.is_set():
            raise StoppedError("Stopped on request.")

    def model_folders(self, kind: str) -> list[Path]:
        roots = [folder / "semantic_edit" for folder in (self.settings.models, self.settings.output)]
        return [root.absolute() / kind for root in [*roots, host.PACK / "models" / "demo"]]

    def save_path(self, kind: str, name: str, extension: str = host.MODEL_SUFFIX) -> Path:
        prefix = f"semantic_edit/{kind}/{host.safe_name(name)}"
        return numbered(prefix, self.output_directory()).path(extension)

    def input_directory(self) -> Path:
        return self.settings.input.absolute()

    def output_directory(self) -> Path:
        return self.settings.output.absolute()

    def temp_directory(self) -> Path:
        return (self.settings.temp or self.settings.output / "previews").absolute()

    @property
    def diffusion(self) -> HeadlessDiffusion:
        return HeadlessDiffusion()

    def place(self, *modules: nn.Module) -> None:
        with host.no_inference_mode():
            for module in modules:
                module.to(self._device)


def use_headless(settings: HeadlessSettings | None = None) -> HeadlessHost:
    """Choose the headless host, with its folders below the working directory unless `settings` says otherwise.

    Raises:
        InputError: when the device asked for is not there.
    """
    return host.use(HeadlessHost(settings or HeadlessSettings()))


def _device_named(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"The device {name!r} is unknown: use 'cpu', 'cuda' or 'auto'.") from None
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device.type, False):
        raise InputError(f"The device {name!r} is not available on this machine: use --device cpu or leave it out.")
    return device
