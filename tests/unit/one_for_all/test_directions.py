"""The published forms of the direction's optimisation, on a small random generator."""

import pytest
import torch
from semantic_edit.editing import apply_edit, attribute_values, compute_strength, optimize_direction
from semantic_edit.editing.one_for_all.directions import VARIANTS
from semantic_edit.models import InputError


@pytest.fixture
def example(tiny_generator):
    rng = torch.Generator().manual_seed(5)
    w = tiny_generator.map(torch.randn(4, tiny_generator.z_dim, generator=rng))
    edited = w[0].clone()
    edited[:3] += 0.6 * torch.randn(3, tiny_generator.w_dim, generator=rng)
    return w, edited


def image_error(generator, w, edit, direction, layers):
    with torch.no_grad():
        target = generator.synthesize(w + edit)
        images = generator.synthesize(w + direction)
    return float((images - target).square().mean())


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_each_form_gives_a_direction_on_the_edited_rows(tiny_generator, example, variant):
    w, edited = example
    direction = optimize_direction(tiny_generator, w[0], edited, variant=variant, steps=3)
    assert direction.layers == (0, 1, 2) and direction.family == tiny_generator.family
    assert not bool(direction.direction[3:].any())
    assert torch.equal(direction.direction, direction.normal)
    moved = apply_edit(w, direction, compute_strength(direction, w))
    torch.testing.assert_close(
        attribute_values(direction, moved), torch.full((4,), direction.offset), atol=2e-3, rtol=1e-3
    )


def test_from_zero_the_picture_of_the_edit_is_approached(tiny_generator, example):
    w, edited = example
    edit = edited - w[0]
    direction = optimize_direction(
        tiny_generator, w[0], edited, variant="single", steps=60, learning_rate=0.03, regularisation=0.0
    )
    nothing = image_error(tiny_generator, w[:1], edit, torch.zeros_like(edit), direction.layers)
    assert image_error(tiny_generator, w[:1], edit, direction.direction, direction.layers) < 0.25 * nothing


def test_starting_at_the_edit_barely_turns_it(tiny_generator, example):
    # What the released batch form does: its image loss starts at zero. The default has to be judged with this in mind.
    w, edited = example
    edit = edited - w[0]
    direction = optimize_direction(tiny_generator, w[0], edited, variant="batch", steps=20, batch=4)
    cosine = torch.nn.functional.cosine_similarity(direction.direction.flatten(), edit.flatten(), 0)
    assert 0.9 < float(cosine) < 1.0


def test_landing_decides_the_target(tiny_generator, example):
    w, edited = example
    ours = optimize_direction(tiny_generator, w[0], edited, steps=5, batch=2)
    published = optimize_direction(tiny_generator, w[0], edited, steps=5, batch=2, landing="direction")
    assert torch.equal(ours.direction, published.direction)
    assert ours.offset == pytest.approx(float((ours.normal * edited).sum()), rel=1e-5)
    assert published.offset == pytest.approx(published.start + float(published.direction.square().sum()), rel=1e-5)


def test_same_seed_same_bytes_and_the_global_state_is_untouched(tiny_generator, example):
    w, edited = example
    torch.manual_seed(123)
    before = torch.get_rng_state()
    first = optimize_direction(tiny_generator, w[0], edited, steps=4, batch=2, seed=9)
    assert torch.equal(torch.get_rng_state(), before)
    second = optimize_direction(tiny_generator, w[0], edited, steps=4, batch=2, seed=9)
    other = optimize_direction(tiny_generator, w[0], edited, steps=4, batch=2, seed=10)
    assert torch.equal(first.direction, second.direction)
    assert not torch.equal(first.direction, other.direction)


def test_works_under_inference_mode_and_leaves_the_generator_as_it_was(tiny_generator, example):
    w, edited = example
    weights = {name: t.clone() for name, t in tiny_generator.network.state_dict().items()}
    with torch.inference_mode():
        direction = optimize_direction(
            tiny_generator, w[0].clone(), edited.clone(), steps=2, batch=2, stop_resolution=16
        )
    assert not direction.direction.is_inference()
    for name, tensor in tiny_generator.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    assert all(p.grad is None for p in tiny_generator.network.parameters())


def test_progress_can_stop_it(tiny_generator, example):
    w, edited = example

    class StoppedError(Exception):
        pass

    reports = []

    def progress(step, total, preview=None):
        reports.append((step, total))
        if step == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        optimize_direction(tiny_generator, w[0], edited, steps=10, batch=2, progress=progress)
    assert reports == [(1, 10), (2, 10)]


def test_wrong_inputs(tiny_generator, example):
    w, edited = example
    with pytest.raises(InputError, match="Unknown variant"):
        optimize_direction(tiny_generator, w[0], edited, variant="best")
    with pytest.raises(InputError, match="Unknown landing"):
        optimize_direction(tiny_generator, w[0], edited, landing="here")
    with pytest.raises(InputError, match="equal"):
        optimize_direction(tiny_generator, w[0], w[0])
    with pytest.raises(InputError, match="equal in rows 3 to 4"):
        optimize_direction(tiny_generator, w[0], edited, layers=(3, 4))
    with pytest.raises(InputError, match="rows 0 to"):
        optimize_direction(tiny_generator, w[0], edited, layers=(0, 99))
    with pytest.raises(InputError, match="cannot stop at"):
        optimize_direction(tiny_generator, w[0], edited, steps=1, stop_resolution=7)
