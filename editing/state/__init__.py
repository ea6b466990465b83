"""One state for any editor: readers say what pictures show, a plan and a loop find the strength of each."""

from .plan import StrengthPlan, plan_strengths
from .reach import ReachedState, reach_state
from .reader import StateReader

__all__ = ["ReachedState", "StateReader", "StrengthPlan", "plan_strengths", "reach_state"]
