"""ComfyUI's language reaches the nodes: titles, tooltips, and the help page that belongs to them."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

LOCALES = Path(__file__).resolve().parents[2] / "locales"
NODE = "SemanticEditComputeStrength"


def choose_language(url, language):
    body = json.dumps(language).encode()
    request = urllib.request.Request(
        url + "/api/settings/Comfy.Locale", body, {"Content-Type": "application/json"}, method="POST"
    )
    urllib.request.urlopen(request, timeout=30).read()


@pytest.fixture
def chinese(comfyui, open_page):
    choose_language(comfyui.url, "zh")
    desk = open_page("classic")
    yield desk
    desk.page.close()
    choose_language(comfyui.url, "en")


def test_nodes_speak_chinese_where_comfyui_does(chinese):
    texts = json.loads((LOCALES / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))[NODE]
    title, pack = chinese.page.evaluate(
        """(kind) => { app.graph.clear(); const node = LiteGraph.createNode(kind); node.pos = [200, 120];
          app.graph.add(node); return [node.title, node.constructor.nodeData.python_module]; }""",
        NODE,
    )
    assert title == texts["display_name"]
    page = chinese.page.evaluate(
        "async (path) => { const found = await fetch(path); return found.ok ? await found.text() : ''; }",
        f"/extensions/{pack.removeprefix('custom_nodes.')}/docs/{NODE}/zh.md",
    )
    assert page.startswith(f"# {title}\n")
    chinese.shot("chinese")
    assert not chinese.problems
