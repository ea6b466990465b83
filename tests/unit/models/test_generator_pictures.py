"""GAN_GENERATOR's synthesis side: chunks, progress, features."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.models import InputError
from semantic_edit.models.gan.synthesis_run import SynthesisOptions


def codes(generator, batch=5):
    rng = torch.Generator().manual_seed(3)
    return torch.randn(batch, generator.num_layers, generator.w_dim, generator=rng)


@pytest.mark.parametrize("noise", ["constant", "none", 4])
def test_chunks_do_not_show(tiny_generator, noise):
    w = codes(tiny_generator)
    whole = tiny_generator.synthesize(w, noise)
    assert whole.shape == (5, 3, 32, 32)
    for chunk in (1, 2, 5, 9):
        assert (tiny_generator.synthesize(w, noise, chunk=chunk) - whole).abs().max() < 1e-5 * whole.abs().max()
    small = tiny_generator.synthesize(w, noise, stop_resolution=8, chunk=2)
    assert torch.equal(small, tiny_generator.synthesize(w, noise, stop_resolution=8, chunk=2))
    assert small.shape == (5, 3, 8, 8)


def test_progress_counts_pictures_and_may_stop(tiny_generator):
    seen = []

    class StopHereError(Exception):
        pass

    def progress(done, total, preview):
        seen.append((done, total, tuple(preview.shape)))
        if done >= 4:
            raise StopHereError

    with pytest.raises(StopHereError):
        tiny_generator.synthesize(codes(tiny_generator), chunk=2, progress=progress)
    assert seen == [(2, 5, (3, 32, 32)), (4, 5, (3, 32, 32))]


def test_features(tiny_generator):
    w = codes(tiny_generator, 2)
    features = tiny_generator.features(w, [1, 3])
    assert sorted(features) == [1, 3]
    assert features[3].shape == (2, *tiny_generator.network.synthesis.layer_size(3))
    whole = tiny_generator.network.synthesis(w, SynthesisOptions(want_features=[1, 3])).features
    assert all(torch.equal(features[k], whole[k]) for k in features)
    with pytest.raises(InputError, match="at least one layer"):
        tiny_generator.features(w, [])
    with pytest.raises(InputError, match="Layer 7 does not exist"):
        tiny_generator.features(w, [7])


def test_under_inference_mode_and_after_it(tiny_generator):
    w = codes(tiny_generator, 2)
    with torch.inference_mode():
        image = tiny_generator.synthesize(w)
    assert torch.equal(image, tiny_generator.synthesize(w))
    w.requires_grad_()
    tiny_generator.synthesize(w).square().mean().backward()
    assert w.grad.abs().max() > 0


@pytest.mark.parametrize("shape", [(8, 16), (0, 8, 16), (2, 7, 16), (2, 8, 17)])
def test_wrong_codes(tiny_generator, shape):
    with pytest.raises(InputError, match=r"\[B, 8, 16\]"):
        tiny_generator.synthesize(torch.zeros(shape))


@pytest.mark.parametrize("chunk", [0, -1, 1.5, "2"])
def test_wrong_chunks(tiny_generator, chunk):
    with pytest.raises(InputError, match="pictures per pass"):
        tiny_generator.synthesize(codes(tiny_generator), chunk=chunk)
