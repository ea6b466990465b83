"""A reader from an example pair: whitened feature change in any frozen network's features.

Several networks read together, by the mean of their readings: what one of them takes for the edit in somebody's face,
another does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...models.errors import InputError
from .example_features import ExampleFeatures, Features, Scale
from .reader import StateReader, check_picture_batch, digest_of

__all__ = ["reader_from_example", "taught_reader"]


def reader_from_example(
    features: Features | Sequence[Features],
    before: Tensor,
    after: Tensor,
    pictures: Tensor | None = None,
    name: str = "example",
    kind: str = "example pair",
) -> StateReader:
    """Learn to read what one edit, or a few of the same kind, changes.

    Args:
        features: any frozen network: open_clip, ComfyUI's CLIP vision, an encoder, the diffusion network's own middle;
            or several, which read together.
        before: [K, 3, H, W] in -1..1.
        after: [K, 3, H, W], the same pictures edited.
        pictures: [N, 3, H, W], others of the kind that will be read, 8 or more, best 50: what they differ in counts
            less, and the noise is measured on them. Without them, moved copies of the example serve.
        name: of the number.
        kind: for people, such as "example pair, read by open_clip".

    Returns:
        A reader whose number is 0 for the pictures before, and 1, its target, for those after (in the mean of pairs).

    Raises:
        InputError: pairs of different sizes, no network, features that are not finite, or a change that a network does
            not see.
    """
    networks = [features] if callable(features) else list(features)
    if not networks:
        raise InputError("No network reads the example; give one or more.")
    check_picture_batch(before)
    check_picture_batch(after)
    if before.shape != after.shape:
        raise InputError(
            f"The example's pictures before have shape {list(before.shape)}, those after {list(after.shape)}; they "
            "must be pairs of one size."
        )
    example = ExampleFeatures(networks, before, after, pictures)
    return _reader(example, example.scale(), name, kind)


def taught_reader(reader: StateReader, unedited: Tensor, drawn: Tensor, strengths: Tensor) -> StateReader:
    """Let drawings of the same edit teach a reader of an example; its state, 1, stays that of the example.

    One pair shows what the edit did to one person. Where the editor that made the example has drawn others, their mean
    change is the surer guide: on the demo generator, scorer and one example, a third of the spread less and half of the
    landing. Where the example came from elsewhere, what the editor changes besides would be taken for the edit.

    Args:
        reader: from `reader_from_example`.
        unedited: [M, 3, H, W], the pictures before the edit.
        drawn: [M, 3, H, W], the same pictures edited, of 16 different ones or more.
        strengths: [M], at which; negative ones the other way.

    Returns:
        The reader as it was, where it is no example's, or where they are too few or show another edit.
    """
    if reader.example is None:
        return reader
    rows = [reader.example.of_pictures(pictures) for pictures in (unedited, drawn)]
    scale = reader.example.taught(*rows, strengths)
    return reader if scale is None else with_scale(reader, scale)


def with_scale(reader: StateReader, scale: Scale) -> StateReader:
    """Return a reader of the same example by another scale."""
    return _reader(reader.example, scale, reader.names[0], reader.kind)


def _reader(example: ExampleFeatures, scale: Scale, name: str, kind: str) -> StateReader:
    def read(batch: Tensor) -> Tensor:
        return scale.read(example.of_pictures(batch))[:, None].float()

    return StateReader(
        read, (name,), ("of the example's edit",), torch.tensor([scale.noise]), kind, target=torch.ones(1),
        key=digest_of(scale.normal, scale.offset), example=example,
    )  # fmt: skip
