"""Small networks of Stable Diffusion's and SDXL's kind, a photo of theirs, and what the first nodes take."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from semantic_edit.models.diffusion.folder import load_diffusion
from semantic_edit.models.loading.torchvision_stubs import allow_declaring

allow_declaring()  # a CPU wheel of torch has no operators for torchvision
ROOT = Path(__file__).resolve().parents[3]
SCORER = ROOT / "models" / "demo" / "scorers" / "demo_portraits"


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def bundle(request, tmp_path_factory, forge_diffusion):
    return load_diffusion(forge_diffusion(tmp_path_factory.mktemp("pipeline"), request.param))


@pytest.fixture
def photo():
    ramp = torch.linspace(0, 1, 16)
    return torch.stack([ramp[:, None].expand(16, 16), ramp[None].expand(16, 16), torch.full((16, 16), 0.4)], -1)[None]


@pytest.fixture
def sockets(bundle, photo):
    """What the first nodes take."""

    def text(words):
        tensor, extras = bundle.clip.encode(words)
        return [[tensor, extras]]

    return {
        "model": bundle.model,
        "latent": {"samples": bundle.vae.encode(photo)},
        "target": text("a person with glasses"),
        "negative": text(""),
    }


@pytest.fixture
def scorer(run_node, headless_host):
    folder = headless_host.settings.models / "semantic_edit" / "scorers" / "portraits"
    shutil.copytree(SCORER, folder)
    return run_node("LoadTextImageScorer", file="portraits/open_clip_model.safetensors")[0][0]
