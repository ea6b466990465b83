"""One state for a folder: each picture gets the strength at which a reader's number is the target, by drawing it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..editing.common.progress import Progress
from ..editing.common.types import EditStrength
from ..editing.one_for_all.attribute_score import sample_w
from ..editing.one_for_all.closed_form import apply_edit
from ..editing.one_for_all.render_and_correct import expected_slope
from ..editing.one_for_all.transfer import Transfer, TransferResult
from ..editing.state import StateReader
from ..editing.state.alone import measure_response, reach_state_alone
from ..editing.state.response import ResponsePrior
from ..models.errors import InputError
from .reader_recipes import ReaderRecipe

__all__ = ["StateTransfer"]

_CALIBRATED = 16  # sampled pictures that the shared curve is measured on
_RANGE = 4.0  # standard deviations of the attribute that an edit may move at most, where no limit is given
_CURVE = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of the range
_SEED = 24


@dataclass(frozen=True, eq=False)
class StateTransfer(Transfer):
    """The edit of every picture of a collection, by the strength that a reader asks for.

    What comes out for a picture depends on that picture alone: the curve that all share is measured once, on pictures
    that the generator samples.

    Args:
        reader: of one number.
        state: the number that all pictures shall show.
        rounds: drawings of a picture after its first one, at most; one more for who cannot reach the state.
        response: the shared curve; None: measured here.
        recipe: how the reader was made, where it can be made again elsewhere.

    Raises:
        InputError: as `Transfer`; a reader of several numbers, a state that is not finite, or a reader that does not
            see this edit.
    """

    reader: StateReader | None = None
    state: float = 0.0
    rounds: int = 3
    response: ResponsePrior | None = field(default=None, repr=False)
    recipe: ReaderRecipe | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reader is None or len(self.reader) != 1:
            names = "none" if self.reader is None else ", ".join(self.reader.names)
            raise InputError(f"One state needs a reader of one number; got {names}.")
        if not abs(self.state) < float("inf"):
            raise InputError(f"The state to reach must be a finite number; got {self.state}.")
        if self.reference is not None or self.corrections or self.mode == "number":
            raise InputError(
                "A reader says itself what the pictures show, so its state goes together with neither a reference, nor "
                "corrections, nor mode 'number'. Leave them out."
            )
        if self.response is None:
            object.__setattr__(self, "response", self._measure_response())

    def _measure_response(self) -> ResponsePrior:
        """Measure the shared curve on sampled pictures."""
        slope = abs(expected_slope(self.generator, self.direction))
        largest = min(_RANGE / max(slope, 1e-6), self.limit or float("inf"))
        codes = sample_w(self.generator, _CALIBRATED, _SEED)
        strengths = [share * largest for share in _CURVE]
        render = self._renderer(codes, self.progress)
        return measure_response(render, self.reader, len(codes), strengths)

    def _renderer(self, codes: Tensor, progress: Progress | None):
        """Return what draws codes [B, L, D] at strengths [B] as [B, 3, H, W]."""

        def render(strengths: Tensor) -> Tensor:
            if progress is not None:
                progress(self.steps, self.steps + 1)
            return self._draw(apply_edit(codes, self.direction, strengths.to(codes.device)))

        return render

    def _edited(self, codes: Tensor, usable: Tensor, count: int, progress: Progress) -> TransferResult:
        """Draw, read and correct the pictures of one pass."""
        target = torch.full((len(codes),), float(self.state), device=codes.device)
        with torch.no_grad():
            before = self.reader.read(self._draw(codes))[:, 0]
            reached = reach_state_alone(
                self._renderer(codes, progress), self.reader, target, self.response, self.rounds
            )
        unread = ~torch.isfinite(reached.readings)
        alpha = torch.where(usable, reached.strengths, torch.zeros_like(reached.strengths))
        strength = EditStrength(
            alpha[:count],
            (~reached.reachable & usable)[:count],
            f"one state: {self.reader.names[0]} {self.state:g}, {self.reader.kind}",
            self.direction.family,
        )
        progress(self.steps + 1, self.steps + 1)
        reason = f"its {self.reader.names[0]} cannot be read"
        problems = tuple(reason if flag else "" for flag in (unread & usable)[:count].tolist())
        states = torch.stack([before.to(reached.readings), reached.readings], dim=1)[:count]
        return TransferResult(
            codes[:count], strength, reached.pictures[:count], usable[:count], problems, states,
            reached.drawings[:count] + 1,
        )  # fmt: skip
