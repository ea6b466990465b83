"""The config: inferred from shapes, written as JSON, and any wrong value a CheckpointError."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.models import CheckpointError, StyleGAN2Config
from semantic_edit.models.gan.stylegan2_config import config_from_header

PLAIN = {"z_dim": 8, "w_dim": 16, "channels": (4, 4, 2)}
# What the shapes of a state dict cannot tell.
UNSEEN = ("lr_multiplier", "normalize_z", "resample_filter", "conv_clamp", "activation")


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"c_dim": 5},
        {"c_dim": 5, "embed_features": 7},
        {"mapping_layers": 1, "w_dim": 20},
        {"mapping_layers": 3, "mapping_features": 24},
        {"architecture": "orig"},
        {"architecture": "resnet"},
        {"channels": (8,)},
        {"channels": (7, 5, 3, 2, 1)},
        {"const_size": (4, 2)},
        {"const_size": (3, 5), "img_channels": 1},
        {"use_noise": False},
        {"lr_multiplier": 1.0, "resample_filter": (1.0, 1.0), "conv_clamp": 256.0, "normalize_z": False},
    ],
    ids=str,
)
def test_inferred_from_the_state_dict(make_network, made):
    network = make_network(**made)
    known = {name: getattr(network.config, name) for name in UNSEEN}
    inferred = StyleGAN2Config.from_state_dict(network.state_dict(), **known)
    expected = {field.name: getattr(network.config, field.name) for field in fields(StyleGAN2Config)}
    # 0 stands for "as wide as w"; the shapes give the width itself.
    expected["mapping_features"] = expected["mapping_features"] or network.config.w_dim
    if network.config.c_dim:
        expected["embed_features"] = expected["embed_features"] or network.config.w_dim
    if network.config.mapping_layers == 1:
        expected["mapping_features"] = 0
    if len(network.config.channels) == 1 and network.config.architecture == "skip":
        expected["architecture"] = "skip"
    assert inferred == StyleGAN2Config(**expected)
    rebuilt = type(network)(inferred)
    rebuilt.load_state_dict(network.state_dict())
    assert [tuple(t.shape) for t in rebuilt.state_dict().values()] == [
        tuple(t.shape) for t in network.state_dict().values()
    ]


@pytest.mark.parametrize("damage", ["mapping.fc0.weight", "synthesis.b4.const", "synthesis.b8.conv1.weight",
                                    "synthesis.b4.conv1.affine.weight", "synthesis.b16.torgb.weight"])  # fmt: skip
def test_a_missing_or_flat_tensor_is_named(make_network, damage):
    state = make_network().state_dict()
    flat = {**state, damage: torch.tensor(1.0)}
    with pytest.raises(CheckpointError, match="do not form a StyleGAN2 generator"):
        StyleGAN2Config.from_state_dict(flat)
    del state[damage]
    with pytest.raises(CheckpointError, match="do not form a StyleGAN2 generator"):
        StyleGAN2Config.from_state_dict(state)


def test_blocks_must_double():
    with pytest.raises(CheckpointError, match=r"its blocks are \[4, 16\]"):
        StyleGAN2Config.from_state_dict({"synthesis.b4.x": torch.zeros(1), "synthesis.b16.x": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"its blocks are \[\]"):
        StyleGAN2Config.from_state_dict({})
    with pytest.raises(CheckpointError):
        StyleGAN2Config.from_state_dict({f"synthesis.b{'9' * 5000}.const": torch.zeros(1)})


def test_json_there_and_back(make_network):
    for made in ({}, {"conv_clamp": 256.0, "c_dim": 3}, {"const_size": (4, 2), "architecture": "resnet"}):
        config = make_network(**made).config
        assert config_from_header(json.dumps(config.to_json())) == config


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"architecture": "stylegan3"}, "architecture"),
        ({"architecture": 3}, "'architecture'"),
        ({"activation": "gelu"}, "activation"),
        ({"z_dim": 0}, "at least 1"),
        ({"z_dim": 8.0}, "'z_dim'"),
        ({"z_dim": True}, "'z_dim'"),
        ({"z_dim": "8"}, "'z_dim'"),
        ({"z_dim": 10**30}, "beyond anything"),
        ({"c_dim": -1}, "negative"),
        ({"mapping_features": -1}, "negative"),
        ({"mapping_features": 10**9}, "beyond anything"),
        ({"mapping_layers": 65}, "beyond anything"),
        ({"channels": []}, "1 to 12 blocks"),
        ({"channels": [4] * 13}, "1 to 12 blocks"),
        ({"channels": [4, 0]}, "1 to 12 blocks"),
        ({"channels": "44"}, "'channels'"),
        ({"channels": [4.5]}, "'channels'"),
        ({"channels": {"4": 4}}, "'channels'"),
        ({"channels": 4}, "'channels'"),
        ({"channels": [70000]}, "beyond anything"),
        ({"const_size": [4]}, "height and a width"),
        ({"const_size": [4, 4, 4]}, "height and a width"),
        ({"const_size": [4, 0]}, "at least 1"),
        ({"lr_multiplier": 0}, "positive"),
        ({"lr_multiplier": float("nan")}, "positive"),
        ({"lr_multiplier": None}, "'lr_multiplier'"),
        ({"lr_multiplier": 10**400}, "'lr_multiplier'"),
        ({"conv_clamp": 0.0}, "positive"),
        ({"conv_clamp": -1.0}, "positive"),
        ({"resample_filter": []}, "beyond anything"),
        ({"resample_filter": [1.0] * 65}, "beyond anything"),
        ({"resample_filter": [1.0, -1.0]}, "a sum to divide by"),
        ({"resample_filter": [float("inf")]}, "a sum to divide by"),
        ({"resample_filter": "1331"}, "'resample_filter'"),
        ({"resample_filter": [[1.0]]}, "'resample_filter'"),
        ({"normalize_z": 1}, "'normalize_z'"),
        ({"depth": 3}, "unknown fields: depth"),
    ],
    ids=str,
)
def test_wrong_values(fields, word):
    with pytest.raises(CheckpointError, match=word):
        StyleGAN2Config.from_json({**PLAIN, "channels": [4, 4, 2], **fields})


def test_missing_values():
    for name in PLAIN:
        with pytest.raises(CheckpointError, match=f"lacks: {name}"):
            StyleGAN2Config.from_json({key: value for key, value in PLAIN.items() if key != name})


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000, '{"z_dim": ' + "9" * 5000 + "}"])
def test_a_header_that_is_no_config(text):
    with pytest.raises(CheckpointError):
        config_from_header(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from([field.name for field in fields(StyleGAN2Config)]), JSON, max_size=4))
def test_any_json_is_a_config_or_a_sentence(values):
    try:
        config = StyleGAN2Config.from_json({**PLAIN, **values})
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        assert StyleGAN2Config.from_json(json.loads(json.dumps(config.to_json()))) == config
