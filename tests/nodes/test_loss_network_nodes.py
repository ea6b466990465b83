"""Face recognisers and perceptual networks of one's own: converted, loaded, and connected to what they judge."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from semantic_edit.models import CheckpointError
from semantic_edit.models.loading.torchvision_stubs import allow_declaring

allow_declaring()  # a CPU wheel of torch has no operators for torchvision
SHIPPED = Path(__file__).resolve().parents[2] / "models" / "demo" / "scorers" / "demo_portraits"


@pytest.fixture
def files(headless_host, tiny_identity, tiny_perceptual):
    """The two networks as other projects save them, in the folder of losses."""
    folder = headless_host.settings.models / "semantic_edit" / "losses"
    folder.mkdir(parents=True)
    torch.save(tiny_identity.state_dict(), folder / "model_ir_se50.pth")
    vgg = {name: tensor for name, tensor in tiny_perceptual.state_dict().items() if name.startswith("features.")}
    torch.save(vgg, folder / "vgg16.pth")
    return folder


@pytest.fixture
def networks(run_node, files):
    """(identity network, perceptual network), through the nodes."""
    run_node("ConvertCheckpoint", file="losses/model_ir_se50.pth", content="identity")
    run_node("ConvertCheckpoint", file="losses/vgg16.pth")
    identity = run_node("LoadIdentityNetwork", file="model_ir_se50-identity.safetensors")[0][0]
    return identity, run_node("LoadPerceptualNetwork", file="vgg16.safetensors")[0][0]


def test_they_are_converted_and_loaded(networks, tiny_identity):
    identity, perceptual = networks
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert torch.equal(identity(x), tiny_identity(x))
    assert perceptual.distance(x, perceptual.target(x.flip(0))).shape == (2,)


def test_a_loader_refuses_the_other_kind(run_node, networks):
    with pytest.raises(CheckpointError, match="holds a perceptual network; expected a face recogniser"):
        run_node("LoadIdentityNetwork", file="vgg16.safetensors")


def test_inversion_asks_both(run_node, networks, tiny_generator):
    latents = run_node("SampleLatents", generator=tiny_generator, count=2, seed=3)[0][0]
    images = run_node("GenerateImages", generator=tiny_generator, latents=latents)[0][0]
    inputs = {"generator": tiny_generator, "images": images, "steps": 6}
    plain = run_node("InvertImages", **inputs)[0][0]
    for name, network in zip(("identity_network", "perceptual_network"), networks, strict=True):
        codes = run_node("InvertImages", **inputs, **{name: network})[0][0].codes
        assert torch.isfinite(codes).all() and not torch.allclose(codes, plain.codes)


def test_a_text_edit_is_trained_to_keep_the_person(run_node, networks, headless_host, tiny_generator):
    shutil.copytree(SHIPPED, headless_host.settings.models / "semantic_edit" / "scorers" / "portraits")
    scorer = run_node("LoadTextImageScorer", file="portraits/open_clip_model.safetensors")[0][0]
    latents = run_node("SampleLatents", generator=tiny_generator, count=3, seed=3)[0][0]
    inputs = {"generator": tiny_generator, "scorer": scorer, "latents": latents, "masks": "none", "steps": 3}
    inputs |= {"samples": 12, "prompt": "a person with a hat"}
    plain = run_node("TrainTextEdit", **inputs)[0][0]
    kept = run_node("TrainTextEdit", **inputs, identity_network=networks[0])[0][0]
    assert not torch.allclose(plain.offset, kept.offset)


def test_a_segmenter_of_ones_own_dissects_and_judges_effects(run_node, headless_host, tiny_generator, make_segmenter):
    folder = headless_host.settings.models / "semantic_edit" / "segmenters"
    folder.mkdir(parents=True)
    network = make_segmenter(names=("a", "b"), size=512)
    torch.save(network.state_dict(), folder / "parser.pth")
    run_node("ConvertCheckpoint", file="segmenters/parser.pth", content="segmenter")
    segmenter = run_node("LoadSegmenter", file="parser-segmenter.safetensors")[0][0]
    inputs = {"generator": tiny_generator, "segmenter": segmenter, "samples": 64, "layer": 2}
    effect, difference = (run_node("DissectConcepts", **inputs, ranking=r)[0][0] for r in ("effect", "difference"))
    assert effect.names == ("part 0", "part 1") and effect.effect.shape == difference.effect.shape
    assert torch.equal(effect.iou, difference.iou) and not torch.allclose(effect.effect, difference.effect)


def test_the_demo_worlds_own_segmenter_is_in_the_list_and_loads(run_node, tiny_generator):
    segmenter = run_node("LoadSegmenter", file="demo_portraits.safetensors")[0][0]
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    masks = segmenter(pictures.requires_grad_())
    assert masks.shape == (2, len(segmenter.names), 128, 128) and "glasses" in segmenter.names
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, 128, 128))
    assert torch.autograd.grad(masks[:, 0].sum(), pictures)[0].abs().sum() > 0
    inputs = {"generator": tiny_generator, "samples": 64, "layer": 2, "ranking": "difference"}
    loaded, registered = (
        run_node("DissectConcepts", **inputs, **more)[0][0] for more in ({"segmenter": segmenter}, {})
    )
    assert loaded.names == registered.names
