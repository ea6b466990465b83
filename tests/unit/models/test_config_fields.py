"""Configs in file headers: three networks read theirs alike, and a field that is no field is named."""

from __future__ import annotations

import json

import pytest
from semantic_edit.models.encoders.irse import IrseConfig
from semantic_edit.models.errors import CheckpointError
from semantic_edit.models.losses.identity import IdentityConfig
from semantic_edit.models.segmenters.bisenet import SegmenterConfig

CONFIGS = (IdentityConfig(), SegmenterConfig(), IrseConfig(num_layers=12))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_a_config_comes_back_from_json(config):
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
@pytest.mark.parametrize("field, value", [("size", "wide"), ("widths", [64, 64, 128, 256, 512.0]), ("widths", 64),
                                          ("widths", [True] * 5), ("extra", 1)])  # fmt: skip
def test_a_field_of_another_type_is_named(config, field, value):
    with pytest.raises(CheckpointError, match=f"no valid field '{field}'"):
        type(config).from_json({**json.loads(json.dumps(config.to_json())), field: value})
