"""The manifest, the lock, the names of results and the settings: each true after a kill at any moment."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.jobs.listing import name_results, picture_names
from semantic_edit.jobs.lock import FolderLock
from semantic_edit.jobs.manifest import MANIFEST_NAME, Manifest, Record, read_records
from semantic_edit.jobs.settings import check_settings, read_settings, write_settings
from semantic_edit.jobs.storage import storage_problems
from semantic_edit.models import InputError
from semantic_edit.models.files.atomic import atomic_write
from semantic_edit.models.files.partial import remove_partial_files
from semantic_edit.models.files.storage import StorageError

RECORDS = [
    Record("a.png", "done", "a.png", "codes/a.safetensors", 1.0 / 3, True, 0.5, "", 5, 10**18 + 1, 77, 0.1, "2026"),
    Record("b\n\udcff.jpg", "skipped", problem="not a picture"),
    Record("c.png", "done", "c.png", "", -2.5),
]


def test_records_come_back_as_they_were_written(tmp_path):
    with Manifest(tmp_path) as manifest:
        for record in RECORDS:
            manifest.add(record)
        manifest.settle()
    assert list(read_records(tmp_path)) == RECORDS
    assert list(read_records(tmp_path / "none")) == []


@pytest.mark.parametrize("cut", [1, 5, 100, 10**6])
def test_a_line_that_a_kill_cut_short_counts_as_never_written(tmp_path, cut):
    with Manifest(tmp_path) as manifest:
        manifest.add(RECORDS[0])
        manifest.add(RECORDS[1])
        first = len(json.dumps(RECORDS[0].__dict__)) + 1
    path = tmp_path / MANIFEST_NAME
    content = path.read_bytes()
    path.write_bytes(content[: max(len(content) - cut, first)])
    assert list(read_records(tmp_path)) == RECORDS[:1]
    with Manifest(tmp_path) as manifest:
        manifest.add(RECORDS[2])
    assert list(read_records(tmp_path)) == [RECORDS[0], RECORDS[2]]


@settings(max_examples=40, deadline=None)
@given(rubbish=st.binary(min_size=1, max_size=60))
def test_rubbish_in_a_manifest_costs_only_its_own_lines(tmp_path_factory, rubbish):
    folder = tmp_path_factory.mktemp("rubbish")
    lines = [json.dumps(record.__dict__).encode() for record in RECORDS]
    (folder / MANIFEST_NAME).write_bytes(b"\n".join([lines[0], rubbish, lines[1]]) + b"\n" + rubbish)
    logging.disable(logging.CRITICAL)
    try:
        assert [record for record in read_records(folder) if record in RECORDS] == RECORDS[:2]
        Manifest(folder).__exit__()
        assert [record for record in read_records(folder) if record in RECORDS] == RECORDS[:2]
    finally:
        logging.disable(logging.NOTSET)


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_half(tmp_path):
    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, line):
            return self.file.write(line[:10])

        def __getattr__(self, name):
            return getattr(self.file, name)

    manifest = Manifest(tmp_path)
    manifest.add(RECORDS[0])
    manifest._file = Full(manifest._file)
    with pytest.raises(OSError, match="space"):
        manifest.add(RECORDS[1])
    assert (tmp_path / MANIFEST_NAME).read_bytes().count(b"\n") == 1 and list(read_records(tmp_path)) == RECORDS[:1]
    manifest.__exit__()


HOLDER = """
import sys, time
from pathlib import Path
from semantic_edit.jobs.lock import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_crash_gives_the_folder_back(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=rf"Another process \({holder.pid}\) is working in the folder"):
            FolderLock(tmp_path).__enter__()
        holder.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        holder.wait(20)
        with FolderLock(tmp_path):
            with pytest.raises(InputError, match="Another process"):  # nor twice in one process
                FolderLock(tmp_path).__enter__()
        with FolderLock(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(handle):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("semantic_edit.jobs.lock._take", refuse)
    with FolderLock(tmp_path):
        assert "do not start a second job" in caplog.text


NAMES = st.lists(
    st.builds("{}{}".format, st.sampled_from("aAbBäÄ1"), st.sampled_from([".png", ".PNG", ".jpg", ".jpg.png", ".gif"])),
    unique=True,
    max_size=30,
)


@given(NAMES, st.data())
def test_results_have_names_of_their_own_and_keep_them(names, data):
    first = list(name_results(names, {}))
    assert len({result.casefold() for result in first}) == len(names)
    assert all(result.endswith(".png") for result in first)
    done = data.draw(st.integers(0, len(names)))
    assert list(name_results(names, dict(zip(names[:done], first[:done], strict=True)))) == first


def test_names_that_are_too_long_are_shortened_without_meeting(tmp_path):
    names = ["ä" * 100 + f"{k}" * 40 + ".jpg" for k in range(3)]
    results = list(name_results(names, {}))
    assert len(set(results)) == 3 and all(len(os.fsencode(result)) < 220 for result in results)


def test_pictures_are_listed_in_natural_order_without_what_is_none(tmp_path):
    for name in ("10.png", "2.PNG", "a²3.jpg", ".hidden.png", "notes.txt", "²"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert picture_names(tmp_path) == ["2.PNG", "10.png", "a²3.jpg"]


def test_settings_are_compared_by_meaning_and_every_difference_is_named(tmp_path):
    assert read_settings(tmp_path) is None
    before = {"generator": "mine [abc]", "strength": 0.1 + 0.2, "limit": None, "background": (1, 2, 3)}
    write_settings(tmp_path, before)
    stored = read_settings(tmp_path)
    check_settings(tmp_path, stored, {**before, "generator": "renamed [abc]"})
    with pytest.raises(InputError, match=r"mine \[abc\] then, mine \[abd\] now; limit: none then, 2 now\)"):
        check_settings(tmp_path, stored, {**before, "generator": "mine [abd]", "limit": 2})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": 1, "settings": {}, "version": 1}', b"\xff"])
def test_a_damaged_job_file_is_a_sentence(tmp_path, content):
    (tmp_path / "job.json").write_bytes(content)
    with pytest.raises(InputError, match=r"job\.json is damaged"):
        read_settings(tmp_path)


def test_a_job_of_a_later_version_is_not_continued(tmp_path):
    write_settings(tmp_path, {})
    file = tmp_path / "job.json"
    file.write_text(file.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(InputError, match="is of version 2"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "is full"), (errno.EROFS, "read-only"), (errno.EACCES, "read-only"), (errno.EIO, "cannot be used")],
)
def test_what_a_disk_refuses_is_a_sentence(tmp_path, code, words):
    with pytest.raises(StorageError, match=words) as caught, storage_problems(tmp_path):
        raise OSError(code, os.strerror(code))
    assert "goes on where it stopped" in str(caught.value)


def test_files_appear_whole_and_what_was_cut_short_is_swept(tmp_path, monkeypatch):
    with atomic_write(tmp_path / "a.png") as partial:
        partial.write_bytes(b"old")

    def refuse(*_):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(StorageError, match="is full"), atomic_write(tmp_path / "a.png") as partial:
            partial.write_bytes(b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"] and (tmp_path / "a.png").read_bytes() == b"old"
    (tmp_path / ".semantic_edit-0123456789abcdef.partial").write_bytes(b"half")
    foreign = [
        ".mine.partial",
        ".b-x1.partial",
        ".semantic_edit-mine.partial",
        "semantic_edit-0123456789abcdef.partial",
    ]
    for name in foreign:
        (tmp_path / name).write_bytes(b"of somebody")
    remove_partial_files(tmp_path)
    remove_partial_files(tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.png", *foreign])
