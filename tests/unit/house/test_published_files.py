"""What .comfyignore leaves out of the registry's zip is not needed by what stays in."""

from __future__ import annotations

import ast
import re
import zlib
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[3]


def left_out() -> list[str]:
    lines = (ROOT / ".comfyignore").read_text(encoding="utf-8").splitlines()
    return [line.strip().strip("/") for line in lines if line.startswith("/")]


def published(path: Path) -> bool:
    name = path.relative_to(ROOT).as_posix()
    return not any(name == out or name.startswith(out + "/") for out in left_out())


def shipped_modules() -> list[Path]:
    rooms = ("demo", "editing", "headless", "host", "jobs", "kernels", "models", "nodes", "offline")
    files = [ROOT / "__init__.py"]
    return [path for path in [*files, *(f for room in rooms for f in (ROOT / room).rglob("*.py"))] if published(path)]


def imported_at_once(path: Path) -> list[Path]:
    """Files of the pack that are imported while a module is: what functions import later may be missing."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = path.parents[node.level - 1]
        target = folder.joinpath(*(node.module.split(".") if node.module else []))
        for place in (target, *(target / alias.name for alias in node.names)):
            if place.is_dir():
                found.append(place / "__init__.py")
            elif place.with_suffix(".py").is_file():
                found.append(place.with_suffix(".py"))
    return found


def test_nothing_published_imports_what_is_left_out():
    modules = shipped_modules()
    assert len(modules) > 150
    broken = [f"{path.relative_to(ROOT)} imports {found.relative_to(ROOT)}" for path in modules
              for found in imported_at_once(path) if not published(found)]  # fmt: skip
    assert not broken


def test_tests_and_training_are_left_out_and_the_converter_and_demo_files_stay_in():
    for name in ("tests/conftest.py", "offline/train_demo/__main__.py",
                 "offline/server.py", "benchmarks/drag.py", "tools/project.py"):  # fmt: skip
        assert (ROOT / name).is_file() and not published(ROOT / name), name
    for name in ("web/docs", "web/docs/SemanticEditLoadGenerator/de.md", "web/lib/stage.js", "locales/en/nodeDefs.json",
                 "workflows/edit_one_for_all.json", "subgraphs/Text edit.json",
                 "models/convert/unpickling/unpickler.py",
                 "models/demo/generators", "demo/photos/ada.png", "requirements.txt",
                 "LICENSE"):  # fmt: skip
        assert (ROOT / name).exists() and published(ROOT / name), name


def test_the_zip_stays_under_fifty_megabytes():
    rooms = ("demo", "editing", "headless", "host", "jobs", "kernels", "locales", "models", "nodes", "subgraphs", "web",
             "workflows")  # fmt: skip
    files = [path for room in rooms for path in (ROOT / room).rglob("*") if path.is_file() and published(path)]
    assert sum(len(zlib.compress(path.read_bytes(), 1)) for path in files if path.suffix != ".pyc") < 50_000_000


def test_an_installed_package_has_what_the_browser_asks_for():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    patterns = re.search(r"^semantic_edit = (\[.*\])$", text.split("[tool.setuptools.package-data]")[1], re.MULTILINE)
    packed = {path for pattern in ast.literal_eval(patterns[1]) for path in ROOT.glob(pattern) if path.is_file()}
    asked = [
        *(ROOT / "web").rglob("*"),
        *(ROOT / "locales").rglob("*.json"),
        *(ROOT / "workflows").iterdir(),
        *(ROOT / "subgraphs").iterdir(),
    ]
    assert len(asked) > 200
    assert not [path.relative_to(ROOT).as_posix() for path in asked if path.is_file() and path not in packed]


def test_what_the_registry_shows_is_there():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")  # Python 3.10 has no reader of TOML
    section = text.split("[tool.comfy]")[1].split("\n[")[0]
    comfy = dict(re.findall(r'^([\w-]+) = "(.*)"$', section, re.MULTILINE))
    for field, name in (("Icon", "icon.png"), ("Banner", "banner.png")):
        assert comfy[field].endswith(f"/docs/{name}")
    with Image.open(ROOT / "docs" / "icon.png") as icon, Image.open(ROOT / "docs" / "banner.png") as banner:
        assert icon.width == icon.height <= 400 and abs(banner.width / banner.height - 21 / 9) < 0.01
    assert len(comfy["requires-comfyui"].removeprefix(">=").split(".")) == 3
