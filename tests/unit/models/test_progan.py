"""The Progressive GAN against a few lines of numpy, and what editing asks of every generator."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.models import (
    CheckpointError,
    InputError,
    ProgressiveConfig,
    ProgressiveGAN,
    load_generator,
    save_generator,
)
from semantic_edit.models.files.describe import describe_file
from semantic_edit.models.gan.generator import family_fingerprint
from semantic_edit.models.gan.hooks import FunctionHook
from semantic_edit.models.gan.layer_blend import LayerBlend
from semantic_edit.models.gan.synthesis_run import LayerState, SynthesisOptions


def by_hand(network: ProgressiveGAN, z: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Every layer's features and the picture, from the paper's words: loops over taps, no torch."""
    state = {name: tensor.numpy().astype(np.float64) for name, tensor in network.synthesis.state_dict().items()}

    def convolved(x: np.ndarray, weight: np.ndarray, pad: int) -> np.ndarray:
        size = weight.shape[-1]
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        out = x.shape[-1] - size + 1
        total = np.zeros((x.shape[0], weight.shape[0], out, out))
        for i in range(size):
            for j in range(size):
                total += np.einsum("bchw,oc->bohw", x[:, :, i : i + out, j : j + out], weight[:, :, i, j])
        return total

    def normed(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-8)

    x, features = z[:, :, None, None].astype(np.float64), []
    for k in range(2 * len(network.config.channels)):
        weight, bias = state[f"layer{k + 1}.weight"], state[f"layer{k + 1}.bias"]
        x = normed(x)
        if k >= 2 and k % 2 == 0:
            x = x.repeat(2, axis=2).repeat(2, axis=3)
        fan_in = weight[0].size  # He: every tap of every channel
        x = convolved(x, weight, 3 if k == 0 else 1) * np.sqrt(2 / fan_in) + bias[None, :, None, None]
        x = np.where(x > 0, x, 0.2 * x)
        features.append(x)
    weight = state["output.weight"]
    picture = convolved(normed(x), weight, 0) / np.sqrt(weight.shape[1]) + state["output.bias"][None, :, None, None]
    return features, picture


def codes(network: ProgressiveGAN, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 1, network.config.z_dim, generator=torch.Generator().manual_seed(2))


def test_it_equals_the_definition_by_hand(tiny_progan_network):
    ws = codes(tiny_progan_network)
    features, picture = by_hand(tiny_progan_network, ws[:, 0].numpy())
    run = tiny_progan_network.synthesis(ws, SynthesisOptions(want_features=range(8)))
    assert run.image.shape == (2, 3, 32, 32) and list(run.features) == list(range(8))
    assert np.abs(run.image.numpy() - picture).max() < 5e-5
    for layer, expected in enumerate(features):
        assert run.features[layer].shape[1:] == tiny_progan_network.synthesis.layer_size(layer)
        assert np.abs(run.features[layer].numpy() - expected).max() < 5e-5


@settings(max_examples=10, deadline=None)
@given(z_dim=st.integers(1, 6), channels=st.lists(st.integers(1, 6), min_size=1, max_size=3), batch=st.integers(1, 3))
def test_every_width_equals_the_definition(z_dim, channels, batch):
    # In double precision: with a few channels pixel norm enlarges the rounding of features near zero without bound.
    network = ProgressiveGAN(ProgressiveConfig(z_dim, tuple(channels))).requires_grad_(False).double()
    ws = codes(network, batch).double()
    assert np.abs(network.synthesis(ws).image.numpy() - by_hand(network, ws[:, 0].numpy())[1]).max() < 1e-8


@pytest.mark.parametrize("layer", range(8))
def test_a_run_goes_on_from_any_layer(tiny_progan_network, layer):
    ws, synthesis = codes(tiny_progan_network), tiny_progan_network.synthesis
    whole = synthesis(ws).image
    stopped = synthesis(ws, SynthesisOptions(stop_layer=layer))
    assert stopped.image is None and stopped.state.layer == layer
    seen = []
    rest = synthesis(ws, SynthesisOptions(resume=stopped.state, hook=FunctionHook(lambda k, x: seen.append(k) or x)))
    assert torch.equal(rest.image, whole) and seen == list(range(layer + 1, 8))


def test_a_hook_changes_what_follows(tiny_progan_network):
    ws, synthesis = codes(tiny_progan_network), tiny_progan_network.synthesis

    def silence(layer, x):
        return x * (torch.arange(x.shape[1]) != 3)[:, None, None] if layer == 3 else x

    run = synthesis(ws, SynthesisOptions(hook=FunctionHook(silence), want_features=[3]))
    assert float(run.features[3][:, 3].abs().max()) == 0
    assert not torch.allclose(run.image, synthesis(ws).image)
    edited = LayerState(3, run.features[3], None)
    assert torch.equal(synthesis(ws, SynthesisOptions(resume=edited)).image, run.image)


def test_gradients_reach_code_and_features(tiny_progan_network):
    ws = codes(tiny_progan_network).requires_grad_(True)
    state = tiny_progan_network.synthesis(ws, SynthesisOptions(stop_layer=2)).state
    features = state.features.detach().requires_grad_(True)
    tiny_progan_network.synthesis(ws, SynthesisOptions(resume=LayerState(2, features, None))).image.sum().backward()
    tiny_progan_network.synthesis(ws).image.sum().backward()
    assert float(features.grad.abs().sum()) > 0 and float(ws.grad.abs().sum()) > 0


def test_it_is_a_generator_like_any_other(tiny_progan):
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    w = tiny_progan.map(z, truncation=0.5)
    assert w.shape == (3, 1, 16) and (tiny_progan.num_layers, tiny_progan.w_dim, tiny_progan.label_dim) == (1, 16, 0)
    # A code's length is normalised away, so that truncation toward the mean of z (which is 0) changes nothing.
    assert torch.allclose(tiny_progan.synthesize(w), tiny_progan.synthesize(tiny_progan.map(z)), atol=1e-4)
    assert torch.equal(tiny_progan.synthesize(w, noise=5), tiny_progan.synthesize(w, noise="none"))
    assert torch.allclose(tiny_progan.synthesize(w, chunk=1), tiny_progan.synthesize(w), atol=1e-4)
    assert tiny_progan.features(w, [2])[2].shape == (3, 16, 8, 8)
    assert float(tiny_progan.w_mean.abs().max()) == 0 and torch.equal(tiny_progan.w_covariance, torch.eye(16))


def test_files_are_told_apart(tiny_progan_network, tiny_network, tmp_path):
    path = save_generator(tmp_path / "house.safetensors", tiny_progan_network)
    other = save_generator(tmp_path / "face.safetensors", tiny_network)
    loaded = load_generator(path)
    assert isinstance(loaded.network, ProgressiveGAN) and loaded.family.startswith("progan-32x32-")
    assert loaded.network.config == tiny_progan_network.config and loaded.name == "house"
    assert not isinstance(load_generator(other).network, ProgressiveGAN)
    ws = codes(tiny_progan_network)
    assert torch.equal(loaded.synthesize(ws), tiny_progan_network.synthesis(ws).image)
    assert "network: Progressive GAN" in describe_file(path) and "network: StyleGAN2" in describe_file(other)
    half = load_generator(save_generator(tmp_path / "half.safetensors", tiny_progan_network, half=True))
    assert half.family == loaded.family == family_fingerprint(tiny_progan_network)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ws": torch.zeros(2, 3, 16)}, r"expects \[B, 1, 16\]"),
        ({"noise": "loud"}, "Unknown noise"),
        ({"stop_resolution": 8}, "full height of 32 alone"),
        ({"stop_layer": 8}, "layers 0 to 7"),
        ({"want_features": [5], "stop_layer": 4}, "layer 5 are not made"),
        ({"resume": LayerState(2, torch.zeros(2, 16, 4, 4), None)}, r"layer 2 of this generator has \(2, 16, 8, 8\)"),
        ({"resume": LayerState(5, torch.zeros(2, 12, 16, 16), None), "stop_layer": 3}, "Cannot stop after layer 3"),
        ({"blend": LayerBlend(torch.zeros(2, 1, 16), [None])}, "one row of codes"),
    ],
)
def test_wrong_calls_are_sentences(tiny_progan_network, arguments, words):
    with pytest.raises(InputError, match=words):
        options = dict(arguments)
        ws = options.pop("ws", codes(tiny_progan_network))
        tiny_progan_network.synthesis(ws, SynthesisOptions(**options))


def test_another_width_of_z_is_refused(tiny_progan):
    with pytest.raises(InputError, match=r"expects \[B, 16\]"):
        tiny_progan.map(torch.zeros(1, 8))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"z_dim": 4}, "channels"),
        ({"z_dim": "4", "channels": [4]}, "whole numbers"),
        ({"z_dim": 4, "channels": [4, 1.5]}, "whole numbers"),
        ({"z_dim": 4, "channels": []}, "1 to 12 blocks"),
        ({"z_dim": 4, "channels": [4] * 13}, "1 to 12 blocks"),
        ({"z_dim": 0, "channels": [4]}, "between 1 and"),
        ({"z_dim": 4, "channels": [4], "w_dim": 3}, "unknown fields: w_dim"),
        ({"z_dim": True, "channels": [4]}, "whole numbers"),
    ],
)
def test_a_wrong_header_is_a_sentence(values, words):
    with pytest.raises(CheckpointError, match=words):
        ProgressiveConfig.from_json({"architecture": "progressive", **values})
