"""Progressive GANs of every layout become the same network again, and wrong ones are refused with a sentence."""

from __future__ import annotations

import importlib.util
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from semantic_edit.models import CheckpointError, ProgressiveConfig, ProgressiveGAN, load_generator
from semantic_edit.models.gan.synthesis_run import SynthesisOptions

PEER = os.environ.get("GANDISSECT_PATH")  # a checkout of CSAILVision/gandissect


@pytest.fixture(scope="module")
def network() -> ProgressiveGAN:
    network = ProgressiveGAN(ProgressiveConfig(6, (8, 5, 4)), torch.Generator().manual_seed(2))
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("bias"):
                tensor.copy_(torch.randn(tensor.shape, generator=rng) * 0.3)
    return network.requires_grad_(False).eval()


def gandissect(network: ProgressiveGAN, old: bool = False) -> dict[str, torch.Tensor]:
    """The state dict as gandissect saves it, or as it did before."""
    state = OrderedDict()
    size = network.config.resolution[0]
    for name, tensor in network.synthesis.state_dict().items():
        layer, suffix = name.split(".")
        if old:
            layer = layer if layer == "output" else f"features.{int(layer[5:]) - 1}"
        else:
            layer = f"output_{size}x{size}" if layer == "output" else layer
        state[f"{layer}.{'conv.weight' if suffix == 'weight' else 'wscale.b'}"] = tensor
    return state


def same(path, network) -> bool:
    mine, theirs = load_generator(path).network.state_dict(), network.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}], ids=["bare", "wrapped"])
@pytest.mark.parametrize("old", [False, True])
def test_gandissect_files(convert, network, wrap, old):
    path, said = convert(wrap(gandissect(network, old)), "church.pth")
    assert same(path, network)
    assert "Progressive GAN 16x16" in said and "6 layers" in said and "family progan-16x16-" in said


def test_a_stored_scale_must_be_the_architectures(convert, network):
    state = gandissect(network)
    state["layer3.wscale.scale"] = torch.tensor(np.sqrt(2 / (9 * 8)), dtype=torch.float32)
    assert same(convert(state, "a.pth")[0], network)
    state["layer3.wscale.scale"] = torch.tensor(0.3)
    with pytest.raises(CheckpointError, match="another scale"):
        convert(state, "a.pth", overwrite=True)


def tensorflow(forge, network: ProgressiveGAN, fused: bool = True, kind: str = "tfutil", **arguments):
    """(G, D, Gs) as the original release pickles them."""
    variables = [("lod", np.zeros([], np.float32))]
    for name, tensor in network.synthesis.state_dict().items():
        layer, suffix = name.split(".")
        value = tensor.numpy()
        if layer == "output":
            layer = "ToRGB_lod0"
            value = value.transpose(2, 3, 1, 0) if suffix == "weight" else value
        else:
            index = int(layer[5:]) - 1
            size = 4 * 2 ** (index // 2)
            first = index % 2 == 0
            up = "Conv0_up" if fused else "Conv0"
            layer = f"{size}x{size}/{'Dense' if index == 0 else 'Conv' if index == 1 else up if first else 'Conv1'}"
            if suffix == "weight" and index == 0:
                value = value[:, :, ::-1, ::-1].transpose(1, 0, 2, 3).reshape(value.shape[1], -1)
            elif suffix == "weight" and first and fused:
                value = value[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)
            elif suffix == "weight":
                value = value.transpose(2, 3, 1, 0)
        variables.append((f"{layer}/{suffix}", np.ascontiguousarray(value)))
    variables.append(("ToRGB_lod1/weight", np.zeros((1, 1, 5, 3), np.float32)))
    variables.append(("ToRGB_lod1/bias", np.zeros(3, np.float32)))
    static = {"num_channels": 3, "resolution": 16, "label_size": 0, "fused_scale": fused, **arguments}
    state = {"version": 2, "name": "Gs", "static_kwargs": static, "variables": variables, "build_module_src": "1 / 0"}
    shell = forge.Global("tfutil" if kind == "tfutil" else "dnnlib.tflib.network", "Network")
    return tuple(forge.New(shell, {**state, "variables": v}) for v in ([], [], variables))


@pytest.mark.parametrize("fused", [True, False])
def test_the_original_pickles(forge, convert, network, fused):
    path, said = convert(forge.dumps(tensorflow(forge, network, fused)), "karras2018iclr-celebahq.pkl")
    assert same(path, network) and "TensorFlow Progressive GAN" in said


def test_the_dense_start_lays_pixels_as_tensorflow_does(forge, convert, network):
    """x @ W, reshaped to [C, 4, 4]: the arithmetic itself, since a permutation of pixels would survive a round trip."""
    rng = np.random.RandomState(0)
    dense = rng.standard_normal((6, 8 * 16)).astype(np.float32)
    content = tensorflow(forge, network)
    for k, (name, _) in enumerate(content[2].state["variables"]):
        if name == "4x4/Dense/weight":
            content[2].state["variables"][k] = (name, dense)
    generator = load_generator(convert(forge.dumps(content), "x.pkl")[0])
    z = rng.standard_normal((1, 6)).astype(np.float32)
    normed = z / np.sqrt((z * z).mean() + 1e-8)
    expected = (normed @ dense).reshape(1, 8, 4, 4) * np.sqrt(2 / (16 * 6))
    expected = expected + generator.network.synthesis.layer1.bias.numpy()[None, :, None, None]
    expected = np.where(expected > 0, expected, 0.2 * expected)
    images = generator.features(torch.from_numpy(z)[:, None], [0])[0].numpy()
    assert np.abs(images - expected).max() < 1e-5


WRONG = {
    "an unknown layer": (lambda s: s | {"layer3.noise": torch.ones(1)}, "layer3.noise", "no part"),
    "no output": (lambda s: {k: v for k, v in s.items() if "output" not in k}, "lacks synthesis.output", ""),
    "a missing bias": (lambda s: {k: v for k, v in s.items() if k != "layer4.wscale.b"}, "layer4.bias", "lacks"),
    "an odd number of layers": (lambda s: {k: v for k, v in s.items() if "layer6" not in k}, "5 convolutions", ""),
    "a gap": (lambda s: {k: v for k, v in s.items() if "layer4" not in k and "layer5" not in k}, "lacks", "layer4"),
    "two outputs": (lambda s: s | {"output_8x8.conv.weight": torch.ones(3, 4, 1, 1)}, "several outputs", ""),
    "another kernel": (lambda s: s | {"layer3.conv.weight": torch.ones(5, 8, 5, 5)}, "[5, 8, 5, 5]", "is expected"),
    "a flat kernel": (lambda s: s | {"layer3.conv.weight": torch.ones(5, 8)}, "convolutions", ""),
    "no numbers": (lambda s: s | {"layer3.wscale.b": torch.full((5,), torch.nan)}, "layer3.wscale.b", "not a number"),
    "whole numbers": (lambda s: s | {"layer3.wscale.b": torch.ones(5, dtype=torch.int64)}, "int64", "floating point"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_refused(refuses, tmp_path, network, case):
    change, *words = WRONG[case]
    torch.save(dict(change(dict(gandissect(network)))), tmp_path / "made.pth")
    if case == "a flat kernel":
        words = []
    refuses((tmp_path / "made.pth").read_bytes(), *words, name="house.pth")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"label_size": 10}, "label_size = 10"),
        ({"use_wscale": False}, "use_wscale"),
        ({"tanh_at_end": True}, "tanh_at_end"),
        ({"pixelnorm_epsilon": 1e-4}, "pixelnorm_epsilon"),
    ],
)
def test_other_arithmetic_of_the_original_is_refused(refuses, forge, network, given, words):
    refuses(forge.dumps(tensorflow(forge, network, **given)), words, "not read")


def test_hostile_content_beside_the_weights_is_refused(refuses, forge, network):
    content = tensorflow(forge, network)
    content[2].state["build"] = forge.Call(forge.Global("os", "system"), ("true",))
    refuses(forge.dumps(content), "refused", "os.system")
    content = tensorflow(forge, network)
    content[2].state["variables"][2] = ("4x4/Dense/weight", forge.Call(forge.Global("builtins", "eval"), ("1",)))
    refuses(forge.dumps(content), "refused", "eval")


@pytest.mark.skipif(PEER is None, reason="GANDISSECT_PATH names no checkout of the public code")
@pytest.mark.parametrize("sizes", [[16, 16, 12, 8], [512, 512, 512, 512, 256, 128, 64]])
def test_parity_with_gandissect(convert, sizes):
    spec = importlib.util.spec_from_file_location("peer_proggan", Path(PEER) / "netdissect" / "proggan.py")
    public = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(public)
    torch.manual_seed(0)
    peer = public.ProgressiveGenerator(sizes=sizes).eval()
    with torch.no_grad():
        for name, tensor in peer.named_parameters():
            tensor.normal_(0, 0.3 if name.endswith(".b") else 1)
        path, _ = convert(peer.state_dict(), "peer.pth")
        generator = load_generator(path)
        z = torch.randn(2, sizes[0])
        layers = range(len(generator.network.synthesis.layers))
        run = generator.network.synthesis(generator.map(z), SynthesisOptions(want_features=layers))
        assert float((run.image - peer(z)).abs().max()) < 5e-5
        x = z[:, :, None, None]
        for layer, module in zip(layers, peer, strict=False):
            x = module(x)
            assert float((run.features[layer] - x).abs().max()) < 5e-5
