"""Settings of a drag, ours and DragGAN's (2305.10973)."""

from __future__ import annotations

from dataclasses import dataclass

PUBLISHED_TOLERANCE = 2 / 512  # of the height


@dataclass(frozen=True)
class DragSettings:
    """Method and weights of a drag. Lengths are shares of the picture's height, so that they fit any resolution.

    The features that are followed are read at ``feature_height``, or at ``feature_ratio`` of a small picture's height.

    The published numbers are in :data:`PUBLISHED`; a length of it that comes out below a pixel counts as one.
    """

    method: str = "least change"
    steps: int = 30
    tolerance: float = 0.005  # close enough to stop
    feature_ratio: float = 0.5  # height of the feature map / height of the picture, at most
    feature_height: int = 128  # px of the feature map, at most: the published loop reads the 128 px block at every size
    patch: float = 0.012  # radius of the features that are compared round a handle; r1 of the paper
    search: float = 0.025  # half side of the square in which a handle is looked for; r2 of the paper
    region_weight: float = 1.0  # of what shall not move (the paper's lambda for "published")
    learning_rate: float = 1e-3  # "published" alone


PUBLISHED = DragSettings(
    method="published",
    steps=300,
    tolerance=PUBLISHED_TOLERANCE,
    patch=3 / 512,
    search=12 / 512,
    region_weight=20.0,
    learning_rate=1e-3,
)
METHODS = {"least change": DragSettings(), "published": PUBLISHED}
