"""Part segmentation of any picture of a demo portrait."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import einsum
from torch import Tensor

from ..models.errors import check_choice
from .assets import demo_segmenter
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
    """Segment portraits into parts.

    Args:
        pictures: ``[B, 3, H, W]`` in -1..1.
        method: "network" asks the part segmenter; "redraw" measures the factors and labels a render of them.

    Returns:
        Soft masks ``[B, P, H, W]``, in the order of ``PART_NAMES``.

    Raises:
        InputError: for an unknown method.
    """
    check_choice("method", method, PART_METHODS)
    if method == "network":
        return demo_segmenter().masks(pictures.to("cpu", torch.float32))
    return render(measure(pictures), tuple(pictures.shape[-2:]), parts=True).parts


def part_labeller() -> tuple[Callable[[Tensor, slice], Tensor], Callable[[Tensor], Tensor]]:
    """Return the part segmenter as dissection calls it.

    Returns:
        label: (pictures ``[B, 3, H, W]`` in -1..1, their slice of all) -> masks ``[B, P, H, W]``.
        score: pictures -> masks, with gradients.
        Masks come on the pictures' device, in the order of ``PART_NAMES``.
    """

    def label(pictures: Tensor, _: slice) -> Tensor:
        return find_parts(pictures).to(pictures)

    def score(pictures: Tensor) -> Tensor:
        return demo_segmenter()(pictures.to("cpu", torch.float32)).softmax(1).to(pictures)

    return label, score


def colour_parts(masks: Tensor) -> Tensor:
    """Colour part masks ``[B, P, H, W]`` in 0..1 as pictures ``[B, 3, H, W]`` in -1..1."""
    colours = torch.tensor([colour for _, colour in PART_COLOURS.values()]).to(masks)
    return einsum(masks, colours, "b p h w, p c -> b c h w") * 2 - 1
