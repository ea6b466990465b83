"""The synthesis opened up: early stops, features, hooks, resuming, rows of W+, architectures and odd shapes."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.kernels import upsample2d, use_kernels
from semantic_edit.models import InputError
from semantic_edit.models.gan.hooks import FunctionHook
from semantic_edit.models.gan.stylegan2 import LayerState
from semantic_edit.models.gan.synthesis_run import SynthesisOptions

ARCHITECTURES = ("skip", "orig", "resnet")


@pytest.fixture(params=["fast", "tiled"], autouse=True)
def path(request):
    """Both paths that frozen float32 networks take; "auto" chooses by width, and these networks are narrow."""
    with use_kernels(request.param):
        yield request.param


@pytest.fixture
def codes():
    def make(network, batch=2, seed=0):
        config = network.config
        rng = torch.Generator().manual_seed(seed)
        return torch.randn(batch, config.num_layers, config.w_dim, generator=rng)

    return make


def test_an_early_stop_is_the_rgb_sum_of_the_whole_run(make_network, codes):
    """'skip' adds an RGB picture per block: the whole picture minus the later ToRGBs is the early one, enlarged."""
    network = make_network(channels=(16, 16, 16, 16))
    synthesis, w = network.synthesis, codes(network)
    layers = range(7)
    run = synthesis(w, SynthesisOptions(want_features=layers))
    image = None
    for k, name in enumerate(synthesis.block_names):
        block = getattr(synthesis, name)
        layer = max(0, 2 * k)
        rgb = block.torgb(run.features[layer], w[:, layer + 1])
        image = rgb if image is None else upsample2d(image, block.resample_filter) + rgb
        assert torch.equal(synthesis(w, SynthesisOptions(stop_resolution=4 * 2**k)).image, image)
    assert torch.equal(run.image, image)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_features_do_not_change_the_run(make_network, codes, architecture):
    network = make_network(architecture=architecture)
    w = codes(network)
    whole = network.synthesis(w).image
    every = network.synthesis(w, SynthesisOptions(want_features=range(5)))
    assert torch.equal(every.image, whole)
    assert sorted(every.features) == [0, 1, 2, 3, 4]
    for layer in range(5):
        channels, height, width = network.synthesis.layer_size(layer)
        assert every.features[layer].shape == (2, channels, height, width)
        stopped = network.synthesis(w, SynthesisOptions(want_features=[layer], stop_layer=layer))
        assert stopped.image is None and list(stopped.features) == [layer]
        assert torch.equal(stopped.features[layer], every.features[layer])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("noise", ["constant", "none", 11])
def test_resuming_after_any_layer_is_the_whole_run_to_the_bit(make_network, codes, architecture, noise):
    network = make_network(channels=(16, 18, 17, 16), architecture=architecture)
    synthesis, w = network.synthesis, codes(network)
    whole = synthesis(w, SynthesisOptions(noise=noise, want_features=range(7)))
    for layer in range(7):
        state = synthesis(w, SynthesisOptions(noise=noise, stop_layer=layer)).state
        assert state.layer == layer and torch.equal(state.features, whole.features[layer])
        rest = synthesis(w, SynthesisOptions(noise=noise, resume=state, want_features=range(layer + 1, 7)))
        assert torch.equal(rest.image, whole.image)
        assert all(torch.equal(rest.features[later], whole.features[later]) for later in range(layer + 1, 7))
        again = synthesis(w, SynthesisOptions(noise=noise, resume=state, stop_layer=layer)).state
        assert torch.equal(again.features, state.features)


def test_a_hook_is_called_at_its_layers_alone(make_network, codes):
    network = make_network()
    layers = []
    hook = FunctionHook(lambda layer, x: layers.append(layer) or x, layers=(1, 3))
    network.synthesis(codes(network), SynthesisOptions(hook=hook))
    assert layers == [1, 3]


def test_resuming_from_changed_features_is_a_hook_at_that_layer(make_network, codes):
    network = make_network()
    w = codes(network)
    hooked = network.synthesis(
        w, SynthesisOptions(hook=FunctionHook(lambda layer, x: x * 1.5 if layer == 2 else x))
    ).image
    state = network.synthesis(w, SynthesisOptions(stop_layer=2)).state
    resumed = network.synthesis(w, SynthesisOptions(resume=LayerState(2, state.features * 1.5, state.image))).image
    assert torch.equal(hooked, resumed)
    assert not torch.equal(hooked, network.synthesis(w).image)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_hook_sees_every_layer_once(make_network, codes, architecture):
    network = make_network(architecture=architecture)
    w = codes(network)
    seen = {}

    def hook(layer, x):
        assert layer not in seen
        seen[layer] = x.clone()
        return x

    run = network.synthesis(w, SynthesisOptions(hook=FunctionHook(hook), want_features=range(5)))
    assert list(seen) == [0, 1, 2, 3, 4]
    assert all(torch.equal(seen[k], run.features[k]) for k in seen)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_row_of_w_reaches_its_layer_and_nothing_before(make_network, codes, architecture):
    network = make_network(architecture=architecture)
    w = codes(network)
    base = network.synthesis(w, SynthesisOptions(want_features=range(5)))
    for row in range(network.config.num_layers):
        changed = w.clone()
        changed[:, row] += 1
        run = network.synthesis(changed, SynthesisOptions(want_features=range(5)))
        for layer in range(5):
            same = torch.equal(run.features[layer], base.features[layer])
            assert same == (layer < row)
        assert not torch.equal(run.image, base.image)


def test_the_rgb_layer_reads_the_row_after_its_last_convolution(make_network, codes):
    network = make_network()
    w = codes(network)
    for k, resolution in enumerate((4, 8, 16)):
        before = network.synthesis(w, SynthesisOptions(stop_resolution=resolution)).image
        for row in range(network.config.num_layers):
            changed = w.clone()
            changed[:, row] += 1
            same = torch.equal(network.synthesis(changed, SynthesisOptions(stop_resolution=resolution)).image, before)
            assert same == (row > 2 * k + 1)


@pytest.mark.parametrize("const_size", [(4, 2), (3, 5), (2, 8), (1, 1)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pictures_need_not_be_square(make_network, codes, const_size, architecture):
    network = make_network(const_size=const_size, channels=(16, 16, 16), architecture=architecture)
    w = codes(network)
    run = network.synthesis(w, SynthesisOptions(want_features=[0, 4]))
    assert network.config.resolution == (4 * const_size[0], 4 * const_size[1])
    assert run.image.shape == (2, 3, *network.config.resolution)
    assert run.features[0].shape[2:] == const_size
    with use_kernels("reference"):
        exact = network.double().synthesis(w.double()).image
    assert (run.image - exact).abs().max() < 1e-4


def test_other_picture_channels_activations_filters_and_no_noise(make_network, codes):
    for fields in (
        {"img_channels": 1},
        {"img_channels": 4, "conv_clamp": 2.0},
        {"activation": "relu"},
        {"resample_filter": (1.0, 1.0)},
        {"resample_filter": (1.0, 4.0, 6.0, 4.0, 1.0), "architecture": "resnet"},
        {"use_noise": False},
    ):
        network = make_network(channels=(16, 16, 16), **fields)
        w = codes(network)
        image = network.synthesis(w).image
        assert image.shape == (2, network.config.img_channels, 16, 16)
        with use_kernels("reference"):
            assert (image - network.double().synthesis(w.double()).image).abs().max() < 1e-4


def test_codes_get_gradients_and_frozen_weights_none(make_network, codes):
    for architecture in ARCHITECTURES:
        network = make_network(channels=(16, 16, 16), architecture=architecture)
        w = codes(network).requires_grad_()
        with use_kernels("reference"):
            exact = torch.autograd.grad(network.synthesis(w).image.square().sum(), w)[0]
        network.synthesis(w).image.square().sum().backward()
        assert (w.grad - exact).abs().max() < 1e-4 * exact.abs().max()
        assert all(parameter.grad is None for parameter in network.parameters())


def test_weights_learn_when_they_are_asked_to(make_network, codes):
    for architecture in ARCHITECTURES:
        network = make_network(channels=(16, 16, 16), architecture=architecture).requires_grad_(True)
        network.synthesis(codes(network), SynthesisOptions(noise="random")).image.square().sum().backward()
        missing = [name for name, p in network.synthesis.named_parameters() if p.grad is None or not p.grad.abs().max()]
        assert missing == []


def test_after_a_training_step_the_frozen_path_sees_the_new_weights(make_network, codes):
    network = make_network(channels=(16, 16, 16, 16))
    w = codes(network, batch=4)
    before = network.synthesis(w).image
    network.requires_grad_(True)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
    network.synthesis(w).image.square().mean().backward()
    optimiser.step()
    network.requires_grad_(False)
    after = network.synthesis(w).image
    with use_kernels("reference"):
        assert (after - network.synthesis(w).image).abs().max() < 1e-4
    assert (after - before).abs().max() > 1e-3


def test_half_and_bfloat16_convolutions_give_a_float32_picture(make_network, codes):
    network = make_network(channels=(16, 16, 16))
    w = codes(network)
    exact = network.synthesis(w).image
    for dtype, bar in ((torch.bfloat16, 0.05), (torch.float16, 0.01)):
        image = network.synthesis(w, SynthesisOptions(dtype=dtype)).image
        assert image.dtype == torch.float32
        assert (image - exact).abs().max() < bar * exact.abs().max()


def test_the_batch_order_carries_over(make_network, codes):
    network = make_network(channels=(16, 16, 16, 16))
    w = codes(network, batch=5)
    whole = network.synthesis(w).image
    order = [4, 2, 0, 1, 3]
    bar = 1e-5 * whole.abs().max()
    assert (network.synthesis(w[order]).image - whole[order]).abs().max() < bar
    for k in range(5):
        assert (network.synthesis(w[k : k + 1]).image - whole[k : k + 1]).abs().max() < bar


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"ws": torch.zeros(2, 5, 16)}, "expects \\[B, 6, 16\\]"),
        ({"ws": torch.zeros(2, 6, 15)}, "expects \\[B, 6, 16\\]"),
        ({"ws": torch.zeros(6, 16)}, "expects \\[B, 6, 16\\]"),
        ({"ws": torch.zeros(0, 6, 16)}, "expects \\[B, 6, 16\\]"),
        ({"noise": "const"}, "Unknown noise 'const'"),
        ({"noise": 0.5}, "Unknown noise '0.5'"),
        ({"noise": None}, "Unknown noise 'None'"),
        ({"stop_resolution": 12}, "heights \\[4, 8, 16\\]"),
        ({"want_features": [5]}, "Layer 5 does not exist"),
        ({"want_features": [-1]}, "Layer -1 does not exist"),
        ({"stop_layer": 5}, "Layer 5 does not exist"),
        ({"want_features": [3], "stop_layer": 2}, "layer 3 are not made"),
        ({"want_features": [3], "stop_resolution": 8}, "layer 3 are not made"),
        ({"stop_layer": 3, "stop_resolution": 8}, "Cannot stop after layer 3"),
        ({"resume": 2, "want_features": [2]}, "layer 2 are not made"),
        ({"resume": 2, "stop_layer": 1}, "Cannot stop after layer 1"),
        ({"resume": 4, "stop_resolution": 8}, "Cannot go on after layer 4"),
        ({"resume": LayerState(9, torch.zeros(2, 6, 16, 16), None)}, "Layer 9 does not exist"),
        ({"resume": LayerState(2, torch.zeros(2, 8, 4, 4), None)}, "features to go on from"),
        ({"resume": LayerState(2, torch.zeros(1, 8, 8, 8), None)}, "features to go on from"),
    ],
)
def test_wrong_inputs_are_sentences(make_network, options, word):
    network = make_network()
    w = torch.zeros(2, 6, 16)
    if isinstance(options.get("resume"), int):
        options = {**options, "resume": network.synthesis(w, SynthesisOptions(stop_layer=options["resume"])).state}
    with pytest.raises(InputError, match=word):
        network.synthesis(options.get("ws", w), SynthesisOptions(**{k: v for k, v in options.items() if k != "ws"}))


def test_only_skip_stops_early(make_network):
    for architecture in ("orig", "resnet"):
        with pytest.raises(InputError, match="Only the 'skip' architecture"):
            make_network(architecture=architecture).synthesis(
                torch.zeros(1, 6, 16), SynthesisOptions(stop_resolution=8)
            )
