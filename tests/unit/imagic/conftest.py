"""A photo's latent and a text, for the small random network."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.imagic.conditioning import Conditioning


@pytest.fixture
def latent():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def entry():
    return Conditioning(torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(2)), {})
