"""Out of inference mode and back: what other nodes made can enter a graph after `clone_from_inference`."""

import pytest
import torch
from semantic_edit.host import clone_from_inference, enable_training, no_inference_mode
from torch import nn


class Tied(nn.Module):
    """Two layers that share a weight, a frozen parameter, a buffer, and an empty slot."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("mean", torch.zeros(3))
        self.register_parameter("nothing", None)

    def forward(self, x):
        return self.second(torch.relu(self.first(x))) * self.scale + self.mean


def made_by_another_node(factory):
    with torch.inference_mode():
        return factory()


def test_training_mode_inside_inference_mode_gives_gradients():
    with torch.inference_mode():
        with enable_training():
            x = torch.ones(2, requires_grad=True)
            (x * x).sum().backward()
        assert torch.is_inference_mode_enabled()
    assert x.grad.tolist() == [2, 2]


def test_what_is_built_inside_inference_mode_can_be_trained():
    with torch.inference_mode(), no_inference_mode():
        network = Tied()
        constant = torch.ones(3) * 2
    assert not constant.is_inference() and not constant.requires_grad
    network(torch.ones(1, 3)).sum().backward()
    assert network.first.weight.grad is not None


def test_a_tensor_from_another_node_enters_a_graph_after_rehoming():
    foreign = made_by_another_node(lambda: torch.ones(3))
    with enable_training():
        weight = torch.ones(3, requires_grad=True)
        with pytest.raises(RuntimeError):
            (weight * foreign).sum().backward()
        (weight * clone_from_inference(foreign)).sum().backward()
    assert weight.grad.tolist() == [1, 1, 1]


def test_a_normal_tensor_is_returned_as_it_is():
    tensor = torch.ones(2)
    assert clone_from_inference(tensor) is tensor


def test_a_network_from_another_node_is_rehomed_in_place():
    network = made_by_another_node(Tied)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.inference_mode():
        assert clone_from_inference(network) is network
    assert not any(tensor.is_inference() for tensor in network.state_dict().values())
    assert network.first.weight is network.second.weight  # still shared
    assert network.first.weight.requires_grad and not network.scale.requires_grad
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())
    with enable_training():
        network(torch.ones(1, 3)).sum().backward()
    assert network.first.weight.grad is not None


def test_rehoming_a_normal_network_changes_nothing():
    network = Tied()
    tensors = [id(tensor) for tensor in network.parameters()]
    clone_from_inference(network)
    assert [id(tensor) for tensor in network.parameters()] == tensors
