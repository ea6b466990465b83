"""Procedural portraits: a renderer from factors to pictures with exact truth."""

from .factors import FACTORS, LIVE_NAMES, NAMES, Z_DIM, factors_from_z, sample_factors
from .render import Portraits, render
from .scene import PART_NAMES

__all__ = [
    "FACTORS",
    "LIVE_NAMES",
    "NAMES",
    "PART_NAMES",
    "Z_DIM",
    "Portraits",
    "factors_from_z",
    "render",
    "sample_factors",
]
