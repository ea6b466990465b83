"""The documents: links lead somewhere, the first page stays short, each benchmark has its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted(
    path
    for folder in ("", "docs", "docs/notes", "benchmarks", "benchmarks/results", "models/demo")
    for path in (ROOT / folder).glob("*.md")
)
WITHOUT_PAGE = {"run", "edit_pairs", "demo_diffusion"}  # the suite's page is suite.md; own models; the model card


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    targets = [link for link in links if not link.startswith(("http://", "https://"))]
    assert [link for link in targets if not (path.parent / link).exists()] == []


def test_the_first_page_is_read_in_a_minute():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert 40 < len(lines) <= 120
    text = "\n".join(lines)
    assert text.index("## In ComfyUI") < text.index("make demo     #")


def test_each_benchmark_has_its_page():
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")} - WITHOUT_PAGE
    pages = {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.md")}
    assert len(scripts) > 20 and scripts <= pages, scripts - pages
    overview = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    assert [page for page in pages if f"results/{page}.md" not in overview] == []
