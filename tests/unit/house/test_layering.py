"""The house: each floor imports only floors below it, and only few rooms may touch the host."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FLOORS = {"kernels": 1, "models": 2, "editing": 3, "demo": 3.5, "jobs": 3.7, "host": 4, "nodes": 5, "headless": 5}
# The host's own rooms: what it knows of ComfyUI's models.
HOST_ROOMS = {path.stem for path in ROOT.glob("host_*.py")}
FLOORS.update(dict.fromkeys(HOST_ROOMS, 3.9))
# ComfyUI's own top-level modules, as imported by packs.
HOST_MODULES = {"comfy", "comfy_api", "comfy_api_nodes", "comfy_execution", "comfy_extras", "folder_paths", "nodes",
                "execution", "server", "node_helpers", "latent_preview", "app"}  # fmt: skip
MAY_TOUCH_HOST = {"host", "nodes", "headless", "__init__"} | HOST_ROOMS
NEVER = {"subprocess", "pickle", "cPickle", "dill", "shelve", "marshal", "socket", "http", "requests", "torchvision"}
# The offline command line may talk to a ComfyUI on request; nothing that ComfyUI loads may.
NETWORK_ROOMS = {"offline/server.py"}


def sources() -> list[Path]:
    rooms = [ROOT / "__init__.py", *sorted(ROOT.glob("host*.py"))]
    for floor in FLOORS:
        rooms += sorted((ROOT / floor).rglob("*.py"))
    return rooms


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, target): a floor's name for what is ours, "=name" for an absolute import."""
    found = []
    package = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, "=" + alias.name.split(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append((node.lineno, "=" + node.module.split(".")[0]))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            full = base + (node.module.split(".") if node.module else [])
            found += [(node.lineno, full[0])] if full else [(node.lineno, alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_floor_imports_a_higher_one(path):
    here = FLOORS.get(room(path), 99)
    for line, target in imports(path):
        assert target != "=semantic_edit", f"{path.name}:{line} imports the package by name; use a relative import"
        if target in FLOORS:
            allowed = FLOORS[target] < here or target == room(path) or {target, room(path)} <= HOST_ROOMS
            # The nodes' stand-in and runner list the nodes; the nodes themselves know nothing of it.
            allowed = allowed or (room(path) == "headless" and target == "nodes")
            assert allowed, f"{path.relative_to(ROOT)}:{line} is on floor {here} and imports {target}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_host_is_touched_in_few_rooms(path):
    for line, target in imports(path):
        name = target.removeprefix("=")
        if target.startswith("=") and name in HOST_MODULES:
            assert room(path) in MAY_TOUCH_HOST, f"{path.relative_to(ROOT)}:{line} imports {name}"
        if target.startswith("="):
            assert name not in NEVER, f"{path.relative_to(ROOT)}:{line} imports {name}"
            if name == "urllib":
                assert path.relative_to(ROOT).as_posix() in NETWORK_ROOMS, f"{path.name}:{line} imports urllib"


def test_every_package_is_listed_for_installation():
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for floor in FLOORS:
        for init in (ROOT / floor).rglob("__init__.py"):
            name = ".".join(["semantic_edit", *init.parent.relative_to(ROOT).parts])
            assert f'"{name}"' in listed, f"{name} is missing in pyproject.toml"


def test_the_detector_sees_what_it_looks_for(tmp_path, monkeypatch):
    """The checks above would pass on anything if the reading of imports were wrong."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "kernels" / "op").mkdir(parents=True)
    bad = tmp_path / "kernels" / "op" / "fast.py"
    bad.write_text("from ...models import x\nfrom ..select import y\nimport comfy.utils\nfrom .naive import z\n")
    assert [target for _, target in imports(bad)] == ["models", "kernels", "=comfy", "kernels"]
