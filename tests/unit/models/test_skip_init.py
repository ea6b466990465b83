"""Networks that a file fills are built without drawing weights, and with everything else in place."""

import torch
from semantic_edit.models.loading.skip_init import skip_init
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Conv2d(3, 4, 3), nn.MultiheadAttention(8, 2))
        self.token = nn.Parameter(0.1 * torch.randn(4))
        nn.init.trunc_normal_(self.layers[0].weight, std=0.02)
        nn.init.xavier_uniform_(tensor=self.layers[0].weight)
        self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu_(1), persistent=False)


def test_no_random_number_is_drawn_in_place_and_the_rest_is_made():
    torch.manual_seed(0)
    torch.randn(4)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    with skip_init():
        network = Net()
    assert torch.equal(torch.get_rng_state(), state)  # only the token's
    assert torch.equal(network.layers[1].weight, torch.ones(7))
    assert torch.equal(network.mask, Net().mask)
    assert all(isinstance(parameter, nn.Parameter) for parameter in network.parameters())


def test_outside_weights_are_drawn_again():
    with skip_init():
        pass
    layer = nn.Linear(5, 7)
    layer.weight.data.zero_()
    layer.reset_parameters()
    assert layer.weight.abs().min() > 0


def test_a_filled_network_equals_the_one_it_was_saved_from():
    saved = Net()
    with skip_init():
        network = Net()
    network.load_state_dict(saved.state_dict())
    assert all(torch.equal(new, old) for new, old in zip(network.parameters(), saved.parameters(), strict=True))
