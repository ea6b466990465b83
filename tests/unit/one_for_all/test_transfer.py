"""One edit for a few pictures at a time: results to the bit, whoever is in the pass, and sentences before any work."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.editing import apply_edit, attribute_values, plan_strength
from semantic_edit.editing.common.types import EditDirection
from semantic_edit.editing.one_for_all.render_and_correct import standard_value
from semantic_edit.editing.one_for_all.transfer import Transfer, learn_score
from semantic_edit.models import InputError
from semantic_edit.models.encoders.encoder import Encoder, EncoderConfig


@pytest.fixture
def encoder(tiny_encoder):
    return tiny_encoder


@pytest.fixture
def direction(tiny_generator):
    rng = torch.Generator().manual_seed(2)
    d = 0.3 * torch.randn(8, 16, generator=rng)
    return EditDirection(d, d, (0, 1, 2), start=0.1, offset=2.0, family=tiny_generator.family, name="smile")


@pytest.fixture
def pictures():
    return torch.rand(11, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def alone(transfer, pictures):
    return [transfer(picture[None]) for picture in pictures]


@pytest.mark.parametrize("steps", [0, 2])
def test_a_picture_gives_the_same_bits_whoever_is_beside_it(tiny_generator, encoder, direction, pictures, steps):
    transfer = Transfer(tiny_generator, direction, encoder, steps=steps)
    pictures = pictures if steps == 0 else pictures[:9]
    together = transfer(pictures)
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(3))
    shuffled = transfer(pictures[order])
    for name in ("codes", "images"):
        assert torch.equal(getattr(shuffled, name), getattr(together, name)[order])
    assert torch.equal(shuffled.strength.alpha, together.strength.alpha[order])
    for k, single in list(enumerate(alone(transfer, pictures)))[:: 1 if steps == 0 else 4]:
        assert torch.equal(single.images[0], together.images[k]) and torch.equal(single.codes[0], together.codes[k])


def test_it_does_what_the_nodes_do_one_by_one(tiny_generator, encoder, direction, pictures):
    edited = Transfer(tiny_generator, direction, encoder, strength=0.7, limit=0.27)(pictures)
    codes = encoder.encode(pictures, tiny_generator)
    plan = plan_strength(direction, codes, 0.7, None, 0.27)
    assert torch.allclose(edited.strength.alpha, plan.alpha, atol=1e-5)
    assert torch.equal(edited.strength.clamped, plan.clamped) and bool(plan.clamped.any())
    images = tiny_generator.synthesize(apply_edit(codes, direction, plan.alpha))
    assert torch.allclose(edited.images, images, atol=1e-4) and bool(edited.usable.all())


def test_corrected_strengths_are_the_same_bits_too_and_tell_how_certain_they_are(
    tiny_generator, encoder, direction, pictures
):
    example = torch.randn(8, 16, generator=torch.Generator().manual_seed(8))
    moved = example + direction.direction
    with_example = replace(direction, example=torch.stack([example, moved]))
    drawn = []
    score = learn_score(tiny_generator, with_example, encoder, lambda step, total, preview=None: drawn.append(step))
    assert drawn[-1] > 100
    transfer = Transfer(tiny_generator, with_example, encoder, corrections=1)
    assert torch.equal(transfer.score.weights, score.weights)
    together = transfer(pictures)
    assert together.strength.confidence.shape == (11,)
    assert not torch.equal(
        together.strength.alpha, Transfer(tiny_generator, with_example, encoder)(pictures).strength.alpha
    )
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(3))
    shuffled = transfer(pictures[order])
    assert torch.equal(shuffled.strength.alpha, together.strength.alpha[order])
    assert torch.equal(shuffled.strength.confidence, together.strength.confidence[order])
    assert torch.equal(transfer(pictures[10:]).images, together.images[10:])
    assert Transfer(tiny_generator, replace(with_example, score=score), encoder, corrections=1).score is score


def test_a_reference_is_the_state_that_all_reach(tiny_generator, encoder, direction, pictures):
    bare = EditDirection(direction.direction, direction.normal, direction.layers, family=tiny_generator.family)
    code = Transfer(tiny_generator, bare, encoder, mode="constant").encode(pictures[:1])
    edited = Transfer(tiny_generator, bare, encoder, reference=code)(pictures[:3])
    assert abs(float(edited.strength.alpha[0])) < 1e-5 < abs(float(edited.strength.alpha[1]))
    values = attribute_values(bare, apply_edit(edited.codes, bare, edited.strength.alpha))
    assert torch.allclose(values, values[:1], atol=1e-4)


def test_a_number_is_the_state_that_all_reach(tiny_generator, encoder, direction, pictures):
    bare = EditDirection(direction.direction, direction.normal, direction.layers, family=tiny_generator.family)
    edited = Transfer(tiny_generator, bare, encoder, mode="number", target=1.5)(pictures[:3])
    values = attribute_values(bare, apply_edit(edited.codes, bare, edited.strength.alpha))
    assert torch.allclose(values, values[:1], atol=1e-4)
    assert standard_value(tiny_generator, bare, float(values[0])) == pytest.approx(1.5, abs=1e-3)


def test_a_picture_without_a_finite_code_does_not_touch_its_neighbours(tiny_generator, encoder, direction, pictures):
    transfer = Transfer(tiny_generator, direction, encoder)
    spoilt = pictures[:4].clone()
    spoilt[1] = float("nan")
    good, bad = transfer(pictures[:4]), transfer(spoilt)
    assert bad.usable.tolist() == [True, False, True, True]
    for k in (0, 2, 3):
        assert torch.equal(good.images[k], bad.images[k])
    assert float(bad.strength.alpha[1]) == 0.0 and not bool(bad.strength.clamped[1])


def test_inversion_alone_finds_codes_and_can_be_stopped(tiny_generator, direction, pictures):
    transfer = Transfer(tiny_generator, direction, steps=3)
    ticks = []
    transfer(pictures[:2], lambda *_: ticks.append(1))
    assert len(ticks) == 4

    def stop(step, total, preview=None):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(pictures[:2], stop)


def test_large_generators_get_smaller_passes(tiny_generator, encoder, direction):
    transfer = Transfer(tiny_generator, direction, encoder)
    assert transfer.per_pass == 8
    with pytest.raises(InputError, match="is adapted to one photo"):
        Transfer(replace(tiny_generator, adaptation=object()), direction, encoder)
    object.__setattr__(transfer, "generator", type("Large", (), {"resolution": (1024, 1024)}))
    assert transfer.per_pass == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "both"}, "Unknown mode 'both'"),
        ({"steps": -1}, "cannot be negative"),
        ({"corrections": -1}, "cannot be negative"),
        ({"corrections": 1, "mode": "constant"}, "no state to correct toward"),
        ({"reference": torch.zeros(1, 8, 16), "mode": "number"}, "use one of them"),
        ({"reference": torch.zeros(2, 8, 16)}, "holds 2 codes"),
        ({"reference": torch.zeros(1, 8, 17)}, "The reference has shape"),
        ({"encoder": None}, "Without an encoder"),
        ({"limit": 0.0}, "must be above 0"),
        ({"direction": "bare"}, "without an example"),
        ({"direction": "foreign"}, "belongs to the generator family 'other'"),
        ({"direction": "wide"}, r"expects \[B, 8, 16\]"),
        ({"encoder": "foreign"}, "This encoder belongs to"),
    ],
)
def test_what_does_not_fit_is_a_sentence_at_once(tiny_generator, encoder, direction, changes, words):
    d = direction.direction
    values = {
        ("direction", "bare"): lambda: EditDirection(d, d, family=tiny_generator.family),
        ("direction", "foreign"): lambda: EditDirection(d, d, start=0.0, offset=1.0, family="other"),
        ("direction", "wide"): lambda: EditDirection(torch.ones(8, 17), torch.ones(8, 17), start=0.0, offset=1.0),
        ("encoder", "foreign"): lambda: Encoder(EncoderConfig(32, 4, 8, 16, 16), "other"),
    }
    arguments = {"direction": direction, "encoder": encoder}
    arguments |= {name: values[name, value]() if (name, value) in values else value for name, value in changes.items()}
    with pytest.raises(InputError, match=words):
        Transfer(tiny_generator, **arguments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "constant", "strength": 1e30}, "edit strengths must hold"),
        ({"mode": "constant", "strength": -1e6}, "Moving along 'smile' by up to 1e.06"),
        ({"mode": "constant", "strength": float("nan")}, "not finite"),
        ({"mode": "same state", "strength": 1e30}, "edit strengths must hold"),
        ({"mode": "number", "target": 1e6}, "Moving along 'smile'"),
    ],
)
def test_a_strength_beyond_any_use_is_refused_before_the_work(tiny_generator, encoder, direction, options, said):
    """It gave black pictures, and a report that all was done."""
    with pytest.raises(InputError, match=said):
        Transfer(tiny_generator, direction, encoder, **options)
    Transfer(tiny_generator, direction, encoder, mode="constant", strength=1e30, limit=5.0)  # bounded by its limit
