"""The renderer: what a factor changes, where parts and landmarks are, sizes, and wrong inputs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.demo import factors_from_z, render, sample_factors
from semantic_edit.demo.portraits.factors import (
    FACTORS,
    INDEX,
    LIVE_NAMES,
    NAMES,
    as_factors,
    default_factors,
    denormalise_factors,
    normalise_factors,
)
from semantic_edit.demo.portraits.scene import PART_NAMES


@pytest.fixture(scope="module")
def people():
    return render(sample_factors(6, torch.Generator().manual_seed(4)), 96, parts=True)


def area(portraits, part: str) -> torch.Tensor:
    return portraits.parts[:, PART_NAMES.index(part)].mean((1, 2))


def test_pictures_are_pictures(people):
    assert people.images.shape == (6, 3, 96, 96)
    assert people.images.min() >= -1 and people.images.max() <= 1
    assert people.images.std((1, 2, 3)).min() > 0.1


def test_no_two_faces_are_alike(people):
    flat = people.images.flatten(1)
    distance = torch.cdist(flat, flat) + 1e9 * torch.eye(6)
    assert distance.min() > 10


def test_parts_cover_each_pixel_exactly_once(people):
    assert people.parts.shape == (6, len(PART_NAMES), 96, 96)
    assert torch.allclose(people.parts.sum(1), torch.ones(6, 96, 96), atol=1e-5)
    assert people.parts.min() >= 0


@pytest.mark.parametrize(("factor", "part"), [("glasses", "glasses"), ("hat", "hat")])
def test_binary_factors_bring_their_part(factor, part):
    portraits = render({factor: [0.0, 1.0]}, 64, parts=True)
    without, with_it = area(portraits, part).tolist()
    assert without == 0 and with_it > 0.01


@pytest.mark.parametrize(
    ("factor", "part", "low", "high"),
    [("hair_len", "hair", 0.2, 0.9), ("eye_open", "eyes", 0.2, 1.0), ("mouth_open", "mouth", 0.0, 1.0)],
)
def test_a_factor_grows_its_part(factor, part, low, high):
    smaller, larger = area(render({factor: [low, high]}, 96, parts=True), part).tolist()
    assert larger > 1.15 * smaller


def test_landmarks_lie_on_their_parts():
    portraits = render({"smile": [0.5], "mouth_open": [0.6], "hair_len": [0.3]}, 128, parts=True)
    points = dict(zip(portraits.landmark_names, portraits.landmarks[0].tolist(), strict=True))
    for landmark, part in (("eye_left", "eyes"), ("eye_right", "eyes"), ("nose", "skin"), ("brow_left", "brows")):
        x, y = points[landmark]
        assert portraits.parts[0, PART_NAMES.index(part), int(y), int(x)] > 0.5, landmark
    x, y = points["mouth_upper"]
    assert portraits.parts[0, PART_NAMES.index("mouth"), int(y) + 1, int(x)] > 0.5
    assert points["mouth_lower"][1] > points["mouth_upper"][1] + 5
    assert points["eye_left"][0] < points["nose"][0] < points["eye_right"][0]


def test_turning_moves_the_nose_most():
    portraits = render({"yaw": [-0.8, 0.8]}, 128)
    moved = (portraits.landmarks[1] - portraits.landmarks[0])[:, 0]
    names = portraits.landmark_names
    assert moved[names.index("nose")] > moved[names.index("eye_left")] > 0


def test_sizes_agree():
    factors = sample_factors(2, torch.Generator().manual_seed(1))
    large, small = render(factors, 256), render(factors, 64)
    shrunk = torch.nn.functional.avg_pool2d(large.images, 4)
    assert (shrunk - small.images).abs().mean() < 0.03
    assert torch.allclose(large.landmarks / 4, small.landmarks, atol=1e-3)


def test_a_wide_picture_shows_the_same_head():
    factors = default_factors(1)
    wide, square = render(factors, (64, 128), parts=True), render(factors, 64, parts=True)
    assert wide.images.shape == (1, 3, 64, 128)
    assert torch.allclose(wide.parts[..., 32:96], square.parts, atol=1e-5)


def test_chunks_do_not_change_pictures():
    factors = sample_factors(5, torch.Generator().manual_seed(2))
    assert torch.equal(render(factors, 32, chunk=2).images, render(factors, 32, chunk=5).images)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=15, max_size=64))
def test_every_sample_is_a_person(values):
    z = torch.tensor([values])
    factors = factors_from_z(z)
    for factor in FACTORS:
        value = float(factors[0, INDEX[factor.name]])
        assert factor.low - 1e-5 <= value <= factor.high + 1e-5
    assert torch.isfinite(render(factors, 16, parts=True).parts).all()


def test_samples_are_normalised_like_the_mapping_does():
    z = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(factors_from_z(z), factors_from_z(5 * z), atol=1e-5)


def test_sampled_binaries_are_really_binary():
    factors = sample_factors(200, torch.Generator().manual_seed(0))
    for name in ("glasses", "hat"):
        column = factors[:, INDEX[name]]
        assert set(column.tolist()) == {0.0, 1.0}
        assert 0.1 < column.mean() < 0.6


def test_live_factors_vary_and_others_rest():
    spread = sample_factors(100, torch.Generator().manual_seed(0)).std(0)
    assert {name for name in NAMES if spread[INDEX[name]] > 1e-6} == set(LIVE_NAMES)


def test_normalised_and_back():
    factors = sample_factors(4, torch.Generator().manual_seed(3))
    back = denormalise_factors(normalise_factors(factors))
    for name in LIVE_NAMES:
        assert torch.allclose(back[name], factors[:, INDEX[name]], atol=1e-5)


def test_a_mapping_may_hold_single_numbers():
    factors = as_factors({"smile": [0.1, 0.2, 0.3], "hat": 1.0})
    assert factors.shape == (3, len(NAMES))
    assert factors[:, INDEX["hat"]].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ({"grin": [1.0]}, "grin"),
        ({"smile": [1.0, 2.0], "yaw": [0.0, 0.0, 0.0]}, "smile"),
        (torch.zeros(2, 3), "24"),
    ],
)
def test_wrong_factors_are_named(factors, said):
    with pytest.raises(ValueError, match=said):
        render(factors, 32)


def test_a_size_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 8"):
        render(default_factors(1), 4)
