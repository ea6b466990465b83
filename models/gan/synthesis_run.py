"""One run of a generator's layers: where it starts, what it gives, and the checks that all generators share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..errors import InputError
from .window import Window

NOISE_MODES = ("constant", "none", "random")
Hook = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class LayerState:
    """Where a synthesis can start again: ``features`` [B, C, h, w] after ``layer``, ``image`` before its ToRGB.

    With a ``window`` all of them are that part of the picture, and what starts here draws that part alone.
    """

    layer: int
    features: Tensor
    image: Tensor | None  # None before the first ToRGB, and always for a Progressive GAN
    residual: Tensor | None = None  # the side path of a "resnet" block, between its two convolutions
    window: Window | None = None

    def part(self, window: Window) -> LayerState:
        """The same state with a part of the picture.

        Raises InputError for a part already, and for edges that lie within a cell of the picture so far.
        """
        if self.window is not None:
            raise InputError("The state is a part of a picture already.")
        cut = {name: getattr(self, name) for name in ("features", "image", "residual")}
        cut = {name: None if x is None else window.of(x) for name, x in cut.items()}
        return replace(self, window=window, **cut)


@dataclass(frozen=True, eq=False)
class SynthesisResult:
    """``image`` [B, 3, H, W] about -1..1 (None when the run stopped at a layer), and the layers that were asked for."""

    image: Tensor | None
    features: dict[int, Tensor] = field(default_factory=dict)  # layer -> [B, C, h, w]
    state: LayerState | None = None  # of ``stop_layer``


def check_layer(layer: int, count: int) -> int:
    """The layer itself; InputError when there is none of that number."""
    if not 0 <= layer < count:
        raise InputError(f"Layer {layer} does not exist; this generator has layers 0 to {count - 1}.")
    return layer


def check_run(
    ws: Tensor,
    rows: tuple[int, int],  # (L, D) of the codes
    noise: str | int,
    layer_size: Callable[[int], tuple[int, int, int]],
    last: int,  # the last layer of the run when nothing stops it earlier
    count: int,  # layers of the whole network
    want: Collection[int],
    stop_layer: int | None,
    resume: LayerState | None,
) -> None:
    """InputError when the codes, the noise, the start, the end or the wanted layers do not fit the network."""
    if ws.ndim != 3 or tuple(ws.shape[1:]) != rows or ws.shape[0] == 0:
        raise InputError(
            f"The latent has shape {tuple(ws.shape)}; this generator expects [B, {rows[0]}, {rows[1]}] "
            "(batch, rows of W+, width)."
        )
    if (isinstance(noise, str) and noise not in NOISE_MODES) or not isinstance(noise, (str, int)):
        raise InputError(f"Unknown noise '{noise}'; expected 'constant', 'none' or a seed.")
    begin = 0
    if resume is not None:
        begin = check_layer(resume.layer, count) + 1
        channels, height, width = layer_size(resume.layer)
        if resume.window is not None:
            height, width = resume.window.size(height, width)
        size = (ws.shape[0], channels, height, width)
        if tuple(resume.features.shape) != size:
            raise InputError(
                f"The features to go on from have shape {tuple(resume.features.shape)}; layer {resume.layer} of "
                f"this generator has {size}."
            )
    if stop_layer is not None:
        last = min(last, check_layer(stop_layer, count))
        if not begin - 1 <= stop_layer <= last:
            raise InputError(f"Cannot stop after layer {stop_layer}: this run has layers {begin} to {last}.")
    if begin - 1 > last:
        raise InputError(f"Cannot go on after layer {begin - 1}: this run ends with layer {last}.")
    for layer in want:
        if not begin <= check_layer(layer, count) <= last:
            raise InputError(f"The features of layer {layer} are not made: this run has layers {begin} to {last}.")
