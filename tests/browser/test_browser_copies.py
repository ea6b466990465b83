"""Widgets on nodes that were copied or are inside of a subgraph, and in a page that was opened anew."""

from __future__ import annotations

INTO_A_SUBGRAPH = """() => {
  const set = (type, name, value) => {
    const node = app.graph._nodes.find((each) => each.type === type);
    const widget = node.widgets.find((each) => each.name === name);
    widget.value = value;
    widget.callback?.(value);
    return node;
  };
  const mask = set("SemanticEditBrushMask", "strokes", "0.06: 0.2 0.2, 0.6 0.6");
  set("SemanticEditPaintConcept", "strokes", "0.06: 0.2 0.2, 0.6 0.6");
  const paint = set("SemanticEditPaintConcept", "concept", "hat");
  app.graph.convertToSubgraph(new Set([mask, paint]));
  const [inside] = app.graph.subgraphs.values();
  return inside._nodes.map((node) => node.type);
}"""
OPENED_AGAIN = """async () => {
  const { activeWorkflow } = app.extensionManager.workflow;
  activeWorkflow.changeTracker.store?.(); // as leaving its tab does
  await app.loadGraphData(JSON.parse(JSON.stringify(app.graph.serialize())), true, true, activeWorkflow);
}"""
PICTURES = """() => [...app.graph.subgraphs.values()][0]._nodes
  .map((node) => node.semanticEdit.stage.image.getAttribute("src")?.match(/filename=([^&]*)/)[1])"""

SAME = f"(names) => JSON.stringify(({PICTURES})()) === JSON.stringify(names)"


def test_pictures_inside_a_subgraph_are_there_after_its_tab_is_opened_again(bench):
    bench.build("painting")
    bench.set("SemanticEditSampleLatents", seed=len(bench.renderer))  # what ran before is not run, and shows nothing
    assert len(bench.page.evaluate(INTO_A_SUBGRAPH)) == 2
    bench.page.wait_for_timeout(500)
    assert bench.run()[0] == "execution_success"
    before = bench.page.evaluate(PICTURES)
    assert all(before) and len(set(before)) == 2
    bench.page.evaluate(OPENED_AGAIN)
    bench.page.wait_for_function(SAME, arg=before)
    assert not bench.problems


def test_copies_that_are_thrown_away_leave_nothing_at_the_page(bench):
    bench.build("painting")
    left = bench.page.evaluate(
        """() => {
          const { addEventListener, removeEventListener } = app.api;
          let count = 0;
          app.api.addEventListener = function (...all) { count++; return addEventListener.apply(this, all); };
          app.api.removeEventListener = function (...all) { count--; return removeEventListener.apply(this, all); };
          for (const node of [...app.graph._nodes]) node.clone(); // as Ctrl+C does
          Object.assign(app.api, { addEventListener, removeEventListener });
          return count;
        }"""
    )
    assert left == 0


def test_a_page_that_was_loaded_anew_shows_what_the_server_does_not_run_again(bench):
    bench.build("painting")
    bench.set("SemanticEditSampleLatents", seed=70 + len(bench.renderer))
    bench.page.evaluate(INTO_A_SUBGRAPH)
    assert bench.run()[0] == "execution_success"
    before = bench.page.evaluate(PICTURES)
    saved = bench.saved()
    bench.page.reload()
    bench.page.wait_for_function("window.app?.graph?._nodes && app.extensionManager?.workflow?.activeWorkflow")
    bench.page.wait_for_timeout(1500)
    bench.show(saved)
    assert bench.page.evaluate(PICTURES) == [None, None]
    assert bench.run()[0] == "execution_success"
    bench.page.wait_for_function(SAME, arg=before)
