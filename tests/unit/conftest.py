"""Fixtures of the checkpoint tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def forge():
    """The module checkpoint_forge.py: files with the structure of other projects' checkpoints."""
    path = Path(__file__).parent / "checkpoint_forge.py"
    spec = importlib.util.spec_from_file_location("checkpoint_forge", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["checkpoint_forge"] = module  # dataclasses look their module up while it is being made
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def convert(tmp_path):
    """convert(bytes or object saved by torch, name) -> (the .safetensors written, what was said)."""
    import torch
    from semantic_edit.models.convert import convert_file

    def run(content, name="source.pt", **options):
        source = tmp_path / name
        source.write_bytes(content) if isinstance(content, bytes) else torch.save(content, source)
        said: list[str] = []
        return convert_file(source, tmp_path / "out.safetensors", said.append, **options), " ".join(said)

    return run


@pytest.fixture(scope="session")
def make_network():
    """make_network(**config fields) -> a small StyleGAN2 in which nothing is zero."""
    import torch
    from semantic_edit.models import StyleGAN2, StyleGAN2Config

    def make(**fields):
        defaults = {"z_dim": 12, "w_dim": 16, "channels": (10, 8, 6), "mapping_layers": 2, "lr_multiplier": 0.02}
        network = StyleGAN2(StyleGAN2Config(**{**defaults, **fields}), generator=torch.Generator().manual_seed(3))
        rng = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
                if name.endswith(("bias", "noise_strength", "w_avg")):
                    tensor.add_(torch.randn(tensor.shape, generator=rng) * 0.3)
        return network.requires_grad_(False).eval()

    return make
