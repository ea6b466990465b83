"""Features from a diffusion network's own middle: of the U-shaped demo model, and of small random networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from semantic_edit.demo import render, sample_factors
from semantic_edit.demo.portraits.factors import INDEX
from semantic_edit.editing.state import middle_features, reader_from_example
from semantic_edit.editing.state.middle import middle_block
from semantic_edit.models.diffusion.folder import load_diffusion
from semantic_edit.models.diffusion.model import DiffusionModel, LatentFormat
from semantic_edit.models.diffusion.schedule import NoiseSchedule
from semantic_edit.models.errors import InputError
from semantic_edit.models.loading.libraries import import_diffusers
from semantic_edit.models.loading.torchvision_stubs import allow_declaring

pytest.importorskip("diffusers")
pytest.importorskip("transformers")
allow_declaring()  # a CPU wheel of torch has no operators for torchvision
DEMO = Path(__file__).resolve().parents[3] / "models/demo/diffusion/demo_portraits"


@pytest.fixture(scope="module")
def transformer():
    """A small random transformer of joint blocks, as Stable Diffusion 3 has them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = import_diffusers().SD3Transformer2DModel(
            sample_size=16, patch_size=2, in_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=2,
            joint_attention_dim=12, caption_projection_dim=16, pooled_projection_dim=10, out_channels=4,
            pos_embed_max_size=16,
        ).eval()  # fmt: skip
    return DiffusionModel(network.requires_grad_(False), NoiseSchedule.flow(3.0), LatentFormat(4, 1.0, 0.0, 8), "tiny")


def entry(seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 5, 12, generator=generator), {"pooled_output": torch.randn(1, 10, generator=generator)}


def shrink(pictures):
    """Stands for a VAE: one cell per 8 pixels, four channels."""
    cells = torch.nn.functional.avg_pool2d(pictures, 8)
    return torch.cat([cells, cells.mean(dim=1, keepdim=True)], dim=1)


def test_a_transformer_is_read_at_its_middle_block_and_each_picture_by_itself(transformer):
    blocks = transformer.network.transformer_blocks
    assert middle_block(transformer.network) is blocks[1]
    features = middle_features(transformer, shrink, entry(), level=0.3)
    pictures = torch.rand(11, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = features(pictures)
    assert rows.shape == (11, 16 * 4 * 3) and torch.isfinite(rows).all()
    torch.testing.assert_close(features(pictures[[9, 4]]), rows[[9, 4]], atol=1e-5, rtol=1e-5)
    assert not blocks[1]._forward_hooks, "the network is as it was"
    # The picture's own tokens are read: what stands at the top left moves the features of that place most.
    changed = pictures[:1].clone()
    changed[:, :, :16, :16] += 0.5
    change = (features(changed) - rows[:1]).reshape(16, 4, 3).norm(dim=0)
    assert change.argmax() == 0
    assert not torch.equal(middle_features(transformer, shrink, entry(), level=0.3, seed=1)(pictures[:1]), rows[:1])


def test_an_example_pair_teaches_a_reader_on_a_random_transformer(transformer):
    pictures = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
    lighter = pictures[:1] + 0.4
    reader = reader_from_example(middle_features(transformer, shrink, entry()), pictures[:1], lighter, pictures)
    assert reader.read(torch.cat([pictures[:1], lighter]))[:, 0].tolist() == pytest.approx([0, 1], abs=1e-3)
    between = reader.read(torch.stack([pictures[5] + amount for amount in (0.0, 0.2, 0.4)]))[:, 0]
    assert between.diff().min() > 0.2


def test_the_demo_model_reads_hair_from_one_pair(demo_model):
    denoiser, encode, sentence = demo_model
    rows = sample_factors(36, torch.Generator().manual_seed(3))
    rows[:, INDEX["hat"]] = 0.0
    rows[:2] = rows[0]
    rows[:2, INDEX["hair_len"]] = torch.tensor([0.2, 0.85])
    pictures = render(rows, 64).images
    features = middle_features(denoiser, encode, sentence, draws=1)
    reader = reader_from_example(features, pictures[:1], pictures[1:2], pictures[2:])
    readings = reader.read(pictures[2:])[:, 0]
    truth = rows[2:, INDEX["hair_len"]]
    assert torch.corrcoef(torch.stack([readings, truth]))[0, 1] > 0.6


@pytest.fixture(scope="module")
def demo_model():
    if not (DEMO / "model_index.json").is_file():
        pytest.skip("the demo diffusion model is not there")
    bundle = load_diffusion(DEMO)
    return bundle.model, lambda x: bundle.vae.encode((x.movedim(1, -1) + 1) / 2), bundle.clip.encode("a person")


def test_wrong_settings_are_sentences(transformer):
    for options in ({"level": 1.5}, {"draws": 0}):
        with pytest.raises(InputError, match="level of noise must be in"):
            middle_features(transformer, shrink, entry(), **options)
    with pytest.raises(InputError, match="no stack of blocks"):
        middle_block(torch.nn.Linear(2, 2))
