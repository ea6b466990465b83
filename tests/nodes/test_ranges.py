"""Numbers that come by wires, where no server looks at ranges."""

from __future__ import annotations

import inspect

import pytest
import torch
from semantic_edit.models.errors import InputError
from semantic_edit.nodes import node_classes

NODES = {node.GET_SCHEMA().node_id.removeprefix("SemanticEdit"): node for node in node_classes()}


@pytest.mark.parametrize("value", [10**9, 10**400, -1, float("nan"), float("inf")])
def test_a_number_out_of_range_is_refused_before_any_work(value):
    with pytest.raises(InputError, match="'frame_count' is .*expected a number from 2 to"):
        NODES["AnimateStrength"].execute(frame_count=value)


def test_a_breath_beyond_the_end_is_let_pass(run_node):
    images = run_node("BrushMask", images=pictures(), strokes="0.5 0.5", radius=0.5 * (1 + 1e-7))[0]
    assert images[0].shape == (1, 16, 16)


def test_nodes_are_wrapped_once_and_keep_their_arguments():
    again = {node.GET_SCHEMA().node_id.removeprefix("SemanticEdit"): node for node in node_classes()}
    plain = again["BrushMask"].execute.__func__
    assert plain is NODES["BrushMask"].execute.__func__ and not hasattr(plain.__wrapped__, "__wrapped__")
    assert list(inspect.signature(NODES["BrushMask"].execute).parameters) == ["images", "strokes", "radius"]


@pytest.mark.parametrize("shape", [(0, 16, 16, 3), (1, 16, 16, 1), (16, 16, 3), (1, 0, 0, 3)])
def test_a_brush_needs_pictures(run_node, shape):
    with pytest.raises(InputError, match="expected an IMAGE"):
        run_node("BrushMask", images=pictures(shape), strokes="", radius=0.1)


def pictures(shape=(1, 16, 16, 3)):
    return torch.zeros(shape)
