"""The oracle, the identity embedding and the part finders on pictures they have never seen."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.demo import identity, measure, render, sample_factors
from semantic_edit.demo.assets import demo_file
from semantic_edit.demo.chart import measurement_chart
from semantic_edit.demo.parts import colour_parts, find_parts
from semantic_edit.demo.portraits.factors import INDEX, LIVE_NAMES, visibility_mask
from semantic_edit.demo.portraits.scene import PART_NAMES
from semantic_edit.editing.common.filters import gaussian_blur
from semantic_edit.models.errors import InputError
from semantic_edit.offline.train_demo.common import r_squared
from semantic_edit.offline.train_demo.identity import people_factors


@pytest.fixture(scope="module")
def people():
    return render(sample_factors(96, torch.Generator().manual_seed(777)), 96)


def scores(pictures, factors) -> dict[str, float]:
    measured = measure(pictures)
    predicted = torch.stack([measured[name] for name in LIVE_NAMES], 1)
    explained = r_squared(predicted, factors[:, : len(LIVE_NAMES)], visibility_mask(factors))
    return dict(zip(LIVE_NAMES, explained.tolist(), strict=True))


def test_the_oracle_reads_new_portraits(people):
    explained = scores(people.images, people.factors)
    assert min(explained.values()) > 0.90, explained
    assert sum(explained.values()) / len(explained) > 0.975


@pytest.mark.parametrize("size", [64, 160])
def test_the_oracle_reads_other_sizes(size):
    factors = sample_factors(64, torch.Generator().manual_seed(778))
    assert min(scores(render(factors, size).images, factors).values()) > 0.85


def test_the_oracle_sees_through_blur_and_noise(people):
    noise = 0.08 * torch.randn(people.images.shape, generator=torch.Generator().manual_seed(0))
    for pictures in (gaussian_blur(people.images, 1.2, "replicate"), people.images + noise):
        explained = scores(pictures, people.factors)
        assert sum(explained.values()) / len(explained) > 0.95, explained


def test_measure_answers_in_the_factors_ranges(people):
    measured = measure(people.images)
    assert tuple(measured) == LIVE_NAMES
    assert (measured["yaw"] - people.factors[:, INDEX["yaw"]]).abs().mean() < 0.05
    assert ((measured["hat"] > 0.5) == (people.factors[:, INDEX["hat"]] > 0.5)).float().mean() > 0.98


@pytest.mark.parametrize("shape", [(2, 64, 64, 3), (3, 64, 64), (1, 3, 16, 16)])
def test_wrong_pictures_are_refused(shape):
    with pytest.raises(InputError, match="expected"):
        measure(torch.zeros(shape))


def test_identity_survives_what_is_not_the_person():
    pictures = render(people_factors(48, 2, torch.Generator().manual_seed(5)), 64).images
    first, second = identity(pictures[0::2]), identity(pictures[1::2])
    assert torch.allclose(first.norm(dim=1), torch.ones(48), atol=1e-4) and first.shape == (48, 64)
    similarity = first @ second.t()
    same, others = similarity.diagonal(), similarity[~torch.eye(48, dtype=torch.bool)]
    assert same.mean() > others.mean() + 0.4
    assert (same[:, None] > others[None]).float().mean() > 0.97


@pytest.mark.parametrize("method", ["network", "redraw"])
def test_parts_are_found(method):
    truth = render(sample_factors(12, torch.Generator().manual_seed(9)), 96, parts=True)
    masks = find_parts(truth.images, method)
    assert masks.shape == truth.parts.shape
    assert torch.allclose(masks.sum(1), torch.ones(12, 96, 96), atol=1e-3)
    agreed = (masks.argmax(1) == truth.parts.argmax(1)).float().mean()
    assert agreed > 0.95
    eyes = PART_NAMES.index("eyes")
    a, b = masks.argmax(1) == eyes, truth.parts.argmax(1) == eyes
    assert (a & b).sum() / (a | b).sum() > 0.6


def test_painted_parts_are_a_picture():
    preview = colour_parts(find_parts(render({"hat": [1.0]}, 64).images))
    assert preview.shape == (1, 3, 64, 64) and preview.abs().max() <= 1.001


def test_a_chart_shows_a_change(people):
    values = measure(people.images[:8])
    plain = measurement_chart(values)
    compared = measurement_chart(values, {name: column + 0.2 for name, column in values.items()}, "; same person: 1.00")
    assert plain.shape == compared.shape and plain.shape[2] == 3
    assert not torch.equal(plain, compared)
    assert 0 <= plain.min() and plain.max() <= 1


def test_a_missing_file_says_what_to_do():
    with pytest.raises(InputError, match="missing from this installation"):
        demo_file("oracles", "another")
