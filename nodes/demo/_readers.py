"""Registration of the demo world: its readers, its part labeller and its photos, for the nodes of every stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ...demo.assets import PHOTOS, demo_reader
from ...demo.parts import part_labeller
from ...demo.portraits.scene import PART_NAMES
from ...demo.segmenter import PartMasks, is_part_segmenter, load_segmenter
from ...editing.one_for_all.features import FeatureSpace, network_space
from ...host.registry import (
    PartLabeller,
    feature_spaces,
    identity_networks,
    part_labellers,
    photo_folders,
    segmenter_files,
)
from ...models.inference import no_inference_mode

NAME = "demo portraits"  # as lists of choices show it, and saved workflows refer to it


def register_demo_world() -> None:
    """Offer the demo world's networks and photos to the nodes of other stages."""
    feature_spaces.register(NAME, _feature_space)
    identity_networks.register(NAME, _identity_network)
    part_labellers.register(NAME, lambda: PartLabeller(tuple(PART_NAMES), *part_labeller()))
    segmenter_files.register(NAME, lambda: _segmenter_of)
    photo_folders.register("(demo photos)", lambda: PHOTOS)


def _segmenter_of(path: Path) -> PartMasks | None:
    if not is_part_segmenter(path):
        return None
    with no_inference_mode():  # a module takes no parameters that were made inside
        return PartMasks(load_segmenter(path))


def _feature_space() -> FeatureSpace:
    network = demo_reader("features")

    def read(pictures: Tensor) -> Tensor:
        """Read features [B, K] of pictures [B, 3, H, W] in -1..1."""
        return network(pictures.to("cpu", torch.float32))

    return network_space("demo network", read, "demo", readings=True)


def _identity_network() -> Callable[[Tensor], Tensor]:
    network = demo_reader("identity")

    def embed(pictures: Tensor) -> Tensor:
        """Embed pictures [B, 3, H, W] in -1..1 as unit vectors [B, K], on the pictures' device."""
        return torch.nn.functional.normalize(network(pictures.to("cpu")), dim=1).to(pictures.device)

    return embed
