"""The widgets under fingers and keys: one finger draws, two zoom, and Tab comes to every control."""

from __future__ import annotations

import pytest
from semantic_edit.editing.drag.points import parse_points

DRAG, BRUSH = "SemanticEditDragPoints", "SemanticEditBrushMask"


@pytest.fixture
def fingers(bench):
    """fingers(stage, way, ...): so many fingers go their ways [(x, y), ...] over a stage, in shares of its box."""
    client = bench.page.context.new_cdp_session(bench.page)
    client.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})

    def touch(stage, *ways):
        box = stage.bounding_box()
        for kind, step in [("touchStart", 0), *(("touchMove", k) for k in range(1, len(ways[0])))]:
            places = [way[step] for way in ways]
            points = [
                {"x": box["x"] + box["width"] * x, "y": box["y"] + box["height"] * y, "id": number}
                for number, (x, y) in enumerate(places)
            ]
            client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        bench.page.wait_for_timeout(300)

    yield touch
    client.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    client.detach()


ZOOM = "(stage) => stage.getBoundingClientRect().width / stage.parentElement.getBoundingClientRect().width"


def test_one_finger_pulls_a_drag_and_two_zoom(small, fingers):
    small.run()
    small.close_dialogs()
    stage = small.look_at(DRAG).locator(".se-stage")
    view = small.page.evaluate("[app.canvas.ds.scale, ...app.canvas.ds.offset]")
    fingers(stage, [(0.5, 0.5), (0.53, 0.5), (0.56, 0.5), (0.6, 0.5)])
    drags = parse_points(small.values(DRAG)["points"], (128, 128))
    assert len(drags) == 1
    assert abs(float(drags.handles[0, 0]) - 64) < 3 and float(drags.targets[0, 0] - drags.handles[0, 0]) > 5

    content = stage.locator(".se-content")
    fitted = content.evaluate(ZOOM)
    fingers(stage, [(0.45, 0.5), (0.4, 0.5), (0.3, 0.5), (0.2, 0.5)], [(0.55, 0.5), (0.6, 0.5), (0.7, 0.5), (0.8, 0.5)])
    wider = content.evaluate(ZOOM)
    assert wider > 2 * fitted, "two fingers that part zoom in"
    fingers(stage, [(0.1, 0.5), (0.2, 0.5), (0.3, 0.5), (0.4, 0.5)], [(0.9, 0.5), (0.8, 0.5), (0.7, 0.5), (0.6, 0.5)])
    assert content.evaluate(ZOOM) < 0.6 * wider, "two fingers that meet zoom out"
    assert len(parse_points(small.values(DRAG)["points"], (128, 128))) == 1, "zooming draws nothing"
    assert small.page.evaluate("[app.canvas.ds.scale, ...app.canvas.ds.offset]") == view, "the graph stays where it is"
    assert not small.problems
    small.shot("fingers")


def test_a_finger_paints(bench, fingers):
    bench.build("painting")
    bench.run()
    bench.close_dialogs()
    stage = bench.look_at(BRUSH).locator(".se-stage")
    fingers(stage, [(0.4, 0.4), (0.45, 0.45), (0.5, 0.5), (0.6, 0.5)])
    strokes = bench.values(BRUSH)["strokes"].split("\n")
    assert len(strokes) == 1 and strokes[0].count(",") >= 2


# What in a widget takes the focus now, and everything that should: enabled, seen, and not one of a row of choices, of
# which arrows choose.
CONTROLS = """(box) => [...box.querySelectorAll("button, input, select, textarea, [tabindex]")]
  .filter((each) => !each.disabled && each.tabIndex >= 0 && each.getClientRects().length)
  .map((each) => each.getAttribute("aria-label") || each.textContent.trim())"""
FOCUSED = """(box) => { const now = document.activeElement;
  return box.contains(now) ? now.getAttribute("aria-label") || now.textContent.trim() : null; }"""
FIRST = """(box) => [...box.querySelectorAll("button, input, [tabindex]")]
  .find((each) => !each.disabled && each.tabIndex >= 0 && each.getClientRects().length).focus()"""


@pytest.mark.parametrize(
    ("graph", "kinds"),
    [
        ("small", [DRAG, "SemanticEditCompareImages"]),
        ("painting", [BRUSH, "SemanticEditPaintConcept"]),
        ("text", ["SemanticEditLoadDirection", "SemanticEditRefineMasks", "SemanticEditRegionLayerMasks"]),
    ],
)
def test_tab_comes_to_every_control(bench, graph, kinds):
    bench.build(graph)
    if graph == "small":
        bench.set(DRAG, points="50,50 -> 60,60\n80,40 -> 80,60", canvas_width=128, canvas_height=128)
    elif graph == "painting":
        bench.set(BRUSH, strokes="0.1: 0.5 0.5")
        bench.set("SemanticEditPaintConcept", strokes="0.1: 0.5 0.3")
    ended, message = bench.run()
    assert ended == "execution_success", message
    count = bench.page.evaluate("app.graph._nodes.length")
    for kind in kinds:
        box = bench.look_at(kind)
        wanted = box.evaluate(CONTROLS)
        assert len(wanted) >= 2, f"{kind}: {wanted}"
        box.evaluate(FIRST)
        found = []
        while (name := box.evaluate(FOCUSED)) and name not in found:
            found.append(name)
            bench.page.keyboard.press("Tab")
        assert sorted(found) == sorted(wanted), kind
        # Arrows walk a row of choices, and the choice follows.
        for row in box.locator("[role=radiogroup]").all():
            choices = row.get_by_role("radio")
            if choices.count() < 2 or not choices.first.is_enabled():
                continue
            row.locator("[tabindex='0']").first.focus()
            names = set()
            for _ in range(choices.count()):
                bench.page.keyboard.press("ArrowRight")
                names.add(bench.page.evaluate("document.activeElement.textContent"))
            assert len(names) == choices.count(), kind
        # Keys of a widget are not the graph's.
        box.evaluate(FIRST)
        bench.page.keyboard.press("Delete")
        assert bench.page.evaluate("app.graph._nodes.length") == count
