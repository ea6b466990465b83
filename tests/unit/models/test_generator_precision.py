"""Half precision in the four highest resolutions: where it is used and where not, and how far pictures differ."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.models import InputError, StyleGAN2, StyleGAN2Config, load_generator
from semantic_edit.models.gan import precision
from semantic_edit.models.gan.generator import GanGenerator, save_generator
from semantic_edit.models.gan.hooks import FunctionHook
from semantic_edit.models.gan.layer_blend import LayerBlend
from semantic_edit.models.gan.precision import half_dtype
from semantic_edit.models.gan.synthesis_run import SynthesisOptions

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def everything_computes(monkeypatch):
    monkeypatch.setattr(precision, "computes_in", lambda dtype, device: True)


@pytest.fixture
def network():
    rng = torch.Generator().manual_seed(3)
    return StyleGAN2(StyleGAN2Config(z_dim=16, w_dim=16, channels=(16, 16, 16, 12, 8, 8)), rng).requires_grad_(False)


@pytest.fixture
def codes(network):
    return torch.randn(2, network.config.num_layers, 16, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def types(network):
    """The type of the input of each layer of the last run."""
    seen = {}
    for layer in range(len(network.synthesis.layers)):
        conv = network.synthesis.conv(layer)
        conv.register_forward_pre_hook(lambda _, inputs, layer=layer: seen.__setitem__(layer, inputs[0].dtype))
    return seen


def test_automatic_is_float32_on_a_cpu_and_float16_on_a_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    assert half_dtype("automatic", CPU) is None
    assert half_dtype("automatic", CARD) == torch.float16
    assert half_dtype("float32", CARD) is None
    assert half_dtype("float16", CPU) is None
    assert half_dtype("bfloat16", CARD) is None
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    assert half_dtype("bfloat16", CARD) == torch.bfloat16


def test_bfloat16_is_for_processors_that_have_it(monkeypatch, caplog):
    monkeypatch.setattr(precision, "_told", [])
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert half_dtype("bfloat16", CPU) == torch.bfloat16
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    with caplog.at_level("INFO"):
        assert half_dtype("bfloat16", CPU) is None
        assert half_dtype("bfloat16", CPU) is None
    assert len(caplog.records) == 1 and "float32 is used" in caplog.text


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_the_four_highest_resolutions_are_half(name, network, codes, types, everything_computes):
    with torch.no_grad():
        exact = network.synthesis(codes).image
        network.synthesis.precision = name
        half = network.synthesis(codes).image
    # 4 and 8 px stay; 16 to 128 px are half, and the first layer of 16 px reads what was rounded.
    assert [types[layer] for layer in range(11)] == [torch.float32] * 3 + [getattr(torch, name)] * 8
    assert half.dtype == torch.float32
    apart = (half - exact).abs()
    assert 0 < apart.max() < {"bfloat16": 0.1, "float16": 0.01}[name] * exact.abs().max()


def test_the_first_block_is_never_half(codes, everything_computes):
    network = StyleGAN2(StyleGAN2Config(z_dim=16, w_dim=16, channels=(16, 16))).requires_grad_(False)
    network.synthesis.precision, seen = "bfloat16", []
    network.synthesis.conv(0).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    with torch.no_grad():
        network.synthesis(codes[:, :4])
    assert seen == [torch.float32]


@pytest.mark.parametrize(
    "case", ["gradient of codes", "gradient of weights", "hook", "features", "stop", "resume", "blend", "named"]
)
def test_what_learns_or_steps_in_stays_in_float32(case, network, codes, types, everything_computes):
    synthesis, options = network.synthesis, SynthesisOptions()
    synthesis.precision = "bfloat16"
    if case == "gradient of codes":
        codes.requires_grad_()
    if case == "gradient of weights":
        synthesis.conv(9).weight.requires_grad_()
    if case == "hook":
        options = replace(options, hook=FunctionHook(lambda layer, x: x, layers=(9,)))
    if case == "features":
        options = replace(options, want_features=[9])
    if case == "stop":
        options = replace(options, stop_layer=9)
    if case == "resume":
        options = replace(options, resume=synthesis(codes, SynthesisOptions(stop_layer=5)).state)
    if case == "blend":
        masks = [torch.rand(1, 1, 8, 8)] * network.config.num_layers
        options = replace(options, blend=LayerBlend(codes + 1, masks))
    if case == "named":
        options = replace(options, dtype=torch.float32)
    types.clear()
    synthesis(codes, options)
    assert set(types.values()) == {torch.float32}


def test_a_frozen_network_draws_half_whether_gradients_are_on_or_not(network, codes, types, everything_computes):
    network.synthesis.precision = "bfloat16"
    network.synthesis(codes)
    assert types[10] == torch.bfloat16
    types.clear()
    with torch.inference_mode():
        network.synthesis(codes)
    assert types[10] == torch.bfloat16


def test_features_beyond_half_precision_are_clamped_as_published(codes, everything_computes):
    config = StyleGAN2Config(z_dim=16, w_dim=16, channels=(16, 16, 16, 8))
    network = StyleGAN2(config, torch.Generator().manual_seed(3)).requires_grad_(False)
    network.synthesis.b32.conv0.bias.fill_(1e5)  # more than half precision holds
    network.synthesis.precision, codes = "float16", codes[:, :8]
    with torch.no_grad():
        image = network.synthesis(codes).image
    assert image.isfinite().all()
    own = StyleGAN2(replace(config, conv_clamp=2.0)).requires_grad_(False)
    own.load_state_dict(network.state_dict())
    own.synthesis.precision = "float16"
    with torch.no_grad():
        assert own.synthesis(codes).image.abs().max() < image.abs().max()


def test_load_generator_sets_it(network, tmp_path):
    path = save_generator(tmp_path / "own.safetensors", network)
    assert load_generator(path).network.synthesis.precision == "automatic"
    generator = load_generator(path, precision="bfloat16")
    assert isinstance(generator, GanGenerator) and generator.network.synthesis.precision == "bfloat16"
    assert all(tensor.dtype == torch.float32 for tensor in generator.network.state_dict().values())
    with pytest.raises(InputError, match="Unknown precision 'half'; expected one of automatic, float32, float16"):
        load_generator(path, precision="half")
