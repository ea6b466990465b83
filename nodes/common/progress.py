"""Progress bars of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from ... import host
from ...editing.common.progress import Progress
from ...models.gan.generator import GanGenerator


def progress_for(total: int, label: str = "") -> Progress:
    """Start a progress bar of the host.

    Args:
        total: steps expected; the work may correct it with each report.
        label: a few words for hosts that show them.
    """
    return host.current().progress(total, label)


@contextmanager
def layer_progress(generator: GanGenerator, passes: int, label: str = "") -> Iterator[None]:
    """Report each layer that a generator runs meanwhile: for a few passes, each of which takes long at full size.

    Args:
        passes: through all layers that are expected; there may be more or fewer.
        label: a few words for hosts that show them.
    """
    synthesis, steps = generator.network.synthesis, count(1)
    layers = [synthesis.conv(layer) for layer in range(len(synthesis.layers))]
    progress = progress_for(passes * len(layers), label)

    def report(*_: object) -> None:
        step = next(steps)
        progress(step, max(step, passes * len(layers)))

    hooks = [layer.register_forward_hook(report) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
