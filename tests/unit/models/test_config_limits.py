"""Descriptions of networks are compared with the weights before anything is built."""

import pytest
from semantic_edit.models.errors import CheckpointError
from semantic_edit.models.loading.config_limits import check_config_limits


@pytest.mark.parametrize("value", [5, 10**400, float("nan"), float("inf"), [4, 5], {"width": 9}])
def test_what_the_weights_cannot_have_is_refused_with_a_sentence(value):
    with pytest.raises(CheckpointError, match="for 'width', where its weights allow 4 at most"):
        check_config_limits({"width": value}, {"weight": (4, 4)}, "The config")


def test_what_they_have_passes():
    config = {"width": 4, "name": "x", "flag": True, "layers": [1, 1]}
    assert check_config_limits(config, {"weight": (4, 4)}, "The config") is None
    assert config == {"width": 4, "name": "x", "flag": True, "layers": [1, 1]}
