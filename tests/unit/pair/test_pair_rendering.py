"""A pair edit draws photos for the loop of one state: some of them or all, each as if it were alone."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing import PairEdit, PairSettings, apply_pair_edit, learn_pair_edit, pair_renderer, reach_state
from semantic_edit.editing.pair.applying import photos_to_noise
from semantic_edit.editing.pair.settings import PairSampling
from semantic_edit.models.errors import InputError

SAMPLING = PairSampling(steps=4)
RANGE = (0.0, 0.15, 0.3)


@pytest.fixture
def edit(tiny_denoiser, entry):
    before = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    settings = PairSettings(steps=25, content_steps=0, loss="two-sided", rate=1e-2, draws=2)
    return learn_pair_edit(tiny_denoiser, before, before + 0.8, entry, settings)


def decode(latents: torch.Tensor) -> torch.Tensor:
    return latents[:, :3] / 8


def brightness(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.mean(dim=(1, 2, 3))


def test_photos_come_to_one_reading_by_the_strengths_that_are_told(tiny_denoiser, edit, entry, photos):
    steps, goal, before = [], 0.04, decode(photos)
    render_some = pair_renderer(
        tiny_denoiser, photos, edit, entry, decode, SAMPLING, drawings=6,
        progress=lambda step, total, preview=None: steps.append((step, total)),
    )  # fmt: skip
    reached = reach_state(
        lambda alpha: render_some(alpha, torch.arange(3)), brightness, [goal] * 3, RANGE, 4, unedited=before,
        render_some=render_some,
    )  # fmt: skip
    # A random network jumps between strengths: one of the photos may have no strength for the state.
    errors = (reached.readings - goal).abs()
    assert errors.median() < 0.1 * (brightness(before) - goal).abs().min()
    again = apply_pair_edit(tiny_denoiser, photos, edit, reached.strengths, entry, SAMPLING)
    drawn = torch.where((reached.strengths != 0)[:, None, None, None], again, photos)  # at 0 it is the photo
    torch.testing.assert_close(reached.pictures, decode(drawn).clamp(-1, 1), atol=1e-4, rtol=0)
    assert [step for step, _ in steps] == sorted(step for step, _ in steps)
    assert {total for _, total in steps} == {(6 + 1) * 3 * SAMPLING.steps}


def test_some_photos_are_drawn_as_with_all_others_and_noise_at_hand_gives_the_same(tiny_denoiser, edit, entry, photos):
    mask = torch.zeros(3, 8, 8)
    mask[:, :4] = 1
    mask[1] = 1
    common, strengths = (tiny_denoiser, photos, edit, entry, decode, SAMPLING), torch.tensor([0.1, 0.2, -0.1])
    noise = photos_to_noise(tiny_denoiser, photos, entry, SAMPLING)
    everyone = pair_renderer(*common, mask=mask)(strengths, torch.arange(3))
    for inverted in (None, noise):
        for order in ([1], [2, 0], [0, 1, 2]):
            some = pair_renderer(*common, mask=mask, inverted=inverted)(strengths[order], torch.tensor(order))
            torch.testing.assert_close(some, everyone[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mask": torch.ones(2, 8, 8)}, "The mask has shape"),
        ({"inverted": torch.zeros(2, 4, 8, 8)}, "The inverted latents have shape"),
        ({"photos": torch.zeros(4, 8, 8)}, "expected .pictures, channels, h, w."),
        (
            {"edit": PairEdit({f"lora_unet_nowhere.lora_{way}.weight": torch.ones(2, 2) for way in ("up", "down")})},
            "nowhere|another model|belongs",
        ),
    ],
)
def test_wrong_inputs_are_told_before_the_work(tiny_denoiser, edit, entry, photos, change, sentence):
    with pytest.raises(InputError, match=sentence):
        inputs = {"photos": photos, "edit": edit, "entry": entry, "decode": decode, "sampling": SAMPLING, **change}
        pair_renderer(tiny_denoiser, **inputs, progress=lambda *_, **__: pytest.fail("the work has begun"))
