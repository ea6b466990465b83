"""Byte-pair encoding (1508.07909) in open_clip's own file form: each word of the demo sentences is one token."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

# Entries before the merges: each byte, and each byte at the end of a word; after them the two markers.
_BYTES, _MARKERS = 512, 2


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs to merge, in order, until every word is one symbol (Algorithm 1)."""
    symbols_of = {word: [*word[:-1], word[-1] + "</w>"] for word in sorted(set(words))}
    merges = []
    while True:
        pairs = Counter(pair for symbols in symbols_of.values() for pair in zip(symbols, symbols[1:], strict=False))
        if not pairs:
            return merges
        best = max(sorted(pairs), key=lambda pair: pairs[pair])
        merges.append(best)
        symbols_of = {word: _merged(symbols, best) for word, symbols in symbols_of.items()}


def write_vocabulary(path: Path, merges: list[tuple[str, str]]) -> int:
    """Write the merges as open_clip's tokenizer reads them; returns the size of the vocabulary."""
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    with path.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        packed.write("\n".join(lines).encode())
    return _BYTES + len(merges) + _MARKERS


def _merged(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    result: list[str] = []
    for symbol in symbols:
        if result and (result[-1], symbol) == pair:
            result[-1] += symbol
        else:
            result.append(symbol)
    return result
