"""Demo world: procedural portraits with exact truth, and the networks trained on them."""

from .measure import identity, measure
from .portraits import Portraits, factors_from_z, render, sample_factors

__all__ = ["Portraits", "factors_from_z", "identity", "measure", "render", "sample_factors"]
