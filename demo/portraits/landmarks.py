"""Landmarks of a face in pixels: for drag handles, alignment and tests."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from .eyes import brow_centre, eye_centre
from .face import nose_tip
from .mouth import mouth_shape
from .scene import Scene

LANDMARK_NAMES: tuple[str, ...] = (
    "eye_left",
    "eye_right",
    "brow_left",
    "brow_right",
    "nose",
    "mouth_left",
    "mouth_right",
    "mouth_upper",
    "mouth_lower",
    "chin",
    "hair_end_left",
    "hair_end_right",
)


def landmarks(scene: Scene) -> Tensor:
    """Compute positions ``[B, N, 2]`` as (x, y) in pixels, pixel centres at .5, in the order of ``LANDMARK_NAMES``.

    "left" is the picture's left. ``hair_end`` is where the outer edge of the hair ends; it leaves the picture when
    the hair is long.
    """
    points = [eye_centre(scene, -1.0)[:2], eye_centre(scene, 1.0)[:2]]
    brows = (brow_centre(scene, side) for side in (-1.0, 1.0))
    points += [*((x, y - 0.022) for x, y in brows), nose_tip(scene)]  # a brow arches above its ends
    mouth, opened = mouth_shape(scene), scene["mouth_open"]
    one, zero = mouth.x.new_ones(()), mouth.x.new_zeros(())
    points += [(mouth.x - mouth.half_width, mouth.line(one)), (mouth.x + mouth.half_width, mouth.line(one))]
    points += [(mouth.x, mouth.line(zero) - 0.010 * opened), (mouth.x, mouth.line(zero) + 0.110 * opened)]
    points += [(0.055 * scene.sin, torch.full_like(mouth.x, scene.head_h))]
    half = scene.head_w * 1.15 + 0.02 + 0.05 * scene["hair_len"]
    bottom = (-0.05 + 0.75 * scene["hair_len"]).clamp(min=0.10)
    points += [(-0.05 * scene.sin - half, bottom), (-0.05 * scene.sin + half, bottom)]
    xy = [torch.stack([x + scene.centre_x, y + scene.centre_y]) for x, y in points]  # [2, B, 1, 1] each
    positions = rearrange(xy, "points xy batch 1 1 -> batch points xy")
    centre = torch.tensor((scene.width / 2, scene.height / 2)).to(positions)
    return positions / scene.pixel + centre
