"""Every layout of generator checkpoint becomes the same network again; the config has what shapes cannot tell."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.models import CheckpointError, load_generator


def same(generator, network, config=True):
    """The written file holds exactly the network's weights and config."""
    mine, theirs = generator.network.state_dict(), network.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.allclose(mine[name], tensor, atol=1e-6), name
    if config:
        ours = generator.network.config
        embed, hidden = network.config.embed_features, network.config.mapping_features
        assert replace(ours, embed_features=embed, mapping_features=hidden) == network.config


VARIANTS = [
    {},
    {"c_dim": 3, "embed_features": 5},
    {"architecture": "resnet", "conv_clamp": 256.0},
    {"architecture": "orig", "mapping_features": 9},
    {"activation": "relu", "resample_filter": (1.0, 2.0, 1.0)},
]


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("nested", [True, False], ids=["ada layout", "stylegan3 layout"])
def test_nvlabs_snapshots(forge, convert, make_network, nested, protocol):
    network = make_network(conv_clamp=64.0)
    path, said = convert(forge.dumps(forge.nvlabs_snapshot(network, nested), protocol), "network.pkl")
    same(load_generator(path), network)
    assert "NVlabs" in said and "16x16" in said and "Nothing in the source was executed" in said


@pytest.mark.parametrize("fields", VARIANTS, ids=str)
def test_nvlabs_variants(forge, convert, make_network, fields):
    network = make_network(**fields)
    path, _ = convert(forge.dumps(forge.nvlabs_snapshot(network, True), 4), "network.pkl")
    same(load_generator(path), network)


def test_the_generator_in_training_is_taken_only_without_an_average(forge, convert, make_network):
    network = make_network()
    path, said = convert(forge.dumps({"G": forge.nvlabs_generator(network, True)}), "network.pkl")
    same(load_generator(path), network)
    assert "no moving average" in said


def test_a_module_saved_whole(forge, convert, make_network):
    """torch.save(G_ema): the persistence hook inside torch's own archive, as PTI writes it."""
    network = make_network()
    storages: dict[str, bytes] = {}
    content = forge.dumps(in_archive(forge, forge.nvlabs_generator(network, False), storages))
    path, _ = convert(forge.torch_archive(content, storages), "model_abc.pt")
    same(load_generator(path), network)


def test_a_module_saved_inside_its_parallel_wrapper(forge, convert, make_network):
    """It keeps a function of torch as an attribute, too: mentioned, never called."""
    network = make_network()
    inner = forge.nvlabs_generator(network, True)
    inner.arguments[0]["state"]["activation_function"] = forge.Global("torch.nn.functional", "leaky_relu")
    state = {"_modules": {"module": inner}, "_parameters": {}, "_buffers": {}, "device_ids": [0]}
    wrapper = forge.New(forge.Global("torch.nn.parallel.data_parallel", "DataParallel"), state)
    path, _ = convert(forge.dumps(wrapper), "wrapped.pkl")
    same(load_generator(path), network)


def in_archive(forge, value, storages):
    """`value` with its tensors moved into an archive's storages."""
    if isinstance(value, torch.Tensor):
        key = str(len(storages))
        storages[key] = value.detach().contiguous().numpy().tobytes()
        tensor = forge.stored_tensor(key, value.numel(), tuple(value.shape), value.contiguous().stride())
        return tensor if not isinstance(value, torch.nn.Parameter) else rebuilt_parameter(forge, tensor)
    if isinstance(value, dict):
        return {name: in_archive(forge, inner, storages) for name, inner in value.items()}
    if isinstance(value, forge.Call):
        return forge.Call(value.function, tuple(in_archive(forge, a, storages) for a in value.arguments))
    if isinstance(value, forge.New):
        return forge.New(value.kind, in_archive(forge, value.state, storages))
    return value


def rebuilt_parameter(forge, tensor):
    return forge.Call(forge.Global("torch._utils", "_rebuild_parameter"), (tensor, False, {}))


@pytest.mark.parametrize("old", [False, True], ids=["archive", "old format"])
@pytest.mark.parametrize("prefix", ["", "module.", "G_ema."])
def test_state_dicts_under_nvlabs_names(tmp_path, convert, make_network, old, prefix):
    network = make_network(lr_multiplier=0.01)
    state = {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(state, tmp_path / "weights.pth", _use_new_zipfile_serialization=not old)
    path, said = convert((tmp_path / "weights.pth").read_bytes(), "weights.pth")
    same(load_generator(path), network)
    assert "0.01 was assumed" in said


def test_half_precision_and_double_become_float32(convert, make_network):
    network = make_network(lr_multiplier=0.01)
    state = {name: tensor.double() for name, tensor in network.state_dict().items()}
    state["mapping.fc0.weight"] = state["mapping.fc0.weight"].half()
    path, _ = convert(state)
    loaded = load_generator(path).network.state_dict()
    assert loaded["mapping.fc0.weight"].dtype == torch.float32
    assert torch.allclose(loaded["mapping.fc0.weight"], network.state_dict()["mapping.fc0.weight"], rtol=1e-3)


def test_a_generator_that_is_not_square(convert, make_network):
    network = make_network(const_size=(8, 4), lr_multiplier=0.01)
    path, said = convert(network.state_dict())
    generator = load_generator(path)
    same(generator, network)
    assert generator.resolution == (32, 16) and "32x16" in said


def test_blocks_with_other_numbers_are_renamed(convert, make_network):
    """Some projects count their blocks from the constant's own size."""
    network = make_network(const_size=(8, 8), lr_multiplier=0.01)
    names = {"b16": "b32", "b8": "b16", "b4": "b8"}
    state = {}
    for name, tensor in network.state_dict().items():
        block = name.split(".")[1]
        state[name.replace(f".{block}.", f".{names.get(block, block)}.", 1)] = tensor
    path, _ = convert(state)
    same(load_generator(path), network)


@pytest.mark.parametrize("fields", [{}, {"architecture": "resnet"}, {"architecture": "orig"}, {"c_dim": 4}], ids=str)
@pytest.mark.parametrize("protocol", [2, 3])
def test_tensorflow_pickles(forge, convert, make_network, fields, protocol):
    network = make_network(**fields)
    content = forge.tensorflow_snapshot(network, truncation_psi=0.5, architecture=network.config.architecture)
    path, said = convert(forge.dumps(content, protocol), "stylegan2-car-config-f.pkl")
    same(load_generator(path), network)
    assert "TensorFlow" in said


def test_tensorflow_arguments_reach_the_config(forge, convert, make_network):
    network = make_network()
    static = {"conv_clamp": 100, "normalize_latents": False, "nonlinearity": "relu", "mapping_nonlinearity": "relu"}
    path, _ = convert(forge.dumps(forge.tensorflow_snapshot(network, **static)), "network.pkl")
    config = load_generator(path).network.config
    assert (config.conv_clamp, config.normalize_z, config.activation) == (100.0, False, "relu")
    assert config.lr_multiplier == 0.02


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol_version": 3}, "older than StyleGAN2"),
        ({"sparse_attention": True}, "sparse_attention"),
        ({"mapping_nonlinearity": "relu", "nonlinearity": "lrelu"}, "different activations"),
    ],
    ids=str,
)
def test_tensorflow_networks_that_are_not_read(forge, convert, make_network, change, words):
    content = forge.dumps(forge.tensorflow_snapshot(make_network(), **change))
    with pytest.raises(CheckpointError, match=words):
        convert(content, "network.pkl")


def test_rosinality_without_mean_and_without_constant_noise(forge, convert, make_network):
    """The earliest files: no latent_avg, no noises; and training arguments beside the weights."""
    state = rosinality_state(make_network(z_dim=16, lr_multiplier=0.01), noises=False)
    arguments = forge.New(forge.Global("argparse", "Namespace"), {"size": 16, "lr": 0.002})
    storages: dict[str, bytes] = {}
    content = in_archive(forge, {"g_ema": state, "args": arguments}, storages)
    path, said = convert(forge.torch_archive(content, storages))
    network = load_generator(path).network
    assert "mean of W" in said and "no constant noise" in said
    assert not network.mapping.w_avg.any() and not network.synthesis.b8.conv1.noise_const.any()
    assert network.synthesis.b8.conv1.noise_strength != 0


def test_the_decoder_inside_an_encoder_checkpoint(convert, make_network):
    """e4e and pSp files: "state_dict" with encoder and decoder, one mean per row of W+."""
    network = make_network(z_dim=16, lr_multiplier=0.01)
    state = {f"decoder.{name}": tensor for name, tensor in rosinality_state(network).items()}
    state["encoder.input_layer.0.weight"] = torch.ones(3)
    mean = network.mapping.w_avg.repeat(6, 1)
    path, _ = convert({"state_dict": state, "latent_avg": mean, "opts": {"stylegan_size": 16}})
    same(load_generator(path), network)


def test_rosinality_saved_whole_says_its_multiplier(forge, convert, make_network):
    network = make_network(z_dim=16, lr_multiplier=0.05)
    attributes = {"style.1": {"lr_mul": 0.05}}
    storages: dict[str, bytes] = {}
    tree = in_archive(forge, forge.module(rosinality_state(network), attributes, forge.plain), storages)
    path, _ = convert(forge.torch_archive(tree, storages))
    assert load_generator(path).network.config.lr_multiplier == 0.05


def rosinality_state(network, noises=True):
    """A small network's weights under rosinality's names; test_parity_nvlabs.py proves the meaning of the names."""
    from semantic_edit.models.convert.rosinality import nvlabs_name

    ours = network.state_dict()
    candidates = ["input.input", *(f"style.{k}.{p}" for k in range(1, 9) for p in ("weight", "bias"))]
    parts = ["conv.weight", "conv.modulation.weight", "conv.modulation.bias", "noise.weight", "activate.bias", "bias"]
    places = ["conv1", "to_rgb1", *(f"convs.{k}" for k in range(4)), *(f"to_rgbs.{k}" for k in range(2))]
    candidates += [f"{layer}.{suffix}" for layer in places for suffix in parts]
    candidates += [f"noises.noise_{k}" for k in range(5)] if noises else []
    return {name: ours[nvlabs_name(name)].clone() for name in candidates if nvlabs_name(name) in ours}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("synthesis.b8.conv1.weight"), r"b8\.conv1\.weight"),
        (lambda s: s.pop("synthesis.b8.torgb.bias"), "lacks synthesis.b8.torgb.bias"),
        (lambda s: s.update({"synthesis.b8.attention": torch.ones(3)}), "has synthesis.b8.attention"),
        (lambda s: s.update({"mapping.fc0.bias": torch.ones(15)}), r"mapping.fc0.bias has shape \[15\] where \[16\]"),
        (lambda s: s["mapping.fc0.bias"].fill_(float("nan")), "mapping.fc0.bias holds values that are infinite"),
        (lambda s: s.update({"mapping.fc0.bias": torch.ones(16, dtype=torch.int64)}), "int64, expected floating"),
        (lambda s: s.update({"synthesis.b8.resample_filter": torch.ones(4, 4) / 16}), "another resampling filter"),
    ],
    ids=["no conv", "no bias", "extra", "shape", "nan", "integers", "filter"],
)
def test_weights_that_are_no_stylegan2_are_named(convert, make_network, tmp_path, change, words):
    state = {name: tensor.clone() for name, tensor in make_network().state_dict().items()}
    change(state)
    with pytest.raises(CheckpointError, match=words) as caught:
        convert(state)
    assert str(caught.value).startswith("source.pt ") and str(caught.value).count(". ") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["source.pt"]
