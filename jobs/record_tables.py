"""Records as tables: JSON lines, which need nothing, or Parquet, which a query engine reads a column of."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from types import ModuleType
from typing import get_args, get_type_hints

from ..models.errors import InputError, check_choice
from ..models.printable import printable_logger
from .manifest import Record, pack_line, parse_line, record_of

__all__ = ["FORMS", "pack_records", "unpack_records"]

log = printable_logger(__name__)
LINES, PARQUET = FORMS = ("jsonl", "parquet")
_EXACT = "exact"  # the column of what UTF-8 cannot say, as JSON
_VERSION = "1"


def pack_records(records: Iterable[Record], form: str) -> bytes:
    """Pack records as the contents of a file.

    Args:
        form: "jsonl" or "parquet".
    """
    check_choice("form", form, FORMS)
    return b"".join(map(pack_line, records)) if form == LINES else _parquet(list(records))


def unpack_records(content: bytes, form: str, name: str) -> list[Record]:
    """Read the contents of a file of records; damaged ones are left out with a warning.

    Args:
        name: of the file, for the sentences.

    Raises:
        InputError: it is no Parquet file, or a column is missing.
    """
    check_choice("form", form, FORMS)
    if form == LINES:
        records = [parse_line(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
    else:
        records = _from_parquet(content, name)
    if None in records:
        log.warning("%s: %d records are damaged and are left out.", name, records.count(None))
    return [record for record in records if record is not None]


def _parquet(records: list[Record]) -> bytes:
    pyarrow = _pyarrow()
    rows = [_row(record) for record in records]
    schema = _schema(pyarrow)
    columns = [pyarrow.array([row[name] for row in rows], schema.field(name).type) for name in schema.names]
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, schema=schema), content, compression="zstd")
    return content.getvalue()


def _from_parquet(content: bytes, name: str) -> list[Record | None]:
    pyarrow = _pyarrow()
    try:
        rows = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
        return [record_of({**row, **json.loads(row.get(_EXACT) or "{}")}) for row in rows]
    except (pyarrow.ArrowException, OSError, TypeError, ValueError) as error:
        raise InputError(f"{name} is no manifest in Parquet, or a damaged one ({error}).") from None


def _row(record: Record) -> dict[str, object]:
    """Return a record's fields; names that are no UTF-8 are readable there, and exact in a column of their own."""
    row = asdict(record)
    exact = {}
    for name, text in row.items():
        if isinstance(text, str):
            row[name] = text.encode("utf-8", "replace").decode()
            if row[name] != text:
                exact[name] = text
    row[_EXACT] = json.dumps(exact) if exact else None
    return row


def _schema(pyarrow: ModuleType) -> object:
    """Return the columns: the fields of a record, and that of exact names."""
    types = {str: pyarrow.string(), float: pyarrow.float64(), int: pyarrow.int64(), bool: pyarrow.bool_()}
    hints = {name: (get_args(hint) or (hint,))[0] for name, hint in get_type_hints(Record).items()}
    columns = [(name, types[hint]) for name, hint in hints.items()]
    metadata = {"format": "semantic_edit manifest", "version": _VERSION}
    return pyarrow.schema([*columns, (_EXACT, pyarrow.string())], metadata=metadata)


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            "This manifest is kept in Parquet, and the package pyarrow is missing. Install it: "
            'pip install "semantic-edit[ray]"'
        ) from None
    return pyarrow
