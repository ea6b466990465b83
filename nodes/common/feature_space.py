"""Where pictures are compared: which networks a node may offer as a feature space, and which one is the default."""

from __future__ import annotations

import functools

import torch

from ... import host
from ...demo.assets import reader
from ...editing.common.types import EditDirection
from ...editing.one_for_all.attribute_score import AttributeScore
from ...editing.one_for_all.features import FeatureSpace, encoder_space, generator_space, network_space
from ...host import io
from ...models.checkpoint import read_metadata
from ...models.encoders.encoder import PictureEncoder, load_encoder
from ...models.errors import CheckpointError, InputError, check_choice
from ...models.gan.generator import GanGenerator
from .devices import place
from .model_files import model_file_fingerprint

AUTOMATIC, OWN, DEMO = "automatic", "generator's own", "demo portraits"


def features_input(id: str = "features", **more: object) -> io.Combo.Input:
    """Return the list of feature spaces."""
    return io.Combo.Input(
        id,
        options=[AUTOMATIC, OWN, DEMO, *host.current().list_models("encoders")],
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
    check_choice("features", choice, [AUTOMATIC, OWN, DEMO, *files])
    if choice == AUTOMATIC:
        fitting = next((name for name in files if _family(name) == generator.family), None)
        return generator_space(generator) if fitting is None else _own_space(generator, fitting)
    if choice == OWN:
        return generator_space(generator)
    if choice == DEMO:
        network = reader("features")

        def read(pictures: torch.Tensor) -> torch.Tensor:
            return network(pictures.to("cpu", torch.float32))

        return network_space("demo network", read, "demo", readings=True)
    network = _encoder(choice, *_state(choice))
    if not _fits(network, generator):
        raise InputError(
            f"The encoder '{choice}' belongs to another generator than '{generator.name}'. Choose 'automatic', "
            '"generator\'s own", or the encoder of this generator.'
        )
    place(generator, network)
    return encoder_space(network, choice)


def features_fingerprint(choice: str | None) -> str:
    """Return a value that changes when the chosen encoder's file is replaced: for `fingerprint_inputs`."""
    return "" if choice in (AUTOMATIC, OWN, DEMO) else model_file_fingerprint("encoders", choice)


def network_of_score(direction: EditDirection) -> object | None:
    """Return what reads pictures for the score that a direction carries, for `place`; None where that is no network."""
    return direction.score.space.key if isinstance(direction.score, AttributeScore) else None


def _own_space(generator: GanGenerator, name: str) -> FeatureSpace:
    network = _encoder(name, *_state(name))
    place(generator, network)
    return encoder_space(network)


def _family(name: str) -> str | None:
    """The generator family that an encoder's header names; None for a damaged file, which nobody chose."""
    try:
        return read_metadata(host.current().model_path("encoders", name), "encoder").get("family") or None
    except (CheckpointError, InputError):
        return None


def _fits(encoder: PictureEncoder, generator: GanGenerator) -> bool:
    return bool(encoder.family) and encoder.family == generator.family


def _state(name: str) -> tuple[str, int]:
    path = host.current().model_path("encoders", name)
    return str(path), path.stat().st_mtime_ns


@functools.lru_cache(maxsize=2)
def _encoder(name: str, path: str, changed: int) -> PictureEncoder:
    """The network of a file, read again only when the file has changed; the host moves it in and out of memory."""
    return load_encoder(path)
