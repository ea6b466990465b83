"""Drawing codes: what a seed promises."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.common.latents import truncate
from semantic_edit.editing.common.sample import draw, sample
from semantic_edit.models import GanGenerator, InputError, StyleGAN2, StyleGAN2Config


@pytest.fixture(scope="module")
def with_classes():
    config = StyleGAN2Config(z_dim=8, w_dim=8, c_dim=3, channels=(8, 8), mapping_layers=2)
    network = StyleGAN2(config, generator=torch.Generator().manual_seed(1)).requires_grad_(False)
    return GanGenerator(network, "classes", "classes")


def test_a_seed_gives_the_same_codes_and_leaves_the_global_state_alone(tiny_generator):
    state = torch.random.get_rng_state()
    first, second = (sample(tiny_generator, 3, 5) for _ in range(2))
    assert torch.equal(first.codes, second.codes)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(first.codes, sample(tiny_generator, 3, 6).codes)
    assert first.names == ("seed 5 #1", "seed 5 #2", "seed 5 #3") and first.family == tiny_generator.family


def test_a_larger_count_keeps_the_first_pictures(tiny_generator):
    few, many = draw(tiny_generator, 2, 9)[0], draw(tiny_generator, 11, 9)[0]
    assert torch.equal(many[:2], few)


def test_truncation_pulls_toward_the_mean(tiny_generator):
    full, half, coarse = (sample(tiny_generator, 2, 0, *how) for how in ((1.0,), (0.5,), (0.5, 3)))
    torch.testing.assert_close(half.codes, truncate(full, tiny_generator.w_mean, 0.5).codes)
    torch.testing.assert_close(coarse.codes[:, :3], half.codes[:, :3])
    assert torch.equal(coarse.codes[:, 3:], full.codes[:, 3:])


def test_classes_are_drawn_or_chosen_without_changing_z(with_classes):
    z, labels = draw(with_classes, 40, 3)
    assert set(labels.argmax(dim=1).tolist()) == {0, 1, 2} and torch.equal(labels.sum(dim=1), torch.ones(40))
    z_of_two, two = draw(with_classes, 40, 3, label=2)
    assert torch.equal(z, z_of_two) and (two.argmax(dim=1) == 2).all()
    assert not torch.allclose(sample(with_classes, 1, 3, label=1).codes, sample(with_classes, 1, 3, label=2).codes)


def test_wrong_requests_are_a_sentence(tiny_generator, with_classes):
    with pytest.raises(InputError, match="at least one"):
        sample(tiny_generator, 0, 0)
    with pytest.raises(InputError, match="'tiny' has 8 rows. Use 0 for all"):
        sample(tiny_generator, 1, 0, truncation_layers=9)
    with pytest.raises(InputError, match="'tiny' has no classes; label is 0"):
        sample(tiny_generator, 1, 0, label=0)
    with pytest.raises(InputError, match="classes 0 to 2; label is 3"):
        sample(with_classes, 1, 0, label=3)
