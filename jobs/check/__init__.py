"""A check-up of a generator or diffusion model of one's own: facts, pictures, times, and where a default will not suit.

`check_generator` and `check_diffusion` measure, `CheckReport` holds what they found as text and as one page.
"""

from .diffusion import check_diffusion
from .gan import check_generator
from .report import CheckReport

__all__ = ["CheckReport", "check_diffusion", "check_generator"]
