"""Learning rates by the size of a network: one number for all, scaled by width (muP, 2203.03466).

Adam moves every weight by about its rate, and what n moved inputs do to an output grows with n, so the rate of all
weights has to fall as 1 / width. At equal depth a network's numbers grow as width squared:

    rate = reference * sqrt(4 million / numbers)

Where it stands beside what is published for Stable Diffusion (860 million numbers, a fifteenth of the reference), as
rate times steps, which is how far weights go at most: Imagic .00075 (5e-7, 1500 steps of one draw), Forgedit's code
.0024 (6e-5, 40 steps of ten), a reference of 1e-4 .0004 with 60 steps of four and .0008 with 120.

A LoRA begins with its second factor at zero and a first one that is as small as its layer is wide, so that a step of
the rate moves the layer far less: it takes ten times as much.
"""

from __future__ import annotations

import math

__all__ = ["LORA_FACTOR", "REFERENCE_NUMBERS", "rate_rule", "scaled_rate"]

REFERENCE_NUMBERS = 4_000_000
LORA_FACTOR = 10.0


def scaled_rate(reference: float, numbers: int, lora: bool = False) -> float:
    """Return the learning rate of a network, by the rule above.

    Args:
        reference: rate of all weights of a network of `REFERENCE_NUMBERS`.
        numbers: in the weights of this one, 1 or more; smaller ones than the reference take no more than it.
        lora: for a LoRA instead of all weights.
    """
    return reference * min(1.0, math.sqrt(REFERENCE_NUMBERS / numbers)) * (LORA_FACTOR if lora else 1.0)


def rate_rule(reference: float, numbers: int, lora: bool) -> str:
    """Write the rule with its numbers, for files and reports: "1.0e-04 * sqrt(4,000,000 / 859,520,964) = 6.8e-06"."""
    factor = f" * {LORA_FACTOR:g}" if lora else ""
    root = f" * sqrt({REFERENCE_NUMBERS:,} / {numbers:,})" if numbers > REFERENCE_NUMBERS else ""
    return f"{reference:.1e}{factor}{root} = {scaled_rate(reference, numbers, lora):.1e}"
