"""Set up and run the project from a bare Python: ``python tools/project.py demo | test | setup``.

Everything goes into ``.venv`` of this folder; nothing else on the machine is touched. ``make demo`` and ``make test``
call this file, and so can anyone without make.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
ENVIRONMENT = Path(os.environ.get("SEMANTIC_EDIT_VENV", ROOT / ".venv"))
SCRIPTS = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
# Threads that wait sleep: on a machine with other work, spinning ones take the cores from those that compute.
_PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(*command: str | Path, extra_environment: dict[str, str] | None = None) -> None:
    """Run a command in the project's folder; end with its exit status when it fails."""
    environment = {**os.environ, **(extra_environment or {})}
    status = subprocess.run([str(argument) for argument in command], cwd=ROOT, env=environment).returncode
    if status:
        say(f"Stopped: {Path(str(command[0])).name} ended with status {status}.")
        raise SystemExit(status)


def setup(extras: str) -> None:
    """Make the virtual environment and install the project with ``extras`` into it, unless that was done already."""
    stamp = ENVIRONMENT / f".installed-{extras.replace(',', '-')}"
    sources = (ROOT / "pyproject.toml", CONSTRAINTS, ROOT / "setup.py")
    if stamp.is_file() and stamp.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    if sys.version_info < (3, 10):  # noqa: UP036 - this line is what an old Python reads first
        raise SystemExit(f"Semantic Edit needs Python 3.10 or newer; this is {sys.version.split()[0]}.")
    say(f"Installing into {ENVIRONMENT.name} (a few minutes the first time) ...")
    start = time.monotonic()
    if not SCRIPTS.is_dir():
        venv.create(ENVIRONMENT, with_pip=True)
    run(SCRIPTS / "python", "-m", "pip", "install", "-q", "-e", f".[{extras}]", "-c", CONSTRAINTS)
    stamp.touch()
    say(f"Installed in {time.monotonic() - start:.0f} s.")


def demo() -> None:
    """Run the main job on the demo world."""
    setup("standalone")
    run(SCRIPTS / "semantic-edit", "demo", *sys.argv[2:], extra_environment=_PATIENT)


def test() -> None:
    """Run lint, security rules and the whole default suite."""
    setup("standalone,test")
    run(SCRIPTS / "ruff", "check", ".")
    run(SCRIPTS / "bandit", "-q", "-r", ".", "-c", "pyproject.toml")
    # One thread per test process: two processes with two threads each would fight over two cores.
    threads = {**_PATIENT, "OMP_NUM_THREADS": "1"}
    run(SCRIPTS / "pytest", "-q", "-n", str(min(4, os.cpu_count() or 1)), *sys.argv[2:], extra_environment=threads)


COMMANDS = {"demo": demo, "test": test, "setup": lambda: setup("standalone,test")}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        raise SystemExit(f"Usage: python tools/project.py {' | '.join(COMMANDS)}")
    COMMANDS[sys.argv[1]]()
