"""Part labels of any picture of a demo portrait."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..models.errors import InputError
from .assets import segmenter
from .measure import measure
from .portraits.render import render

PART_METHODS = ("network", "redraw")
# Part: the colour's name and its RGB, for previews.
PART_COLOURS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "background": ("grey", (0.80, 0.82, 0.85)),
    "clothes": ("green", (0.36, 0.70, 0.45)),
    "hair": ("brown", (0.55, 0.38, 0.25)),
    "skin": ("peach", (0.98, 0.78, 0.64)),
    "eyes": ("blue", (0.20, 0.45, 0.90)),
    "mouth": ("red", (0.88, 0.25, 0.30)),
    "glasses": ("black", (0.10, 0.10, 0.14)),
    "hat": ("violet", (0.60, 0.36, 0.82)),
    "brows": ("orange", (0.96, 0.58, 0.16)),
}


def find_parts(pictures: Tensor, method: str = "network") -> Tensor:
    """Soft masks ``[B, P, H, W]`` of portraits ``[B, 3, H, W]`` in -1..1, in the order of ``PART_NAMES``.

    ``method``: "network" asks the part segmenter; "redraw" measures the factors and labels a render of them.
    """
    if method == "network":
        return segmenter().masks(pictures.to("cpu", torch.float32))
    if method == "redraw":
        return render(measure(pictures), tuple(pictures.shape[-2:]), parts=True).parts
    raise InputError(f"Unknown method '{method}'; expected one of {', '.join(PART_METHODS)}.")


def part_labeller() -> tuple[Callable[[Tensor, slice], Tensor], Callable[[Tensor], Tensor]]:
    """The part segmenter as dissection asks it: (pictures, which of all) -> masks; pictures -> masks with gradients.

    Masks come at the pictures' device, in the order of ``PART_NAMES``.
    """

    def label(pictures: Tensor, _: slice) -> Tensor:
        return find_parts(pictures).to(pictures)

    def score(pictures: Tensor) -> Tensor:
        return segmenter()(pictures.to("cpu", torch.float32)).softmax(1).to(pictures)

    return label, score


def painted_parts(masks: Tensor) -> Tensor:
    """Masks ``[B, P, H, W]`` as pictures ``[B, 3, H, W]`` in -1..1."""
    colours = torch.tensor([colour for _, colour in PART_COLOURS.values()]).to(masks)
    return torch.einsum("bphw,pc->bchw", masks, colours) * 2 - 1
