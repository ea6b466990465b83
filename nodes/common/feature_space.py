"""Feature spaces: the networks in whose features a node may compare pictures, and which one is the default."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ... import host
from ...editing.common.types import EditDirection
from ...editing.one_for_all.attribute_score import AttributeScore
from ...editing.one_for_all.features import FeatureSpace, encoder_space, generator_space, network_space
from ...host import io
from ...host.registry import feature_spaces
from ...models.checkpoint import read_metadata
from ...models.encoders.encoder import PictureEncoder, load_encoder
from ...models.errors import CheckpointError, InputError, check_choice
from ...models.gan.generator import GanGenerator
from .devices import place, place_all
from .images import to_image_batch
from .model_files import model_file_fingerprint

AUTOMATIC, OWN = "automatic", "generator's own"


def features_input(id: str = "features", **more: object) -> io.Combo.Input:
    """Return the list of feature spaces.

    Args:
        more: further arguments of the input, such as `optional`.
    """
    return io.Combo.Input(
        id,
        options=[AUTOMATIC, OWN, *feature_spaces.names(), *host.current().list_models("encoders")],
        default=AUTOMATIC,
        tooltip="Where pictures are compared. automatic: the encoder of this generator, else its own features.",
        **more,
    )


def feature_space(generator: GanGenerator, choice: str = AUTOMATIC, scorer: object | None = None) -> FeatureSpace:
    """Return the space that was chosen from `features_input`; a connected scorer (TEXT_IMAGE_SCORER) goes before it.

    Raises:
        InputError: an unknown choice, or an encoder of another generator family.
    """
    if scorer is not None:
        place(generator, scorer)
        return network_space(f"scorer {getattr(scorer, 'name', '')}".strip(), scorer.encode_images, scorer)
    files = host.current().list_models("encoders")
    check_choice("features", choice, [AUTOMATIC, OWN, *feature_spaces.names(), *files])
    if choice == AUTOMATIC:
        file = next((name for name in files if _family_of(name) == generator.family), None)
        return generator_space(generator) if file is None else _own_encoder_space(generator, file)
    if choice == OWN:
        return generator_space(generator)
    if choice in feature_spaces.names():
        return feature_spaces.create(choice)
    encoder = _encoder(choice, *_file_version(choice))
    if not encoder.family or encoder.family != generator.family:
        raise InputError(
            f"The encoder '{choice}' belongs to another generator than '{generator.name}'. Choose 'automatic', "
            '"generator\'s own", or the encoder of this generator.'
        )
    place(generator, encoder)
    return encoder_space(encoder, choice)


def picture_features_input(id: str = "features") -> io.Combo.Input:
    """Return the list of feature spaces that need no generator."""
    return io.Combo.Input(
        id,
        options=[AUTOMATIC, *feature_spaces.names(), *host.current().list_models("encoders")],
        default=AUTOMATIC,
        tooltip="A network in whose features pictures are read, beside those that are connected. automatic: these "
        "alone.",
    )


def picture_features(
    choice: str, scorer: object | None = None, clip_vision: object | None = None
) -> list[FeatureSpace]:
    """Return the space chosen from `picture_features_input` and those of connected networks: all of them read.

    Args:
        scorer: TEXT_IMAGE_SCORER, or None.
        clip_vision: ComfyUI's CLIP_VISION, or None.

    Raises:
        InputError: an unknown choice.
    """
    files = host.current().list_models("encoders")
    check_choice("features", choice, [AUTOMATIC, *feature_spaces.names(), *files])
    spaces = []
    if scorer is not None:
        name = f"scorer {getattr(scorer, 'name', '')}".strip()
        spaces.append(network_space(name, _placed(scorer, scorer.encode_images)))
    if clip_vision is not None:
        spaces.append(network_space("CLIP vision", lambda pictures: _clip_embedding(clip_vision, pictures)))
    if choice in feature_spaces.names():
        spaces.append(feature_spaces.create(choice))
    elif choice != AUTOMATIC:
        encoder = _encoder(choice, *_file_version(choice))
        spaces.append(network_space(choice, _placed(encoder, encoder_space(encoder).of_pictures)))
    return spaces


def _placed(network: object, read: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a reading that first brings its network to the working device: others may have pushed it out since."""

    def read_placed(pictures: Tensor) -> Tensor:
        place_all(network)
        return read(pictures.to(host.current().device()))

    return read_placed


def _clip_embedding(clip_vision: Any, pictures: Tensor) -> Tensor:
    """Read ComfyUI's CLIP vision embedding [B, E] of pictures [B, 3, H, W] in -1..1, as unit vectors."""
    if not hasattr(clip_vision, "encode_image"):
        raise InputError(f"clip_vision is a {type(clip_vision).__name__}; connect Load CLIP Vision.")
    output = clip_vision.encode_image(to_image_batch(pictures))
    return F.normalize(output["image_embeds"].float().flatten(1), dim=1)


def features_fingerprint(choice: str | None) -> str:
    """Return a value that changes when the chosen encoder's file is replaced: for `fingerprint_inputs`."""
    no_file = (AUTOMATIC, OWN, *feature_spaces.names())
    return "" if choice in no_file else model_file_fingerprint("encoders", choice)


def network_of_score(direction: EditDirection) -> object | None:
    """Return what reads pictures for the score that a direction carries, for `place`; None where that is no network."""
    return direction.score.space.key if isinstance(direction.score, AttributeScore) else None


def _own_encoder_space(generator: GanGenerator, name: str) -> FeatureSpace:
    encoder = _encoder(name, *_file_version(name))
    place(generator, encoder)
    return encoder_space(encoder)


def _family_of(name: str) -> str | None:
    """Return the generator family that an encoder's header names; None for a damaged file, which nobody chose."""
    try:
        return read_metadata(host.current().model_path("encoders", name), "encoder").get("family") or None
    except (CheckpointError, InputError):
        return None


def _file_version(name: str) -> tuple[str, int]:
    """Return path and time of change of an encoder's file."""
    path = host.current().model_path("encoders", name)
    return str(path), path.stat().st_mtime_ns


@functools.lru_cache(maxsize=2)
def _encoder(name: str, path: str, changed: int) -> PictureEncoder:
    """Read the network of a file, again only when the file has changed; the host moves it in and out of memory."""
    return load_encoder(path)
