"""Noise: constant, none, seeded. A seeded picture depends on its seed and its place in the batch, on nothing else."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.kernels import use_kernels
from semantic_edit.models.gan.synthesis_run import SynthesisOptions


@pytest.fixture(scope="module")
def network(make_network):
    return make_network(channels=(16, 16, 16))


@pytest.fixture(params=["fast", "tiled"], autouse=True)
def path(request):
    with use_kernels(request.param):
        yield


@pytest.fixture(scope="module")
def w():
    return torch.randn(5, 6, 16, generator=torch.Generator().manual_seed(1))


def test_modes_differ_and_repeat(network, w):
    pictures = {
        noise: network.synthesis(w, SynthesisOptions(noise=noise)).image
        for noise in ("constant", "none", 0, 1, 2**62, -3)
    }
    keys = list(pictures)
    for i, first in enumerate(keys):
        assert torch.equal(pictures[first], network.synthesis(w, SynthesisOptions(noise=first)).image)
        for second in keys[i + 1 :]:
            assert (pictures[first] - pictures[second]).abs().max() > 1e-3


def test_without_strength_the_noise_does_nothing(make_network, w):
    network = make_network(channels=(16, 16, 16))
    for name, parameter in network.named_parameters():
        if name.endswith("noise_strength"):
            parameter.zero_()
    assert torch.equal(
        network.synthesis(w, SynthesisOptions(noise="none")).image,
        network.synthesis(w, SynthesisOptions(noise=3)).image,
    )


@pytest.mark.parametrize("noise", ["constant", "none", 7])
def test_independent_of_batch_size_and_chunking(network, w, noise):
    whole = network.synthesis(w, SynthesisOptions(noise=noise)).image
    for size in (1, 2, 3):
        parts = [
            network.synthesis(part, SynthesisOptions(noise=noise, first_index=k * size)).image
            for k, part in enumerate(w.split(size))
        ]
        assert (torch.cat(parts) - whole).abs().max() < 1e-5 * whole.abs().max()


def test_pictures_of_a_batch_have_noise_of_their_own(network, w):
    same = w[:1].expand(4, -1, -1)
    images = network.synthesis(same, SynthesisOptions(noise=7)).image
    for i in range(4):
        for j in range(i):
            assert (images[i] - images[j]).abs().max() > 1e-3
    constant = network.synthesis(same).image
    assert (constant - constant[:1]).abs().max() < 1e-5 * constant.abs().max()


def test_seed_and_place_are_kept_apart(network, w):
    """Seed 0 at place 1 is not seed 1 at place 0, and a layer's noise is not the next picture's."""
    same = w[:1]
    pictures = [
        network.synthesis(same, SynthesisOptions(noise=seed, first_index=place)).image
        for seed in range(4)
        for place in range(4)
    ]
    for i, first in enumerate(pictures):
        for second in pictures[:i]:
            assert (first - second).abs().max() > 1e-4


def test_the_global_random_state_is_not_touched(network, w):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    for noise in ("constant", "none", 7):
        network.synthesis(w, SynthesisOptions(noise=noise))
    assert torch.equal(torch.get_rng_state(), state)


def test_resuming_draws_the_same_noise(network, w):
    for layer in range(5):
        state = network.synthesis(w, SynthesisOptions(noise=9, stop_layer=layer, first_index=2)).state
        assert torch.equal(
            network.synthesis(w, SynthesisOptions(noise=9, resume=state, first_index=2)).image,
            network.synthesis(w, SynthesisOptions(noise=9, first_index=2)).image,
        )
