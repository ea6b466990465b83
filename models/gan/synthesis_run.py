"""One run of a generator's layers: its options, where it starts, what it gives, and the checks all generators share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..errors import InputError
from .crop_box import CropBox
from .feature_flow import FeatureFlow
from .hooks import SynthesisHook
from .layer_blend import LayerBlend

__all__ = ["LayerState", "SynthesisOptions", "SynthesisResult", "check_layer", "check_run"]

NOISE_MODES = ("constant", "none", "random")


@dataclass(frozen=True, eq=False)
class LayerState:
    """The state after a layer, from which a synthesis can start again.

    With a ``box`` all tensors are that part of the picture, and what starts here draws that part alone.
    """

    layer: int  # the last one that is done
    features: Tensor  # [B, C, h, w] after ``layer``
    image: Tensor | None  # [B, 3, h, w] before its ToRGB; None before the first, and always for a Progressive GAN
    residual: Tensor | None = None  # the side path of a "resnet" block, between its two convolutions
    box: CropBox | None = None
    flow: FeatureFlow | None = None  # where an adaptation's details have gone, when that is known

    def crop(self, box: CropBox) -> LayerState:
        """Return the same state of a part of the picture.

        Raises:
            InputError: it is of a part already, or an edge lies within a cell of the picture so far.
        """
        if self.box is not None:
            raise InputError("The state is a part of a picture already.")
        image, residual = (None if x is None else box.crop(x) for x in (self.image, self.residual))
        return replace(self, box=box, features=box.crop(self.features), image=image, residual=residual)


@dataclass(frozen=True, eq=False)
class SynthesisOptions:
    """Options of one synthesis run: its noise, where it starts and ends, and what joins in on the way.

    Args:
        noise: "constant" (the maps of the checkpoint), "none", "random" (drawn anew, for training), or a seed.
        stop_resolution: height in pixels at which to stop ("skip" architecture alone); None: the finished picture.
        want_features: layers whose features the result holds.
        stop_layer: stop after this layer and give its state instead of a picture.
        resume: start after this state's layer, with its part of the picture.
        hook: changes the features of layers on their way.
        blend: a second set of codes, and where each row of it shows; for generators with a style per layer.
        dtype: of the convolutions; None: that of the codes. Pictures are summed in float32 at least.
        first_index: the position of the first code in a larger batch, so that seeded noise does not depend on chunks.
        photos: [B], whose photo each code is, for an adapted network; None: as its `photos_of` finds. Others ignore it.
    """

    noise: str | int = "constant"
    stop_resolution: int | None = None
    want_features: Collection[int] = ()
    stop_layer: int | None = None
    resume: LayerState | None = None
    hook: SynthesisHook | None = None
    blend: LayerBlend | None = None
    dtype: torch.dtype | None = None
    first_index: int = 0
    photos: Tensor | None = None

    @property
    def first_layer(self) -> int:
        """The first layer that runs."""
        return 0 if self.resume is None else self.resume.layer + 1

    @property
    def box(self) -> CropBox | None:
        """The part of the picture that is drawn; None: all of it."""
        return None if self.resume is None else self.resume.box


@dataclass(frozen=True, eq=False)
class SynthesisResult:
    """``image`` [B, 3, H, W] about -1..1 (None when the run stopped at a layer), and the layers that were asked for."""

    image: Tensor | None
    features: dict[int, Tensor] = field(default_factory=dict)  # layer -> [B, C, h, w]
    state: LayerState | None = None  # of ``stop_layer``


def check_layer(layer: int, count: int) -> int:
    """Return a layer's number as it is.

    Raises:
        InputError: there is none of that number among ``count``.
    """
    if not 0 <= layer < count:
        raise InputError(f"Layer {layer} does not exist; this generator has layers 0 to {count - 1}.")
    return layer


def check_run(synthesis, ws: Tensor, options: SynthesisOptions, last: int) -> None:
    """Check the codes, the noise, the start, the end and the wanted layers of a run.

    Args:
        synthesis: of any generator: its config, its layers and their sizes.
        ws: [B, L, D].
        options: of the run.
        last: the last layer of the run when nothing stops it earlier.

    Raises:
        InputError: they do not fit the network, or one another.
    """
    rows, noise = (synthesis.config.num_layers, synthesis.config.w_dim), options.noise
    if ws.ndim != 3 or tuple(ws.shape[1:]) != rows or ws.shape[0] == 0:
        raise InputError(
            f"The latent has shape {tuple(ws.shape)}; this generator expects [B, {rows[0]}, {rows[1]}] "
            "(batch, rows of W+, width)."
        )
    if (isinstance(noise, str) and noise not in NOISE_MODES) or not isinstance(noise, (str, int)):
        raise InputError(f"Unknown noise '{noise}'; expected 'constant', 'none' or a seed.")
    if options.resume is not None:
        _check_resume(synthesis, options.resume, len(ws))
    first, count = options.first_layer, len(synthesis.layers)
    if options.stop_layer is not None:
        last = min(last, check_layer(options.stop_layer, count))
        if not first - 1 <= options.stop_layer <= last:
            raise InputError(f"Cannot stop after layer {options.stop_layer}: this run has layers {first} to {last}.")
    if first - 1 > last:
        raise InputError(f"Cannot go on after layer {first - 1}: this run ends with layer {last}.")
    for layer in options.want_features:
        if not first <= check_layer(layer, count) <= last:
            raise InputError(f"The features of layer {layer} are not made: this run has layers {first} to {last}.")


def _check_resume(synthesis, state: LayerState, batch: int) -> None:
    """Raise InputError for a state whose features are not of the network's size."""
    check_layer(state.layer, len(synthesis.layers))
    channels, height, width = synthesis.layer_size(state.layer)
    if state.box is not None:
        height, width = state.box.size(height, width)
    expected = (batch, channels, height, width)
    if tuple(state.features.shape) != expected:
        raise InputError(
            f"The features to go on from have shape {tuple(state.features.shape)}; layer {state.layer} of "
            f"this generator has {expected}."
        )
