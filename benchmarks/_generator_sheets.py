"""What the demo generator paints, for people to look at, and whether the way from one portrait to another jumps."""

from __future__ import annotations

from pathlib import Path

import torch
from semantic_edit.demo import factors_from_z, render
from semantic_edit.demo.portraits.factors import Z_DIM
from semantic_edit.editing.common.figures import as_picture, contact_sheet
from semantic_edit.models import GanGenerator
from torch import Tensor
from torch.nn import functional as F

SHOWN, COLUMNS = 32, 8  # unchosen samples beside their renders
WAYS, STOPS = 4, 9  # rows of an interpolation sheet, pictures of a row
STEPS = 64  # of a way that is measured
BLOCK = 8  # pixels of a side
JPEG_QUALITY = 82


def write_sheets(generator: GanGenerator, folder: Path, seed: int = 20260) -> None:
    """Write ``demo_samples.jpg``, the same doubled, and ``demo_interpolations.jpg``.

    Args:
        generator: of the demo world.
        folder: where to; it is made.
        seed: of the samples.
    """
    folder.mkdir(parents=True, exist_ok=True)
    z = torch.randn(SHOWN, Z_DIM, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        samples = generator.synthesize(generator.map(z))
        ways = interpolated(generator, *pairs_of_codes(generator, WAYS), STOPS)
    renders = render(factors_from_z(z), generator.resolution[0]).images
    rows = [row for k in range(0, SHOWN, COLUMNS) for row in (samples[k : k + COLUMNS], renders[k : k + COLUMNS])]
    labels = ["painted", "render"] * (len(rows) // 2)
    for name, scale in (("demo_samples", 1), ("demo_samples_doubled", 2)):
        save(folder / f"{name}.jpg", rows, labels, scale)
    save(folder / "demo_interpolations.jpg", list(ways))


def save(path: Path, rows: list[Tensor], labels: list[str] | None = None, scale: int = 1) -> None:
    """Write rows of pictures [N, 3, H, W] in -1..1 as a JPEG file."""
    pictures = [list(row.clamp(-1, 1).movedim(1, -1) / 2 + 0.5) for row in rows]
    sheet = as_picture(contact_sheet(pictures, labels or [], scale))
    sheet.save(path, quality=JPEG_QUALITY, optimize=True, progressive=True)


def pairs_of_codes(generator: GanGenerator, count: int, seed: int = 20262) -> tuple[Tensor, Tensor]:
    """Two batches [count, L, D] of unchosen codes."""
    z = torch.randn(2 * count, Z_DIM, generator=torch.Generator().manual_seed(seed))
    return tuple(generator.map(z).chunk(2))


def interpolated(generator: GanGenerator, start: Tensor, end: Tensor, stops: int) -> Tensor:
    """Pictures [B, stops, 3, H, W] along straight lines in W, both ends included."""
    share = torch.linspace(0, 1, stops)[None, :, None, None]
    codes = torch.lerp(start[:, None], end[:, None], share).flatten(0, 1)
    pictures = torch.cat([generator.synthesize(some) for some in codes.split(32)])
    return pictures.unflatten(0, (len(start), stops))


def smoothness(generator: GanGenerator, count: int) -> tuple[Tensor, Tensor]:
    """`halving` and `unevenness` [count] of the ways between ``count`` pairs of unchosen codes."""
    start, end = pairs_of_codes(generator, count)
    measured = []
    with torch.no_grad():
        for a, b in zip(start.split(1), end.split(1), strict=True):
            pictures = interpolated(generator, a, b, STEPS + 1)[0]
            measured.append((halving(pictures), unevenness(pictures)))
    halved, uneven = zip(*measured, strict=True)
    return torch.tensor(halved), torch.tensor(uneven)


def halving(pictures: Tensor) -> float:
    """How many times smaller the largest step becomes when a way has twice as many: 2 without a jump, 1 with one.

    A step is measured in the 8 x 8 block that changes most, so that a jump of one eye is a jump.

    Args:
        pictures: [2 k + 1, 3, H, W] along a way, evenly spaced.
    """
    return float(largest_block_step(pictures[::2]) / largest_block_step(pictures).clamp(min=1e-9))


def unevenness(pictures: Tensor) -> float:
    """The largest step between neighbours [S, 3, H, W] over the mean step, by the mean change of the whole picture."""
    steps = (pictures[1:] - pictures[:-1]).abs().mean((1, 2, 3))
    return float(steps.max() / steps.mean().clamp(min=1e-9))


def largest_block_step(pictures: Tensor) -> Tensor:
    """The mean absolute change of the block and the step where it is largest."""
    return F.avg_pool2d((pictures[1:] - pictures[:-1]).abs(), BLOCK).mean(1).max()
