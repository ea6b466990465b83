"""A real ComfyUI server, for the tests that compare with it.

COMFYUI_PATH names a checkout of ComfyUI; without it these tests are skipped. COMFYUI_PYTHON names the Python that has
ComfyUI's requirements (default: the one that runs the tests). The server lives in its own process and folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

COMFYUI = os.environ.get("COMFYUI_PATH")
PYTHON = os.environ.get("COMFYUI_PYTHON", sys.executable)
PACK = Path(__file__).resolve().parents[2]
FOLDER = "semantic-edit-clone"  # whatever the clone is called, the pack loads
START_SECONDS = 300
MORE_ARGUMENTS: list[str] = []  # of the server; the browser tests choose another frontend with it


def pytest_collection_modifyitems(items):
    if not COMFYUI:
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.skip(reason="COMFYUI_PATH is not set"))


@dataclass
class Server:
    """A running server and the folders it works in."""

    url: str
    base: Path
    log: Path

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.loads(answer.read())


@pytest.fixture(scope="session")
def environment():
    """The environment of subprocesses: one thread, and no trace of this test run's paths."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHONPATH"))}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A base directory with the pack in custom_nodes, a second pack beside it, and an extra models folder."""
    base = tmp_path_factory.mktemp("comfyui")
    for name in ("input", "output", "temp", "models", "user", "custom_nodes/another-pack"):
        (base / name).mkdir(parents=True)
    link_pack(base / "custom_nodes" / FOLDER)
    (base / "custom_nodes" / "another-pack" / "__init__.py").write_text(
        "import sys, types\n"
        "sys.modules['models'] = types.ModuleType('models')  # what careless packs do\n"
        "NODE_CLASS_MAPPINGS = {}\n"
    )
    return base


@pytest.fixture
def run_inside(tmp_path, environment):
    """run_inside(script, folder): a script of this directory in ComfyUI's Python, the pack linked as that folder."""

    def run(script: str, folder: str, seconds: int) -> None:
        place = tmp_path / "custom_nodes" / folder
        place.parent.mkdir()
        (tmp_path / "base").mkdir()
        place.symlink_to(PACK, target_is_directory=True)
        command = [PYTHON, str(Path(__file__).with_name(script)), COMFYUI, str(place), str(tmp_path / "base")]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=seconds)
        assert done.returncode == 0 and done.stdout.endswith("all good\n"), done.stderr[-4000:]

    return run


def link_pack(place: Path) -> None:
    """Put the pack at `place`: as a link, or as a copy where links are not allowed."""
    try:
        place.symlink_to(PACK, target_is_directory=True)
    except OSError:
        shutil.copytree(PACK, place, ignore=shutil.ignore_patterns(".git", "tests"))


@pytest.fixture(scope="session")
def start_server(base, environment, tmp_path_factory):
    """start_server(*flags) -> a context with a running server, which is stopped at its end."""

    @contextlib.contextmanager
    def start(*flags):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path_factory.mktemp("log") / "server.log"
        command = [PYTHON, str(Path(COMFYUI) / "main.py"), "--cpu", "--listen", "127.0.0.1", "--port", str(port)]
        command += ["--base-directory", str(base), "--disable-api-nodes", "--database-url", "sqlite:///:memory:"]
        command += flags
        server = Server(f"http://127.0.0.1:{port}", base, log)
        with log.open("w") as stream:
            process = subprocess.Popen(command, cwd=base, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(server, process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    return start


@pytest.fixture(scope="session")
def comfyui(start_server):
    """A started server; stopped at the end of the test run."""
    with start_server(*MORE_ARGUMENTS) as server:
        yield server


def _wait_until_ready(server: Server, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"ComfyUI stopped with {process.returncode}:\n{server.log.read_text()[-4000:]}")
        try:
            server.get("/system_stats")
            return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"ComfyUI does not answer after {START_SECONDS} s:\n{server.log.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def run_headless(environment, tmp_path_factory, base):
    """Run the command line with ComfyUI's Python: run_headless(*arguments) -> CompletedProcess."""
    link = tmp_path_factory.mktemp("package")
    link_pack(link / "semantic_edit")
    program = "import sys; from semantic_edit.headless.commands.cli import main; sys.exit(main())"

    def run(*arguments):
        command = [PYTHON, "-c", program, *map(str, arguments)]
        search = {**environment, "PYTHONPATH": str(link)}
        return subprocess.run(command, cwd=link, env=search, capture_output=True, text=True, timeout=900)

    return run
