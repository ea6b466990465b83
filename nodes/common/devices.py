"""Placement: weights come to the working device before each use."""

from __future__ import annotations

from typing import Any

from torch import nn

from ... import host
from ...models.gan.generator import GanGenerator


def place(generator: GanGenerator, *others: Any) -> None:
    """Bring a generator's weights to the working device; call it before each use.

    An adapted generator's weights are those of its base, so that the host counts and moves them once.

    Args:
        others: what works together with it: networks, text-image scorers, or None. A scorer of another pack that holds
            no network looks after itself.
    """
    place_all(generator.network.base, *others)


def place_all(*others: Any) -> None:
    """Bring networks and text-image scorers to the working device, as `place` does.

    Args:
        others: networks, scorers with their network as `model`, or what needs no device.
    """
    networks = [getattr(other, "model", other) for other in others]
    host.current().place(*(network for network in networks if isinstance(network, nn.Module)))
