"""The quasi-Newton search through its node."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.one_for_all.example_edit import record_edit
from semantic_edit.models import InputError


def test_the_search_is_chosen_and_checked(run_node, tiny_generator):
    w = tiny_generator.map(torch.randn(2, tiny_generator.z_dim, generator=torch.Generator().manual_seed(3)))
    edit = record_edit(tiny_generator, w[0], w[0] + 0.3 * (w[1] - w[0]))
    inputs = dict(generator=tiny_generator, edit=edit, variant="text", steps=4, normal="direction")
    (quick,), _ = run_node("OptimizeDirection", search="quasi-newton", **inputs)
    (slow,), _ = run_node("OptimizeDirection", **inputs)

    def left(direction):
        return float((direction.direction - edit.direction).norm())

    assert left(quick) < left(slow)
    with pytest.raises(InputError, match="search"):
        run_node("OptimizeDirection", search="luck", **inputs)
