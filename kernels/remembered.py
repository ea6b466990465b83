"""Choices that stay: a small file in the user's cache folder, for a processor, a version of torch and of this pack.

The paths of an operation round differently, and what a clock finds differs from run to run. So that the same seed gives
the same bytes, also in the next process and in another one at the same time, a choice is made once: the first line that
names a class of shapes counts, and every process reads the file again before it times anything. Lines are appended in
one piece; one that is torn or strange is not read.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from pathlib import Path

import torch

ENVIRONMENT = "SEMANTIC_EDIT_KERNEL_CHOICES"  # another folder, or "off"
ARRANGEMENT = 1  # rises with the paths themselves: older choices are made anew then
_LINE = re.compile(r"^([a-z]{1,16})\t([\x20-\x7e]{1,200})$")
_LARGEST = 2**20


def choices_file() -> Path | None:
    """Return where choices are kept; None where they are not to be, or no folder is known."""
    chosen = os.environ.get(ENVIRONMENT, "")
    if chosen.lower() == "off":
        return None
    try:
        folder = Path(chosen).expanduser() if chosen else _cache_folder() / "semantic_edit"
    except RuntimeError:  # no home
        return None
    return folder / f"kernels-{hashlib.sha256(facts().encode()).hexdigest()[:12]}.txt"


def facts() -> str:
    """Return what a choice depends on, beside the shapes and the number of threads."""
    capability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    return f"{_processor()}, {os.cpu_count()} cores, {capability}, torch {torch.__version__}, paths {ARRANGEMENT}"


def recall(path: Path) -> dict[str, str]:
    """Read the choices, class of shapes -> path; of two for a class the first counts."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            text = file.read(_LARGEST)
    except OSError:
        return {}
    choices: dict[str, str] = {}
    for line in text.split("\n"):
        if match := _LINE.match(line):
            choices.setdefault(match[2], match[1])
    return choices


def remember(path: Path, key: str, choice: str) -> dict[str, str]:
    """Append a choice and read all again; another process may have been first.

    Raises:
        OSError: nothing can be kept there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    if not new and path.stat().st_size > _LARGEST - 300:
        raise OSError(f"{path} is full.")
    with path.open("ab") as file:  # the system appends a piece of this size at once
        # A line break first: should another process have died in the middle of a line, this one stays whole.
        file.write(((f"# {facts()}" if new else "") + f"\n{choice}\t{key}\n").encode("ascii", "replace"))
    return recall(path)


def _cache_folder() -> Path:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        if folder := os.environ.get(name):
            return Path(folder)
    return Path.home() / ".cache"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
