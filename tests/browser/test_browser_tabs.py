"""Workflow tabs: every editor and viewer has its picture when its tab is opened again, and none of another tab's."""

from __future__ import annotations

import pytest

# The library shows files, and the table of Refine Masks is in the workflow.
_SHOWN = """app.graph._nodes.filter((node) => node.semanticEdit && !/LoadDirection|RefineMasks/.test(node.type))
  .map((node) => node.semanticEdit.element)"""
FILLED = f"""() => {_SHOWN}
  .map((box) => Boolean(box.querySelector("img[src], canvas[role=img][width]")))"""
SOURCES = f"""() => {_SHOWN}
  .flatMap((box) => [...box.querySelectorAll("img[src]")]).map((image) => image.src)
  .filter((source) => source.includes("semantic_edit_"))"""
SEED = "SemanticEditSampleLatents"


def open_tab(desk, number):
    desk.page.locator(".workflow-label").nth(number).click()
    desk.page.wait_for_timeout(2500)


def wait_for_pictures(desk):
    desk.page.wait_for_function(f"() => {{ const list = ({FILLED})(); return list.length && list.every(Boolean); }}")


@pytest.mark.parametrize("graph", ["painting", "text"])
def test_pictures_are_there_when_a_tab_is_opened_again(desk_of_its_own, graph):
    desk = desk_of_its_own
    desk.build(graph)
    desk.set(SEED, seed=len(graph) + len(desk.renderer))  # what ran before is not run, and shows nothing
    if graph == "painting":
        desk.set("SemanticEditBrushMask", strokes="0.1: 0.5 0.5")
        desk.set("SemanticEditPaintConcept", strokes="0.1: 0.5 0.2")
    desk.page.evaluate("app.extensionManager.workflow.activeWorkflow.changeTracker.checkState()")
    assert desk.run()[0] == "execution_success"
    wait_for_pictures(desk)

    desk.show(desk.saved(), "another")  # with the same numbers
    assert not any(desk.page.evaluate(FILLED))
    open_tab(desk, 0)
    wait_for_pictures(desk)

    # A run that ends while another tab is looked at.
    desk.set(SEED, seed=50 + len(graph) + len(desk.renderer))
    before = desk.page.evaluate(SOURCES)
    desk.page.evaluate(
        """() => { window.over = false;
          app.api.addEventListener("execution_success", () => (window.over = true), { once: true });
          app.queuePrompt(0, 1); }"""
    )
    open_tab(desk, 1)
    desk.page.wait_for_function("window.over", timeout=240_000)
    desk.page.wait_for_timeout(500)
    assert not any(desk.page.evaluate(FILLED)), "what the first tab runs is not shown in the second"
    open_tab(desk, 0)
    wait_for_pictures(desk)
    if before:  # a canvas does not say where it has its picture from
        after = desk.page.evaluate(SOURCES)
        assert after and not set(after) & set(before), "the pictures are those of the last run"
    assert not desk.problems


@pytest.fixture(params=("classic", "vue"))
def desk_of_its_own(request, open_page):
    """A page without the tabs of other tests."""
    desk = open_page(request.param)
    if desk.early:
        desk.page.close()
        pytest.skip("this early form of the newer renderer draws no widgets of packs")
    desk.problems.clear()
    yield desk
    desk.page.close()
