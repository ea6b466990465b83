"""How the rate falls and what a moving average leaves, and that neither changes what was there before."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.editing.common.diffusion.scaled_adam import ScaledAdam
from semantic_edit.editing.imagic.embedding import EmbeddingSettings, optimize_embedding
from semantic_edit.editing.imagic.schedule import SCHEDULES, rate_factor
from semantic_edit.editing.imagic.tuning import TuneSettings, tune_model
from semantic_edit.editing.imagic.weight_average import WeightAverage
from semantic_edit.models.errors import InputError

TUNING = TuneSettings(steps=4, rate=1e-2, rank=4, draws=2)


def test_a_cosine_begins_at_the_rate_and_ends_above_nothing():
    factors = [rate_factor("cosine", step, 8) for step in range(8)]
    assert factors[0] == 1 and factors[4] == pytest.approx(0.5) and 0 < factors[-1] < 0.05
    assert factors == sorted(factors, reverse=True)
    assert [rate_factor("constant", step, 8) for step in range(8)] == [1.0] * 8


def test_a_step_of_adam_is_as_long_as_its_factor_says():
    """Adam's first step has the rate's own length, whatever the gradient."""
    lengths = []
    for factor in (1.0, 0.25):
        weight = torch.zeros(3, requires_grad=True)
        optimizer = ScaledAdam([([weight], 0.1)])
        optimizer.step([weight.sum()], factor)
        lengths.append(float(weight.detach().abs().mean()))
    assert lengths == pytest.approx([0.1, 0.025], rel=1e-4)


def test_an_average_forgets_its_start_and_holds_still_in_noise():
    weight = torch.zeros(1)
    average = WeightAverage([weight], 0.9)
    for step in range(100):
        weight.fill_(5.0 + (-1) ** step)  # noise of one around five
        average.update()
    average.write()
    assert float(weight) == pytest.approx(5.0, abs=0.1)


def test_without_a_decay_the_weights_are_the_last_ones():
    weight = torch.zeros(1)
    average = WeightAverage([weight], 0.0)
    weight.fill_(7.0)
    average.update()
    average.write()
    assert float(weight) == 7.0


@pytest.mark.parametrize("method", ["LoRA", "all weights"])
@pytest.mark.parametrize("change", [{"schedule": "cosine"}, {"average": 0.5}])
def test_both_are_part_of_what_is_learned(tiny_denoiser, latent, entry, method, change):
    settings = replace(TUNING, method=method)
    plain = tune_model(tiny_denoiser, latent, entry, settings)
    changed = tune_model(tiny_denoiser, latent, entry, replace(settings, **change))
    assert changed.loss_after < changed.loss_before
    assert any(not torch.equal(plain.lora[key], changed.lora[key]) for key in plain.lora)


def test_the_embedding_s_rate_falls_too(tiny_denoiser, latent, entry):
    settings = EmbeddingSettings(steps=4, rate=0.05, draws=2)
    plain = optimize_embedding(tiny_denoiser, latent, entry, settings)
    falling = optimize_embedding(tiny_denoiser, latent, entry, replace(settings, schedule="cosine"))
    assert plain.losses[:2] == pytest.approx(falling.losses[:2], rel=1e-3)  # the second step alone is a bit shorter
    assert 0 < falling.moved < plain.moved


@pytest.mark.parametrize("settings", [TuneSettings, EmbeddingSettings])
def test_an_unknown_schedule_is_refused(settings):
    with pytest.raises(InputError, match=f"schedule 'steep'.*{SCHEDULES[0]}"):
        settings(schedule="steep")


def test_an_average_that_never_moves_is_refused():
    with pytest.raises(InputError, match="average has to be 0 or more, and below 1, .*; got 1 and 0"):
        TuneSettings(average=1.0)
