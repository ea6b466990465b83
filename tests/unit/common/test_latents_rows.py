"""What people type to name rows of W+ and pictures of a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantic_edit.editing.common.rows import layer_groups, parse_indices, parse_rows
from semantic_edit.models.errors import InputError


@pytest.mark.parametrize(
    ("rows", "coarse", "middle"),
    [(18, 4, 8), (16, 4, 8), (14, 4, 8), (12, 4, 8), (10, 4, 8), (8, 3, 6), (6, 2, 4), (4, 2, 4), (3, 1, 2)],
)
def test_groups_follow_the_paper_and_share_small_generators(rows, coarse, middle):
    groups = layer_groups(rows)
    assert groups == {"coarse": range(coarse), "middle": range(coarse, middle), "fine": range(middle, rows)}


@given(st.integers(1, 40))
def test_groups_cover_every_row_once(rows):
    assert [row for group in layer_groups(rows).values() for row in group] == list(range(rows))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("all", tuple(range(18))),
        ("Coarse", (0, 1, 2, 3)),
        ("fine, coarse", (0, 1, 2, 3, *range(8, 18))),
        ("0-5", (0, 1, 2, 3, 4, 5)),
        (" 3 ,1; 1", (1, 3)),
        ("-1", (17,)),
        ("coarse, 8 - 9", (0, 1, 2, 3, 8, 9)),
    ],
)
def test_rows_by_name_and_number(text, rows):
    assert parse_rows(text, 18) == rows


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("0", [0]),
        ("0, 2-5, -1", [0, 2, 3, 4, 5, 7]),
        ("all", list(range(8))),
        ("3,3", [3, 3]),
        ("5-2", [5, 4, 3, 2]),
        ("-3--1", [5, 6, 7]),
        ("2\n1", [2, 1]),
    ],
)
def test_indices_keep_their_order(text, indices):
    assert parse_indices(text, 8) == indices


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "indices is empty: expected positions such as"),
        (" , ;", "is empty"),
        ("8", "there is no 8; use 0 to 7"),
        ("-9", "there is no -9"),
        ("0-99", "there is no 99"),
        ("one", "'one' is neither a number"),
        ("1.5", "'1.5' is neither a number"),
        ("1--", "neither a number"),
        ("9999999999", "neither a number"),
    ],
)
def test_wrong_indices_are_a_sentence(text, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_indices(text, 8)


def test_a_group_that_this_generator_lacks_is_a_sentence():
    with pytest.raises(InputError, match="layers: 'fine' names no row of this generator, which has only 2"):
        parse_rows("fine", 2, "layers")


@given(st.text(max_size=20), st.integers(1, 20))
def test_any_text_is_read_or_refused(text, count):
    for parse in (parse_rows, parse_indices):
        try:
            indices = parse(text, count)
        except InputError:
            continue
        assert indices and all(0 <= index < count for index in indices)
