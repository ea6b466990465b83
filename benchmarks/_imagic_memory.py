"""Peak memory above the loaded model, of one way in a process of its own.

Linux only: the peak of the resident set is reset before the work and read after it (VmHWM), so that everything counts:
graphs, optimisers, copies, and what the allocator keeps. A few steps of each stage are enough, since every step needs
the same.
"""

from __future__ import annotations

import gc
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _edit_methods import Workshop
from _edit_pairs_demo import DEVELOPMENT, held_out_pairs
from _imagic_peer import Peer
from semantic_edit.editing.imagic.embedding import optimize_embedding
from semantic_edit.editing.imagic.tuning import tune_model
from semantic_edit.models.loading.libraries import import_diffusers

WAYS = ("ours", "ours, one draw at once", "ours, checkpointing", "ours, all weights", "peer")
_STEPS = 2  # the first makes an optimiser's state, the second works beside it


def wider_folder(folder: Path, width: int, target: Path) -> Path:
    """A diffusers folder with the UNet layout of Stable Diffusion 1 at another width (its own: 320), random weights.

    Text encoder, VAE and scheduler are those of ``folder``. Memory does not depend on what weights are worth, and a
    network of a size that people use is what memory is about.
    """
    diffusers = import_diffusers()
    shutil.copytree(folder, target, ignore=lambda at, names: ["unet"] if Path(at) == folder else [])
    own = json.loads((folder / "unet" / "config.json").read_text())
    unet = diffusers.UNet2DConditionModel(
        sample_size=own["sample_size"],
        in_channels=own["in_channels"],
        out_channels=own["out_channels"],
        cross_attention_dim=own["cross_attention_dim"],
        block_out_channels=(width, 2 * width, 4 * width, 4 * width),
        attention_head_dim=8,
    )
    unet.save_pretrained(target / "unet")
    return target


def peak_memory(way: str, folder: Path, peer: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """{"way", "MB"}: the peak of both learning stages above what was resident when the model was loaded."""
    if way == "peer":
        assert peer is not None, "--peer names the pipeline's file"
        steps = {"text_embedding_optimization_steps": _STEPS, "model_fine_tuning_optimization_steps": _STEPS}
        theirs = Peer(peer, folder, **steps)
        (pair,) = held_out_pairs(1, theirs.size, DEVELOPMENT)
        pipeline = theirs.fresh()  # the copy is our doing, so it is not counted
        unet = pipeline.unet
        run = lambda: theirs.learn(pair.task, pipeline=pipeline)  # noqa: E731
    else:
        workshop = Workshop(folder)
        (pair,) = held_out_pairs(1, workshop.side, DEVELOPMENT)
        embedding = replace(settings["embedding"], steps=_STEPS)
        tuning = replace(settings["tuning"], steps=_STEPS, checkpointing="checkpointing" in way)
        if "all weights" in way:
            tuning = replace(tuning, method="all weights", rate=1e-4)
        if "one draw" in way:
            embedding, tuning = replace(embedding, draws=1), replace(tuning, draws=1)
        unet = workshop.bundle.model.network

        def run() -> None:
            latent, target = workshop.bundle.vae.encode(pair.task.photo), workshop.said(pair.task.target)
            entry = optimize_embedding(workshop.bundle.model, latent, target, embedding).conditioning
            tune_model(workshop.bundle.model, latent, entry, tuning)

    _settle(unet)
    gc.collect()
    before = _reset()
    run()
    return {"way": way, "MB": (_status("VmHWM") - before) / 2**20}


def _settle(unet: Any) -> None:
    """One pass, so that weights which are read from the disk when they are first used count as the model's."""
    config = unet.config
    x = torch.zeros(1, config.in_channels, config.sample_size, config.sample_size)
    with torch.no_grad():
        unet(x, torch.zeros(1), torch.zeros(1, 1, config.cross_attention_dim))


def _reset() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
