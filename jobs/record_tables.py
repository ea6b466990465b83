"""Records as tables: JSON lines, which need nothing, or Parquet, which a query engine reads a column of."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
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
_ROWS = 10_000  # read at a time


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
    schema = _schema(pyarrow)
    columns = {
        name: pyarrow.array((_readable(getattr(record, name)) for record in records), schema.field(name).type)
        for name in schema.names[:-1]
    }
    columns[_EXACT] = pyarrow.array((_exact(record) for record in records), pyarrow.string())
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=schema), content, compression="zstd")
    return content.getvalue()


def _from_parquet(content: bytes, name: str) -> list[Record | None]:
    pyarrow = _pyarrow()
    records: list[Record | None] = []
    try:
        for batch in pyarrow.parquet.ParquetFile(io.BytesIO(content)).iter_batches(_ROWS):
            records += [record_of({**row, **json.loads(row.get(_EXACT) or "{}")}) for row in batch.to_pylist()]
    except (pyarrow.ArrowException, OSError, TypeError, ValueError) as error:
        raise InputError(f"{name} is no manifest in Parquet, or a damaged one ({error}).") from None
    return records


def _readable(cell: object) -> object:
    """Return a text as UTF-8 can say it; other cells as they are."""
    return cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell


def _exact(record: Record) -> str | None:
    """Return the texts of a record that are no UTF-8, as JSON; None where all are."""
    texts = {name: text for name, text in vars(record).items() if isinstance(text, str) and text != _readable(text)}
    return json.dumps(texts) if texts else None


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
