"""How a state reader is made again from names, texts and two pictures: what a frozen job holds instead of functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..editing.state import (
    MASK_MEASURES,
    StateReader,
    reader_from_example,
    reader_from_mask,
    reader_from_sentence,
)
from ..editing.state.reader import digest_of
from ..models.scorers.scorer import load_scorer
from .checkpoints import checkpoint_file

__all__ = ["READER_WAYS", "ReaderRecipe"]

READER_WAYS = ("text", "example", "mask")
_TEXTS = ("way", "text", "source", "scorer")


@dataclass(frozen=True, eq=False)
class ReaderRecipe:
    """How a reader is made.

    Args:
        way: one of `READER_WAYS`.
        text: the sentence of "text"; the number that "mask" reads of the whole picture, such as "brightness".
        source: what pictures are without the sentence.
        scorer: the file, the address or the shipped name of what reads "text" and "example".
        before, after: [1, 3, H, W] in -1..1 each, the edited example of "example".
    """

    way: str
    text: str = ""
    source: str = ""
    scorer: str = ""
    before: Tensor | None = None
    after: Tensor | None = None

    def make(self, device: torch.device | str = "cpu") -> StateReader:
        """Make the reader.

        Raises:
            InputError: the scorer is missing or damaged, or cannot tell what it should read.
        """
        if self.way == "mask":
            return reader_from_mask(None, (self.text,))
        with checkpoint_file(self.scorer, "scorers") as path:
            scorer = load_scorer(path, device)
        if self.way == "text":
            reader = reader_from_sentence(scorer, self.text, self.source)
        else:
            kind = f"example, read by {scorer.name}"
            reader = reader_from_example(
                lambda batch: scorer.encode_images(batch.to(device)), self.before, self.after, kind=kind
            )
        # By what it is made of: what it learned rounds differently on each processor.
        weights = (part for item in sorted(scorer.model.state_dict().items()) for part in item)
        pictures = [picture for picture in (self.before, self.after) if picture is not None]
        return replace(reader, key=digest_of(self.way, self.text, self.source, *pictures, *weights))

    def texts(self) -> dict[str, str]:
        """Return all but the pictures, JSON-ready; :meth:`from_texts` reverses it."""
        return {name: getattr(self, name) for name in _TEXTS}

    @classmethod
    def from_texts(cls, texts: Mapping[str, object], before: Tensor | None, after: Tensor | None) -> ReaderRecipe:
        """Put a recipe together again, checked.

        Raises:
            KeyError, ValueError: what it lacks or should not hold.
        """
        recipe = cls(**{name: texts[name] for name in _TEXTS}, before=before, after=after)  # type: ignore[arg-type]
        if not all(isinstance(text, str) for text in recipe.texts().values()) or recipe.way not in READER_WAYS:
            raise ValueError("its reader")
        if recipe.way == "mask" and recipe.text not in MASK_MEASURES:
            raise ValueError(f"its reader reads {recipe.text!r}")
        if recipe.way == "example" and (before is None or after is None):
            raise ValueError("its reader's example")
        return recipe
