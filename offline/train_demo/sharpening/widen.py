"""Function-preserving widening (Net2Net, 1511.05641): a generator with more channels that paints the same pictures."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ....models.gan.stylegan2 import StyleGAN2


def widen_generator(narrow: StyleGAN2, channels: tuple[int, ...], rng: torch.Generator) -> StyleGAN2:
    """Copy ``narrow`` into a network of ``channels`` per block, no fewer than before.

    Old channels take nothing from new ones, and so stay what they were; new ones start as random features of the old.
    """
    wide = StyleGAN2(replace(narrow.config, channels=channels), rng)
    old = narrow.state_dict()
    state = {name: _enlarge(old[name], tensor, name) for name, tensor in wide.state_dict().items()}
    for name, tensor in state.items():
        # A ToRGB divides its styles by the root of its inputs' number, which has grown.
        if ".torgb.affine." in name:
            tensor.mul_((len(tensor) / len(old[name])) ** 0.5)
    wide.load_state_dict(state)
    return wide


def _enlarge(old: Tensor, fresh: Tensor, name: str) -> Tensor:
    """Put ``old`` in the corner of ``fresh``, with zeros where an old output would read a new input."""
    if old.shape == fresh.shape:
        return old.clone()
    result = fresh.clone()
    if name.endswith((".conv0.weight", ".conv1.weight", ".torgb.weight")):
        result[: old.shape[0], old.shape[1] :] = 0
    result[tuple(slice(size) for size in old.shape)] = old
    return result
