"""The community pipeline of diffusers for Imagic, run as it is published. It is imported from a path, never shipped.

Two things are given from outside, because it does not run otherwise: `Accelerator` gets mixed precision "no" where
there is no GPU (it asks for float16, which accelerate refuses on a CPU), and torch's global generator is seeded, since
the pipeline draws its noise from there. It overwrites the UNet, so that every photo gets a fresh copy.
"""

from __future__ import annotations

import copy
import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from _edit_methods import Edits, Task
from PIL import Image
from semantic_edit.models.inference import enable_training
from semantic_edit.models.loading.libraries import import_diffusers

PUBLISHED_ALPHA = 1.2
ALPHAS = (0.4, 0.6, 0.8, 1.0, 1.2, 1.4)


def peer_module(path: Path) -> ModuleType:
    """The pipeline's file, imported."""
    import_diffusers()
    spec = importlib.util.spec_from_file_location("imagic_stable_diffusion", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not torch.cuda.is_available():
        accelerator = module.Accelerator
        module.Accelerator = lambda **options: accelerator(**{**options, "mixed_precision": "no"})
    module.tqdm = _still(module.tqdm)
    return module


class Peer:
    """The pipeline round the networks of one folder.

    Args:
        settings: of its ``train``: text_embedding_optimization_steps, embedding_learning_rate, ... Left out: its own.
    """

    def __init__(self, path: Path, folder: Path, device: str = "cpu", **settings: Any) -> None:
        diffusers = import_diffusers()
        self.module, self.settings = peer_module(path), settings
        self.source = diffusers.StableDiffusionPipeline.from_pretrained(
            str(folder), safety_checker=None, requires_safety_checker=False, local_files_only=True,
            torch_dtype=torch.float32, low_cpu_mem_usage=False,
        ).to(device)  # fmt: skip
        self.size = 8 * int(self.source.unet.config.sample_size)  # the pipeline takes 8 pixels a cell for granted

    def fresh(self) -> Any:
        """A pipeline whose UNet is a copy."""
        parts = self.source.components
        kinds = ("vae", "text_encoder", "tokenizer", "scheduler")
        with enable_training():
            pipeline = self.module.ImagicStableDiffusionPipeline(
                **{kind: parts[kind] for kind in kinds}, unet=copy.deepcopy(parts["unet"]), safety_checker=None,
                feature_extractor=None,
            )  # fmt: skip
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def learn(self, task: Task, seed: int = 0, pipeline: Any = None) -> tuple[Any, float]:
        """A pipeline that has learned the photo, and CPU seconds."""
        pipeline = pipeline or self.fresh()
        with enable_training():
            picture = Image.fromarray((task.photo[0].numpy() * 255).round().astype(np.uint8))
            torch.manual_seed(seed)
            started = time.process_time()
            pipeline.train(task.target, image=picture, height=self.size, width=self.size, **self.settings)
            seconds = time.process_time() - started
        pipeline.unet.requires_grad_(False).eval()
        return pipeline, seconds

    def edit(self, task: Task, alphas: Sequence[float] = ALPHAS, seed: int = 0) -> Edits:
        """One photo, learned and painted at all alphas (its name for eta), with its own sampling settings."""
        pipeline, seconds = self.learn(task, seed)
        started, pictures = time.process_time(), []
        for alpha in alphas:
            rng = torch.Generator(pipeline.device).manual_seed(seed)
            found = pipeline(alpha=alpha, height=self.size, width=self.size, generator=rng, output_type="np")
            pictures.append(torch.from_numpy(found.images[0]))
        return Edits(
            tuple(alphas), torch.stack(pictures), list(alphas).index(PUBLISHED_ALPHA), seconds,
            time.process_time() - started,
        )  # fmt: skip


def _still(tqdm: Any) -> Any:
    return lambda *given, **options: tqdm(*given, **{**options, "disable": True})
