"""One place decides which implementation runs."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.kernels import chosen_path, use_kernels
from semantic_edit.kernels.select import choose

SINGLE, DOUBLE = torch.zeros(1), torch.zeros(1, dtype=torch.float64)


def test_auto_takes_the_fastest_there_is_and_keeps_float64_plain():
    assert choose("reference", "fast", SINGLE, "gpu") == "gpu"
    assert choose("reference", "fast", SINGLE) == "fast"
    assert choose("reference", "fast", DOUBLE, "gpu") == "reference"
    with use_kernels("rule"):  # which times nothing, so a kernel of a GPU is not tried
        assert choose("reference", "fast", SINGLE, "gpu") == "fast"
        assert choose("reference", "fast", DOUBLE, "gpu") == "reference"


@pytest.mark.parametrize(
    ("path", "with_gpu", "without"),
    [
        ("reference", "reference", "reference"),
        ("fast", "fast", "fast"),
        ("tiled", "fast", "fast"),
        ("gpu", "gpu", "fast"),
    ],
)
def test_a_named_path(path, with_gpu, without):
    with use_kernels(path):
        for x in (SINGLE, DOUBLE):
            assert choose("reference", "fast", x, "gpu") == with_gpu
            assert choose("reference", "fast", x) == without


def test_the_innermost_choice_counts_and_ends_with_its_block():
    assert chosen_path() == "auto"
    with pytest.raises(RuntimeError), use_kernels("fast"), use_kernels("reference"):
        assert chosen_path() == "reference"
        raise RuntimeError
    assert chosen_path() == "auto"


def test_the_environment_variable(monkeypatch):
    monkeypatch.setenv("SEMANTIC_EDIT_KERNELS", "reference")
    assert choose("reference", "fast", SINGLE) == "reference"
    with use_kernels("fast"):
        assert choose("reference", "fast", SINGLE) == "fast"
    monkeypatch.setenv("SEMANTIC_EDIT_KERNELS", "quick")
    with pytest.raises(ValueError, match="SEMANTIC_EDIT_KERNELS is 'quick'"):
        chosen_path()


def test_an_unknown_path():
    with pytest.raises(ValueError, match="Unknown kernel path"), use_kernels("triton"):
        pass
