"""What nodes send to their widgets in the browser, and how they wait for a person's first stroke."""

from __future__ import annotations

import importlib

import pytest
import torch
from semantic_edit.models import InputError
from semantic_edit.nodes.common.schema import search_aliases, with_advanced


def test_compare_images_lays_pairs_side_by_side(run_node):
    before, after = torch.rand(3, 20, 30, 3), torch.rand(3, 20, 30, 3)
    (pairs,), shown = run_node("CompareImages", before=before, after=after)
    assert torch.equal(pairs, torch.cat([before, after], dim=2))
    assert len(shown["semantic_edit_before"]) == len(shown["semantic_edit_after"]) == 3 and "images" not in shown


def test_one_picture_before_serves_all_and_is_resized(run_node):
    (pairs,), _ = run_node("CompareImages", before=torch.rand(1, 10, 10, 4), after=torch.rand(2, 20, 30, 3))
    assert pairs.shape == (2, 20, 60, 3)


def test_many_pairs_are_counted(run_node):
    (pairs,), shown = run_node("CompareImages", before=torch.rand(1, 4, 4, 3), after=torch.rand(70, 4, 4, 3))
    assert len(pairs) == 70 and len(shown["semantic_edit_after"]) == 64
    assert shown["semantic_edit_note"] == ["The first 64 of 70 pairs are shown."]


@pytest.mark.parametrize(("shape", "words"), [((2, 4, 4, 3), "2 pictures before"), ((4, 4), "IMAGE")])
def test_wrong_pairs_are_refused(run_node, shape, words):
    before = torch.rand(*shape)
    with pytest.raises(InputError, match=words):
        run_node("CompareImages", before=before, after=torch.rand(3, 4, 4, 3))


def test_a_brush_without_strokes_shows_the_picture_and_waits(run_node):
    values, shown = run_node("BrushMask", images=torch.rand(2, 30, 40, 3), strokes=" \n")
    assert all("no strokes" in value.message for value in values) and len(shown["semantic_edit_picture"]) == 1


def test_search_words_are_left_out_where_comfyui_does_not_know_them():
    """The stand-in is the oldest ComfyUI that the pack runs on."""
    assert search_aliases("DragGAN") == {}


@pytest.mark.parametrize(
    ("file", "node", "text", "wire"),
    [
        ("one_for_all.drag_points", "DragPoints", "points", "targets"),
        ("paint.brush_mask", "BrushMask", "strokes", None),
        ("paint.paint_concept", "PaintConcept", "strokes", "mask"),
    ],
)
def test_what_waits_for_a_person_says_so_at_every_run(file, node, text, wire):
    state = getattr(importlib.import_module(f"semantic_edit.nodes.{file}"), node).fingerprint_inputs
    assert state(**{text: ""}) != state(**{text: ""}), "never taken from the run before"
    assert state(**{text: "1,2 -> 3,4"}) == state(**{text: "1,2 -> 3,4"})
    assert state(**{text: None}) == state(**{text: None}), "the text comes by wire"
    if wire:
        assert state(**{text: "", wire: None}) == state(**{text: "", wire: None})


def test_every_node_is_found_by_words_of_users(monkeypatch):
    """Where ComfyUI knows aliases and advanced inputs; the floor does not, and is left alone."""
    from semantic_edit.headless.comfy_api import io
    from semantic_edit.nodes import node_classes

    aliases = {}

    class NewSchema(io.Schema):
        def __init__(self, *args, search_aliases=(), **kwargs):
            super().__init__(*args, **kwargs)
            aliases[self.node_id] = list(search_aliases)

    class NewInt(io.Int):
        class Input(io.Int.Input):
            def __init__(self, id, advanced=None, **options):
                super().__init__(id, **options)

    nodes = node_classes()
    floor = [node.define_schema() for node in nodes]
    assert not [each.node_id for each in floor if any(hasattr(socket, "advanced") for socket in each.inputs or [])]
    monkeypatch.setattr(io, "Schema", NewSchema)
    monkeypatch.setattr(io, "Int", NewInt)
    schemas = {
        schema.node_id.removeprefix("SemanticEdit"): schema for schema in (node.define_schema() for node in nodes)
    }
    assert len(aliases) == len(nodes)
    assert not [node_id for node_id, words in aliases.items() if not 2 <= len(words) <= 7]
    folded = {
        name: [socket.id for socket in schema.inputs or [] if getattr(socket, "advanced", False)]
        for name, schema in schemas.items()
    }
    assert (len(folded["TrainTextEdit"]), len(folded["TuneModel"])) == (12, 12)
    assert all(len(ids) < len(schemas[name].inputs) for name, ids in folded.items() if ids)


def test_an_advanced_input_that_is_none_is_a_mistake():
    from semantic_edit.nodes.generator.generate_images import GenerateImages

    with pytest.raises(ValueError, match="GenerateImages has no inputs .'nothing'"):
        with_advanced("nothing")(GenerateImages.define_schema.__func__)(GenerateImages)
