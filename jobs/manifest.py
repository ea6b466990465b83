"""The manifest of a job: one line of JSON per picture, added the moment the picture is finished.

A kill can only hurt the last line, and an incomplete line counts as never written. When a picture was worked on
again (its file had changed), its newest line is the one that holds.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePath
from typing import BinaryIO

from ..models.printable import printable_logger
from .storage import open_own_file

__all__ = [
    "CODES",
    "DONE",
    "MANIFEST_NAME",
    "SKIPPED",
    "Manifest",
    "Record",
    "own_results",
    "pack_line",
    "parse_line",
    "read_records",
    "record_of",
]

log = printable_logger(__name__)
MANIFEST_NAME = "manifest.jsonl"
DONE, SKIPPED = "done", "skipped"
CODES = "codes"  # the folder of codes, in the output folder


@dataclass(frozen=True)
class Record:
    """The outcome of one picture.

    Args:
        file: its name in the input folder.
        status: "done" or "skipped".
        result: the edited picture, relative to the output folder; "" when skipped.
        code: the file of its code before the edit, likewise; "" when codes are not kept.
        alpha: how far it moved, in lengths of the direction; None when skipped.
        clamped: True where it would have needed more than the limit.
        confidence: in 0..1, how certain its final state is, where it was measured; else None.
        problem: why it was skipped.
        source_bytes, source_time: size and time of change (ns) of the input file, to see whether it is still the same.
        result_bytes: size of the edited picture, to see whether it is still whole.
        seconds: its share of the work.
        finished: when, in UTC.
        id: a digest of its name and contents; "" where it could not be read.
        before, after: the state before and after the edit, in standard deviations from the average picture, along the
            edit's normal or as its reader measures it; None when skipped.
        drawings: how many pictures were drawn for it, those included that were only measured.
    """

    file: str
    status: str
    result: str = ""
    code: str = ""
    alpha: float | None = None
    clamped: bool = False
    confidence: float | None = None
    problem: str = ""
    source_bytes: int = 0
    source_time: int = 0
    result_bytes: int = 0
    seconds: float = 0.0
    finished: str = ""
    id: str = ""
    before: float | None = None
    after: float | None = None
    drawings: int = 0

    def same_outcome(self, other: Record) -> bool:
        """Compare all but the times of the work."""
        return all(getattr(self, name) == getattr(other, name) for name in _OUTCOME)


_NAMES = {field.name for field in fields(Record)}
_OUTCOME = _NAMES - {"seconds", "finished"}


class Manifest:
    """The manifest of a folder, open for adding lines. Opening cuts off a last line that a kill left half-written.

    Raises:
        InputError: it is a link to a file elsewhere.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST_NAME
        self._file = os.fdopen(open_own_file(self.path, os.O_APPEND), "a+b", buffering=0)
        self._end = _complete_lines(self._file)
        self._file.truncate(self._end)

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *unused: object) -> None:
        self._file.close()

    def add(self, record: Record) -> None:
        """Add one line; it is complete, or not there.

        Raises:
            OSError: the disk refuses.
        """
        line = pack_line(record)
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except BaseException:
            self._file.truncate(self._end)
            raise
        self._end += len(line)

    def settle(self) -> None:
        """Wait until the disk has the lines, so that not even a power cut takes them.

        Raises:
            OSError: the disk refuses, or the manifest is gone: lines of a removed file help nobody.
        """
        os.fsync(self._file.fileno())
        os.stat(self.path)


def read_records(folder: Path) -> Iterator[Record]:
    """Yield the lines of a manifest, oldest first; a picture that was worked on again comes again.

    Damaged lines are left out with a warning. A folder without a manifest has none.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # cut short by a kill
            record = parse_line(line)
            if record is not None:
                yield record
            else:
                log.warning("%s: line %d is damaged and is left out.", path, number)


def own_results(records: dict[str, Record]) -> dict[str, str]:
    """Return the result of each picture that is done; of two that claim one file, as no job writes them, the first."""
    owners: dict[str, str] = {}
    for name, record in records.items():
        if record.status == DONE:
            owners.setdefault(record.result.casefold(), name)
    return {name: records[name].result for name in owners.values()}


def pack_line(record: Record) -> bytes:
    """Return the line of a record."""
    return json.dumps(asdict(record)).encode() + b"\n"


def parse_line(line: bytes) -> Record | None:
    """Read one line; None for a damaged one."""
    try:
        return record_of(json.loads(line))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def record_of(fields_by_name: dict[str, object]) -> Record | None:
    """Make a record of its fields, others left out; None where no job writes such a one.

    Raises:
        TypeError: a field is missing.
    """
    record = Record(**{name: value for name, value in fields_by_name.items() if name in _NAMES})
    return record if _is_valid(record) else None


def _is_valid(record: Record) -> bool:
    """Tell whether a line may come from a job: its names are plain, so that nothing outside the folders is touched."""
    texts = (record.file, record.status, record.result, record.code)
    if not all(isinstance(text, str) for text in texts) or not _is_plain(record.file):
        return False
    folder, _, code = record.code.rpartition("/")
    if record.code and not (folder == CODES and _is_plain(code) and code.endswith(".safetensors")):
        return False
    if record.status == SKIPPED:
        return not record.result
    return record.status == DONE and _is_plain(record.result) and record.result.endswith(".png")


def _is_plain(name: str) -> bool:
    """Tell whether a name is that of a visible file in its folder, without a way to elsewhere."""
    return name != "" and PurePath(name).name == name and not name.startswith(".") and "\0" not in name


def _complete_lines(file: BinaryIO) -> int:
    """Return how many bytes of the file are complete lines."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
