"""Editing methods: pure torch functions without files, prints or a host."""

from .one_for_all.closed_form import apply_edit, attribute_values, compute_strength, constant_strength, plan_strength
from .one_for_all.combine import combine_edits
from .one_for_all.directions import optimize_direction
from .one_for_all.example_edit import record_edit
from .one_for_all.scale import scale_edit
from .pair.applying import apply_pair_edit
from .pair.edit import PairEdit
from .pair.learning import learn_pair_edit
from .pair.rendering import pair_renderer
from .pair.settings import PairSampling, PairSettings
from .photos.inversion import Inversion, invert
from .state import ReachedState, StateReader, StrengthPlan, plan_strengths, reach_state

__all__ = [
    "Inversion",
    "ReachedState",
    "StateReader",
    "StrengthPlan",
    "PairEdit",
    "PairSampling",
    "PairSettings",
    "apply_edit",
    "apply_pair_edit",
    "attribute_values",
    "combine_edits",
    "compute_strength",
    "constant_strength",
    "invert",
    "learn_pair_edit",
    "optimize_direction",
    "pair_renderer",
    "plan_strength",
    "plan_strengths",
    "reach_state",
    "record_edit",
    "scale_edit",
]
