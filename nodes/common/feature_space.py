"""Feature spaces: the networks in whose features a node may compare pictures, and which one is the default."""

from __future__ import annotations

import functools

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
from .devices import place
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
