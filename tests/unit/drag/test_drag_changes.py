"""What components change, place by place: against its definition, and measured once for a picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.editing.drag import changes as drag_changes
from semantic_edit.editing.drag.changes import measure_changes
from semantic_edit.editing.drag.drag import ChangeMemory, DragSettings, drag
from semantic_edit.editing.drag.points import DragPoints

FEW = replace(DragSettings(), steps=3)


def linear_features(first: torch.Tensor, count: int):
    """Return a function whose features follow their components in a straight line, and the slopes [K, C, h, w]."""
    slopes = torch.randn(count, *first.shape[1:], generator=torch.Generator().manual_seed(1))
    return (lambda trial: first + torch.einsum("nk,kchw->nchw", trial, slopes)), slopes


@pytest.mark.parametrize("size", [(8, 8), (32, 16), (64, 64), (96, 48), (33, 40)])
@pytest.mark.parametrize("held", [2**28, 3000])
def test_stiffness_is_the_weighted_square_of_the_change(size, held, monkeypatch):
    monkeypatch.setattr(drag_changes, "_HELD", held)
    rng = torch.Generator().manual_seed(2)
    first, spread = torch.randn(1, 3, *size, generator=rng), torch.rand(1, 3, 1, 1, generator=rng) + 0.5
    features_at, slopes = linear_features(first, 5)
    trials = []
    changes = measure_changes(features_at, first, spread, 5, lambda: trials.append(1))
    rows, columns = changes.grams.shape[:2]
    assert max(rows, columns) <= 32 or size == (33, 40)  # which no power of two divides
    coarse = torch.rand(1, 1, rows, columns, generator=rng)
    weight = torch.nn.functional.interpolate(coarse, size, mode="nearest")  # the same throughout a cell
    scaled = (slopes / spread * weight.sqrt()).flatten(1)
    expected = scaled @ scaled.t()
    assert torch.allclose(changes.stiffness(weight), expected, atol=1e-4 * float(expected.abs().max()))
    assert len(trials) == 1 or held == 3000


@pytest.fixture
def code(tiny_generator):
    return tiny_generator.map(torch.randn(1, tiny_generator.z_dim, generator=torch.Generator().manual_seed(5)))


@pytest.fixture
def measurements(monkeypatch):
    """Count how often changes were measured."""
    calls = []
    plain = drag_changes.measure_changes
    monkeypatch.setattr(
        "semantic_edit.editing.drag.steps.measure_changes", lambda *args: calls.append(1) or plain(*args)
    )
    return calls


def pull(x: float) -> DragPoints:
    return DragPoints(torch.tensor([[12.0, 16.0]]), torch.tensor([[x, 16.0]]))


def test_a_further_drag_begins_with_what_is_known(tiny_generator, code, measurements):
    memory, region = ChangeMemory(), torch.zeros(32, 32)
    region[8:24, 4:28] = 1
    drag(tiny_generator, code, pull(14), settings=FEW, memory=memory)
    for target, allowed in ((15, None), (9, region)):
        known = drag(tiny_generator, code, pull(target), allowed, settings=FEW, memory=memory)
        assert len(measurements) == 1
        again = drag(tiny_generator, code, pull(target), allowed, settings=FEW)
        assert torch.equal(known.code, again.code)
        measurements.pop()


def test_other_rows_and_other_generators_are_measured(tiny_generator, make_network, code, measurements):
    from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint

    memory = ChangeMemory()
    drag(tiny_generator, code, pull(14), settings=FEW, memory=memory)
    drag(tiny_generator, code, pull(14), rows=(0, 1), settings=FEW, memory=memory)
    other = make_network(channels=(16, 16, 12, 8))
    drag(GanGenerator(other, family_fingerprint(other), "other"), code, pull(14), settings=FEW, memory=memory)
    assert len(measurements) == 3
