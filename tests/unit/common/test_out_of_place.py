"""Networks that overwrite their own values learn all the same, with the gradients of those that do not."""

from __future__ import annotations

import sys

import pytest
import torch
from semantic_edit.editing.common.diffusion.autograd.checkpointing import checkpointed
from semantic_edit.editing.common.diffusion.autograd.out_of_place import (
    OutOfPlace,
    _is_augmented_assignment,
    out_of_place,
)
from torch import nn


class Block(nn.Module):
    """A residual block, written in one of two ways."""

    def __init__(self, overwrite: bool) -> None:
        super().__init__()
        self.overwrite, self.norm, self.linear = overwrite, nn.LayerNorm(6), nn.Linear(6, 6)

    def forward(self, x):
        if not self.overwrite:
            x = x + self.linear(self.norm(x))
            return x * 1.5 + self.linear(self.norm(x * 1.5))
        x += self.linear(self.norm(x))
        x *= 1.5
        x += self.linear(self.norm(x))
        return x


class Network(nn.Module):
    def __init__(self, overwrite: bool) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.blocks = nn.Linear(6, 6), nn.ModuleList([Block(overwrite) for _ in range(2)])

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x


def gradients(model, x):
    return torch.autograd.grad(model(x).square().sum(), [*model.parameters()])


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "computed again"])
def test_gradients_are_those_of_a_network_that_makes_new_tensors(recompute):
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    expected = gradients(Network(False), x)
    model = Network(True)
    with pytest.raises(RuntimeError, match="inplace operation"):
        gradients(model, x)
    with out_of_place(model), checkpointed(model, recompute):
        actual = gradients(model, x)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(actual, expected, strict=True))
    assert "forward" not in model.__dict__ and not any("forward" in block.__dict__ for block in model.blocks)


def test_only_assignments_make_new_tensors():
    x = torch.ones(2, requires_grad=True) * 1
    with OutOfPlace():
        y = x
        y += 1
        assert y is not x and x.tolist() == [1, 1] and y.tolist() == [2, 2]
        y.add_(1)
        assert y.tolist() == [3, 3], "a call still writes"
        y -= 1
        y /= 2
        assert y.tolist() == [1, 1]
        with torch.no_grad():
            z = torch.ones(2)
            same = z
            z += 1
            assert same is z


def add(x, y):
    x += y
    return x


def subtract(x, y):
    x -= y
    return x


def multiply(x, y):
    x *= y
    return x


def divide(x, y):
    x /= y
    return x


class Spy:
    """Records what `_is_augmented_assignment` says of whoever uses an operator on it."""

    def __init__(self):
        self.answers = []

    def __add__(self, other):
        self.answers.append(_is_augmented_assignment(sys._getframe(1)))
        return self

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __sub__ = __mul__ = __truediv__ = __getitem__ = __add__


@pytest.mark.parametrize("assign", [add, subtract, multiply, divide])
def test_this_pythons_augmented_assignments_are_known(assign):
    """Fails on the first Python whose bytecode says them in another way."""
    assert assign(Spy(), 1).answers == [True]


def test_this_pythons_other_operators_are_not_taken_for_assignments():
    x = Spy()
    for _ in (x + 1, x - 1, x * 1, x / 1, x[0]):
        pass
    assert x.answers == [False] * 5


@pytest.mark.parametrize(("assign", "value"), [(add, 6), (subtract, 2), (multiply, 8), (divide, 2)])
def test_this_torchs_modes_see_the_assigning_frame(assign, value):
    """Fails on the first torch that puts a layer of Python between the assignment and the mode."""
    x = torch.ones(2, requires_grad=True) * 4
    with OutOfPlace():
        result = assign(x, torch.full((2,), 2.0))
    assert result is not x and x.tolist() == [4, 4] and result.tolist() == [value] * 2
