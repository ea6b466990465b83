"""A headless Chromium in front of a real ComfyUI server.

COMFYUI_PATH names a checkout of ComfyUI, as for tests/comfy; playwright drives the Chromium that CHROMIUM names or that
is on the path. Without one of them these tests are skipped. BROWSER_SHOTS names a folder for the screenshots.
COMFYUI_FRONTEND names the folder of another frontend, for a newer one than the server brings.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import urllib.request
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("comfy_server_fixtures", HERE.parent / "comfy" / "conftest.py")
servers = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = servers  # dataclasses look for their module there
_spec.loader.exec_module(servers)

environment, base, comfyui = servers.environment, servers.base, servers.comfyui
start_server = servers.start_server

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FOLDER = servers.FOLDER
RENDERERS = ("classic", "vue")
START = 240_000  # ms, on a busy machine

if os.environ.get("COMFYUI_FRONTEND"):
    servers.MORE_ARGUMENTS = ["--front-end-root", os.environ["COMFYUI_FRONTEND"]]

# What ComfyUI's own page says on a fresh server; everything else that is an error fails a test.
NOT_OURS = (
    "404 (Not Found)",  # user.css, userdata and the like that a new user does not have
    "api/jobs",  # a frontend that is newer than its server
    "Jobs API",
    "api/assets",
    "Failed to load resource",
    "huggingface.co",
    "Content Security Policy",
    "reading 'id'",  # the frontend of 0.3.64 while it opens its own first graph
    "graph accessed before initialization",  # a store of the frontend 1.49 while its page starts
)


def pytest_collection_modifyitems(items):
    missing = None
    if not servers.COMFYUI:
        missing = "COMFYUI_PATH is not set"
    elif importlib.util.find_spec("playwright") is None:
        missing = "playwright is not installed"
    elif CHROMIUM is None:
        missing = "there is no Chromium"
    for item in items:
        if missing and item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.skip(reason=missing))


# imagic.json asks for a checkpoint and a photo of the user's own. ComfyUI recognises checkpoints by their sizes, and
# the smallest it knows has hundreds of megabytes; so on this server every checkpoint's name opens the demo model.
OWN_CHECKPOINT = """
import nodes

def load_checkpoint(self, ckpt_name):
    return nodes.NODE_CLASS_MAPPINGS["SemanticEditLoadDemoDiffusion"].execute().result

nodes.CheckpointLoaderSimple.load_checkpoint = load_checkpoint
NODE_CLASS_MAPPINGS = {}
"""


# Small graphs for the widgets, made in the page: the body of each is given `add(type, [x, y], values)` and `wire(from,
# slot, to, input)`.
BUILDING = """() => {
  // Not the numbers of the nodes before: the newer renderer would take them for the same nodes.
  const used = Math.max(0, ...app.graph._nodes.map((node) => node.id));
  window.firstNode = Math.max(used, window.firstNode ?? 0) + 100;
  app.graph.clear();
  app.graph.last_node_id = window.firstNode;
  const add = (type, pos, values = {}) => {
    const node = LiteGraph.createNode(type);
    node.pos = pos;
    app.graph.add(node);
    for (const [name, value] of Object.entries(values)) {
      const widget = node.widgets.find((each) => each.name === name);
      widget.value = value;
      widget.callback?.(value);
    }
    return node;
  };
  const wire = (a, slot, b, name) => a.connect(slot, b, b.inputs.findIndex((input) => input.name === name));
  const generator = add("SemanticEditLoadGenerator", [20, 60]);
  const code = add("SemanticEditSampleLatents", [20, 220], { count: 1, seed: 5, control_after_generate: "fixed" });
  const before = add("SemanticEditGenerateImages", [20, 520]);
  for (const node of [code, before]) wire(generator, 0, node, "generator");
  wire(code, 0, before, "latents");
  %s
}"""
GRAPHS = {
    "small": """
  const drag = add("SemanticEditDragPoints", [420, 60], { steps: 2 });
  const after = add("SemanticEditGenerateImages", [20, 700]);
  const pairs = add("SemanticEditCompareImages", [900, 60]);
  for (const node of [drag, after]) wire(generator, 0, node, "generator");
  wire(code, 0, drag, "latents");
  wire(drag, 1, after, "latents");
  wire(before, 0, pairs, "before");
  wire(after, 0, pairs, "after");""",
    "painting": """
  const mask = add("SemanticEditBrushMask", [420, 60], { strokes: "" });
  const seen = add("PreviewImage", [420, 800]);
  const concepts = add("SemanticEditLoadConcepts", [20, 700]);
  const paint = add("SemanticEditPaintConcept", [900, 60]);
  const draw = add("SemanticEditRenderPaintedPhoto", [1400, 60]);
  const pairs = add("SemanticEditCompareImages", [1400, 500]);
  for (const node of [concepts, paint, draw]) wire(generator, 0, node, "generator");
  for (const [node, name] of [[mask, "images"], [paint, "images"], [draw, "photos"], [pairs, "before"]])
    wire(before, 0, node, name);
  wire(mask, 1, seen, "images");
  wire(concepts, 0, paint, "concepts");
  wire(paint, 0, draw, "painting");
  wire(code, 0, draw, "latents");
  wire(draw, 0, pairs, "after");""",
    "text": """
  code.widgets.find((each) => each.name === "count").value = 4;
  const labels = add("SemanticEditDemoParts", [20, 700]);
  const edit = add("SemanticEditLoadDirection", [420, 60], { file: "smile.safetensors" });
  const found = add("SemanticEditLocalizeDirection", [420, 700], { steps: 2 });
  const refined = add("SemanticEditRefineMasks", [900, 60]);
  const layers = add("SemanticEditRegionLayerMasks", [1400, 60]);
  const chart = add("PreviewImage", [1900, 60]);
  for (const node of [edit, found, layers]) wire(generator, 0, node, "generator");
  for (const node of [found, layers]) {
    wire(code, 0, node, "latents");
    wire(labels, 0, node, "parts");
  }
  wire(before, 0, labels, "images");
  wire(edit, 0, found, "direction");
  wire(found, 0, refined, "text_edit");
  wire(refined, 0, layers, "text_edit");
  wire(layers, 0, chart, "images");""",
}


@pytest.fixture(scope="session", autouse=True)
def belongings(base):
    """What a user has beside the pack: a checkpoint and a photo, under the names that the templates ask for."""
    pack = base / "custom_nodes" / "own-checkpoint"
    pack.mkdir()
    (pack / "__init__.py").write_text(OWN_CHECKPOINT)
    (base / "models" / "checkpoints").mkdir()
    (base / "models" / "checkpoints" / "v1-5-pruned-emaonly-fp16.safetensors").touch()
    shutil.copy(HERE.parents[1] / "demo" / "photos" / "ada.png", base / "input" / "example.png")


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def open_page(chromium, comfyui):
    """open_page(renderer) -> a new `Desk` with ComfyUI open."""
    return lambda renderer: Desk(chromium, comfyui.url, renderer)


@pytest.fixture(scope="module", params=RENDERERS)
def desk(request, open_page):
    """One page for all tests of a file, in each renderer: opening one is what takes long."""
    opened = open_page(request.param)
    yield opened
    opened.page.close()


@pytest.fixture
def bench(desk):
    """The desk, where widgets are drawn."""
    if desk.early:
        pytest.skip("this early form of the newer renderer draws no widgets of packs")
    desk.problems.clear()
    return desk


@pytest.fixture
def small(bench):
    """The desk with the smallest graph in which a drag is set, run and compared."""
    bench.build("small")
    return bench


def choose_renderer(url, renderer):
    settings = {
        "Comfy.TutorialCompleted": True,
        "Comfy.UseNewMenu": "Top",
        "Comfy.VueNodes.Enabled": renderer == "vue",
        "Comfy.VueNodes.AutoScaleLayout": False,
        "Comfy.Minimap.Visible": False,
        "LiteGraph.Canvas.MaximumFps": 10,
        "Comfy.Notification.ShowVersionUpdates": False,
        "Comfy.InstalledVersion": "99.0.0",
    }
    body = json.dumps(settings).encode()
    request = urllib.request.Request(url + "/api/settings", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=30).read()


class Desk:
    """ComfyUI's page, and what a test does with it."""

    def __init__(self, browser, url, renderer):
        choose_renderer(url, renderer)
        self.renderer = renderer
        self.problems = []
        self.page = browser.new_page(viewport={"width": 1600, "height": 1000})
        self.page.set_default_timeout(60_000)
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))
        self.open(url)

    def _note(self, kind, text):
        if kind == "error" and not any(part in text for part in NOT_OURS):
            self.problems.append(text)

    def open(self, url):
        self.page.goto(url, timeout=START)
        ready = "window.app?.extensionManager?.workflow?.activeWorkflow && app.graph?._nodes"
        self.page.wait_for_function(ready, timeout=START)
        self.page.wait_for_timeout(1500)

    def show(self, document, name="test"):
        """Open a workflow document, as the menu does."""
        self.page.evaluate("([document, name]) => app.loadGraphData(document, true, true, name)", [document, name])
        self.page.wait_for_timeout(1200)

    def build(self, name):
        """Make one of `GRAPHS`."""
        self.page.evaluate(BUILDING % GRAPHS[name])
        self.page.wait_for_timeout(500)

    def pull(self, stage, start, end):
        """Pull the mouse over a stage, between places in shares of its box."""
        box = stage.bounding_box()
        at = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (start, end)]
        self.page.mouse.move(*at[0])
        self.page.mouse.down()
        self.page.mouse.move(*at[1], steps=5)
        self.page.mouse.up()
        self.page.wait_for_timeout(200)

    def set(self, kind, **values):
        """Set inputs of the first node of a kind, as typing does."""
        self.page.evaluate(
            """([kind, values]) => { const node = app.graph._nodes.find((each) => each.type === kind);
              for (const [name, value] of Object.entries(values)) {
                const widget = node.widgets.find((each) => each.name === name);
                widget.value = value; widget.callback?.(value); } }""",
            [kind, values],
        )

    @property
    def early(self):
        """True in the newer renderer of frontends in which it was a first trial: it draws no pictures and own sizes."""
        version = self.page.evaluate("window.__COMFYUI_FRONTEND_VERSION__ || '0'")
        return self.renderer == "vue" and tuple(int(part) for part in version.split(".")[:2]) < (1, 33)

    def saved(self):
        """The workflow as it would be saved."""
        return self.page.evaluate("JSON.parse(JSON.stringify(app.graph.serialize()))")

    def run(self, seconds=240):
        """Queue what is open by its key, and wait; returns the event that ended it and what it says."""
        self.page.evaluate(
            """() => { window.ended = null; window.begun = false;
              for (const name of ["promptQueued", "execution_start", "execution_cached"])
                app.api.addEventListener(name, () => (window.begun = true), { once: true });
              for (const name of ["execution_success", "execution_error", "execution_interrupted"])
                app.api.addEventListener(name,
                  ({ detail }) => (window.ended ??= [name, detail.exception_message ?? ""]), { once: true }); }"""
        )
        self.page.keyboard.press("Control+Enter")
        for again in (
            lambda: self.page.keyboard.press("Control+Enter"),
            lambda: self.page.evaluate("app.queuePrompt(0, 1)"),
        ):
            try:
                self.page.wait_for_function("window.begun || window.ended", timeout=15_000)
                break
            except Exception:  # a dialog that came late has taken the key
                self.close_dialogs()
                again()
        self.page.wait_for_function("window.ended", timeout=seconds * 1000)
        self.page.wait_for_timeout(600)
        return tuple(self.page.evaluate("window.ended"))

    def fit(self, margin=40):
        """Bring the whole graph into view: pictures are loaded where they are drawn."""
        self.page.evaluate(
            """(margin) => { const boxes = app.graph._nodes.map((node) => [...node.pos, ...node.size]);
              const least = (k) => Math.min(...boxes.map((box) => box[k]));
              const most = (k) => Math.max(...boxes.map((box) => box[k] + box[k + 2]));
              const [width, height] = [most(0) - least(0) + 2 * margin, most(1) - least(1) + 3 * margin];
              const { ds, canvas } = app.canvas;
              const place = canvas.getBoundingClientRect();
              const bar = Math.max(0, 56 - place.left); // the side bar lies on the canvas in newer frontends
              const top = Math.max(0, 90 - place.top);
              ds.scale = Math.min(1, (place.width - bar) / width, (place.height - top) / height);
              ds.offset = [margin - least(0) + bar / ds.scale, 2 * margin - least(1) + top / ds.scale];
              app.canvas.setDirty(true, true); }""",
            margin,
        )
        self.page.wait_for_timeout(1500)

    def close_dialogs(self):
        # Newer frontends close a workflow's tab by a button of that name, which asks whether to save it.
        tabs = "[class*='workflow-tab'], [role=tab], [role=tablist]"
        for selector in (".p-dialog-close-button", "button[aria-label='Close']"):
            for each in self.page.query_selector_all(selector):
                each.evaluate(
                    "(button, tabs) => button.checkVisibility() && !button.closest(tabs) && button.click()", tabs
                )
        self.page.keyboard.press("Escape")
        self.page.wait_for_timeout(300)

    def look_at(self, kind, scale=0.8):
        """Bring a node into view, and return its widget's box as a locator."""
        self.page.evaluate(
            """([kind, scale]) => { const node = app.graph._nodes.find((each) => each.type === kind);
              app.canvas.ds.scale = scale; app.canvas.ds.offset = [120 - node.pos[0], 120 - node.pos[1]];
              app.canvas.setDirty(true, true);
              for (const old of document.querySelectorAll("[data-looked-at]")) delete old.dataset.lookedAt;
              node.semanticEdit.element.dataset.lookedAt = ""; }""",
            [kind, scale],
        )
        self.page.wait_for_timeout(500)
        return self.page.locator("[data-looked-at]")

    def values(self, kind):
        """The inputs of the first node of a kind."""
        return self.page.evaluate(
            """(kind) => Object.fromEntries(app.graph._nodes.find((each) => each.type === kind)
              .widgets.map((widget) => [widget.name, widget.value]))""",
            kind,
        )

    def boxes(self):
        """[title (number), left, top, right, bottom] of every node in the graph's pixels, title bars included.

        A title bar lies 30 px above its node. The newer renderer says the true size by its elements.
        """
        return self.page.evaluate(
            """() => app.graph._nodes.map((node) => {
              let [width, height] = [node.size[0], Math.max(node.size[1], node.computeSize()[1])];
              const element = document.querySelector(`[data-node-id="${node.id}"]`);
              if (element) {
                const box = element.getBoundingClientRect();
                const { scale } = app.canvas.ds;
                [width, height] = [Math.max(width, box.width / scale), Math.max(height, box.height / scale - 30)];
              }
              const { pos, title, id } = node;
              return [`${title} (${id})`, pos[0], pos[1] - 30, pos[0] + width, pos[1] + height];
            })"""
        )

    def shot(self, name):
        if os.environ.get("BROWSER_SHOTS"):
            folder = Path(os.environ["BROWSER_SHOTS"])
            folder.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=folder / f"{name}_{self.renderer}.png")
