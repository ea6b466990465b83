"""A job in batches: the frozen job, where its results go, and how it is divided."""

from __future__ import annotations

from dataclasses import dataclass

from ...models.errors import InputError, check_choice
from ..frozen import FrozenJob
from ..record_tables import FORMS
from ..stores import open_store

__all__ = ["BatchJob"]


@dataclass(frozen=True, eq=False)
class BatchJob:
    """What the workers get to know.

    Args:
        frozen: all that is the same for every picture.
        output: a folder or an address: new, empty, or that of the same job, which then goes on.
        form: of the manifest, "jsonl" or "parquet".
        count: the most pictures to finish this time; 0: all.
        chunk: pictures in a worker's memory at a time; 0: as many as its networks see at once.
        per_batch: pictures that a worker finishes at a time; 0: chosen by their number.
        shards: results as WebDataset shards, one for each batch, instead of single files.
        device: "cpu", "cuda" or "auto".
        threads: of a worker's networks; 0: as torch has it.
    """

    frozen: FrozenJob
    output: str
    form: str = FORMS[0]
    count: int = 0
    chunk: int = 0
    per_batch: int = 0
    shards: bool = False
    device: str = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        check_choice("form", self.form, FORMS)
        for name, number in (("chunk", self.chunk), ("count", self.count), ("batch", self.per_batch)):
            if number < 0:
                raise InputError(f"The {name} cannot be negative; got {number}.")

    @property
    def settings(self) -> dict[str, object]:
        """Everything that changes the results, as `FolderJob.settings` names it."""
        frozen = self.frozen
        return {
            **frozen.settings,
            "input folder": open_store(frozen.source).address,
            "fit": frozen.fit,
            "background": list(frozen.background),
            "codes": "kept" if frozen.keep_codes else "not kept",
            **({"results": "shards"} if self.shards else {}),
        }
