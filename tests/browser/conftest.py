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

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FOLDER = servers.FOLDER
RENDERERS = ("classic", "vue")
START = 120_000  # ms, on a busy machine

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
        self.page.set_default_timeout(START)
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))
        self.open(url)

    def _note(self, kind, text):
        if kind == "error" and not any(part in text for part in NOT_OURS):
            self.problems.append(text)

    def open(self, url):
        self.page.goto(url)
        ready = "window.app?.graph?._nodes && window.app.extensionManager?.workflow?.activeWorkflow"
        self.page.wait_for_function(ready, timeout=START)
        self.page.wait_for_timeout(1500)

    def show(self, document, name="test"):
        """Open a workflow document, as the menu does."""
        self.page.evaluate("([document, name]) => app.loadGraphData(document, true, true, name)", [document, name])
        self.page.wait_for_timeout(1200)

    def saved(self):
        """The workflow as it would be saved."""
        return self.page.evaluate("JSON.parse(JSON.stringify(app.graph.serialize()))")

    def run(self, seconds=240):
        """Queue what is open and wait; returns the event that ended it and what it says."""
        self.page.evaluate(
            """() => { window.ended = null;
              for (const name of ["execution_success", "execution_error", "execution_interrupted"])
                app.api.addEventListener(name,
                  ({ detail }) => (window.ended ??= [name, detail.exception_message ?? ""]), { once: true });
              app.queuePrompt(0, 1); }"""
        )
        self.page.wait_for_function("window.ended", timeout=seconds * 1000)
        self.page.wait_for_timeout(600)
        return tuple(self.page.evaluate("window.ended"))

    def close_dialogs(self):
        for selector in (".p-dialog-close-button", "button[aria-label='Close']"):
            for each in self.page.query_selector_all(selector):
                if each.is_visible():
                    each.click()
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

    def shot(self, name):
        if os.environ.get("BROWSER_SHOTS"):
            folder = Path(os.environ["BROWSER_SHOTS"])
            folder.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=folder / f"{name}_{self.renderer}.png")
