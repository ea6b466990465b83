"""Fixtures shared by all tests. The headless side is chosen here, before any test imports a node."""

from __future__ import annotations

import pytest
from semantic_edit.headless import HeadlessSettings, use_headless

use_headless()


@pytest.fixture
def headless_host(tmp_path):
    """The headless side with empty input, output and models folders of its own, on the CPU."""
    for name in ("input", "output", "models"):
        (tmp_path / name).mkdir()
    settings = HeadlessSettings(tmp_path / "input", tmp_path / "output", tmp_path / "models", device="cpu")
    yield use_headless(settings)
    use_headless()
