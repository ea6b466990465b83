"""What the presets lean on: rates by size, all weights where they fit, memory said first, and what is recorded."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from semantic_edit.editing.common.diffusion.autograd.memory import draws_at_once
from semantic_edit.editing.imagic.loss import TargetLatent
from semantic_edit.editing.imagic.presets import PRESETS
from semantic_edit.editing.imagic.rates import REFERENCE_NUMBERS, rate_rule, scaled_rate
from semantic_edit.editing.imagic.tuning import METHODS, TuneSettings, tune_model
from semantic_edit.models.errors import InputError

FITTING = METHODS[2]
TUNING = TuneSettings(method=FITTING, steps=2, rank=2, draws=2, reference_rate=1e-3, schedule="cosine")


def test_rates_fall_as_one_over_width_and_never_rise_above_the_reference():
    assert scaled_rate(3e-4, REFERENCE_NUMBERS) == 3e-4 == scaled_rate(3e-4, 1000)
    assert scaled_rate(3e-4, 100 * REFERENCE_NUMBERS) == pytest.approx(3e-5)
    assert scaled_rate(3e-4, REFERENCE_NUMBERS, lora=True) == pytest.approx(3e-3)


@pytest.mark.parametrize(
    ("numbers", "lora"), list(itertools.product((4_000, 859_520_964, 2_567_463_684, 11_901_408_320), (False, True)))
)
def test_the_rule_that_a_file_keeps_computes_its_rate(numbers, lora):
    """A reader can do the sum that the file writes."""
    rule = rate_rule(3e-4, numbers, lora)
    left, right = rule.split(" = ")
    factors = [
        float(factor.replace(",", "")) if "sqrt" not in factor else _root(factor) for factor in left.split(" * ")
    ]
    product = 1.0
    for factor in factors:
        product *= factor
    assert product == pytest.approx(scaled_rate(3e-4, numbers, lora), rel=1e-6)
    assert float(right) == pytest.approx(product, rel=0.05)


def _root(factor):
    top, bottom = factor.removeprefix("sqrt(").removesuffix(")").split(" / ")
    return (float(top.replace(",", "")) / float(bottom.replace(",", ""))) ** 0.5


def test_all_weights_are_tuned_where_they_fit_and_a_lora_where_they_do_not(tiny_denoiser, latent, entry):
    announced = []
    plain = tune_model(tiny_denoiser, latent, entry, TUNING, announce=announced.append)
    assert plain.settings.method == "all weights" and any(name.endswith(".diff") for name in plain.lora)
    least = next(
        size
        for size in range(2**18, 2**27, 2**18)
        if _method(tiny_denoiser, latent, entry, size, announced) is not None
    )
    assert _method(tiny_denoiser, latent, entry, least, announced) == "LoRA"
    assert (
        "all weights needs about" in announced[-1]
        and "A LoRA is tuned instead. Tuning with LoRA takes" in announced[-1]
    )
    with pytest.raises(InputError, match=r"Tuning with LoRA needs about .* and 1 MB are free"):
        tune_model(tiny_denoiser, latent, entry, TUNING, free=2**20 + 1)


def _method(denoiser, latent, entry, free, announced):
    try:
        return tune_model(denoiser, latent, entry, TUNING, free=free, announce=announced.append).settings.method
    except InputError:
        return None


def test_quantised_weights_get_a_lora(tiny_denoiser, latent, entry, monkeypatch):
    import semantic_edit.editing.imagic.tuning as tuning

    monkeypatch.setattr(tuning, "is_quantised", lambda weight: True)
    result = tune_model(tiny_denoiser, latent, entry, TUNING)
    assert (
        result.settings.method == "LoRA" and "Quantised weights cannot be tuned themselves. A LoRA" in result.report()
    )


def test_memory_is_said_before_the_first_step(tiny_denoiser, latent, entry):
    order = []
    tuning = tune_model(
        tiny_denoiser, latent, entry, TUNING, free=2**33,
        announce=lambda sentence: order.append(sentence), progress=lambda step, total, preview=None: order.append(step),
    )  # fmt: skip
    numbers = sum(t.numel() for t in tuning.lora.values())
    assert f"for {numbers:,} trained numbers and" in order[0] and "8.0 GB are free" in order[0] and order[1:] == [1, 2]
    assert order[0] in tuning.report()


def test_an_average_counts_in_the_memory():
    """Twenty bytes per number instead of sixteen."""
    free = 1000 * 16 + 10_000
    assert draws_at_once(4, 1000, 1000, free, "work") == 4
    with pytest.raises(InputError, match="work needs about"):
        draws_at_once(4, 9_000, 1000, free, "work", averaged=True)


def test_what_was_learned_says_how(tiny_denoiser, latent, entry):
    tuning = tune_model(tiny_denoiser, latent, entry, TUNING)
    facts = tuning.provenance
    numbers = sum(weight.numel() for weight in tiny_denoiser.network.parameters())
    assert facts["rate"] == scaled_rate(1e-3, numbers) and facts["rate_rule"] == rate_rule(1e-3, numbers, False)
    assert facts["method"] == "all weights" and facts["steps"] == 2 and "rank" not in facts
    assert facts["loss"] == [tuning.loss_before, tuning.loss_after]
    plain = tune_model(tiny_denoiser, latent, entry, TuneSettings(steps=1, rank=2, draws=1))
    assert (plain.provenance["rate"], plain.provenance["rate_rule"]) == (1e-3, "by method and size")
    given = tune_model(tiny_denoiser, latent, entry, TuneSettings(steps=1, rank=2, draws=1, rate=5e-3))
    assert (given.provenance["rate"], given.provenance["rate_rule"], given.provenance["rank"]) == (5e-3, "as set", 2)


def test_recall_is_the_share_of_the_photo_that_is_painted_from_noise(tiny_denoiser, latent, entry, monkeypatch):
    """One for the photo, none for its mean colour or worse, and in between the share of its variance."""
    import semantic_edit.editing.imagic.fixed_noise_loss as module

    target = TargetLatent.from_vae(tiny_denoiser, latent)
    mean = target.x0.mean(dim=(-2, -1), keepdim=True)
    levels = []

    def painted(share):
        def denoise(denoiser, target, noise, conditioning):
            levels.extend(noise.sigma.tolist())
            return (mean + share * (target.x0 - mean)).expand(len(noise.sigma), -1, -1, -1)

        monkeypatch.setattr(module, "denoised_target", denoise)
        return module.photo_recall(tiny_denoiser, target, entry)

    assert painted(1.0) == 1.0 and painted(0.0) == pytest.approx(0, abs=1e-6) and painted(-1.0) == 0.0
    assert painted(0.5) == pytest.approx(0.75, abs=1e-5)
    assert min(levels) > 4 * float(target.x0.std()), "noise has to hide the photo"


def test_what_learned_well_says_so_and_what_did_not_too(tiny_denoiser, latent, entry):
    tuning = tune_model(tiny_denoiser, latent, entry, TUNING)
    well = replace(tuning, recall_before=0.6, recall=0.93, loss_after=tuning.loss_before / 2)
    assert "the model paints 93% of it (60% before)" in well.report() and "That is little" not in well.report()
    poor = replace(well, recall=0.7, losses=tuning.losses[:1])
    assert "1 of 2 steps: the photo will not come back" in poor.report() and "That is little" in poor.report()


def test_presets_are_longer_by_name_and_learn_alike():
    quick, standard, thorough = (PRESETS[name] for name in ("quick", "standard", "thorough"))
    for shorter, longer in ((quick, standard), (standard, thorough)):
        assert shorter.embedding.steps < longer.embedding.steps and shorter.tuning.steps < longer.tuning.steps
        assert replace(shorter.tuning, steps=1) == replace(longer.tuning, steps=1)
    assert standard.tuning.method == FITTING and standard.tuning.reference_rate > 0
