"""What names hold never reaches a terminal raw, and never makes a line fail."""

from __future__ import annotations

import io
import logging
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantic_edit.headless.errors import WorkflowError
from semantic_edit.headless.host.progress_bar import Bar
from semantic_edit.headless.run.runner import NodeFailure
from semantic_edit.headless.workflow.document import Prompt
from semantic_edit.models.errors import CheckpointError, InputError
from semantic_edit.models.printable import printable, printable_lines, printable_logger, write_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("写真　１.png", "写真　１.png"),
        ("Screenshot 3.05\u202fPM.png", "Screenshot 3.05\u202fPM.png"),
        ("👩\u200d👧 é ü", "👩\u200d👧 é ü"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x9b0m\x7f\0", r"\x1b[2J\x9b0m\x7f\x00"),
        ("b\udcff.jpg", r"b\xff.jpg"),
        ("\ud800x", r"\ud800x"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("a\u2028b\x85c\x0bd\x1ce", r"a\u2028b\x85c\x0bd\x1ce"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_escapes(text, shown):
    assert printable(text) == shown and printable(shown) == shown
    assert printable_lines(f"{text}\nb").endswith("\nb")


@given(st.text(st.characters(exclude_categories=[])), st.sampled_from(["utf-8", "cp1252", "ascii", "cp932", "latin-1"]))
def test_any_text_is_one_line_on_any_console(text, encoding):
    assert len(printable(text).splitlines()) <= 1
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding=encoding, errors="strict", newline="")
    write_line(stream, text.replace("\n", ""))
    stream.flush()
    line = content.getvalue().decode(encoding)
    assert line.endswith("\n") and not any(ord(letter) < 32 or 126 < ord(letter) < 160 for letter in line[:-1])


def test_a_stream_without_an_encoding_and_a_window_without_a_console():
    stream = io.StringIO()
    write_line(stream, "写真\n\x1b[2J")
    assert stream.getvalue() == "写真\n\\x1b[2J\n"
    write_line(None, "nobody reads this")


def test_every_sentence_about_an_input_is_printable():
    assert str(InputError("no file 'a\nb\x1b[2J'")) == r"no file 'a\nb\x1b[2J'"
    assert str(CheckpointError("b\udcff.pt is a folder")) == r"b\xff.pt is a folder"
    error = WorkflowError("node\x1b]0;x\x07 is missing", "b\nc")
    assert error.problems == [r"node\x1b]0;x\x07 is missing", r"b\nc"] and str(error) == "\n".join(error.problems)
    assert str(NodeFailure("My\x1b[31m node", KeyError("x\x9b"))) == r"My\x1b[31m node: KeyError: 'x\x9b'"


def test_titles_and_progress_bars_are_printable():
    prompt = Prompt({"1\n2": {"class_type": "A", "inputs": {}, "_meta": {"title": "T\x1b[2J\r写"}}})
    assert prompt.title("1\n2") == r"T\x1b[2J\r写 (#1\n2)"

    class Screen(io.TextIOWrapper):
        def isatty(self):
            return True

    content = io.BytesIO()
    screen = Screen(content, encoding="cp1252", errors="strict", newline="")
    bar = Bar(screen)
    bar.start("T\x1b[2J写", 1, 2)
    bar.step(4, 4, "photo\n\x07写")
    screen.flush()
    drawn = content.getvalue().decode("cp1252")
    assert r"[1/2] T\x1b[2J\u5199 photo\n\x07\u5199" in drawn and "\x1b[2J" not in drawn and "\x07" not in drawn


def test_long_work_shows_its_rate_and_the_time_left():
    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    bar = Bar(screen)
    bar.start_long("photos", "pictures")
    bar.step(1, 4000)
    time.sleep(0.15)
    bar.step(100, 4000)
    bar.clear()
    assert re.search(r"photos \|#?-*\| 100/4000, +\d[\d.]* pictures/s, \d\d:\d\d left", screen.getvalue())


def test_log_lines_are_printable(caplog):
    log = printable_logger("semantic_edit.test_printable")
    with caplog.at_level(logging.WARNING):
        log.warning("Left out %s: %d", "a\nb\x1b[2J\udcff", 3)
    assert [record.getMessage() for record in caplog.records] == [r"Left out a\nb\x1b[2J\xff: 3"]
    assert printable_logger("semantic_edit.test_printable") is log and len(log.filters) == 1
