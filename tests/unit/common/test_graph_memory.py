"""Measuring a graph's memory leaves nothing of the graph behind."""

import gc
import weakref

import torch
from semantic_edit.editing.common.diffusion.autograd.memory import graph_bytes


def test_a_measured_graph_is_freed():
    weight = torch.ones(4, 4, requires_grad=True)
    alive = []

    def forward():
        result = torch.softmax(weight * 2, dim=1)  # which keeps its own result for the way back
        alive.append(weakref.ref(result))
        return result.tanh().sum()

    assert graph_bytes(forward, {weight.untyped_storage().data_ptr()}) == 2 * 64
    gc.collect()
    assert alive[0]() is None


def test_gradients_still_flow_through_a_measured_graph():
    weight, results = torch.ones(4, 4, requires_grad=True), []
    graph_bytes(lambda: results.append(torch.softmax(weight * 2, dim=1)[0, 0]), set())
    results[0].backward()
    assert weight.grad.abs().max() > 0
