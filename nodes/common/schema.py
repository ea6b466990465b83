"""Schema helpers: menu categories, search aliases and seed widgets."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ...host import io

Define = Callable[[Any], io.Schema]
MAX_SEED = 0xFFFFFFFFFFFFFFFF  # ComfyUI's own seeds


def menu_category(stage: str) -> str:
    """Return the menu path of a stage: generator, photos, example, batch, text, paint, imagic, state or demo."""
    return f"Semantic Edit/{stage}"


def search_aliases(*words: str) -> dict[str, list[str]]:
    """Return the keyword of `io.Schema` for other names people search by: papers, other tools.

    Empty where ComfyUI is older than search aliases (0.12).
    """
    return {"search_aliases": list(words)} if "search_aliases" in inspect.signature(io.Schema).parameters else {}


def shows_its_result() -> dict[str, bool]:
    """Return the keyword of `io.Schema` for a node whose widget shows what it made, but whose result is not the end.

    ComfyUI sends its picture again when it ran from the cache, so that an editor has one in a page that was opened
    anew. Empty where ComfyUI is older than intermediate outputs: there the page keeps what it was sent.
    """
    known = "has_intermediate_output" in inspect.signature(io.Schema).parameters
    return {"has_intermediate_output": True} if known else {}


def seed_input(id: str = "seed", tooltip: str = "", randomize: bool = False) -> io.Int.Input:
    """Return a seed widget.

    Args:
        randomize: offer ComfyUI's "control after generate" beside it: for nodes that sample. Nodes that train keep one
            seed, or every queue would train again.
    """
    # Said either way: left out, ComfyUI adds the control to every input that is called "seed" or "noise_seed".
    return io.Int.Input(id, default=0, min=0, max=MAX_SEED, control_after_generate=randomize, tooltip=tooltip)


def came_later(widget: Any, value_in_older_files: str | float | bool) -> Any:
    """Mark a widget that came later with the value that workflows saved before it go on with.

    New nodes begin with the widget's default, which may be a better one.
    """
    widget.extra_dict = {"value_in_older_files": value_in_older_files}  # on older cores no argument of every widget
    return widget


def with_advanced(*ids: str) -> Callable[[Define], Define]:
    """Decorate `define_schema`: mark inputs that few people change, so that ComfyUI folds them away until asked.

    Nothing is marked where ComfyUI is older than advanced inputs (0.12).

    Raises:
        ValueError: when the schema is defined, for an id that no input has.
    """

    def decorate(define: Define) -> Define:
        @functools.wraps(define)
        def define_schema(cls: type[io.ComfyNode]) -> io.Schema:
            schema = define(cls)
            inputs = {socket.id: socket for socket in schema.inputs or []}
            if unknown := set(ids) - set(inputs):
                raise ValueError(f"{schema.node_id} has no inputs {sorted(unknown)}.")
            if "advanced" in inspect.signature(io.Int.Input).parameters:
                for id in ids:
                    inputs[id].advanced = True
            return schema

        return define_schema

    return decorate
