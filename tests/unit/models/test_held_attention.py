"""Attention held as under another text: an edit changes, the photo does not, and nothing stays behind."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.models.diffusion.held_attention import HeldAttention, hold_attention
from semantic_edit.models.diffusion.model import DiffusionModel
from semantic_edit.models.diffusion.sampling import sample
from semantic_edit.models.errors import InputError


@pytest.fixture
def texts():
    rng = torch.Generator().manual_seed(5)
    return [[[torch.randn(1, 7, 32, generator=rng), {}]] for _ in range(3)]


def painted(model, positive, negative, cfg=3.0):
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    return sample(model, latent, positive, negative, steps=6, cfg=cfg, seed=3)


def test_the_photo_comes_back_as_it_did_and_an_edit_is_another(tiny_denoiser, texts):
    photo, sentence, negative = texts
    held = hold_attention(tiny_denoiser, tuple(photo[0]), 0.5)
    assert torch.allclose(painted(held, photo, negative), painted(tiny_denoiser, photo, negative), atol=1e-5)
    plain = painted(tiny_denoiser, sentence, negative)
    assert float((painted(held, sentence, negative) - plain).abs().max()) > 1e-3
    assert torch.equal(painted(tiny_denoiser, sentence, negative), plain)
    assert not any(module._forward_hooks for module in tiny_denoiser.network.modules())


def test_no_share_holds_nothing_and_the_edit_differs_more_with_more(tiny_denoiser, texts):
    photo, sentence, negative = texts
    plain = painted(tiny_denoiser, sentence, negative)
    moved = [
        float((painted(hold_attention(tiny_denoiser, tuple(photo[0]), share), sentence, negative) - plain).norm())
        for share in (0.0, 0.3, 1.0)
    ]
    assert moved[0] == 0 < moved[1] < moved[2]


def test_the_sentence_still_has_its_say(tiny_denoiser, texts):
    """The self-attention is the photo's, the cross-attention the sentence's: not the photo's picture."""
    photo, sentence, negative = texts
    held = hold_attention(tiny_denoiser, tuple(photo[0]), 1.0)
    assert not torch.allclose(painted(held, sentence, negative), painted(tiny_denoiser, photo, negative), atol=1e-2)


def test_a_patched_model_is_held_as_well(tiny_denoiser, texts):
    photo, sentence, negative = texts
    held = hold_attention(tiny_denoiser, tuple(photo[0]), 0.5)
    name = next(name for name, _ in held.network.named_parameters() if name.endswith("conv_out.weight"))
    delta = {name: torch.full_like(dict(held.network.named_parameters())[name], 0.01)}
    again = hold_attention(tiny_denoiser.patched(delta), tuple(photo[0]), 0.5)
    pictures = [painted(model, sentence, negative) for model in (held.patched(delta), again)]
    assert torch.equal(*pictures) and not torch.equal(pictures[0], painted(held, sentence, negative))


def test_rows_and_shapes_that_do_not_fit_stay_their_own():
    held, one, other = HeldAttention(), torch.zeros(2, 3), torch.ones(2, 3)
    with held.recording():
        held(one)
        held(torch.zeros(2, 5))
    with held.injecting(torch.tensor([True, False])):
        assert held(other)[0].tolist() == [[0] * 3, [1] * 3]
        assert held(other)[0] is other, "of another shape"
    assert held.empty and held(other)[0] is other


def test_a_network_without_attention_is_refused(tiny_denoiser, texts):
    model = DiffusionModel(torch.nn.Sequential(torch.nn.Linear(2, 2)), tiny_denoiser.schedule, name="plain")
    with pytest.raises(InputError, match="'plain' has no self-attention"):
        hold_attention(model, tuple(texts[0][0]), 0.3)
