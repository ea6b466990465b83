"""What the tests of pair edits apply them to, for the small random network."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def entry():
    return torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(2)), {}


@pytest.fixture
def photos():
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(4))
