"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest
from semantic_edit.models.errors import InputError, check_choice
from semantic_edit.models.files.atomic import atomic_write, write_new, write_new_bytes
from semantic_edit.models.files.partial import is_partial_name
from semantic_edit.models.files.storage import StorageError, TakenError

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "new" / "a.bin"
    with atomic_write(path, make_folder=True) as temporary:
        temporary.write_bytes(b"abc")
        assert not path.exists() and temporary.parent == path.parent and is_partial_name(temporary.name)
    assert path.read_bytes() == b"abc"
    assert [file.name for file in path.parent.iterdir()] == ["a.bin"]


@posix
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_the_users_umask_decides_who_may_read(tmp_path, umask, exclusive):
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "a.bin", exclusive) as temporary:
            temporary.write_bytes(b"abc")
    finally:
        os.umask(before)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_folder_that_is_gone_is_a_sentence_and_stays_gone(tmp_path):
    with pytest.raises(StorageError, match=r"a\.bin was not saved: the folder .*gone cannot be used \(No such file"):
        write_new_bytes(tmp_path / "gone" / "a.bin", b"abc")
    assert list(tmp_path.iterdir()) == []


def no_links(*_):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("links", [True, False])
def test_what_has_the_name_already_is_never_replaced(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a.bin"
    with pytest.raises(TakenError, match=r"a\.bin was not saved: there is a file"):
        with atomic_write(path, exclusive=True) as temporary:
            temporary.write_bytes(b"late")
            path.write_bytes(b"first")  # while this one was being written
    with pytest.raises(TakenError), atomic_write(path, exclusive=True):
        raise AssertionError("the work begins though the name is taken")
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("links", [True, False])
def test_new_files_get_the_next_number_that_is_free(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    for number in (1, 2, 99999):
        (tmp_path / f"a_{number:05}_.bin").write_bytes(b"old")
    os.symlink(tmp_path / "nowhere", tmp_path / "a_00003_.bin")
    assert write_new_bytes(tmp_path / "a_00001_.bin", b"new").name == "a_00004_.bin"
    assert write_new_bytes(tmp_path / "a_99999_.bin", b"new").name == "a_100000_.bin"
    (tmp_path / "plain.bin").touch()
    assert write_new_bytes(tmp_path / "plain.bin", b"new").name == "plain_00002_.bin"
    assert (tmp_path / "a_00002_.bin").read_bytes() == b"old" and not (tmp_path / "nowhere").exists()

    def fail(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_new(tmp_path / "b_00001_.bin", fail)


@posix
def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    os.symlink(tmp_path / "mine", tmp_path / "a.bin")
    with atomic_write(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"abc")
    assert (tmp_path / "mine").read_bytes() == b"mine" and not (tmp_path / "a.bin").is_symlink()


WRITER = """
import sys, time
from pathlib import Path
from semantic_edit.models.files.atomic import atomic_write
with atomic_write(Path(sys.argv[1]) / "slow.bin") as temporary:
    temporary.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""
OTHER = """
import sys
from pathlib import Path
from semantic_edit.models.files.atomic import write_new_bytes
for k in range(int(sys.argv[2])):
    write_new_bytes(Path(sys.argv[1]) / "a_00001_.bin", sys.argv[3].encode())
"""


@posix
def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    (tmp_path / ".mine.partial").write_bytes(b"mine")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout.readline() == "writing\n"
        subprocess.run([sys.executable, "-c", OTHER, str(tmp_path), "1", "x"], check=True)
        assert sum(map(is_partial_name, os.listdir(tmp_path))) == 1
        writer.send_signal(signal.SIGKILL)
        writer.wait(20)
        assert sum(map(is_partial_name, os.listdir(tmp_path))) == 1
        subprocess.run([sys.executable, "-c", OTHER, str(tmp_path), "1", "x"], check=True)
        assert sorted(os.listdir(tmp_path)) == [".mine.partial", "a_00001_.bin", "a_00002_.bin"]
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()


def test_processes_side_by_side_lose_nothing(tmp_path):
    commands = [[sys.executable, "-c", OTHER, str(tmp_path), "60", letter] for letter in "abc"]
    for process in [subprocess.Popen(command) for command in commands]:
        assert process.wait(120) == 0
    contents = [path.read_text() for path in tmp_path.iterdir()]
    assert sorted(contents) == ["a"] * 60 + ["b"] * 60 + ["c"] * 60


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
