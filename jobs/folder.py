"""The folder job and its report: one edit for every picture of a folder, of any size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..editing.one_for_all.transfer import Transfer
from ..models.files.picture_formats import describe_passed_over
from ..models.files.picture_reader import FITS
from .settings import describe_transfer

__all__ = ["PASSED_OVER", "PROBLEMS_SHOWN", "FolderJob", "JobReport"]

PROBLEMS_SHOWN = 20  # that a report spells out
PASSED_OVER = "passed over: its name is not that of a picture that can be read"


@dataclass(frozen=True, eq=False)
class FolderJob:
    """One edit for the pictures of a folder.

    Args:
        source: the folder of the pictures; its subfolders are left alone.
        output: the folder of the results: new, empty, or that of the same job, which then goes on.
        transfer: the edit.
        fit, background: for pictures of another shape, as in ``read_picture``.
        chunk: pictures in memory at a time; 0: as many as the networks see at once. Results do not depend on it.
        count: the most pictures to finish this time; 0: all.
        keep_codes: also keep each picture's code before the edit, as a file.
    """

    source: Path
    output: Path
    transfer: Transfer
    fit: str = FITS[0]
    background: tuple[int, int, int] = (255, 255, 255)
    chunk: int = 0
    count: int = 0
    keep_codes: bool = False

    @property
    def settings(self) -> dict[str, object]:
        """Everything that changes the results."""
        return {
            **describe_transfer(self.transfer),
            "input folder": str(self.source.resolve()),
            "fit": self.fit,
            "background": list(self.background),
            "codes": "kept" if self.keep_codes else "not kept",
        }


@dataclass(frozen=True)
class JobReport:
    """The outcome of one run.

    Args:
        output: the folder of the results and the manifest.
        total: pictures in the input folder.
        done_before: pictures that earlier runs finished.
        done, skipped: pictures of this run.
        clamped: pictures of this run that were held back by the limit.
        problems: a sentence for each of the first few that were skipped.
        seconds: of this run.
        passed_over: other files of the input folder, which are no pictures by their names.
        workers: processes that worked on them.
        memory: the most that one of them took, MiB; 0 where it was not measured.
    """

    output: Path | str
    total: int
    done_before: int
    done: int
    skipped: int
    clamped: int
    problems: tuple[str, ...]
    seconds: float
    passed_over: tuple[str, ...] = ()
    workers: int = 1
    memory: float = 0.0

    def __str__(self) -> str:
        earlier = f", {self.done_before} were done before" if self.done_before else ""
        left = self.total - self.done_before - self.done - self.skipped
        rate = f", {self.done / self.seconds:.3g} a second" if self.done and self.seconds > 0 else ""
        lines = [f"{self.done} of {self.total} pictures edited in {self.seconds:.0f} s{rate}{earlier}."]
        if self.workers > 1:
            lines.append(f"{self.workers} workers took at most {self.memory:.0f} MiB each.")
        if self.clamped:
            lines.append(f"{self.clamped} were held back by the limit.")
        if self.skipped:
            lines.append(f"{self.skipped} could not be read and were left out:")
            lines += [f"  {problem}" for problem in self.problems]
            lines += ["  ..."] if self.skipped > len(self.problems) else []
        if left:
            lines.append(f"{left} are left for the next time.")
        if self.passed_over:
            lines.append(describe_passed_over(self.passed_over))
        return "\n".join(lines)
