"""Files appear whole or not at all."""

from __future__ import annotations

import pytest
from semantic_edit.models.errors import InputError, check_choice
from semantic_edit.models.files.atomic import atomic_write


def test_a_file_appears_whole_and_readable(tmp_path):
    path = tmp_path / "new" / "a.bin"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"abc")
        assert not path.exists() and temporary.parent == path.parent and temporary.name.startswith(".")
    assert path.read_bytes() == b"abc" and path.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in path.parent.iterdir()] == ["a.bin"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_the_longest_name_that_a_folder_takes_can_be_written(tmp_path):
    path = tmp_path / f"{'x' * 251}.bin"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"abc")
    assert path.read_bytes() == b"abc"


def test_a_choice_outside_of_the_list_is_refused_with_the_list():
    check_choice("mode", "b", ("a", "b"))
    check_choice("mode", "b", {"a": 1, "b": 2})
    with pytest.raises(InputError, match=r"Unknown mode 'c'; expected one of a, b\."):
        check_choice("mode", "c", ("a", "b"))
