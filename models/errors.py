"""Input errors: their text is written for the person who wired the graph or typed the command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from .printable import printable


class InputError(ValueError):
    """A wrong input: one sentence that says what was expected, what came, and what to do.

    Names of files, servers and workflows get into it as they are; the sentence makes them printable.

    ComfyUI prints an error's module before its message, and a pack's module is the path of its folder: the sentence
    would be cut off behind it. So this class and what is derived from it name the pack alone as their module.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(printable(str(sentence)))

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        _classes[cls.__qualname__] = cls
        cls.__module__ = _SHOWN_MODULE

    def __reduce__(self) -> tuple[object, ...]:  # pickle would look for the class in the module it names
        return _from_process, (type(self).__qualname__, self.args), self.__dict__ or None


_SHOWN_MODULE = "semantic_edit"
_classes: dict[str, type[InputError]] = {InputError.__qualname__: InputError}
InputError.__module__ = _SHOWN_MODULE


def _from_process(name: str, args: tuple[object, ...]) -> InputError:
    """Return an error that another process has pickled; as an InputError where its own class is not loaded."""
    kind = _classes.get(name, InputError)
    return kind.__new__(kind, *args)


class CheckpointError(InputError):
    """A file that cannot be read as the checkpoint it is meant to be."""


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a value that is not in a fixed list.

    Args:
        name: what was chosen, as the sentence calls it: "mode".

    Raises:
        InputError: the sentence lists the choices.
    """
    choices = tuple(choices)
    if value not in choices:
        raise InputError(f"Unknown {name} {value!r}; expected one of {', '.join(choices)}.")


@contextlib.contextmanager
def about_file(path: str | Path) -> Iterator[None]:
    """Let errors about values that were read from a file name the file; who reads three files needs to know which."""
    try:
        yield
    except CheckpointError:
        raise
    except InputError as error:
        raise CheckpointError(f"{Path(path).name}: {error}") from None
