"""Ctrl+Z in every editor: one step at a time, nothing else of the graph with it, and the picture stays."""

from __future__ import annotations

import json

import pytest

DRAG, BRUSH, PAINT = "SemanticEditDragPoints", "SemanticEditBrushMask", "SemanticEditPaintConcept"
LIBRARY, REFINE, LAYERS = "SemanticEditLoadDirection", "SemanticEditRefineMasks", "SemanticEditRegionLayerMasks"

PICTURE = (
    """(kind) => app.graph._nodes.find((node) => node.type === kind).semanticEdit.stage.image.getAttribute("src")"""
)
MARK = "() => app.graph._nodes.forEach((node) => (node.sameAsBefore = true))"
MARKED = "() => app.graph._nodes.every((node) => node.sameAsBefore)"


def other_nodes(desk, kind):
    """Everything of the other nodes that a person could miss; the order changes when a node is clicked."""
    nodes = [node for node in desk.saved()["nodes"] if node["type"] != kind]
    return sorted(json.dumps([node["id"], node.get("widgets_values"), node["pos"]]) for node in nodes)


def press(desk, keys):
    desk.page.keyboard.press(keys)
    desk.page.wait_for_timeout(400)  # ComfyUI looks at a key one frame later


def walk(desk, read, states):
    """Undo from the last of the states to the first, once more, and redo all of them, by either key."""
    assert read() == states[-1]
    for state in [*reversed(states[:-1]), states[0]]:
        press(desk, "Control+z")
        assert read() == state
    for k, state in enumerate([*states[1:], states[-1]]):
        press(desk, "Control+Shift+z" if k % 2 else "Control+y")
        assert read() == state


@pytest.mark.parametrize(
    ("graph", "kind", "name"),
    [("small", DRAG, "points"), ("painting", BRUSH, "strokes"), ("painting", PAINT, "strokes")],
)
def test_strokes_go_and_come_one_by_one(bench, graph, kind, name):
    bench.build(graph)
    bench.run()  # its picture comes, and a sentence
    bench.close_dialogs()
    bench.run()  # from the cache
    bench.close_dialogs()
    stage = bench.look_at(kind).locator(".se-stage")
    bench.page.evaluate(MARK)
    picture, before = bench.page.evaluate(PICTURE, kind), other_nodes(bench, kind)
    assert picture

    states = [bench.values(kind)[name]]
    for start, end in [((0.5, 0.4), (0.6, 0.4)), ((0.4, 0.6), (0.5, 0.7))]:
        bench.pull(stage, start, end)
        states.append(bench.values(kind)[name])
    assert [len(state.splitlines()) for state in states] == [0, 1, 2]
    walk(bench, lambda: bench.values(kind)[name], states)
    assert other_nodes(bench, kind) == before
    assert bench.page.evaluate(PICTURE, kind) == picture
    assert bench.page.evaluate(MARKED), "no node was made anew"
    assert not bench.problems


def test_undo_of_the_graph_takes_one_stroke_and_leaves_the_picture(bench):
    bench.build("painting")
    bench.show(bench.saved())  # as a workflow with an identity of its own
    bench.run()
    bench.close_dialogs()
    box = bench.look_at(BRUSH)
    for start, end in [((0.5, 0.4), (0.6, 0.4)), ((0.4, 0.6), (0.5, 0.7))]:
        bench.pull(box.locator(".se-stage"), start, end)
    both = bench.values(BRUSH)["strokes"]
    bench.page.evaluate("document.activeElement.blur()")
    press(bench, "Control+z")
    bench.page.wait_for_function(
        """([kind, strokes]) => app.graph._nodes.find((node) => node.type === kind)
          ?.widgets.find((widget) => widget.name === "strokes").value === strokes""",
        arg=[BRUSH, both.splitlines()[0]],
    )
    bench.page.wait_for_timeout(1200)  # the graph is read anew, and its pictures are loaded
    assert bench.page.evaluate(PICTURE, BRUSH)
    # The editor has followed: its own redo brings the stroke back.
    box = bench.look_at(BRUSH)
    box.get_by_role("button", name="Redo").click()
    assert bench.values(BRUSH)["strokes"] == both
    box.locator(".se-stage").focus()
    press(bench, "Control+z")
    assert bench.values(BRUSH)["strokes"] == both.splitlines()[0]
    assert not bench.problems


def test_choices_and_switches_go_and_come_one_by_one(bench):
    bench.build("text")
    ended, message = bench.run()
    assert ended == "execution_success", message

    box = bench.look_at(LIBRARY)
    files = [bench.values(LIBRARY)["file"]]
    for name in ("hat", "turn_head"):
        box.get_by_role("radio", name=name).first.click()
        files.append(bench.values(LIBRARY)["file"])
    assert len(set(files)) == 3
    walk(bench, lambda: bench.values(LIBRARY)["file"], files)

    box = bench.look_at(REFINE)
    parts = [""]
    for name in ("hair", "mouth"):
        box.get_by_role("button", name=f"part {name}").click()
        parts.append(bench.values(REFINE)["drop_parts"])
    assert parts[1:] == ["hair", "hair, mouth"]
    walk(bench, lambda: bench.values(REFINE)["drop_parts"], parts)

    box = bench.look_at(LAYERS)

    def pressed():
        return box.locator("button[aria-pressed=true]").count()

    counts = [pressed()]
    for name in ("hair", "mouth"):
        box.get_by_role("button", name=f"part {name}").click()
        counts.append(pressed())
    assert counts == [counts[0], counts[0] - 1, counts[0] - 2]
    walk(bench, pressed, counts)
    assert not bench.problems
