"""Documents of detectors: lists nested without end are a sentence."""

import pytest
from semantic_edit.editing.photos.detection_documents import parse_text, read_boxes, read_faces
from semantic_edit.models.errors import InputError


@pytest.mark.parametrize("text", ["[" * 400 + "[1, 2]" + "]" * 400, '{"points": ' * 400 + "[1, 2]" + "}" * 400])
def test_lists_within_lists_without_end(text):
    with pytest.raises(InputError, match="more than 50 deep") as refusal:
        parse_text(text, "The points")
    assert len(str(refusal.value)) < 400


def test_lists_within_lists_as_detectors_give_them():
    document = parse_text("[" * 20 + "[1, 2], [3, 4]" + "]" * 20, "The points")
    assert read_faces(document) == [(None, [[1.0, 2.0], [3.0, 4.0]])]
    assert read_boxes(parse_text("[[[[1, 2, 3, 4]]]]", "The boxes"), "corners")[0][1] == [1, 2, 3, 4]
