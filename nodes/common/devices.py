"""Placement: weights come to the working device before each use."""

from __future__ import annotations

from torch import nn

from ... import host


def place(generator, *others) -> None:
    """Bring a generator's weights to the working device; call it before each use.

    An adapted generator's weights are those of its base, so that the host counts and moves them once.

    Args:
        others: what works together with it: networks, text-image scorers, or None. A scorer of another pack that holds
            no network looks after itself.
    """
    place_all(generator.network.base, *others)


def place_all(*others) -> None:
    """Bring networks and text-image scorers to the working device, as `place` does."""
    networks = [getattr(other, "model", other) for other in others]
    host.current().place(*(network for network in networks if isinstance(network, nn.Module)))
