"""Registries: readers, part labellers and photo folders that ordinary nodes offer without knowing whose they are.

A world of pictures, such as the demo portraits, registers what it brings when its nodes are loaded; the lists of other
nodes then offer it under the name it registered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor

from ..models.errors import check_choice

Value = TypeVar("Value")


class Registry(Generic[Value]):
    """Factories by the name that nodes show, in the order they were registered.

    Args:
        kind: what is registered, as sentences call it: "photo folder".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._factories: dict[str, Callable[[], Value]] = {}

    def register(self, name: str, factory: Callable[[], Value]) -> None:
        """Offer a value under a name; the same name again replaces it.

        Args:
            factory: called at each use, so nothing is read from disk before.
        """
        self._factories[name] = factory

    def names(self) -> tuple[str, ...]:
        """Return the registered names."""
        return tuple(self._factories)

    def create(self, name: str) -> Value:
        """Return the value of a registered name.

        Raises:
            InputError: when the name is unknown; the sentence lists the registered ones.
        """
        check_choice(self.kind, name, self._factories)
        return self._factories[name]()


@dataclass(frozen=True)
class PartLabeller:
    """A segmenter as GAN dissection asks it."""

    names: tuple[str, ...]  # P parts, in the order of the masks
    label: Callable[[Tensor, slice], Tensor]  # pictures [B, 3, H, W] in -1..1, which of all -> masks [B, P, h, w]
    score: Callable[[Tensor], Tensor] | None = None  # pictures -> masks with gradients


# Feature spaces in which directions and strengths compare pictures (`FeatureSpace` of editing/one_for_all/features.py).
feature_spaces: Registry[Any] = Registry("feature space")
# Networks from pictures [B, 3, H, W] in -1..1 to unit vectors [B, K] that tell who it is.
identity_networks: Registry[Callable[[Tensor], Tensor]] = Registry("identity network")
part_labellers: Registry[PartLabeller] = Registry("part labeller")
# What reads segmenter files of another form than ours: path -> a module as `FaceSegmenter`, None for a file of others.
segmenter_files: Registry[Callable[[Path], Any]] = Registry("segmenter file")
# Folders of photos that come with a pack, beside those below ComfyUI's input.
photo_folders: Registry[Path] = Registry("photo folder")
