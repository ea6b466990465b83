"""Errors begin with their sentence wherever ComfyUI shows them, and travel between processes."""

from __future__ import annotations

import copy
import pickle

import pytest
from semantic_edit.headless.run.runner import NodeFailure
from semantic_edit.models.errors import CheckpointError, InputError
from semantic_edit.models.files.picture_reader import PictureError
from semantic_edit.models.files.storage import StorageError

ERRORS = [
    InputError("steps is 0"),
    CheckpointError("no header"),
    StorageError("no space"),
    PictureError("no picture"),
    NodeFailure("Drag Points", InputError("The points are empty")),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_no_path_stands_before_the_sentence(error):
    """As `full_type_name` of ComfyUI's execution.py writes it before the message."""
    kind = type(error)
    assert f"{kind.__module__}.{kind.__qualname__}" == f"semantic_edit.{kind.__name__}"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_out_of_a_pickle_or_a_copy_as_it_was(error):
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again).keys() == vars(error).keys()


def test_every_subclass_is_shown_so():
    class LateError(InputError):
        """Defined anywhere."""

    assert LateError.__module__ == "semantic_edit"
