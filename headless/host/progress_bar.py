"""The progress bar of the command line."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 24  # characters of the bar itself
REFRESH_SECONDS = 0.1


class Bar:
    """One line on a terminal that shows which node works and how far it is; silent where there is no terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.shown = self.stream.isatty()
        self.node = ""
        self._length = 0
        self._started = self._drawn = 0.0

    def start(self, node: str, index: int, total: int) -> None:
        """Name the node that runs now, the `index`-th of `total`."""
        self.node = f"[{index}/{total}] {node}"
        self._started = time.monotonic()
        self._draw(self.node)

    def step(self, step: int, total: int, label: str = "") -> None:
        """Show `step` of `total` of the current node."""
        now = time.monotonic()
        if not self.shown or (step < total and now - self._drawn < REFRESH_SECONDS):
            return
        self._drawn = now
        part = min(max(step / total, 0.0), 1.0) if total else 1.0
        filled = round(part * WIDTH)
        left = (now - self._started) * (1 - part) / part if part else 0.0
        bar = "#" * filled + "-" * (WIDTH - filled)
        self._draw(f"{self.node} {label} |{bar}| {step}/{total}, {left:.0f} s left".replace("  ", " "))

    def clear(self) -> None:
        """Remove the line."""
        self._draw("")
        if self.shown:
            self.stream.write("\r")
            self.stream.flush()

    def _draw(self, line: str) -> None:
        if self.shown:
            self.stream.write("\r" + line.ljust(self._length))
            self.stream.flush()
            self._length = len(line)
