"""Adapted generators: what they draw, what they leave alone, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.editing.photos import adaptation_fit
from semantic_edit.editing.photos.adaptation import METHODS, adapt, late_layers, psnr_outside
from semantic_edit.models import InputError
from semantic_edit.models.gan.adaptation import Adaptation, photos_of, with_adaptation, without_adaptation
from semantic_edit.models.gan.hooks import FunctionHook
from semantic_edit.models.gan.synthesis_run import SynthesisOptions


@pytest.fixture
def generator(tiny_generator):
    return tiny_generator


@pytest.fixture
def codes(generator):
    return generator.map(torch.randn(3, 16, generator=torch.Generator().manual_seed(1)))


@pytest.fixture
def photos(generator, codes):
    """What the generator draws, under another light and with squares that it cannot know."""
    pictures = 0.7 * generator.synthesize(codes) + 0.1
    for k in range(3):
        pictures[k, :, 4 + 6 * k : 10 + 6 * k, 20:28] = torch.tensor([0.9, -0.7, 0.2])[:, None, None]
    return pictures


@pytest.fixture
def mask():
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 2:16] = 1
    return mask


@pytest.mark.parametrize("method", METHODS)
def test_the_photos_come_closer_and_the_given_generator_stays(generator, codes, photos, mask, method):
    before = generator.synthesize(codes)
    result = adapt(generator, photos, codes, method, mask, steps=16)
    assert bool((result.psnr > result.psnr_before + (0.2 if method == "weights" else 1)).all())
    assert torch.allclose(result.psnr_before, psnr_outside(before, photos, mask))
    assert torch.equal(generator.synthesize(codes), before) and generator.adaptation is None
    drawn = result.generator.synthesize(codes)
    assert torch.allclose(drawn, result.images, atol=1e-5)
    assert result.generator.family == generator.family and len(result.generator.adaptation) == 3
    if method.endswith("residual"):
        assert bool((result.psnr > 50).all())


def test_nothing_is_learned_below_the_mask(generator, codes, photos, mask):
    wild = torch.where(mask > 0, torch.ones_like(photos), photos)
    plain, other = (adapt(generator, p, codes, "residual", mask).generator for p in (photos, wild))
    assert torch.allclose(plain.synthesize(codes), other.synthesize(codes), atol=1e-5)
    assert float(plain.adaptation.residual[..., 8:20, 2:16].abs().max()) == 0


@pytest.mark.parametrize("method", ["residual", "free", "network + residual"])
def test_a_photo_does_not_depend_on_its_neighbours_and_runs_repeat(generator, codes, photos, method):
    drawn = adapt(generator, photos, codes, method, steps=4, seed=5).images
    assert torch.equal(drawn, adapt(generator, photos, codes, method, steps=4, seed=5).images)
    alone = adapt(generator, photos[1:2], codes[1:2], method, steps=4, seed=5).images
    assert float((alone - drawn[1:2]).abs().mean()) < 5e-3  # Adam makes much of the last bit of a gradient near zero


def test_the_seed_decides_the_perturbation_network(generator, codes, photos):
    first, second = (adapt(generator, photos, codes, "network", steps=4, seed=s).images for s in (1, 2))
    assert not torch.equal(first, second)


def test_it_goes_on_from_where_it_was(generator, codes, photos, mask):
    for method in ("free", "network", "weights"):
        first = adapt(generator, photos, codes, method, mask, steps=6)
        second = adapt(first.generator, photos, codes, method, mask, steps=6, learning_rate=0.003)
        assert float(second.psnr.mean()) > float(first.psnr.mean())
        assert torch.allclose(second.psnr_before, first.psnr_before)  # always beside the plain generator


def test_going_on_with_other_photos_is_refused(generator, codes, photos):
    adapted = adapt(generator, photos, codes, "residual").generator
    with pytest.raises(InputError, match="adapted to 3 photos already, and 2 are given"):
        adapt(adapted, photos[:2], codes[:2])
    with pytest.raises(InputError, match="photos with other codes"):
        adapt(adapted, photos, codes + 1)


def test_stop_resume_hooks_features_and_small_sizes_agree(generator, codes, photos):
    adapted = adapt(generator, photos, codes, "free + residual", steps=4).generator
    plain = adapted.synthesize(codes + 0.05)
    synthesis = adapted.network.synthesis
    for layer in range(len(synthesis.layers) - 1):
        state = synthesis(codes + 0.05, SynthesisOptions(stop_layer=layer)).state
        again = synthesis(codes + 0.05, SynthesisOptions(resume=state)).image
        assert float((again - plain).abs().max()) < 1e-4, layer
    last = late_layers(generator)[-1]
    features = {}

    def watch(layer, x):
        features[layer] = x
        return x

    options = SynthesisOptions(hook=FunctionHook(watch))
    assert torch.allclose(synthesis(codes, options).image, adapted.synthesize(codes), atol=1e-5)
    assert torch.equal(features[last], adapted.features(codes, [last])[last])
    assert not torch.allclose(features[last], generator.features(codes, [last])[last])
    assert adapted.synthesize(codes, stop_resolution=16).shape == (3, 3, 16, 16)
    for noise in ("none", 7):
        assert torch.isfinite(adapted.synthesize(codes, noise)).all()


def test_a_hook_that_paints_wins_inside_and_the_photo_outside(generator, codes, photos, mask):
    donor = generator.features(codes + 1.5, [2])[2]
    small = torch.nn.functional.interpolate(mask, donor.shape[2:], mode="area")

    def paint(layer, x):
        return x + (donor - x) * small if layer == 2 else x

    hook = FunctionHook(paint, mask=mask)
    result = adapt(generator, photos, codes, "free + residual", mask, steps=8, hook=hook)
    assert bool((result.psnr > 40).all())
    painted = result.generator.network.synthesis(codes, SynthesisOptions(hook=hook)).image
    assert torch.allclose(painted, result.images, atol=1e-5)
    assert float((painted - photos)[..., 10:18, 4:14].abs().mean()) > 0.05
    # The other way: adapted to the whole photo once, and painted on later.
    synthesis = adapt(generator, photos, codes, "residual").generator.network.synthesis
    later = synthesis(codes, SynthesisOptions(hook=hook)).image
    assert torch.allclose(later[..., 10:18, 4:14], painted[..., 10:18, 4:14], atol=0.5)
    state = synthesis(codes + 0.1, SynthesisOptions(stop_layer=0)).state
    moved = synthesis(codes + 0.1, SynthesisOptions(resume=state, hook=hook)).image
    assert torch.allclose(moved, synthesis(codes + 0.1, SynthesisOptions(hook=hook)).image, atol=1e-4)


def test_each_code_finds_its_photo(generator, codes, photos):
    adapted = adapt(generator, photos, codes, "residual").generator
    drawn = adapted.synthesize(codes)
    assert torch.allclose(adapted.synthesize(codes[[2, 0]]), drawn[[2, 0]], atol=1e-4)
    assert torch.allclose(adapted.synthesize(codes, chunk=2), drawn, atol=1e-4)
    edited = codes.clone()
    edited[:, :3] += 3  # the rest of the rows tells whose they are, in any order
    assert photos_of(edited[[1, 1, 2]], codes).tolist() == [1, 1, 2]
    assert photos_of(codes + 100, codes).tolist() == [0, 1, 2]  # all rows moved: by their place
    assert photos_of(codes[2:] + 0.01, codes).tolist() == [2]  # another count: the nearest
    alike = codes.clone()
    alike[:, 3:] = codes[:1, 3:]  # what the edit left alone is the same in all: by their place, or the nearest
    moved = alike.clone()
    moved[:, :3] += 0.1
    assert photos_of(moved, alike).tolist() == [0, 1, 2] and photos_of(moved[1:], alike).tolist() == [1, 2]
    single = adapt(generator, photos[:1], codes[:1], "residual").generator
    assert single.synthesize(codes[:1].repeat(5, 1, 1)).shape[0] == 5


def test_photos_with_the_same_code_keep_their_own_details(generator, codes, photos):
    result = adapt(generator, photos, codes[:1].expand(3, -1, -1), "residual")
    assert float(result.psnr.min()) > 40
    assert torch.allclose(result.generator.synthesize(codes[:1].expand(3, -1, -1)), photos, atol=1e-2)


def test_what_is_returned_has_the_noise_that_was_adapted_to(generator, codes, photos, monkeypatch):
    monkeypatch.setattr(adaptation_fit, "_AT_ONCE", 2)
    result = adapt(generator, photos, codes, "residual", noise=5)
    assert float(result.psnr.min()) > 40
    assert torch.allclose(result.images, result.generator.synthesize(codes, 5), atol=1e-4)


def test_details_follow_or_stay(generator, codes, photos):
    adapted = adapt(generator, photos, codes, "residual").generator
    stays = with_adaptation(adapted, replace(adapted.adaptation, guide=None))
    assert torch.allclose(adapted.synthesize(codes), stays.synthesize(codes), atol=1e-5)
    strange = codes.flip(0) * -2
    moved = generator.synthesize(strange)
    in_place = (stays.synthesize(strange) - moved).abs().mean()
    assert float((adapted.synthesize(strange) - moved).abs().mean()) < float(in_place)


def test_it_can_be_optimised_through_under_inference_mode(generator, codes, photos):
    from semantic_edit.editing import invert

    with torch.inference_mode():
        own_photos = photos + 0
        result = adapt(generator, own_photos, codes + 0, "network + residual", steps=2)
        inversion = invert(result.generator, own_photos, start=codes + 0, steps=3)
    assert float(inversion.psnr.min()) > 40
    w = codes.clone().requires_grad_()
    result.generator.synthesize(w).square().mean().backward()
    assert float(w.grad.abs().sum()) > 0


@pytest.mark.parametrize("architecture", ["resnet", "orig", "skip"])
def test_all_architectures_and_shapes(architecture):
    from semantic_edit.models import StyleGAN2, StyleGAN2Config
    from semantic_edit.models.gan.generator import GanGenerator

    config = StyleGAN2Config(
        z_dim=8, w_dim=8, channels=(8, 8, 6), const_size=(4, 8), mapping_layers=1, architecture=architecture
    )
    network = StyleGAN2(config, generator=torch.Generator().manual_seed(2)).requires_grad_(False).eval()
    generator = GanGenerator(network, "f", "g")
    codes = generator.map(torch.randn(2, 8, generator=torch.Generator().manual_seed(3)))
    photos = generator.synthesize(codes) + 0.3
    for method in ("free + residual", "weights"):
        result = adapt(generator, photos, codes, method, steps=5)
        assert bool((result.psnr > result.psnr_before).all())


def test_progressive_gan(tiny_progan):
    codes = tiny_progan.map(torch.randn(2, 16, generator=torch.Generator().manual_seed(3)))
    photos = 0.7 * tiny_progan.synthesize(codes)
    photos[:, :, 10:16, 10:16] = 0.5
    for method in ("free + residual", "weights"):
        result = adapt(tiny_progan, photos, codes, method, steps=25)
        assert bool((result.psnr > result.psnr_before).all())
        assert torch.allclose(result.generator.synthesize(codes), result.images, atol=1e-5)


def test_stopping_leaves_nothing(generator, codes, photos):
    class StopError(Exception):
        pass

    def stop(step, total, preview=None):
        if step == 3:
            raise StopError

    before = {name: tensor.clone() for name, tensor in generator.network.state_dict().items()}
    for method in ("free", "weights", "network"):
        with pytest.raises(StopError):
            adapt(generator, photos, codes, method, steps=9, progress=stop)
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.network.state_dict().items())


def test_progress_counts_to_its_end(generator, codes, photos):
    steps = []
    adapt(generator, photos, codes, "weights + residual", steps=6, progress=lambda k, n, p=None: steps.append((k, n)))
    assert steps == [(k, 7) for k in range(1, 8)]


def test_without_adaptation(generator, codes, photos):
    adapted = adapt(generator, photos, codes, "residual").generator
    assert without_adaptation(adapted).network is generator.network and without_adaptation(generator) is generator
    twice = with_adaptation(adapted, adapted.adaptation)
    assert twice.network.base is generator.network


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": torch.zeros(3, 3, 16, 16)}, "photos have shape"),
        ({"codes": torch.zeros(3, 5, 16)}, "latent has shape"),
        ({"codes": torch.zeros(2, 8, 16)}, "2 codes for 3 photos"),
        ({"mask": torch.zeros(1, 1, 16, 16)}, "mask has shape"),
        ({"mask": torch.zeros(2, 1, 32, 32)}, "mask has shape"),
        ({"mask": torch.ones(1, 1, 32, 32)}, "covers a whole photo"),
        ({"method": "magic"}, "Unknown method 'magic'"),
        ({"steps": -1}, "cannot be negative"),
        ({"layers": (99,)}, "layers 0 to 6"),
        ({"layers": ()}, "layers 0 to 6"),
    ],
)
def test_wrong_inputs_are_sentences(generator, codes, photos, change, words):
    with pytest.raises(InputError, match=words):
        adapt(generator, **{"images": photos, "codes": codes, **change})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"codes": torch.zeros(3, 8)}, r"must be \[B, L, D\]"),
        ({"deltas": {6: torch.zeros(2, 8, 32, 32)}}, "deltas of layer 6"),
        ({"residual": torch.zeros(2, 3, 32, 32)}, "residual"),
        ({"names": ("a",)}, "as many names"),
        ({"guide": 6, "deltas": {6: torch.zeros(3, 8, 32, 32)}}, "cannot guide"),
        ({"residual": torch.full((3, 3, 32, 32), float("nan"))}, "not finite"),
    ],
)
def test_an_impossible_adaptation_is_refused(fields, words):
    with pytest.raises(InputError, match=words):
        Adaptation(**{"codes": torch.zeros(3, 8, 16), **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"family": "other"}, "family 'other'"),
        ({"codes": torch.zeros(1, 4, 16)}, "shape"),
        ({"deltas": {6: torch.zeros(1, 9, 32, 32)}}, "changes layer 6"),
        ({"deltas": {77: torch.zeros(1, 9, 32, 32)}}, "only layers 0 to 6"),
        ({"residual": torch.zeros(1, 3, 16, 16)}, "adds colours"),
        ({"guide": 40, "residual": torch.zeros(1, 3, 32, 32)}, "guided by layer 40"),
        ({"weights": {"nowhere": torch.zeros(1)}}, "'nowhere'"),
    ],
)
def test_an_adaptation_of_another_generator_is_refused(generator, fields, words):
    adaptation = Adaptation(**{"codes": torch.zeros(1, 8, 16), **fields})
    with pytest.raises(InputError, match=words):
        with_adaptation(generator, adaptation)
