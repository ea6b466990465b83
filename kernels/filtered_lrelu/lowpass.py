"""Design of StyleGAN3's low-pass filters (2106.12423, appendix C): a windowed sinc along an axis, a windowed jinc.

The window is Kaiser's, with the shape that its empirical formulas (Kaiser 1974) give for a number of taps and the width
of the transition band. Filters are computed in float64 on the CPU, wherever the network is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def kaiser_lowpass(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """Design a separable low-pass.

    Args:
        taps: how many.
        cutoff: where it passes half, in cycles per unit.
        width: of the transition band.
        rate: samples per unit.

    Returns:
        [taps] float32 with sum 1; a single 1 for one tap.
    """
    if taps == 1:
        return torch.ones(1, device="cpu")
    positions = _positions(taps)
    impulse = torch.special.sinc(positions * (2 * cutoff / rate)) * _window(taps, width, rate)
    return (impulse / impulse.sum()).float()


def jinc_lowpass(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """Design the radially symmetric low-pass of configuration R; arguments as of `kaiser_lowpass`.

    Returns:
        [taps, taps] float32 with sum 1.

    Raises:
        ValueError: an odd number of taps, whose middle the formula does not have.
    """
    if taps % 2:
        raise ValueError(f"A radial low-pass needs an even number of taps; got {taps}.")
    positions, window = _positions(taps) / rate, _window(taps, width, rate)
    radius = torch.sqrt(positions[:, None] ** 2 + positions[None, :] ** 2)
    impulse = torch.special.bessel_j1(2 * math.pi * cutoff * radius) / (math.pi * radius)
    impulse = impulse * window[:, None] * window[None, :]
    return (impulse / impulse.sum()).float()


def _positions(taps: int) -> Tensor:
    """Return the taps' positions in samples, about 0: [taps] float64."""
    return torch.arange(taps, dtype=torch.float64, device="cpu") - (taps - 1) / 2


def _window(taps: int, width: float, rate: float) -> Tensor:
    """Return Kaiser's window [taps] for a transition band of ``width``."""
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95  # dB
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    else:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21) if attenuation > 21 else 0.0
    distance = (_positions(taps) / ((taps - 1) / 2)).square()
    return torch.special.i0(beta * torch.sqrt((1 - distance).clamp(min=0)))
