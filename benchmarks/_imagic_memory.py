"""Peak memory above the loaded model, of one way in a process of its own.

Linux only: the peak of the resident set is reset before the work and read after it (VmHWM), so that everything counts:
graphs, optimisers, copies, and what the allocator keeps. A few steps of each stage are enough, since every step needs
the same.
"""

from __future__ import annotations

import gc
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from _edit_methods import Workshop
from _edit_pairs_demo import DEVELOPMENT, held_out_pairs
from _imagic_peer import Peer
from semantic_edit.editing.imagic.embedding import optimize_embedding
from semantic_edit.editing.imagic.tuning import tune_model

WAYS = ("ours", "ours, one draw at once", "ours, checkpointing", "ours, all weights", "peer")
_STEPS = 4


def peak_memory(way: str, folder: Path, peer: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """{"way", "MB"}: the peak of both learning stages above what was resident when the model was loaded."""
    if way == "peer":
        assert peer is not None, "--peer names the pipeline's file"
        steps = {"text_embedding_optimization_steps": _STEPS, "model_fine_tuning_optimization_steps": _STEPS}
        theirs = Peer(peer, folder, **steps)
        (pair,) = held_out_pairs(1, theirs.size, DEVELOPMENT)
        run = lambda: theirs.learn(pair.task)  # noqa: E731
    else:
        workshop = Workshop(folder)
        (pair,) = held_out_pairs(1, workshop.side, DEVELOPMENT)
        embedding = replace(settings["embedding"], steps=_STEPS)
        tuning = replace(settings["tuning"], steps=_STEPS, checkpointing="checkpointing" in way)
        if "all weights" in way:
            tuning = replace(tuning, method="all weights", rate=1e-4)
        if "one draw" in way:
            embedding, tuning = replace(embedding, draws=1), replace(tuning, draws=1)
        latent, target = workshop.bundle.vae.encode(pair.task.photo), workshop.said(pair.task.target)

        def run() -> None:
            entry = optimize_embedding(workshop.bundle.model, latent, target, embedding).entry
            tune_model(workshop.bundle.model, latent, entry, tuning)

    gc.collect()
    before = _reset()
    run()
    return {"way": way, "MB": (_status("VmHWM") - before) / 2**20}


def _reset() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
