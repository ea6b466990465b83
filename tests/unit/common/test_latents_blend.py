"""Choosing, mixing and truncating codes, against plain double-precision formulas."""

from __future__ import annotations

import math

import pytest
import torch
from semantic_edit.editing.common.latents import blend, lerp, select, slerp, truncate
from semantic_edit.editing.common.types import GanLatent
from semantic_edit.models.errors import InputError


def codes(count: int, seed: int, rows: int = 8, width: int = 16, family: str = "f") -> GanLatent:
    w = torch.randn(count, rows, width, generator=torch.Generator().manual_seed(seed))
    return GanLatent(w, [f"{seed}.{k}" for k in range(count)], family)


def slerp_in_double(a: torch.Tensor, b: torch.Tensor, amount: float) -> torch.Tensor:
    a, b = a.double(), b.double()
    size_a, size_b = float(a.norm()), float(b.norm())
    angle = math.acos(float(a @ b) / size_a / size_b)
    unit = (math.sin((1 - amount) * angle) * a / size_a + math.sin(amount * angle) * b / size_b) / math.sin(angle)
    return unit * ((1 - amount) * size_a + amount * size_b)


def test_select_keeps_order_repeats_and_names():
    latent = codes(5, 1)
    selected = select(latent, [4, 0, 0, -1])
    assert selected.names == ("1.4", "1.0", "1.0", "1.4") and selected.family == "f"
    assert torch.equal(selected.codes, latent.codes[[4, 0, 0, 4]])
    for wrong in ([], [5], [-6]):
        with pytest.raises(InputError, match="Choose among the 5 codes"):
            select(latent, wrong)


@pytest.mark.parametrize("mode", ["linear", "spherical"])
def test_ends_of_a_blend_are_its_sources(mode):
    a, b = codes(3, 1), codes(3, 2)
    torch.testing.assert_close(blend(a, b, 0.0, mode).codes, a.codes, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(blend(a, b, 1.0, mode).codes, b.codes, atol=1e-6, rtol=1e-5)


def test_linear_ends_are_exact_and_the_middle_is_the_mean():
    a, b = codes(2, 1), codes(2, 2)
    assert torch.equal(blend(a, b, 0.0).codes, a.codes) and torch.equal(blend(a, b, 1.0).codes, b.codes)
    torch.testing.assert_close(blend(a, b, 0.5).codes, (a.codes + b.codes) / 2)


@pytest.mark.parametrize("amount", [-0.5, 0.1, 0.5, 0.9, 1.5])
def test_slerp_equals_the_formula_in_double(amount):
    a, b = codes(4, 1).codes, codes(4, 2).codes
    expected = torch.stack([slerp_in_double(x, y, amount) for x, y in zip(a[:, 0], b[:, 0], strict=True)])
    torch.testing.assert_close(slerp(a, b, amount)[:, 0].double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("factor", [1.0, 3.0, -1.0, 0.0])
def test_slerp_of_parallel_opposite_and_zero_vectors_is_the_line(factor):
    a = codes(1, 1).codes
    mixed = slerp(a, a * factor, 0.25)
    assert torch.isfinite(mixed).all()
    torch.testing.assert_close(mixed, lerp(a, a * factor, 0.25), atol=1e-6, rtol=1e-5)


def test_an_arc_keeps_its_radius_round_the_centre():
    center = torch.randn(16, generator=torch.Generator().manual_seed(9))
    offsets = torch.nn.functional.normalize(codes(2, 3).codes, dim=-1) * 2
    a, b = (GanLatent(center + offset[None], family="f") for offset in offsets)
    middle = blend(a, b, 0.5, "spherical", center=center).codes
    torch.testing.assert_close((middle - center).norm(dim=-1), torch.full((1, 8), 2.0), atol=1e-5, rtol=1e-5)
    assert float((middle - center).norm()) > 1.1 * float((blend(a, b, 0.5).codes - center).norm())


@pytest.mark.parametrize("mode", ["linear", "spherical"])
def test_only_the_chosen_rows_change(mode):
    a, b = codes(2, 1), codes(2, 2)
    mixed = blend(a, b, 0.5, mode, "middle").codes
    assert torch.equal(mixed[:, :3], a.codes[:, :3]) and torch.equal(mixed[:, 6:], a.codes[:, 6:])
    assert torch.equal(mixed[:, 3:6], blend(a, b, 0.5, mode, [3, 4, 5]).codes[:, 3:6])
    assert not torch.allclose(mixed[:, 3:6], a.codes[:, 3:6])


def test_a_single_code_meets_every_other_and_inputs_stay_untouched():
    one, many = codes(1, 1), codes(3, 2)
    before = one.codes.clone()
    assert torch.equal(blend(one, many, 1.0).codes, many.codes)
    assert torch.equal(blend(many, one, 1.0).codes, one.codes.expand(3, -1, -1))
    assert blend(one, many, 0.25).names == ("1.0 to 2.0, 0.25", "1.0 to 2.1, 0.25", "1.0 to 2.2, 0.25")
    assert torch.equal(one.codes, before)


@pytest.mark.parametrize(
    ("other", "arguments", "sentence"),
    [
        (codes(2, 2, family="g"), {}, "family 'f'.*'g'"),
        (codes(2, 2, rows=10), {}, "cannot be mixed"),
        (codes(2, 2, width=8), {}, "cannot be mixed"),
        (codes(3, 2), {}, "2 codes and b 3"),
        (codes(2, 2), {"mode": "cubic"}, "Unknown mode 'cubic'"),
        (codes(2, 2), {"layers": "0-8"}, "layers: there is no 8"),
        (codes(2, 2), {"layers": [8]}, "rows 0 to 7"),
        (codes(2, 2), {"layers": []}, "rows 0 to 7"),
    ],
)
def test_wrong_blends_are_a_sentence(other, arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        blend(codes(2, 1), other, 0.5, **arguments)


def test_unknown_family_is_used_with_a_warning(caplog):
    mixed = blend(codes(1, 1, family=""), codes(1, 2), 0.5)
    assert mixed.family == "f" and "names no generator family" in caplog.text


def test_truncation_pulls_the_chosen_rows():
    latent, mean = codes(2, 1), torch.arange(16.0)
    pulled = truncate(latent, mean, 0.5, [0, 1]).codes
    torch.testing.assert_close(pulled[:, :2], (latent.codes[:, :2] + mean) / 2)
    assert torch.equal(pulled[:, 2:], latent.codes[:, 2:])
    assert torch.equal(truncate(latent, mean, 0.0).codes, mean.expand(2, 8, 16))
    with pytest.raises(InputError, match="16 wide"):
        truncate(latent, mean[:4], 0.5)
