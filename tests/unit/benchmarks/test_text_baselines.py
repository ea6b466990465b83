"""What text edits are compared with: a direction of style space, and one that shows at a single layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from baselines.layer_direction import (
    LayerDirection,
    apply_layer_direction,
    train_layer_direction,
)
from baselines.style_direction import apply_style_direction, train_style_direction
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.text.clip_loss import TextGoal
from semantic_edit.editing.text.optimizers import AdamScalarV
from semantic_edit.editing.text.trainable_edit import w_basis
from semantic_edit.models.errors import InputError
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.models.scorers.scorer import load_scorer

allow_declaring()  # a CPU wheel of torch has no operators for torchvision
SHIPPED = Path(__file__).resolve().parents[3] / "models" / "demo" / "scorers" / "demo_portraits"


@pytest.fixture(scope="module")
def goal():
    return TextGoal(load_scorer(SHIPPED), "a person with a hat", score="both")


@pytest.fixture
def codes(tiny_generator):
    return tiny_generator.map(torch.randn(3, tiny_generator.z_dim, generator=torch.Generator().manual_seed(2)))


@pytest.fixture
def left():
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    return PartLabels(torch.cat([mask, 1 - mask], dim=1), ("left", "right"))


def test_a_style_direction_is_learned_and_leaves_the_network_as_it_was(tiny_generator, goal, codes):
    plain = tiny_generator.synthesize(codes)
    direction = train_style_direction(tiny_generator, goal, codes, steps=3, batch=2)
    layers = tiny_generator.network.synthesis.layers
    assert len(direction) == len(layers) and max(float(change.abs().max()) for change in direction) > 0
    assert not torch.allclose(apply_style_direction(tiny_generator, codes, direction), plain, atol=1e-4)
    assert torch.equal(apply_style_direction(tiny_generator, codes, direction, 0.0), plain)
    assert torch.equal(tiny_generator.synthesize(codes), plain)


def test_a_layer_direction_shows_in_its_parts_alone(tiny_generator, goal, codes, left):
    found = train_layer_direction(tiny_generator, goal, codes, left, 4, steps=3, batch=2, samples=16)
    assert found.weights.shape == (2,) and found.change.shape == (16,)
    change = torch.randn(16, generator=torch.Generator().manual_seed(1))
    plain = tiny_generator.synthesize(codes)
    everywhere = apply_layer_direction(tiny_generator, codes, LayerDirection(change, torch.ones(2), 4), left)
    nowhere = apply_layer_direction(tiny_generator, codes, LayerDirection(change, torch.zeros(2), 4), left)
    assert torch.allclose(nowhere, plain, atol=2e-5) and not torch.allclose(everywhere, plain, atol=1e-2)
    half = apply_layer_direction(tiny_generator, codes, LayerDirection(change, torch.tensor([1.0, 0.0]), 4), left)
    moved = (half - plain).abs().mean(dim=(0, 1, 2))
    assert moved[:12].mean() > 10 * moved[22:].mean()


def test_what_does_not_fit_is_refused(tiny_generator, tiny_progan, goal, codes, left):
    with pytest.raises(InputError, match="Progressive"):
        train_style_direction(tiny_progan, goal, codes)
    with pytest.raises(InputError, match="at least 1"):
        train_style_direction(tiny_generator, goal, codes, steps=0)
    with pytest.raises(InputError, match="Layer 99"):
        train_layer_direction(tiny_generator, goal, codes, left, 99)
    two = PartLabels(left.masks.expand(2, -1, -1, -1), left.names)
    with pytest.raises(InputError, match="part labels of 2"):
        train_layer_direction(tiny_generator, goal, codes, two, 4)


def test_learned_coordinates_are_standard_deviations_of_w(tiny_generator):
    root = w_basis(tiny_generator, "spread of W").double()
    torch.testing.assert_close(root @ root.t(), tiny_generator.w_covariance.double(), atol=1e-5, rtol=1e-4)
    plain = w_basis(tiny_generator, "plain")
    assert torch.equal(plain, torch.diag(plain.diagonal())) and float(plain.diagonal().std()) == 0


def test_even_adam_follows_the_gradient():
    """Its step has the gradient's direction and, per row, the size of its rate; Adam's own has neither."""
    p = torch.zeros(2, 3, requires_grad=True)
    p.grad = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.1, 0.0]])
    AdamScalarV([p], 0.5).step()
    step = -p.detach()
    torch.testing.assert_close(step / step.norm(), p.grad / p.grad.norm())
    assert float(step.norm()) == pytest.approx(0.5 * 2**0.5, rel=1e-4)
