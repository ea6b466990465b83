"""Floor 3: the methods, pure torch functions without files, prints or a host."""

from .combine import combine_edits
from .directions import optimize_direction
from .inversion import Inversion, invert
from .record import record_edit
from .scale import scale_edit
from .strength import apply_edit, attribute_values, compute_strength, constant_strength, plan_strength

__all__ = [
    "Inversion",
    "apply_edit",
    "attribute_values",
    "combine_edits",
    "compute_strength",
    "constant_strength",
    "invert",
    "optimize_direction",
    "plan_strength",
    "record_edit",
    "scale_edit",
]
