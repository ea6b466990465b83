"""The house: floors in one order, a star inside editing/, stages that share only `common`, few rooms for the host."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# Lowest first; floors of one line know nothing of each other.
ORDER = (("kernels",), ("models",), ("editing",), ("demo", "jobs", "host"), ("nodes",), ("headless",), ("offline",))
FLOORS = {floor: height for height, floors in enumerate(ORDER) for floor in floors}
# Inside editing/ a method knows `common` alone, but for these.
METHODS_MAY = {("one_for_all", "text"), ("one_for_all", "photos")}
# ComfyUI's own top-level modules, as imported by packs.
HOST_MODULES = {"comfy", "comfy_api", "comfy_api_nodes", "comfy_execution", "comfy_extras", "folder_paths", "nodes",
                "execution", "server", "node_helpers", "latent_preview", "app"}  # fmt: skip
MAY_TOUCH_HOST = {"host", "__init__.py"}
NEVER = {"subprocess", "pickle", "cPickle", "dill", "shelve", "marshal", "socket", "http", "requests", "torchvision"}
# The offline command line may talk to a ComfyUI on request; nothing that ComfyUI loads may.
MAY_USE_NETWORK = {"offline/server.py"}


def sources() -> list[Path]:
    """Every product file; a floor that is empty would make the checks below pass on nothing."""
    files = {floor: sorted((ROOT / floor).rglob("*.py")) for floor in FLOORS}
    assert all(files.values()), [floor for floor, own in files.items() if not own]
    return [ROOT / "__init__.py", *(path for own in files.values() for path in own)]


def folders(path: Path) -> tuple[str, ...]:
    """The parts of a file's path below the root: ("editing", "text", "edit.py")."""
    return path.relative_to(ROOT).parts


def imports(path: Path) -> list[tuple[int, tuple[str, ...]]]:
    """(line, path below the root) for what is ours, (line, ("=", name)) for an absolute import."""
    result: list[tuple[int, tuple[str, ...]]] = []
    package = folders(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            result += [(node.lineno, ("=", alias.name.split(".")[0])) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            result.append((node.lineno, ("=", node.module.split(".")[0])))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] + tuple(node.module.split(".") if node.module else ())
            result += [(node.lineno, (*base, alias.name)) for alias in node.names]
    return result


def offenders(forbidden) -> list[str]:
    """Imports for which `forbidden(folders of the file, target)` holds."""
    return sorted({
        f"{'/'.join(folders(path))}:{line} imports {'.'.join(target)}"
        for path in sources()
        for line, target in imports(path)
        if forbidden(folders(path), target)
    })  # fmt: skip


def test_each_floor_imports_only_floors_below_it():
    def upward(file, target):
        if target[0] not in FLOORS or target[0] == file[0]:
            return False
        return FLOORS[target[0]] >= FLOORS.get(file[0], len(ORDER))

    assert offenders(upward) == []


def test_the_package_is_never_imported_by_name():
    assert offenders(lambda file, target: target == ("=", "semantic_edit")) == []


def test_a_method_imports_no_other_method():
    def sideways(file, target):
        if (file[0], target[0]) != ("editing", "editing") or len(file) < 3 or len(target) < 3:
            return False
        return target[1] not in (file[1], "common") and (file[1], target[1]) not in METHODS_MAY

    assert offenders(sideways) == []


def test_a_stage_of_nodes_imports_no_other_stage():
    def sideways(file, target):
        return file[0] == target[0] == "nodes" and len(file) > 2 and target[1] not in (file[1], "common")

    assert offenders(sideways) == []


def test_only_nodes_demo_know_the_demo_world():
    """Its readers, part labeller and photos reach the other nodes through host/registry.py."""

    def knows(file, target):
        return target[0] == "demo" and file[0] not in ("demo", "offline") and file[:2] != ("nodes", "demo")

    assert offenders(knows) == []


def test_the_host_alone_touches_comfyui():
    def touches(file, target):
        return target[0] == "=" and target[1] in HOST_MODULES and file[0] not in MAY_TOUCH_HOST

    assert offenders(touches) == []


def test_no_file_imports_what_runs_programs_reads_pickles_or_uses_the_network():
    def dangerous(file, target):
        name = target[1] if target[0] == "=" else ""
        return name in NEVER or (name == "urllib" and "/".join(file) not in MAY_USE_NETWORK)

    assert offenders(dangerous) == []


def test_what_only_jobs_on_many_machines_need_is_imported_when_they_run():
    """ComfyUI imports jobs, and has none of these packages."""
    optional = {"ray", "fsspec", "pyarrow", "s3fs", "pandas"}
    uses = [line for line in offenders(lambda file, target: target[0] == "=" and target[1] in optional)]
    assert len(uses) >= 4 and all(line.startswith("jobs/") for line in uses), uses
    at_once = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and {(alias.name if isinstance(node, ast.Import) else node.module or "").split(".")[0] for alias in node.names}
        & optional
    ]
    assert at_once == []


def test_no_module_imports_itself_in_a_circle():
    """Over the imports that run when a module is loaded."""
    modules = {folders(path): path for path in sources()}

    def file_of(target: tuple[str, ...]) -> tuple[str, ...] | None:
        for stem in (target, target[:-1]):
            for name in ((*stem[:-1], f"{stem[-1]}.py"), (*stem, "__init__.py")) if stem else ():
                if name in modules:
                    return name
        return None

    edges = {}
    for name, path in modules.items():
        top = {node.lineno for node in ast.parse(path.read_text(encoding="utf-8")).body}
        edges[name] = {file_of(target) for line, target in imports(path) if line in top} - {None, name}
    state: dict[tuple[str, ...], bool] = {}  # True while its imports are followed

    def circle(name, trail) -> list[str]:
        if name in state:
            return ["/".join(step) for step in trail[trail.index(name) :]] if state[name] else []
        state[name] = True
        for other in sorted(edges[name]):
            if closed := circle(other, [*trail, other]):
                return closed
        state[name] = False
        return []

    assert [closed for name in sorted(edges) if (closed := circle(name, [name]))] == []


def test_no_folder_of_the_house_holds_more_than_26_files():
    counts: dict[Path, int] = {}
    for path in sources():
        counts[path.parent] = counts.get(path.parent, 0) + 1
    assert {folder.relative_to(ROOT).as_posix(): n for folder, n in counts.items() if n > 26} == {}


def test_the_reading_of_imports_sees_what_it_looks_for(tmp_path, monkeypatch):
    """The checks above would pass on anything if the reading of imports were wrong."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "kernels" / "op").mkdir(parents=True)
    bad = tmp_path / "kernels" / "op" / "fast.py"
    bad.write_text("from ...models import x\nfrom ..select import y\nimport comfy.utils\nfrom . import naive\n")
    expected = [("models", "x"), ("kernels", "select", "y"), ("=", "comfy"), ("kernels", "op", "naive")]
    assert [target for _, target in imports(bad)] == expected
