"""A value on a socket is valid, or it does not exist."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from semantic_edit.editing.common.types import EditDirection, EditStrength, GanLatent, check_family
from semantic_edit.models.errors import InputError

ONES = torch.ones(4, 3)


def test_latent_knows_its_shape_and_names():
    latent = GanLatent(torch.zeros(2, 4, 3), ["a", 5], "f")
    assert (len(latent), latent.num_layers, latent.w_dim, latent.names) == (2, 4, 3, ("a", "5"))
    assert GanLatent(torch.zeros(2, 4, 3)).names == ("#1", "#2")
    with pytest.raises(dataclasses.FrozenInstanceError):
        latent.family = "g"


@pytest.mark.parametrize(
    ("codes", "names", "sentence"),
    [
        (torch.zeros(4, 3), (), r"\[B, L, D\].*\[4, 3\]"),
        (torch.zeros(0, 4, 3), (), r"\[0, 4, 3\]"),
        (torch.zeros(1, 4, 3, dtype=torch.long), (), "int64"),
        (torch.full((1, 4, 3), float("nan")), (), "not finite"),
        ([[1.0]], (), "got list"),
        (torch.zeros(2, 4, 3), ("a",), "2 codes needs as many names; got 1"),
    ],
)
def test_wrong_latents_are_refused(codes, names, sentence):
    with pytest.raises(InputError, match=sentence):
        GanLatent(codes, names)


def test_direction_normalises_rows_and_knows_its_example():
    plain = EditDirection(ONES, ONES)
    assert plain.layers == (0, 1, 2, 3) and not plain.has_example
    taught = EditDirection(ONES, ONES, [2, 0, 2], start=1.0, offset=3.0, example=torch.zeros(2, 4, 3))
    assert taught.layers == (0, 2) and taught.has_example
    assert taught.with_offset(5).offset == 5.0 and taught.offset == 3.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((ONES[None], ONES), r"\[L, D\].*\[1, 4, 3\]"),
        ((ONES, ONES[:3]), "must have the same shape"),
        ((ONES, ONES, (4,)), "rows 0 to 3"),
        ((ONES, ONES, (-1,)), "rows 0 to 3"),
        ((torch.zeros(4, 3), ONES), "direction is zero on its rows 0 to 3"),
        ((ONES, torch.zeros(4, 3)), "normal is zero"),
        ((torch.eye(4, 3), ONES, (3,)), "direction is zero on its rows 3"),
        ((ONES * float("inf"), ONES), "not finite"),
    ],
)
def test_wrong_directions_are_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        EditDirection(*arguments)


def test_an_example_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"got \[1, 4, 3\]"):
        EditDirection(ONES, ONES, example=torch.zeros(1, 4, 3))


def test_strength_defaults_to_nobody_clamped():
    strength = EditStrength(torch.tensor([1.0, 2.0]))
    assert len(strength) == 2 and strength.clamped.tolist() == [False, False]


@pytest.mark.parametrize(
    ("alpha", "clamped"),
    [
        (torch.tensor(1.0), None),
        (torch.full((2,), float("nan")), None),
        (torch.ones(2), torch.ones(2)),
        (torch.ones(2), torch.ones(3) > 0),
    ],
)
def test_wrong_strengths_are_refused(alpha, clamped):
    with pytest.raises(InputError, match="strengths"):
        EditStrength(alpha, clamped)


def test_families_meet_only_themselves_and_the_unknown(caplog):
    check_family("f", "f", "A", "B")
    assert not caplog.text
    check_family("f", "", "A", "B")
    assert "A and B: one names no generator family" in caplog.text
    with pytest.raises(InputError, match="A belongs to the generator family 'f', B to 'g'"):
        check_family("f", "g", "A", "B")
