"""Adam in one pass: the steps are torch's own, for parameters, groups and devices that have none."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.common.adam import adam


def walk(optimizer_of, **options) -> torch.Tensor:
    weights = [torch.nn.Parameter(torch.linspace(-1, 1, n)) for n in (5, 300)]
    groups = [{"params": [weights[0]], "weight_decay": 0.3}, {"params": [weights[1]], "lr": 0.2}]
    optimizer = optimizer_of(groups, **options)
    for _ in range(20):
        optimizer.zero_grad(set_to_none=True)
        sum((weight - 0.5).pow(4).sum() for weight in weights).backward()
        optimizer.step()
    return torch.cat([weight.detach() for weight in weights])


def test_steps_are_torchs_own():
    ours = walk(lambda groups: adam(groups, 0.05, betas=(0.9, 0.99)))
    theirs = walk(lambda groups: torch.optim.Adam(groups, 0.05, betas=(0.9, 0.99), fused=False))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_it_is_one_pass_where_torch_has_it():
    weight = torch.nn.Parameter(torch.zeros(3))
    assert adam(iter([weight])).defaults["fused"]


def test_parameters_with_gaps_get_their_own_steps():
    memory = torch.zeros(4, 6)
    weight = memory[:, 1:4].requires_grad_(True)
    optimizer = adam([weight], 0.1)
    (weight - 1).square().sum().backward()
    optimizer.step()
    assert torch.allclose(weight.detach(), torch.full((4, 3), 0.1), atol=1e-6)
    assert torch.equal(memory.detach()[:, [0, 4, 5]], torch.zeros(4, 3))


def test_without_it_steps_are_taken_all_the_same(monkeypatch):
    plain = torch.optim.Adam

    def old(*given, fused=None, **options):
        if fused:
            raise RuntimeError("`fused=True` requires all the params to be floating point Tensors of a GPU")
        return plain(*given, **options)

    monkeypatch.setattr(torch.optim, "Adam", old)
    assert torch.allclose(walk(lambda groups: adam(groups, 0.05)), walk(lambda groups: plain(groups, 0.05)), atol=1e-6)


def test_wrong_rates_are_refused_as_torch_does():
    with pytest.raises(ValueError, match="learning rate"):
        adam([torch.nn.Parameter(torch.zeros(3))], -1.0)
