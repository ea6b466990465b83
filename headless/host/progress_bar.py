"""The terminal's progress bar: one line that shows which node works and how far it is, drawn by tqdm."""

from __future__ import annotations

import shutil
import sys
import threading
from typing import TextIO

from tqdm import tqdm

from ...models.printable import encodable, printable

_WIDTH = 24  # characters of the bar itself
_REFRESH_SECONDS = 0.1
_NODE, _STEPS = "{desc}", f"{{desc}} |{{bar:{_WIDTH}}}| {{n_fmt}}/{{total_fmt}}, {{remaining_s:.0f}} s left"
_RECENT = 0.1  # weight of the newest steps in the rate of long work, which begins slowly
_RATED = f"{{desc}} |{{bar:{_WIDTH}}}| {{n_fmt}}/{{total_fmt}}, {{rate_noinv_fmt}}, {{remaining}} left"


class _Line(tqdm):
    """tqdm without its monitor thread and its lock between processes: bars here are drawn by one process."""

    monitor_interval = 0


_Line.set_lock(threading.RLock())


class Bar:
    """One line on a terminal; silent where there is no terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.node = ""
        self._layout = _STEPS
        self._line: _Line | None = None

    def start(self, node: str, index: int, total: int) -> None:
        """Name the node that runs now, the `index`-th of `total`."""
        self._start(f"[{index}/{total}] {node}")

    def start_long(self, title: str, unit: str) -> None:
        """Name work that may take hours; it is shown with its rate in `unit` a second."""
        self._start(title, _RATED, f" {unit}", _RECENT)

    def _start(self, title: str, layout: str = _STEPS, unit: str = "", recent: float = 0.0) -> None:
        self.clear()
        self.node, self._layout = encodable(printable(title), self.stream), layout
        size = shutil.get_terminal_size()  # tqdm's own answer is of no use where a terminal does not know its size
        self._line = _Line(
            desc=self.node, file=self.stream, disable=None, leave=False, bar_format=_NODE, ascii="-#", smoothing=recent,
            mininterval=_REFRESH_SECONDS, miniters=1, ncols=size.columns, nrows=size.lines, unit=unit,
        )  # fmt: skip

    def step(self, step: int, total: int, label: str = "") -> None:
        """Show `step` of `total` of the current node."""
        line = self._line
        if line is None or line.disable:
            return
        line.bar_format, line.total = self._layout, max(total, 1)
        line.set_description_str(f"{self.node} {encodable(printable(label), self.stream)}".rstrip(), refresh=False)
        line.update(min(max(step, 0), line.total) - line.n)
        if step >= total:  # whenever the last drawing was
            line.refresh()

    def clear(self) -> None:
        """Remove the line."""
        if self._line is not None:
            self._line.close()
            self._line = None
