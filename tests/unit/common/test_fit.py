"""Fitting an attribute to scored samples: the normal measures, the direction moves."""

import pytest
import torch
from semantic_edit.editing.common.fit import fit_attribute
from semantic_edit.models import InputError


def samples(count=600, width=12, noise=0.0, seed=0):
    """Codes whose first two entries are correlated; the score is the first one alone."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(count, width, generator=rng)
    x[:, 1] += 0.8 * x[:, 0]
    return x, 3 * x[:, 0] + 1 + noise * torch.randn(count, generator=rng)


def test_the_normal_measures_the_score_on_unseen_samples():
    x, y = samples()
    fitted = fit_attribute(x, y)
    other, truth = samples(seed=1)
    assert fitted.r2 > 0.999
    assert torch.allclose(other @ fitted.normal + fitted.intercept, truth, atol=0.1)
    assert abs(float(fitted.normal[1])) < 0.05  # it rises with the score, and yet does not tell more of it


def test_the_direction_is_how_codes_with_more_of_it_look():
    x, y = samples(4000)
    fitted = fit_attribute(x, y)
    assert float(fitted.direction[0]) == pytest.approx(1.0, abs=0.05)
    assert float(fitted.direction[1]) == pytest.approx(0.8, abs=0.08)
    assert float(fitted.direction[2:].abs().max()) < 0.1


def test_a_score_that_has_nothing_to_do_with_the_codes_is_told_by_r2():
    x, _ = samples()
    noise = torch.randn(600, generator=torch.Generator().manual_seed(5))
    assert fit_attribute(x, noise).r2 < 0.1


def test_wrong_samples():
    x, y = samples(20)
    with pytest.raises(InputError, match="one score each"):
        fit_attribute(x, y[:-1])
    with pytest.raises(InputError, match="too few"):
        fit_attribute(x[:5], y[:5])
    with pytest.raises(InputError, match="same score"):
        fit_attribute(x, torch.ones(20))
    with pytest.raises(InputError, match="finite"):
        fit_attribute(x, torch.full((20,), float("nan")))
