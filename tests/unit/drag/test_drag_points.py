"""What people and point editors give as drags, and what is refused."""

import json
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.editing.drag.points import MAX_POINTS, parse_points
from semantic_edit.models import InputError

SIZE = (100, 200)  # height, width
EXPECTED = [[[10.0, 20.0], [30.0, 40.0]], [[50.5, 60.0], [70.0, 80.25]]]

FORMS = {
    "text": "10,20 -> 30,40\n50.5,60 -> 70,80.25",
    "text, loosely": "# two drags\n (10, 20) => (30, 40) ;\n\n[50.5 60] to [70 80.25]  # the second\n",
    "text with other separators": "10;20→30 ; 40 , ,\n50.5\t60->70 80.25",
    "pairs": [[[10, 20], [30, 40]], [[50.5, 60], [70, 80.25]]],
    "rows of four": [[10, 20, 30, 40], [50.5, 60, 70, 80.25]],
    "tracks": [[[10, 20], [11, 11], [30, 40]], [[50.5, 60], [1, 2], [3, 4], [70, 80.25]]],
    "tracks of objects": [
        [{"x": 10, "y": 20}, {"x": 30, "y": 40}],
        [{"x": 50.5, "y": 60}, {"x": 5, "y": 6}, {"x": 70, "y": 80.25}],
    ],
    "taking turns": [{"x": 10, "y": 20}, {"x": 30, "y": 40}, {"x": 50.5, "y": 60}, {"x": 70, "y": 80.25}],
    "handles and targets": {"handles": [[10, 20], [50.5, 60]], "targets": [[30, 40], [70, 80.25]]},
    "two colours of points": {
        "positive": [{"x": 10, "y": 20}, {"x": 50.5, "y": 60}],
        "negative": [{"x": 30, "y": 40}, {"x": 70, "y": 80.25}],
    },
    "a list of named ends": [
        {"from": [10, 20], "to": [30, 40]},
        {"start": {"x": 50.5, "y": 60}, "end": {"x": 70, "y": 80.25}},
    ],
    "under a name": {"points": [[[10, 20], [30, 40]], [[50.5, 60], [70, 80.25]]]},
    "on a canvas of half size": {
        "handles": [[5, 10], [25.25, 30]], "targets": [[15, 20], [35, 40.125]], "width": 100, "height": 50,
    },
    "as fractions": {
        "handles": [[0.05, 0.2], [0.2525, 0.6]], "targets": [[0.15, 0.4], [0.35, 0.8025]], "units": "fractions",
    },
}  # fmt: skip


def as_lists(points):
    return torch.stack([points.handles, points.targets], dim=1).tolist()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(form):
    text = FORMS[form] if isinstance(FORMS[form], str) else json.dumps(FORMS[form])
    points = parse_points(text, SIZE)
    assert len(points) == 2
    torch.testing.assert_close(torch.tensor(as_lists(points)), torch.tensor(EXPECTED))


@pytest.mark.parametrize(
    ("handles", "targets"),
    [
        ('[{"x": 10, "y": 20}, {"x": 50.5, "y": 60}]', '[{"x": 30, "y": 40}, {"x": 70, "y": 80.25}]'),
        ("10,20\n50.5,60", "[[30, 40], [70, 80.25]]"),
        ('{"positive": [[10, 20], [50.5, 60]]}', "(30, 40)\n(70, 80.25)"),
    ],
)
def test_handles_and_targets_may_come_apart(handles, targets):
    assert as_lists(parse_points(handles, SIZE, targets=targets)) == EXPECTED


def test_units_and_canvas():
    line = "0.5,0.5 -> 1,0"
    assert as_lists(parse_points(line, SIZE)) == [[[100, 50], [200, 0]]]
    assert as_lists(parse_points(line, SIZE, "pixels")) == [[[0.5, 0.5], [1, 0]]]
    assert as_lists(parse_points("0,0 -> 1,1", SIZE)) == [[[0, 0], [1, 1]]]  # whole numbers are pixels
    assert as_lists(parse_points("0,0 -> 1,1", SIZE, "fractions")) == [[[0, 0], [200, 100]]]
    assert as_lists(parse_points("512,512 -> 0,1024", SIZE, canvas=(1024, 1024))) == [[[100, 50], [0, 100]]]
    with pytest.raises(InputError, match=r"target of drag 1 is at \(1.004, 0.5\).*read as fractions"):
        parse_points("0.25,0.5 -> 1.004,0.5", SIZE)  # not pixels, in which it would move by less than one
    assert as_lists(parse_points("0.5,0.5 -> 1,50", SIZE)) == [[[0.5, 0.5], [1, 50]]]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(1.5, 99.0)] * 4), min_size=1, max_size=6).filter(
        lambda rows: all(row[:2] != row[2:] for row in rows)
    )
)
def test_numbers_survive_in_text_and_json(rows):
    text = "\n".join(f"{a!r},{b!r} -> {c!r},{d!r}" for a, b, c, d in rows)
    for form in (text, json.dumps(rows)):
        points = torch.tensor(as_lists(parse_points(form, SIZE))).reshape(-1, 4)
        torch.testing.assert_close(points, torch.tensor(rows))


BLANKS, DIGITS = " " * 200, "9" * 200  # runs that expressions with neighbouring optional parts share out in every way
REFUSED = {
    "": "empty",
    "   \n # nothing\n": "empty",
    "[]": "empty",
    "{}": "needs 'handles' and 'targets'",
    "10,20": "cannot be read",
    "10,20 -> 30": "cannot be read",
    "ten,20 -> 30,40": "cannot be read",
    "10,20 -> 10,20": "target where its handle is",
    "10,20 -> 201,40": "target of drag 1 .* outside the picture",
    "1,2 -> 3,4\n-1,20 -> 3,4": "handle of drag 2 .* outside the picture",
    "1e400,20 -> 30,40": "not finite",
    '[[[1, 2], [3, 4]]': "cannot be read",
    '{"handles": [[1, 2], [3, 4]], "targets": [[5, 6]]}': "2 handles and 1 targets",
    '{"handles": [[1, 2]]}': "even",
    '{"targets": [[1, 2]]}': "needs 'handles' and 'targets'",
    '{"handles": 5, "targets": [[1, 2]]}': "must be lists",
    '{"handles": [[1, 2, 3]], "targets": [[1, 2]]}': "no point",
    '{"handles": [["1", "2"]], "targets": [[1, 2]]}': "no point",
    '{"handles": [[true, 2]], "targets": [[1, 2]]}': "no point",
    '{"handles": [[1, 2]], "targets": [[5, 6]], "width": 0, "height": 5}': "width|height",
    '{"handles": [[1, 2]], "targets": [[5, 6]], "units": "miles"}': "units",
    "[[1, 2], [3, 4], [5, 6]]": "must be even",
    "[[1, 2, 3]]": "no pair",
    "[5]": "no pair",
    "[[[1, NaN], [3, 4]]]": "not finite",
    "[[[1, 2]]]": "no pair",
    f"[[[{'9' * 400}, 2], [3, 4]]]": "too large",
    "[" * 100_000: "cannot be read",
    '[{"points":' * 300 + "[]" + "}]" * 300: "more than 50 deep",
    "1,2 -> 3,4 -> 5,6": "cannot be read",
    "1,2,3 -> 4,5": "cannot be read",
    f"1{BLANKS}1{BLANKS}->{BLANKS}1{BLANKS}1{BLANKS}!": "cannot be read",
    f"{DIGITS} {DIGITS} -> {DIGITS} {DIGITS} x": "cannot be read",
    "1," + "2" * 2000 + " -> 3,4": "cannot be read",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:30]))
def test_what_cannot_be_meant_is_refused_with_a_sentence(text):
    begun = time.process_time()
    with pytest.raises(InputError, match=REFUSED[text]) as refusal:
        parse_points(text, SIZE)
    assert time.process_time() - begun < 5
    assert len(str(refusal.value)) < 400 and "\n" not in str(refusal.value)


def test_other_refusals():
    many = "\n".join(["1,2 -> 3,4"] * (MAX_POINTS + 1))
    with pytest.raises(InputError, match="at most 64"):
        parse_points(many, SIZE)
    with pytest.raises(InputError, match="Unknown units '.*'; expected one of auto"):
        parse_points("1,2 -> 3,4", SIZE, "inches")
    with pytest.raises(InputError, match="2 handles and 1 targets"):
        parse_points("1,2\n3,4", SIZE, targets="5,6")
    with pytest.raises(InputError, match="targets are empty"):
        parse_points("1,2", SIZE, targets=" ")
    with pytest.raises(InputError, match="'1,2 -> 3,4' that is no point"):
        parse_points("1,2 -> 3,4", SIZE, targets="5,6")
    with pytest.raises(InputError, match="fractions of a picture"):
        parse_points("0.5,0.5 -> 20,1", SIZE, "fractions")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["handles", "targets", "x", "y", "from", "to", "width"]), inner, max_size=4),
    max_leaves=12,
).map(json.dumps))  # fmt: skip
def test_anything_gives_points_or_a_sentence(text):
    try:
        points = parse_points(text, SIZE)
    except InputError:
        return
    positions = torch.stack([points.handles, points.targets])
    assert bool((positions >= 0).all()) and bool((positions <= torch.tensor([200.0, 100.0])).all()) and len(points) > 0
