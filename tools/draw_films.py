"""Draw the films of docs/ anew, in an installed checkout: ``draw_films.py [strengths] [drag]``.

Animated WebP, a few hundred kilobytes each: photos that go to one state and back, and points that are dragged step by
step. Run it after a demo checkpoint changed, and look at every frame (``--frames FOLDER`` writes them).
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from semantic_edit.demo import factors_from_z, render
from semantic_edit.demo.assets import demo_file
from semantic_edit.demo.portraits.factors import INDEX
from semantic_edit.editing import apply_edit
from semantic_edit.editing.common.figures import AFTER, INK, LIGHT, PAPER, TARGET, as_picture, contact_sheet, font
from semantic_edit.editing.drag.drag import drag
from semantic_edit.editing.drag.points import DragPoints
from semantic_edit.headless.host.headless_host import HeadlessSettings, use_headless
from semantic_edit.headless.run.runner import Runner
from semantic_edit.headless.workflow.document import read_document
from semantic_edit.models import GanGenerator, load_generator
from torch import Tensor
from torch.nn.functional import max_pool2d

ROOT = Path(__file__).resolve().parents[1]
QUALITY = 75  # of WebP
STOPS = 17  # strengths from 0 to 1
STOP_MS, END_MS, STEP_MS = 60, 900, 260  # how long a strength, an end of the way and a step of a drag are seen
PHOTOS = (1, 2, 6, 7, 9, 15)  # of whom nothing smears: painted faces, and no earrings
SCALE = 2  # of a dragged portrait
BAR = 30  # pixels below the photos


@dataclass(frozen=True)
class Pull:
    """A portrait, and the factor whose change says which points go where."""

    seed: int
    factor: str
    goal: float


PULLS = (Pull(12, "hair_len", 0.72), Pull(23, "yaw", 0.05), Pull(31, "smile", 0.7))


def main() -> None:
    """Draw those that are named, or all."""
    films = {"strengths": strengths, "drag": dragging}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*films, []], help="default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--frames", type=Path, help="folder for all frames, to look at")
    options = parser.parse_args()
    for name in options.names or films:
        frames, times = films[name]()
        path = options.out / f"{name}.webp"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=times, loop=0, quality=QUALITY, method=6)
        sys.stdout.write(f"{path}: {len(frames)} frames of {frames[0].width} x {frames[0].height}, "
                         f"{path.stat().st_size / 1000:.0f} kB\n")  # fmt: skip
        if options.frames:
            options.frames.mkdir(parents=True, exist_ok=True)
            for k, frame in enumerate(frames):
                frame.save(options.frames / f"{name}_{k:02}.png")


def strengths() -> tuple[list[Image.Image], list[int]]:
    """Photos at strengths from 0 to 1 and back: the edit of the template edit_one_for_all."""
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(use_headless(HeadlessSettings(output=Path(folder))))
        prompt = runner.prepare(read_document(ROOT / "workflows" / "edit_one_for_all.json"))
        types = {node["class_type"]: node_id for node_id, node in prompt.nodes.items()}
        values = runner.run(prompt).values
    codes, direction, strength, generator = (
        values[types[f"SemanticEdit{name}"]][0][0]
        for name in ("InvertImages", "OptimizeDirection", "ComputeStrength", "AdaptGenerator")
    )
    frames = []
    with torch.inference_mode():
        for k in range(STOPS):
            share = 0.5 - 0.5 * math.cos(math.pi * k / (STOPS - 1))
            moved = apply_edit(codes.codes, direction, strength.alpha * share)
            pictures = generator.synthesize(moved)[list(PHOTOS)]
            frames.append(with_bar(sheet_of(pictures), share))
    times = [END_MS, *[STOP_MS] * (STOPS - 2), END_MS]
    return frames + frames[-2:0:-1], times + times[-2:0:-1]


def with_bar(sheet: Image.Image, share: float) -> Image.Image:
    """Add a bar below a sheet that says how strong the edit is."""
    frame = Image.new("RGB", (sheet.width, sheet.height + BAR), PAPER)
    frame.paste(sheet, (0, 0))
    draw, y = ImageDraw.Draw(frame), sheet.height + BAR // 2
    left, right = 120, sheet.width - 60
    draw.text((8, y), f"strength {share:.2f}", fill=INK, font=font(14), anchor="lm")
    draw.rounded_rectangle([left, y - 3, right, y + 3], 3, fill=LIGHT)
    x = left + (right - left) * share
    draw.rounded_rectangle([left, y - 3, x, y + 3], 3, fill=AFTER)
    draw.ellipse([x - 7, y - 7, x + 7, y + 7], fill=AFTER)
    return frame


def dragging() -> tuple[list[Image.Image], list[int]]:
    """Sampled portraits whose points are dragged, all at once, step by step."""
    generator = load_generator(demo_file("generators"))
    ways = [dragged(generator, pull) for pull in PULLS]
    length = max(len(way) for way in ways)
    rows = [[way[min(k, len(way) - 1)] for way in ways] for k in range(length)]
    frames = [joined(row) for row in rows]
    return frames, [END_MS, *[STEP_MS] * (length - 2), 2 * END_MS]


def dragged(generator: GanGenerator, pull: Pull) -> list[Image.Image]:
    """One portrait before the drag and after each step, with its points."""
    z = torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(pull.seed))
    code = generator.map(z)
    points, region = points_of(z, pull, generator.resolution[0])
    with torch.no_grad():
        pictures = [generator.synthesize(code)[0] / 2 + 0.5]

    def keep(step: int, steps: int, preview: Tensor | None = None) -> None:
        pictures.extend([] if preview is None else [preview])

    result = drag(generator, code, points, region, progress=keep, preview_every=1)
    steps = zip(pictures, result.positions, strict=True)
    return [with_points(picture, positions, points.targets) for picture, positions in steps]


def points_of(z: Tensor, pull: Pull, size: int) -> tuple[DragPoints, Tensor]:
    """The two true landmarks that the factor's change moves most, where they go, and the region that changes."""
    factors = factors_from_z(z)
    changed = factors.clone()
    changed[0, INDEX[pull.factor]] = pull.goal
    before, after = render(factors, size), render(changed, size)
    first, last = before.landmarks[0], after.landmarks[0]
    inside = (torch.stack([first, last]) - size / 2).abs().amax(dim=(0, 2)) < size / 2 - 2
    marks = ((last - first).norm(dim=1) * inside).topk(2).indices
    difference = (before.images - after.images).abs().amax(dim=1) > 0.05
    return DragPoints(first[marks], last[marks]), max_pool2d(difference.float(), 9, 1, 4)[0]


def with_points(picture: Tensor, places: Tensor, targets: Tensor) -> Image.Image:
    """Enlarge a picture [3, H, W] in 0..1 and mark where its handles are, and where they go."""
    small = as_picture(picture.clamp(0, 1).movedim(0, -1))
    frame = small.resize((small.width * SCALE, small.height * SCALE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(frame)
    for place, target in zip((places * SCALE).tolist(), (targets * SCALE).tolist(), strict=True):
        draw.line([*place, *target], fill=PAPER, width=2)
        for (x, y), colour, radius in ((target, AFTER, 6), (place, TARGET, 5)):
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour, outline=PAPER, width=2)
    return frame


def joined(pictures: list[Image.Image], gap: int = 4) -> Image.Image:
    """Lay pictures of one size side by side."""
    width = pictures[0].width + gap
    frame = Image.new("RGB", (width * len(pictures) - gap, pictures[0].height), PAPER)
    for k, picture in enumerate(pictures):
        frame.paste(picture, (k * width, 0))
    return frame


def sheet_of(pictures: Tensor) -> Image.Image:
    """Lay pictures [N, 3, H, W] in -1..1 side by side."""
    return as_picture(contact_sheet([list(pictures.clamp(-1, 1).movedim(1, -1) / 2 + 0.5)]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
