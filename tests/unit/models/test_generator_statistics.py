"""GAN_GENERATOR's mapping side: labels, truncation, statistics of W, and what belongs to which family."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.models import InputError
from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint


def wrap(network) -> GanGenerator:
    return GanGenerator(network, family_fingerprint(network), "test")


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_what_it_says_about_itself(make_network):
    generator = wrap(make_network(c_dim=3, const_size=(4, 2)))
    assert generator.resolution == (16, 8)
    assert (generator.num_layers, generator.w_dim, generator.z_dim, generator.label_dim) == (6, 16, 12, 3)
    assert generator.adaptation is None and generator.device == torch.device("cpu")


def test_all_rows_are_equal_and_z_is_normalised(make_network):
    generator = wrap(make_network())
    z = randn(3, 12)
    w = generator.map(z)
    assert w.shape == (3, 6, 16)
    assert torch.equal(w, w[:, :1].expand(-1, 6, -1))
    assert torch.allclose(generator.map(z * 7), w, atol=1e-5)
    plain = wrap(make_network(normalize_z=False))
    assert (plain.map(z * 7) - plain.map(z)).abs().max() > 1e-2


def test_truncation(make_network):
    generator = wrap(make_network())
    z = randn(3, 12)
    w, mean = generator.map(z), generator.w_mean
    assert torch.allclose(generator.map(z, truncation=0.0), mean.expand(3, 6, 16))
    assert torch.allclose(generator.map(z, truncation=0.7), mean + 0.7 * (w - mean), atol=1e-6)
    assert torch.allclose(generator.map(z, truncation=-1.0), 2 * mean - w, atol=1e-5)
    first = generator.map(z, truncation=0.5, truncation_layers=2)
    assert torch.equal(first[:, 2:], w[:, 2:])
    assert torch.allclose(first[:, :2], mean + 0.5 * (w[:, :2] - mean), atol=1e-6)


def test_labels(make_network):
    generator = wrap(make_network(c_dim=3))
    z, labels = randn(3, 12), torch.eye(3)
    w = generator.map(z, labels)
    same_z = generator.map(z[:1].expand(3, -1), labels)
    assert (same_z[0] - same_z[1]).abs().max() > 1e-3
    assert torch.equal(w[1:], generator.map(z, labels)[1:])
    for wrong in (None, labels[:2], torch.zeros(3, 4)):
        with pytest.raises(InputError, match=r"labels of shape \[3, 3\]"):
            generator.map(z, wrong)
    with pytest.raises(InputError, match=r"expects \[B, 12\]"):
        generator.map(randn(3, 13), labels)


def test_statistics_of_w(make_network):
    generator = wrap(make_network())
    z = randn(8192, 12, seed=5)
    w = generator.map(z)[:, 0]
    assert torch.equal(generator.w_mean, generator.network.mapping.w_avg)  # tracked in training
    assert (generator.w_covariance - torch.cov(w.t())).abs().max() < 0.1 * w.var(dim=0).max()
    assert torch.equal(generator.w_covariance, wrap(make_network()).w_covariance)
    untracked = make_network()
    untracked.mapping.w_avg.zero_()
    mean = wrap(untracked).w_mean
    assert (mean - w.mean(dim=0)).abs().max() < 0.1 * w.std(dim=0).max()


def test_statistics_with_labels_and_under_inference_mode(make_network):
    generator = wrap(make_network(c_dim=3))
    with torch.inference_mode():
        covariance = generator.w_covariance
    assert covariance.shape == (16, 16) and not covariance.is_inference()
    direction = torch.zeros(16, requires_grad=True)
    (direction @ covariance @ direction + generator.w_mean @ direction).backward()
    assert direction.grad is not None


class TestFamily:
    """The fingerprint names the W space, not the file."""

    def test_equal_mappings_are_one_family(self, make_network):
        network = make_network()
        name = family_fingerprint(network)
        assert name == family_fingerprint(make_network()) and name.startswith("stylegan2-16x16-")
        network.mapping.w_avg.add_(1)
        network.synthesis.b8.conv0.weight.mul_(2)
        assert family_fingerprint(network) == name

    def test_half_precision_weights_are_the_same_family(self, make_network):
        network = make_network()
        name = family_fingerprint(network)
        assert family_fingerprint(network.half()) == name
        assert family_fingerprint(network.float()) == name

    def test_another_mapping_is_another_family(self, make_network):
        names = {family_fingerprint(make_network())}
        for made in ({"lr_multiplier": 0.03}, {"mapping_layers": 3}, {"c_dim": 2}, {"channels": (10, 8)},
                     {"const_size": (4, 2)}, {"w_dim": 18}):  # fmt: skip
            names.add(family_fingerprint(make_network(**made)))
        changed = make_network()
        changed.mapping.fc1.bias[0] += 0.1
        names.add(family_fingerprint(changed))
        assert len(names) == 8

    def test_codes_of_another_family_or_shape_are_refused(self, make_network):
        generator = wrap(make_network())
        w = randn(2, 6, 16)
        generator.check_latent(w, generator.family)
        generator.check_latent(w, "")
        with pytest.raises(InputError, match=f"family 'cats'.*'{generator.family}'"):
            generator.check_latent(w, "cats")
        for wrong in (w[0], w[:, :5], w[..., :15]):
            with pytest.raises(InputError, match=r"expects \[B, 6, 16\]"):
                generator.check_latent(wrong, "")
