"""Other names that people search a node by: of papers and of other tools."""

from __future__ import annotations

import inspect

from ...host import io


def search_words(*words: str) -> dict[str, list[str]]:
    """Return what `io.Schema` takes for them: nothing where ComfyUI is older than search aliases (0.12)."""
    return {"search_aliases": list(words)} if "search_aliases" in inspect.signature(io.Schema).parameters else {}
