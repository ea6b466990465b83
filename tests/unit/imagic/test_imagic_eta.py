"""Interpolation, the choice of eta, the common state, and the camera."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.editing.imagic.camera import estimate_camera_move
from semantic_edit.editing.imagic.common_state import common_state
from semantic_edit.editing.imagic.conditioning import Conditioning
from semantic_edit.editing.imagic.eta import choose_between, choose_eta, eta_for_level, isotonic_regression
from semantic_edit.editing.imagic.interpolation import FORMS, interpolate, interpolation_notes, parse_etas
from semantic_edit.models.errors import InputError

SCORES = st.lists(st.floats(-1, 1), min_size=2, max_size=8)


def entries(length=(77, 77), pooled=True):
    rng = torch.Generator().manual_seed(4)
    conditionings = []
    for k, tokens in enumerate(length):
        extras = {"pooled_output": torch.randn(1, 6, generator=rng)} if pooled else {}
        conditionings.append(
            Conditioning(torch.randn(1, tokens, 8, generator=rng), {**extras, f"key{k}": k, "area": k})
        )
    return conditionings


@pytest.mark.parametrize("form", FORMS)
def test_the_photo_is_at_zero(form):
    a, b = entries()
    start = interpolate(a, b, 0.0, form)
    assert torch.allclose(start.embedding, a.embedding, atol=1e-6) and torch.allclose(start.pooled, a.pooled, atol=1e-6)


@pytest.mark.parametrize("form", ["linear", "norm preserving"])
def test_the_sentence_is_at_one(form):
    a, b = entries()
    end = interpolate(a, b, 1.0, form)
    assert torch.allclose(end.embedding, b.embedding, atol=1e-5) and torch.allclose(end.pooled, b.pooled, atol=1e-5)


def test_norms_and_projections():
    a, b = entries()
    middle = interpolate(a, b, 0.5, "norm preserving").embedding.norm(dim=-1)
    assert torch.allclose(middle, (a.embedding.norm(dim=-1) + b.embedding.norm(dim=-1)) / 2, atol=1e-5)
    added = interpolate(a, b, 0.8, "projection").embedding - a.embedding
    assert float((added * a.embedding).sum(dim=-1).abs().max()) < 1e-4 and float(added.norm()) > 0.1


def test_the_projection_goes_token_by_token_and_leaves_a_shared_token():
    """Forgedit's released code: one share for the whole text would move the first token, which both texts share."""
    a, b = entries()
    b.embedding[:, 0] = a.embedding[:, 0]
    mixed = interpolate(a, b, 0.9, "projection")
    assert torch.allclose(mixed.embedding[:, 0], a.embedding[:, 0], atol=1e-6)
    assert not torch.allclose(mixed.embedding[:, 1], a.embedding[:, 1], atol=0.1)
    lighter = interpolate(a, b, 0.9, "projection", photo_weight=0.8)
    assert torch.allclose(lighter.embedding, mixed.embedding - 0.2 * a.embedding, atol=1e-5)
    assert torch.allclose(interpolate(a, b, 0.0, "projection", 0.8).embedding, 0.8 * a.embedding, atol=1e-6)


def test_every_key_is_kept_and_the_target_wins():
    mixed = interpolate(*entries(), 0.3)
    assert {key: mixed.extras[key] for key in ("key0", "key1", "area")} == {"key0": 0, "key1": 1, "area": 1}


def test_lengths():
    a, b = entries((77, 154), pooled=False)
    assert interpolate(a, b, 0.5).embedding.shape == (1, 154, 8)
    assert torch.equal(interpolate(a, b, 0.0).embedding, a.embedding)
    with pytest.raises(InputError, match="8 wide.*9"):
        interpolate(a, Conditioning(torch.randn(1, 77, 9), {}), 0.5)
    with pytest.raises(InputError, match="pooled outputs differ: optimised none"):
        interpolate(a, entries()[1], 0.5)
    with pytest.raises(InputError, match="expected one of"):
        interpolate(a, b, 0.5, "cubic")


def test_texts_of_tokenizers_that_do_not_pad_meet_under_a_mask():
    """Qwen-Image, Z-Image and Lumina 2 give each text its own number of tokens."""
    a, b = entries((5, 8), pooled=False)
    middle = interpolate(a, b, 0.5)
    assert middle.embedding.shape == (1, 8, 8) and middle.extras["attention_mask"].tolist() == [[1] * 8]
    last = (a.embedding[:, -1] + b.embedding[:, 7]) / 2
    assert torch.allclose(middle.embedding[:, 7], last, atol=1e-6), "padded with its own last token"
    for eta, end in ((0.0, a), (1.0, b)):
        mixed = interpolate(a, b, eta)
        assert torch.equal(mixed.embedding, end.embedding) and "attention_mask" not in mixed.extras
    b.extras["attention_mask"] = torch.tensor([[1, 1, 1, 1, 1, 1, 0, 0]])
    assert interpolate(a, b, 0.5).extras["attention_mask"].tolist() == [[1] * 6 + [0] * 2]
    assert "5 and 8 tokens" in interpolation_notes(a, b)[0] and "mask" in interpolation_notes(a, b)[0]
    c, d = entries((5, 8))
    assert "attention_mask" not in interpolate(c, d, 0.5).extras and "attends to" in interpolation_notes(c, d)[0]


def test_a_mask_of_one_text_alone_hides_nothing_of_the_other():
    a, b = entries((6, 6), pooled=False)
    b.extras["attention_mask"] = torch.tensor([[1, 1, 1, 0, 0, 0]])
    assert "attention_mask" not in interpolate(a, b, 0.0).extras, "the photo's text has no mask"
    assert "attention_mask" not in interpolate(a, b, 0.7).extras
    assert interpolate(a, b, 1.0).extras["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0]]


def test_other_encoders_are_mixed_and_what_cannot_be_is_said():
    """HiDream's Llama tokens, Anima's own ids: at eta 0 all of the text is the photo's."""
    a, b = entries()
    a.extras |= {"conditioning_llama3": torch.zeros(1, 2, 4, 8), "t5xxl_ids": torch.tensor([1, 2]), "guidance": 3.5}
    b.extras |= {"conditioning_llama3": torch.ones(1, 2, 6, 8), "t5xxl_ids": torch.tensor([3, 4, 5]), "guidance": 4.0}
    start = interpolate(a, b, 0.0).extras
    assert torch.equal(start["conditioning_llama3"], a.extras["conditioning_llama3"]) and len(start["t5xxl_ids"]) == 2
    middle = interpolate(a, b, 0.7).extras
    assert middle["conditioning_llama3"].shape == (1, 2, 6, 8)
    assert torch.allclose(middle["conditioning_llama3"], torch.tensor(0.7)) and len(middle["t5xxl_ids"]) == 3
    assert len(interpolate(a, b, 0.4).extras["t5xxl_ids"]) == 2 and middle["guidance"] == 4.0
    notes = " ".join(interpolation_notes(a, b))
    assert "'t5xxl_ids'" in notes and "'guidance'" in notes and "llama" not in notes and "pooled" not in notes


@pytest.mark.parametrize(
    ("text", "values"),
    [("0.4, 0.6", (0.4, 0.6)), ("0 to 1 in 3", (0.0, 0.5, 1.0)), ("1.2 0.2", (1.2, 0.2)), ("-0.5", (-0.5,))],
)
def test_etas_are_read(text, values):
    assert parse_etas(text) == values


@pytest.mark.parametrize("text", ["", "a", "0 to 1 in 1", "9", "nan", "0 to 1 in 99", "1 to in 2 3", "inf"])
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match="etas"):
        parse_etas(text)


@given(SCORES)
@settings(max_examples=60, deadline=None)
def test_isotonic_regression_is_the_closest_rising_curve(scores):
    curve = isotonic_regression(scores)
    assert bool((np.diff(curve) >= -1e-12).all()) and math.isclose(curve.mean(), np.mean(scores), abs_tol=1e-9)
    assert np.allclose(isotonic_regression(curve), curve)
    if list(scores) == sorted(scores):
        assert np.allclose(curve, scores)


@given(SCORES, st.floats(-1.2, 1.2))
@settings(max_examples=60, deadline=None)
def test_a_level_is_met_where_it_can_be(scores, level):
    etas = np.linspace(0, 1, len(scores))
    eta, reached = eta_for_level(etas, scores, level)
    curve = isotonic_regression(scores)
    assert 0 <= eta <= 1
    assert reached == bool(curve[0] - 1e-9 <= level <= curve[-1] + 1e-9) or math.isclose(level, curve[0], abs_tol=1e-6)
    if reached and curve[0] < level < curve[-1]:
        assert np.interp(eta, etas, curve) == pytest.approx(level, abs=1e-6)


ETAS, FAR = (0.2, 0.4, 0.6, 0.8, 1.0), (0.1, 0.15, 0.2, 0.25, 0.3)


def test_the_choice_is_where_the_curve_has_done_most():
    scores = (0.0, 0.05, 0.9, 0.95, 1.0)
    best = choose_eta(ETAS, scores, FAR, 0.0)
    assert best == pytest.approx(0.6, abs=0.01)
    assert choose_eta(ETAS[::-1], scores[::-1], FAR[::-1], 0.0) == pytest.approx(best)
    moved = (False, False, False, True, True)
    assert choose_eta(ETAS, (0.0, 0.1, 0.3, 0.9, 1.0), FAR, 0.0, moved) <= 0.6, "not by moving the camera"
    with pytest.raises(InputError, match="two or more"):
        choose_eta((0.5,), (1.0,), (0.1,), 0.0)
    with pytest.raises(InputError, match="5, 5 and 1"):
        choose_eta(ETAS, scores, (0.1,), 0.0)


def test_distance_decides_between_scores_that_are_nearly_equal():
    steady, dear = (0.1, 0.12, 0.14, 0.16, 0.18), (0.1, 0.1, 0.1, 0.5, 0.9)
    scores = (0.0, 0.4, 0.8, 0.9, 1.0)
    assert choose_eta(ETAS, scores, dear, 0.0) <= choose_eta(ETAS, scores, steady, 0.0)
    assert choose_eta(ETAS, scores, dear, 0.0) == 0.6
    assert choose_eta(ETAS, scores, (0.2,) * 5, 0.0) == 1.0, "none is farther"


def test_what_else_changes_counts_as_much_as_the_distance():
    """A hat that comes along moves the scorer's features and few pixels; distant pixels may be the edit itself."""
    scores, still = (0.0, 0.4, 0.8, 0.9, 1.0), (0.2,) * 5
    hat = (0.1, 0.1, 0.1, 0.6, 0.6)
    assert choose_eta(ETAS, scores, still, 0.0, besides=hat) == 0.6
    assert choose_eta(ETAS[::-1], scores[::-1], still, 0.0, besides=hat[::-1]) == 0.6
    assert choose_eta(ETAS, scores, hat, 0.0, besides=still) == 0.6, "as much"
    assert choose_between((scores, scores), (still, still), 0.0, (hat, still)) == (1, 4)


def test_only_painted_pictures_are_chosen():
    assert choose_eta((0.0, 1.0), (0.0, 1.0), (0.1, 0.5), 0.0) == 1.0


def test_the_better_of_two_sweeps_is_chosen_by_one_measure():
    """A far picture that fits is left for a near one that fits as well; what fits far better may be farther."""
    weak, strong = (0.0, 0.1, 0.2, 0.3, 0.4), (0.0, 0.2, 0.9, 0.95, 1.0)
    near, far = (0.1, 0.12, 0.14, 0.16, 0.18), (0.1, 0.2, 0.3, 0.4, 0.5)
    assert choose_between((strong, strong), (far, near), 0.0) == (1, 4)
    assert choose_between((weak, strong), (near, far), 0.0) == (1, 2)
    assert choose_between((strong, strong), (near, near), 0.0) == (0, 2), "the first of equals"
    assert choose_between(((0.5,), (0.7,)), ((0.2,), (0.2,)), 0.1) == (1, 0), "one eta"
    moves = ((False,) * 5, (False, False, True, True, True))
    assert choose_between((weak, strong), ((0.1,) * 5,) * 2, 0.0, moved=moves) == (0, 4), "not by moving the camera"


@given(SCORES, st.sampled_from((0.25, 2.0)), st.sampled_from((0.125, 4.0)))
@settings(max_examples=60, deadline=None)
def test_no_scale_matters_between_sweeps(scores, a, b):
    far = np.linspace(0.1, 0.3, len(scores)) ** 2
    plain = choose_between((scores, scores[::-1]), (far, 2 * far), -1.0)
    scaled = [[a * score for score in row] for row in (scores, scores[::-1])]
    assert choose_between(scaled, (b * far, 2 * b * far), -a) == plain


def test_a_photo_that_shows_the_sentence_already_or_never_stays_where_it_is():
    assert choose_eta(ETAS, (0.5,) * 5, FAR, 0.1) == choose_eta(ETAS, (0.5,) * 5, FAR, 0.9) == ETAS[0]


@given(SCORES, st.sampled_from((0.25, 2.0, 16.0)), st.sampled_from((0.125, 4.0)))
@settings(max_examples=60, deadline=None)
def test_no_scale_matters(scores, a, b):
    etas, far = np.linspace(0, 1, len(scores)), np.linspace(0.1, 0.3, len(scores)) ** 2
    plain = choose_eta(etas, scores, far, -1.0)
    assert choose_eta(etas, [a * score for score in scores], b * far, -a) == plain


def test_all_photos_reach_one_state():
    etas = (0.0, 0.5, 1.0)
    scores = [(0.0, 0.5, 1.0), (0.2, 0.8, 1.0), (0.0, 0.1, 0.2)]
    alone = (0.5, 0.5, 1.0)
    state = common_state(etas, scores, alone, example=0, example_eta=0.75)
    assert state.level == pytest.approx(0.75) and state.etas[0] == pytest.approx(0.75)
    assert np.interp(state.etas[1], etas, scores[1]) == pytest.approx(0.75, abs=1e-3)
    assert state.reached == (True, True, False) and state.etas[2] == 1.0
    assert "2 of 3 photos" in state.report() and "#3" in state.report()
    moved = [(False, False, True)] * 3
    assert common_state(etas, scores, alone, example=1).level == pytest.approx(0.8)
    assert common_state(etas, scores, alone).level == pytest.approx(0.5), "the median of single edits"
    still = common_state(etas, scores, alone, 0.9, moved=moved)
    assert still.reached == (False, False, False) and max(still.etas) <= 0.5, "not by moving the camera"
    with pytest.raises(InputError, match="photo 4 of 3"):
        common_state(etas, scores, alone, example=3)
    with pytest.raises(InputError, match="3 scores"):
        common_state(etas, [(0.0, 1.0)], alone[:1])


def portrait() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 96), indexing="ij")
    face = ((x / 0.55) ** 2 + (y / 0.7) ** 2 < 1).float()
    eyes = sum((((x - c) / 0.12) ** 2 + ((y + 0.15) / 0.08) ** 2 < 1).float() for c in (-0.22, 0.22))
    return torch.stack([0.3 + 0.5 * face - 0.5 * eyes, 0.5 + 0.2 * face - 0.4 * eyes, 0.7 - 0.3 * face], dim=-1).clamp(
        0, 1
    )


@pytest.mark.parametrize(
    ("zoom", "turn", "shift"), [(1.2, 0.0, (0.0, 0.0)), (0.85, 0.1, (0.0, 0.0)), (1.0, 0.0, (0.1, -0.06))]
)
def test_a_moved_camera_is_seen(zoom, turn, shift):
    picture = portrait().movedim(-1, 0)[None]
    cos, sin = math.cos(turn) / zoom, math.sin(turn) / zoom
    rows = torch.tensor(
        [[cos, sin, -2 * shift[0] * cos - 2 * shift[1] * sin], [-sin, cos, 2 * shift[0] * sin - 2 * shift[1] * cos]]
    )
    moved = F.grid_sample(
        picture,
        F.affine_grid(rows[None], list(picture.shape), align_corners=False),
        padding_mode="border",
        align_corners=False,
    )
    move = estimate_camera_move(portrait(), moved[0].movedim(0, -1))
    assert move.moved, move
    assert move.zoom == pytest.approx(zoom, abs=0.05) and move.turn == pytest.approx(turn, abs=0.05)
    assert move.shift == pytest.approx(shift, abs=0.03)


def test_a_picture_of_no_numbers_is_no_moved_camera():
    """Fitting one would end the process, not raise."""
    assert not estimate_camera_move(portrait(), torch.full_like(portrait(), float("nan"))).moved
    assert not estimate_camera_move(torch.full_like(portrait(), float("inf")), portrait()).moved


def test_an_edit_is_no_moved_camera():
    edited = portrait()
    edited[60:78, 34:62] = torch.tensor([0.8, 0.1, 0.1])
    move = estimate_camera_move(portrait(), edited)
    assert not move.moved and move.zoom == pytest.approx(1, abs=0.05)
    assert not estimate_camera_move(portrait(), portrait()).moved
