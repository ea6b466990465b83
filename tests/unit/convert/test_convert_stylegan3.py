"""StyleGAN3 pickles and state dicts of both configurations become the same network again, or are refused by name."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from semantic_edit.models import CheckpointError, load_generator

FIELDS = {"T": {"conv_clamp": 64.0, "output_scale": 0.5}, "R": {"kernel": 1, "radial": True}, "labels": {"c_dim": 3}}


def drawn(network, seed: int = 5) -> torch.Tensor:
    """The picture of a code."""
    ws = torch.randn(1, network.config.num_layers, network.config.w_dim, generator=torch.Generator().manual_seed(seed))
    return network.synthesis(ws).image


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("alone", [False, True], ids=["snapshot", "generator alone"])
def test_pickles_become_the_same_network(forge, convert, make_stylegan3, kind, alone):
    network = make_stylegan3(**FIELDS[kind])
    saved = forge.stylegan3_generator(network)
    path, said = convert(forge.dumps(saved if alone else {"G": None, "D": None, "G_ema": saved}, 4), "stylegan3.pkl")
    generator = load_generator(path)
    assert generator.network.config == network.config
    # Its convolutions are stored at unit mean square, which draws the same picture.
    assert torch.allclose(drawn(generator.network), drawn(network), atol=5e-6)
    weight = generator.network.synthesis.conv(2).weight
    assert torch.allclose(weight.square().mean(dim=(1, 2, 3)), torch.ones(len(weight)), atol=1e-5)
    z, labels = torch.randn(2, 16, generator=torch.Generator().manual_seed(1)), torch.eye(3)[:2]
    labels = labels if kind == "labels" else None
    assert torch.allclose(generator.network.mapping(z, labels), network.mapping(z, labels), atol=1e-6)
    assert f"StyleGAN3 32x32, 7 rows of W+ of width 16, configuration {'R' if kind == 'R' else 'T'}" in said
    assert "Nothing in the source was executed" in said


@pytest.mark.parametrize("prefix", ["", "G_ema."])
@pytest.mark.parametrize("kind", ["T", "R"])
def test_state_dicts_are_read_with_what_nvlabs_assume(convert, make_stylegan3, kind, prefix):
    network = make_stylegan3(lr_multiplier=0.01, **{"kernel": 1, "radial": True} if kind == "R" else {})
    state = OrderedDict((f"{prefix}{name}", tensor) for name, tensor in network.state_dict().items())
    for k in range(1, 6):
        name, layer = network.synthesis.layers[k][1], network.synthesis.conv(k)
        for filter_name in ("up_filter", "down_filter"):
            if getattr(layer, filter_name).numel() > 1:
                state[f"{prefix}synthesis.{name}.{filter_name}"] = getattr(layer, filter_name)
    path, said = convert(state)
    generator = load_generator(path)
    assert generator.network.config == network.config and "NVlabs' own were assumed" in said
    assert torch.allclose(drawn(generator.network), drawn(network), atol=5e-6)


def changed(network, change) -> dict:
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("synthesis.L2_52_10.bias"), "it lacks synthesis.L2_52_10.bias"),
        (lambda s: s.update({"synthesis.L2_52_10.noise": torch.ones(3)}), "it has synthesis.L2_52_10.noise"),
        (lambda s: s.pop("synthesis.L2_52_10.weight"), "5 layers in a row"),
        (lambda s: s.update({"synthesis.L2_52_10.affine.bias": torch.ones(3)}), "has shape"),
        (lambda s: s.update({"synthesis.L2_52_10.magnitude_ema": torch.zeros([])}), "no mean of squares"),
        (
            lambda s: s.update({"synthesis.L2_52_10.up_filter": torch.ones(12) / 12}),
            "L0_36_12 is sampled in another way",
        ),
        (lambda s: s.pop("mapping.fc0.weight"), "no mapping|it lacks"),
    ],
    ids=["no bias", "extra", "a gap", "shape", "no magnitude", "filter", "no mapping"],
)
def test_weights_that_are_no_stylegan3_are_named(convert, tiny_stylegan3_network, tmp_path, change, words):
    with pytest.raises(CheckpointError, match=words):
        convert(changed(tiny_stylegan3_network, change))
    assert [path.name for path in tmp_path.iterdir()] == ["source.pt"]


def test_another_spacing_of_the_layers_is_refused(forge, convert, make_stylegan3):
    network = make_stylegan3()
    saved = forge.stylegan3_generator(network)
    layers = saved.arguments[0]["state"]["_modules"]["synthesis"].arguments[0]["state"]["_modules"]
    layers["L3_52_8"].arguments[0]["state"]["padding"] = [3, 3, 3, 3]
    with pytest.raises(CheckpointError, match="sampled in another way than published"):
        convert(forge.dumps({"G_ema": saved}), "stylegan3.pkl")
