"""The division of a job: the pictures or shards of a store that are not finished, a few at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...models.files.picture_formats import natural_key, split_names
from ..listing import name_results
from ..manifest import CODES, SKIPPED, Record, own_results
from ..stores import Entry, Store
from ..tars import SHARD_SUFFIX, member_name, shard_of

__all__ = ["Picture", "PictureBatch", "Source", "Unfinished", "divide", "in_order", "list_source", "unfinished"]

_SMALLEST, _LARGEST = 8, 1024  # pictures of a batch
_BATCHES = 20_000  # of a job, about, where batches may grow


class Picture(NamedTuple):
    """A picture to work on: its file, and the name of its result."""

    name: str
    result: str
    size: int
    version: int


@dataclass(frozen=True)
class PictureBatch:
    """What a worker finishes at a time: some pictures, or all those of a shard."""

    pictures: tuple[Picture, ...] = ()
    shard: Entry | None = None

    @property
    def key(self) -> str:
        """A name that another batch does not have."""
        return hashlib.sha256(self.pack().encode()).hexdigest()[:24]

    def pack(self) -> str:
        """Return the batch as text, for a worker elsewhere."""
        return json.dumps({"pictures": self.pictures, "shard": self.shard})

    @classmethod
    def unpack(cls, text: str) -> PictureBatch:
        """Read the text of :meth:`pack`."""
        fields = json.loads(text)
        shard = None if fields["shard"] is None else Entry(*fields["shard"])
        return cls(tuple(Picture(*picture) for picture in fields["pictures"]), shard)


@dataclass(frozen=True)
class Source:
    """What a store holds: pictures in natural order, or shards of them, and the names of other files."""

    pictures: list[Entry]
    shards: list[Entry]
    other_names: list[str]

    @property
    def order(self) -> dict[str, int]:
        """The place of each file."""
        return {entry.name: index for index, entry in enumerate([*self.pictures, *self.shards])}


@dataclass(frozen=True)
class Unfinished:
    """What is left of a job: pictures and shards to do, those to look at once more, and how many are done."""

    pictures: list[Picture]
    retries: list[Picture]
    shards: list[Entry]
    done: int


def list_source(store: Store) -> Source:
    """List the pictures of a store; its shards where it has no single pictures."""
    entries = {entry.name: entry for entry in store.entries()}
    names, other_names = split_names(entries)
    shards = [] if names else [name for name in other_names if name.lower().endswith(SHARD_SUFFIX)]
    other_names = [name for name in other_names if name not in set(shards)]
    return Source([entries[name] for name in names], [entries[name] for name in shards], other_names)


def unfinished(source: Source, records: dict[str, Record], output: Store, keep_codes: bool) -> Unfinished:
    """Compare what there is with what is on record and in the output."""
    sizes = {entry.name: entry.size for entry in output.entries()} if records else {}
    codes = {f"{CODES}/{entry.name}" for entry in output.entries(CODES)} if records and keep_codes else set()

    def is_there(record: Record) -> bool:
        shard, _ = shard_of(record.result)
        whole = shard in sizes or sizes.get(record.result) == record.result_bytes
        return whole and (not record.code or record.code in codes)

    results = own_results(records)
    pictures: list[Picture] = []
    retries: list[Picture] = []
    names = [entry.name for entry in source.pictures]
    for entry, result in zip(source.pictures, name_results(names, results), strict=True):
        record = records.get(entry.name)
        if entry.name in results and _is_of(record, entry) and is_there(record):
            continue
        picture = Picture(entry.name, member_name(result) if shard_of(result)[0] else result, entry.size, entry.version)
        (retries if record is not None and record.status == SKIPPED else pictures).append(picture)
    by_shard: dict[str, list[Record]] = {}
    for record in records.values():
        by_shard.setdefault(shard_of(record.file)[0] or record.file, []).append(record)
    shards = []
    for entry in source.shards:
        own = by_shard.get(entry.name, [])
        if not own or not all(_is_of(record, entry) and (not record.result or is_there(record)) for record in own):
            shards.append(entry)
    done = len(source.pictures) - len(pictures) - len(retries)
    left = set(shards)
    done += sum(len(by_shard[entry.name]) for entry in source.shards if entry not in left)
    return Unfinished(pictures, retries, shards, done)


def divide(left: Unfinished, count: int, per_batch: int, workers: int) -> list[PictureBatch]:
    """Divide what is left among batches.

    Args:
        count: the most pictures, or shards, to do now, beside those that are looked at once more; 0: all.
        per_batch: pictures of a batch; 0: enough batches for all workers to end together, and not too many.
    """
    first = left.pictures[:count] if count else left.pictures
    pictures = [*first, *left.retries]
    if not per_batch:
        per_batch = max(min(64, len(pictures) // (8 * max(1, workers))), len(pictures) // _BATCHES)
        per_batch = min(max(_SMALLEST, per_batch // _SMALLEST * _SMALLEST), _LARGEST)
    shards = left.shards[:count] if count else left.shards
    batches = [PictureBatch(tuple(group)) for group in _groups(pictures, per_batch)]
    return batches + [PictureBatch(shard=shard) for shard in shards]


def in_order(records: Iterable[Record], source: Source) -> list[Record]:
    """Sort records as their files are listed; those of files that are gone come last."""
    order = source.order
    last = len(order)

    def place_of(record: Record) -> tuple:
        index = order.get(record.file, order.get(shard_of(record.file)[0], last))
        return (index, natural_key(record.file), record.file)

    return sorted(records, key=place_of)


def _groups(pictures: Sequence[Picture], size: int) -> Iterable[Sequence[Picture]]:
    return (pictures[first : first + size] for first in range(0, len(pictures), size))


def _is_of(record: Record | None, entry: Entry) -> bool:
    return record is not None and (record.source_bytes, record.source_time) == (entry.size, entry.version)
