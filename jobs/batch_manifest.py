"""The manifest of a job that many workers do: each finished batch puts one small file, and the driver joins them.

A batch is done when its file is there, and its file is put once all its results are. Joining writes the whole manifest
first and removes the small files then, so that a stop in between leaves some records twice in storage, and never in
what is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from ..models.errors import InputError
from .manifest import MANIFEST_NAME, Record
from .record_tables import FORMS, pack_records, unpack_records
from .stores import Store

__all__ = ["MANIFEST_NAMES", "PARTS", "BatchManifest", "convert_manifest", "has_tables"]

MANIFEST_NAMES = {"jsonl": MANIFEST_NAME, "parquet": "manifest.parquet"}
PARTS = "manifest.parts"  # the folder of the batches' files
_REQUESTS = 16  # at a time


class BatchManifest:
    """The manifest in an output store, in one of the two forms; it reads both."""

    def __init__(self, store: Store, form: str) -> None:
        self.store, self.form = store, form

    def read(self) -> dict[str, Record]:
        """Read all records by the picture's name; of several, the newest."""
        records: dict[str, Record] = {}
        for batch in self._all_records():
            for record in batch:
                earlier = records.get(record.file)
                if earlier is None or record.finished >= earlier.finished:
                    records[record.file] = record
        return records

    def join(self, records: Iterable[Record]) -> None:
        """Write the whole manifest in this form, and remove what it replaces."""
        names = self._names()
        whole = MANIFEST_NAMES[self.form]
        self.store.put(whole, pack_records(records, self.form))
        self.store.remove(name for name in names if name != whole)
        self.store.remove_folder(PARTS)

    def is_joined(self) -> bool:
        """Tell whether the whole manifest is the only file of records, in this form."""
        return self._names() == [MANIFEST_NAMES[self.form]]

    def add_batch(self, key: str, records: list[Record]) -> None:
        """Put the records of a finished batch."""
        self.store.put(f"{PARTS}/{key}.{self.form}", pack_records(records, self.form))

    def count_try(self, key: str) -> int:
        """Count that a worker begins with a batch, and return how often that was so far."""
        name = f"{PARTS}/{key}.tries"
        try:
            tries = int(self.store.read(name)) + 1
        except (FileNotFoundError, ValueError):
            tries = 1
        self.store.put(name, str(tries).encode())
        return tries

    def batch(self, key: str) -> list[Record] | None:
        """Return the records of a batch that is finished already; None for one that is not."""
        name = f"{PARTS}/{key}.{self.form}"
        try:
            content = self.store.read(name)
        except FileNotFoundError:
            return None
        return unpack_records(content, self.form, name)

    def _names(self) -> list[str]:
        """Name all files of records: whole manifests first."""
        top = [name for name in MANIFEST_NAMES.values() if self.store.has(name)]
        parts = sorted(entry.name for entry in self.store.entries(PARTS) if not entry.name.startswith("."))
        return top + [f"{PARTS}/{name}" for name in parts]

    def _all_records(self) -> Iterator[list[Record]]:
        """Read every file of records, several at a time."""
        with ThreadPoolExecutor(_REQUESTS, "semantic-edit-manifest") as pool:
            yield from pool.map(self._records, self._names())

    def _records(self, name: str) -> list[Record]:
        form = name.rpartition(".")[2]
        return unpack_records(self.store.read(name), form, name) if form in FORMS else []


def has_tables(store: Store) -> bool:
    """Tell whether there are records that the lines of ``manifest.jsonl`` do not hold."""
    parts = (entry.name for entry in store.entries(PARTS))
    return store.has(MANIFEST_NAMES["parquet"]) or any(not name.startswith(".") for name in parts)


def convert_manifest(store: Store, form: str) -> int:
    """Bring the manifest of an output folder into one form; returns how many records it has.

    Raises:
        InputError: there is none.
    """
    manifest = BatchManifest(store, form)
    records = manifest.read()
    if not records:
        raise InputError(f"{store.address} holds no manifest. Give the output folder of a batch.")
    manifest.join(records.values())
    return len(records)
