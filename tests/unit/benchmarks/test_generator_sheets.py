"""The figure that says whether a way between two portraits jumps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def sheets():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import _generator_sheets
    finally:
        sys.path.remove(str(BENCHMARKS))
    return _generator_sheets


@pytest.fixture
def fade():
    """65 pictures from one to another, evenly."""
    start, end = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return torch.lerp(start, end, torch.linspace(0, 1, 65)[:, None, None, None])


def test_a_fade_halves_its_steps(sheets, fade):
    assert sheets.halving(fade) == pytest.approx(2, rel=1e-3)
    assert sheets.unevenness(fade) == pytest.approx(1, rel=1e-3)


def test_one_block_that_jumps_is_seen(sheets, fade):
    fade[33:, :, 8:, 8:] += 1
    assert sheets.halving(fade) < 1.1
    assert sheets.unevenness(fade) > 5


def test_sheets_are_written(sheets, tmp_path):
    pictures = torch.zeros(4, 3, 8, 8)
    sheets.save(tmp_path / "sheet.jpg", [pictures, pictures], ["painted", "render"], 2)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.format == "JPEG" and sheet.height == 2 * (16 + 4) + 4
