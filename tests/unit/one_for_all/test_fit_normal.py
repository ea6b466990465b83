"""What one edit changed, learned without labels: against a world in which the truth is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.editing import apply_edit, plan_strength, record_edit
from semantic_edit.editing.common.types import EditDirection
from semantic_edit.editing.one_for_all.attribute_score import (
    Samples,
    fit_score,
    linear_probe,
    regress_normal,
    sample_features,
)
from semantic_edit.editing.one_for_all.features import FeatureSpace, generator_space, network_space
from semantic_edit.editing.one_for_all.fit_normal import has_own_normal, learn_direction, learn_normal, pictures_needed
from semantic_edit.editing.one_for_all.ridge_regression import RidgeSolver
from semantic_edit.models import InputError


class KnownSpace(FeatureSpace):
    """Features that mix known attributes of a code, beside a rest that has nothing to do with them."""

    def read_codes(self, generator, codes, progress=None):
        if progress is not None:
            progress(len(codes), len(codes))
        return self.of_pictures(codes.mean(dim=1))


@pytest.fixture
def world(tiny_generator):
    """Three independent attributes, linear in w, and a direction that changes the first alone but is not its normal."""
    rng = torch.Generator().manual_seed(11)
    values, axes = torch.linalg.eigh(tiny_generator.w_covariance)
    rotation = torch.linalg.qr(torch.randn(tiny_generator.w_dim, 3, generator=rng)).Q
    reads = axes @ torch.diag(values.rsqrt()) @ rotation
    mix = torch.randn(3, 20, generator=rng)
    space = KnownSpace("known", of_pictures=lambda w: (w @ reads) @ mix)
    change = torch.linalg.pinv(reads.t()) @ torch.tensor([1.0, 0.0, 0.0]) * 3
    return space, reads, change.expand(tiny_generator.num_layers, -1).clone()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999), k=st.sampled_from([1e-3, 0.1, 1.0, 30.0]), wide=st.booleans())
def test_one_decomposition_solves_every_ridge(seed, k, wide):
    x = torch.randn(12, 30 if wide else 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    b = torch.randn(x.shape[1], generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    centred = x - x.mean(dim=0)
    covariance = centred.t() @ centred / len(x)
    dense = covariance + k * covariance.diagonal().mean() * torch.eye(x.shape[1], dtype=torch.float64)
    torch.testing.assert_close(RidgeSolver(x).solve(b, k), torch.linalg.solve(dense, b), rtol=1e-6, atol=1e-8)


def test_the_score_follows_the_edited_attribute_and_no_other(tiny_generator, world):
    space, reads, change = world
    samples = sample_features(tiny_generator, space, 400)
    score = fit_score(tiny_generator, change, samples)
    attributes = samples.codes.mean(dim=1) @ reads
    values = score.of_features(samples.features)
    together = torch.corrcoef(torch.cat([values[None], attributes.t()]))[0, 1:]
    assert float(together[0]) > 0.95
    assert float(values.std()) == pytest.approx(1, abs=0.02) and float(values.mean()) == pytest.approx(0, abs=0.02)
    assert score.response > 0


def test_the_regressed_normal_brings_everyone_closer_than_the_direction(tiny_generator, world):
    space, reads, change = world
    codes = tiny_generator.map(torch.randn(40, tiny_generator.z_dim, generator=torch.Generator().manual_seed(3)))
    edit = record_edit(tiny_generator, codes[0], codes[0] + change)
    learned = learn_normal(tiny_generator, edit, edit, space, "features", samples=400)

    def spread(direction):
        moved = apply_edit(codes, direction, plan_strength(direction, codes).alpha)
        return float((moved.mean(dim=1) @ reads)[:, 0].std())

    assert spread(learned) < 0.4 * spread(edit)
    moved = apply_edit(codes[:1], learned, plan_strength(learned, codes[:1]).alpha)
    torch.testing.assert_close(moved[0], codes[0] + change, atol=1e-3, rtol=1e-3)  # the example follows itself


def test_normals_stay_on_the_edited_rows_and_find_the_rows_that_count(tiny_generator, world):
    _, reads, _ = world
    space = KnownSpace("first row", of_pictures=lambda w: w)
    samples = sample_features(tiny_generator, space, 200)
    features = (samples.codes[:, 0] @ reads, samples.mixed_codes[:, 0] @ reads)  # row 0 alone decides what is seen
    first_row_samples = Samples(space, samples.codes, features[0], samples.mixed_codes, features[1])
    score = linear_probe(first_row_samples, torch.ones(8, 16), torch.ones(8, 16))
    fit = regress_normal(score, first_row_samples, (0, 2, 5))
    assert not bool(fit.normal[[1, 3, 4, 6, 7]].any()) and bool(fit.normal[0].any())
    assert fit.row_shares[0] > 0.6 and sum(fit.row_shares) == pytest.approx(1)


def test_among_readings_those_that_changed_are_chosen(tiny_generator, world):
    space, reads, change = world
    readings = KnownSpace("readings", of_pictures=lambda w: w @ reads, readings=True)
    other = torch.linalg.pinv(reads.t()) @ torch.tensor([0.0, 0.4, -0.3])
    score = fit_score(tiny_generator, change + other, sample_features(tiny_generator, readings, 64))
    assert score.weights.nonzero().flatten().tolist() == [0]  # the side effects of this one edit are left out
    assert float(score.weights[0]) > 0


def test_a_linear_probe_reads_what_a_normal_measures(tiny_generator, world):
    space, reads, change = world
    samples = sample_features(tiny_generator, space, 400)
    normal = reads[:, 1].expand(tiny_generator.num_layers, -1) / tiny_generator.num_layers
    probe = linear_probe(samples, normal, change)
    attribute = samples.codes.mean(dim=1) @ reads[:, 1]
    assert float(torch.corrcoef(torch.stack([probe.of_features(samples.features), attribute]))[0, 1]) > 0.98
    assert "normal" in probe.origin


def test_samples_are_kept_for_the_next_edit(tiny_generator, world):
    space = world[0]
    first = sample_features(tiny_generator, space, 64)
    reports = []
    again = sample_features(tiny_generator, space, 64, progress=lambda *step: reports.append(step))
    assert again.features is first.features
    assert reports and sample_features(tiny_generator, space, 65) is not first


def test_the_generators_own_features_need_no_file_but_see_no_pictures(tiny_generator):
    space = generator_space(tiny_generator)
    w = tiny_generator.map(torch.randn(3, tiny_generator.z_dim))
    features = space.read_codes(tiny_generator, w)
    assert features.shape[0] == 3 and not space.sees_pictures
    with pytest.raises(InputError, match="only be read from codes"):
        space.read(torch.zeros(1, 3, 32, 32))
    pixels = network_space("pixels", lambda pictures: pictures[:, :, ::8, ::8])
    direct = pixels.read(tiny_generator.synthesize(w))
    torch.testing.assert_close(pixels.read_codes(tiny_generator, w), direct)
    with pytest.raises(InputError, match="either pictures or layers"):
        FeatureSpace("nothing")


def test_automatic_keeps_a_recorded_normal_and_falls_back_where_nothing_is_seen(tiny_generator, world):
    space, reads, change = world
    w = tiny_generator.map(torch.randn(1, tiny_generator.z_dim, generator=torch.Generator().manual_seed(5)))[0]
    plain = record_edit(tiny_generator, w, w + change)
    attribute = EditDirection(change, reads[:, 0].expand(8, -1) / 8, family=tiny_generator.family, name="first")
    recorded = record_edit(tiny_generator, w, w + change, measured_by=attribute)
    assert has_own_normal(recorded) and not has_own_normal(plain)
    recorded_normal = learn_direction(tiny_generator, recorded, space=space, samples=64)
    torch.testing.assert_close(recorded_normal.normal, recorded.normal)
    assert recorded_normal.score is None and "first" in recorded_normal.method
    blind = network_space("blind", lambda pictures: torch.randn(len(pictures), 4, generator=torch.Generator()))
    fallen = learn_direction(tiny_generator, plain, space=blind, samples=64)
    assert torch.equal(fallen.normal, fallen.direction)
    with pytest.raises(InputError, match=r"sees|learned|told"):
        learn_direction(tiny_generator, plain, normal="features", space=blind, samples=64)


def test_progress_counts_to_its_total_and_can_stop(tiny_generator, world):
    space, _, change = world
    w = tiny_generator.map(torch.randn(1, tiny_generator.z_dim, generator=torch.Generator().manual_seed(6)))[0]
    edit = record_edit(tiny_generator, w, w + change)
    steps = []
    learn_direction(tiny_generator, edit, "batch", space=space, samples=64, steps=2, batch=2,
                    progress=lambda step, total, preview=None: steps.append(step))  # fmt: skip
    assert steps == sorted(steps) and steps[0] == 1 and steps[-1] <= 2 + pictures_needed(64)

    def stop(step, total, preview=None):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_direction(tiny_generator, edit, space=space, samples=66, progress=stop)


def test_wrong_choices(tiny_generator, world):
    space, _, change = world
    w = tiny_generator.map(torch.randn(1, tiny_generator.z_dim))[0]
    edit = record_edit(tiny_generator, w, w + change)
    with pytest.raises(InputError, match="Unknown normal"):
        learn_normal(tiny_generator, edit, edit, space, "best")
    with pytest.raises(InputError, match="without a normal of its own"):
        learn_normal(tiny_generator, edit, edit, space, "as recorded")
    bare = EditDirection(edit.direction, edit.normal, name="imported")
    with pytest.raises(InputError, match=r"imported.*without an example"):
        learn_direction(tiny_generator, bare)
    sideways = torch.zeros_like(change)
    sideways[0, 0] = 1.0
    flat = EditDirection(
        change, sideways - change * float((sideways * change).sum() / change.square().sum()), name="other"
    )
    with pytest.raises(InputError, match=r"hardly changes what 'other'"):
        record_edit(tiny_generator, w, w + change, measured_by=flat)


def test_a_normal_that_points_away_from_its_edit_is_refused(tiny_generator):
    rng = torch.Generator().manual_seed(118)
    start = tiny_generator.map(torch.randn(2, 16, generator=rng))[0]
    edit = record_edit(tiny_generator, start, start + 0.1 * torch.randn(8, 16, generator=rng))
    samples = sample_features(tiny_generator, generator_space(tiny_generator), 96)
    learned = regress_normal(fit_score(tiny_generator, edit.direction, samples), samples, edit.layers)
    assert learned.r2 > 0.1 and float((learned.normal * edit.direction).sum()) < 0  # codes explain it, the wrong way
    with pytest.raises(InputError, match="lowers what it raises"):
        learn_direction(tiny_generator, edit, normal="features", samples=96)
    assert "the direction" in learn_direction(tiny_generator, edit, samples=96).method
