"""ComfyUI's own mask editor as the brush of our nodes: a stroke is painted there, and Align Crop cuts round it."""

from __future__ import annotations

GRAPH = """() => {
  app.graph.clear();
  const add = (type, x, values = {}) => {
    const node = LiteGraph.createNode(type);
    node.pos = [x, 200];
    app.graph.add(node);
    for (const [name, value] of Object.entries(values)) {
      const widget = node.widgets.find((each) => each.name === name);
      widget.value = value;
      widget.callback?.(value);
    }
    return node;
  };
  const photo = add("LoadImage", 100, { image: "example.png" });
  const crop = add("SemanticEditAlignCrop", 500, { width: 64, height: 64 });
  const shown = add("PreviewImage", 950);
  photo.connect(0, crop, crop.inputs.findIndex((each) => each.name === "photos"));
  photo.connect(1, crop, crop.inputs.findIndex((each) => each.name === "mask"));
  crop.connect(2, shown, 0);
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [0, 0];
  app.canvas.setDirty(true, true);
}"""
SAVE = "#maskEditor_topBarSaveButton:visible, [role=dialog] button:has-text('Save'):visible"


def test_a_stroke_of_the_mask_editor_is_what_align_crop_cuts(bench):
    page = bench.page
    page.evaluate(GRAPH)
    page.wait_for_function("app.graph._nodes[0].imgs?.length || app.graph._nodes[0].images?.length", timeout=30_000)
    page.evaluate("(app.canvas.selectNode ?? app.canvas.select).call(app.canvas, app.graph._nodes[0])")
    page.evaluate("app.extensionManager.command.execute('Comfy.MaskEditor.OpenMaskEditor')")
    save = page.locator(SAVE).last
    save.wait_for(timeout=30_000)
    page.wait_for_timeout(2500)
    page.mouse.move(650, 400)
    page.mouse.down()
    page.mouse.move(760, 470, steps=8)
    page.mouse.up()
    page.wait_for_timeout(500)
    bench.shot("mask_editor")
    save.click()
    page.wait_for_function(
        "String(app.graph._nodes[0].widgets.find((each) => each.name === 'image').value).includes('clipspace')",
        timeout=60_000,
    )
    page.wait_for_timeout(1500)
    bench.close_dialogs()
    assert bench.run() == ("execution_success", "")
    bench.fit()
    bench.shot("mask_editor_ran")
    assert not bench.problems
