"""Typed lists are split at the commas of several keyboards."""

import pytest
from semantic_edit.editing.common.lists import typed_list
from semantic_edit.editing.common.rows import parse_indices
from semantic_edit.models.errors import InputError


@pytest.mark.parametrize("comma", [",", ";", "\n", "\uff0c", "\u3001", "\u060c"])
def test_every_comma_parts(comma):
    assert typed_list(f" hair {comma}left eye{comma}{comma} ") == ["hair", "left eye"]


def test_nothing_is_no_entry():
    assert typed_list(" ,\n") == []


def test_positions_typed_on_a_chinese_keyboard():
    assert parse_indices("0\uff0c2-3", 5, "indices") == [0, 2, 3]


def test_a_list_of_positions_has_a_greatest_length():
    assert len(parse_indices("all, " * 100, 1000)) == 100_000
    with pytest.raises(InputError, match="more than 100000 positions"):
        parse_indices("all, " * 1_000_000, 1000)
