"""Real faces to one state: MediaPipe's mesh reads, a warp of the face by its landmarks edits, a second network judges.

Views of real photos (turned, zoomed, mirrored, exposed otherwise) begin at mouths, smiles and brows that differ; all
shall show what one example shows after its edit. The reader is the mesh with attention and its own distances; the judge
is the plain mesh, another network, by other points. Neither the warp nor its strengths is known to either.

    constant strength   everyone moves as far as the example
    one state           draw, read, correct

    spread     standard deviation of the judge's number after / before, of views that can reach the state by the judge
    landing    |mean after - the example's| in standard deviations before
    drawings   pictures drawn per view
    noise      the judge's own standard deviation between copies that show the same, likewise

The package mediapipe is needed (the extra ``[faces]``), and scikit-image for its photo; other photos by --photos.

    python benchmarks/one_state_real_faces.py [--views 24] [--photos FOLDER] [--write]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from _face_warp import WARPS, warp_faces
from _harness import machine_facts, say, table
from _pages import write_page
from PIL import Image
from semantic_edit.editing import reach_state
from semantic_edit.editing.common.face_landmarks import LandmarkedFace
from semantic_edit.editing.state import measure_noise, mesh_detector, reader_from_face, with_measured_noise
from semantic_edit.editing.state.picture_noise import disturbed_copies
from torch import Tensor

SIZE = 320  # px of a view
RANGE = (-1.5, 0.0, 1.5)  # of strengths
START = 0.9  # views begin anywhere between - and + this strength
EXAMPLE = 0.6  # the example's edit
COPIES = 8  # that show the same, whose mean the judge takes for the example's state
HEAD = ("edit", "way", "spread", "landing", "drawings", "at the state", "named right", "the judge's noise")
Points = Callable[[LandmarkedFace], float]


def _upright(face: LandmarkedFace, pair: tuple[int, int]) -> float:
    """How far the second point lies below the first, along the face, in lengths from the nose's root to the chin."""
    axis = face.points[152] - face.points[168]
    return float((face.points[pair[1]] - face.points[pair[0]]) @ axis / axis.square().sum())


def _smile(face: LandmarkedFace) -> float:
    """Corners of the outer lips above the middle of the outer lips, and apart."""
    lift = (
        -(_upright(face, (0, 76)) + _upright(face, (17, 76)) + _upright(face, (0, 306)) + _upright(face, (17, 306))) / 4
    )
    length = (face.points[152] - face.points[168]).norm()
    return lift + 0.5 * float((face.points[76] - face.points[306]).norm() / length)


# By points that the reader's own measures do not use.
JUDGED: dict[str, Points] = {
    "mouth open": lambda face: _upright(face, (0, 17)),
    "smile": _smile,
    "brows raised": lambda face: (_upright(face, (52, 168)) + _upright(face, (282, 168))) / 2,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=24)
    parser.add_argument("--photos", type=Path, help="a folder of photos with one face each, in place of the astronaut")
    parser.add_argument("--edits", nargs="*", default=list(WARPS), choices=list(WARPS))
    parser.add_argument("--write", action="store_true", help="put the table on the page")
    options = parser.parse_args()
    began, bench = time.process_time(), Bench()
    photos = read_photos(options.photos)
    views = bench.views(photos, options.views + 1)
    rows = [row for edit in options.edits for row in bench.rows(edit, views)]
    text = f"{len(photos)} photo{'s' * (len(photos) > 1)}, {options.views} views.\n\n" + table(HEAD, rows)
    say(text)
    facts = f"{machine_facts()}; {time.process_time() - began:.0f} s of CPU"
    say(facts)
    if options.write:
        write_page(
            "one_state_real_faces", text, f"python benchmarks/one_state_real_faces.py --views {options.views}", facts
        )


def read_photos(folder: Path | None) -> list[Tensor]:
    """Photos [1, 3, H, W] in -1..1."""
    if folder is None:
        from skimage import data

        return [torch.from_numpy(data.astronaut()).float().movedim(2, 0)[None] / 127.5 - 1]
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not files:
        raise SystemExit(f"There are no photos in {folder}.")
    pixels = [torch.frombuffer(bytearray(Image.open(f).convert("RGB").tobytes()), dtype=torch.uint8) for f in files]
    sizes = [Image.open(f).size for f in files]
    return [
        flat.reshape(height, width, 3).float().movedim(2, 0)[None] / 127.5 - 1
        for flat, (width, height) in zip(pixels, sizes, strict=True)
    ]


class Bench:
    """The two networks."""

    def __init__(self) -> None:
        self.reading, self.judging = mesh_detector(), mesh_detector(attention=False)

    def face(self, picture: Tensor) -> LandmarkedFace:
        """The face that the reader finds in [1, 3, H, W]."""
        faces = self.reading(picture)[0]
        if not faces:
            raise SystemExit("No face was found in one of the photos.")
        return faces[0]

    def views(self, photos: list[Tensor], count: int) -> Tensor:
        """Turned, zoomed, mirrored and exposed views [count, 3, H, W] of the faces."""
        rng = torch.Generator().manual_seed(7)
        rows = []
        for k in range(count):
            photo = photos[k % len(photos)]
            points = self.face(photo).points.float()
            middle, reach = points.mean(dim=0), float((points.amax(dim=0) - points.amin(dim=0)).max())
            angle, zoom, x, y, gamma, mirror = torch.rand(6, generator=rng).tolist()
            angle, half = (angle - 0.5) * math.radians(24), reach * (0.7 + 0.3 * zoom)
            flip = -1.0 if mirror < 0.5 else 1.0
            turn = torch.tensor([[math.cos(angle) * flip, -math.sin(angle)], [math.sin(angle) * flip, math.cos(angle)]])
            line = torch.linspace(-half, half, SIZE)
            grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1) @ turn.T
            grid = grid + middle + 0.1 * reach * (torch.tensor([x, y]) - 0.5)
            grid = grid / (torch.tensor([photo.shape[-1] - 1.0, photo.shape[-2] - 1.0]) / 2) - 1
            view = F.grid_sample(photo, grid[None], mode="bicubic", padding_mode="reflection", align_corners=True)
            rows.append(view.clamp(-1, 1).add(1).div(2).pow(0.75 + 0.6 * gamma).mul(2).sub(1))
        return torch.cat(rows)

    def rows(self, edit: str, views: Tensor) -> list[list[str]]:
        """Bring the views to the state of the last one after its edit; grade."""
        warp = WARPS[edit]
        starts = START * (2 * torch.rand(len(views), generator=torch.Generator().manual_seed(11)) - 1)
        starts[-1] = -START / 2
        views = warp_faces(views, self.points(views), warp, starts)
        points, photos = self.points(views), views[:-1]

        def render_some(strengths: Tensor, index: Tensor) -> Tensor:
            return warp_faces(photos[index], points[index], warp, strengths)

        def render(strengths: Tensor) -> Tensor:
            return render_some(strengths, torch.arange(len(photos)))

        after = warp_faces(views[-1:], points[-1:], warp, torch.tensor([EXAMPLE]))
        reader = with_measured_noise(reader_from_face(self.reading, [edit]), photos)
        target = float(reader.read(after)[0, 0])
        reached = reach_state(
            render, reader, torch.full((len(photos),), target), RANGE, unedited=photos, render_some=render_some
        )
        levels = torch.stack(
            [self.judge(edit, render(torch.full((len(photos),), s))) for s in (-1.5, -0.75, 0.0, 0.75, 1.5)]
        )
        copies = torch.cat([disturbed_copies(after, seed) for seed in range(COPIES)])
        goal = float(self.judge(edit, copies).nanmean())
        can = (levels.amin(dim=0) <= goal) & (levels.amax(dim=0) >= goal)
        before, std = levels[2], float(levels[2].std())
        noise = float(measure_noise(lambda pictures: self.judge(edit, pictures), photos)[0]) / std
        plain = self.judge(edit, render(torch.full((len(photos),), EXAMPLE)))
        edited = self.judge(edit, reached.pictures)
        named = float((can == reached.reachable).float().mean())
        count = len(photos)
        cells = [
            ("before", before, "0", ""),
            ("constant strength", plain, "1.0", ""),
            ("one state", edited, f"{reached.renders / count:.1f}", f"{named:.2f}"),
        ]
        return [
            [
                edit,
                way,
                f"{float(numbers[can].std()) / std:.2f}",
                f"{abs(float(numbers[can].mean()) - goal) / std:.2f}",
                drawings,
                f"{int(reached.landed.sum())} of {count}" if named_right else "",
                named_right,
                f"{noise:.2f}",
            ]
            for way, numbers, drawings, named_right in cells
        ]

    def points(self, pictures: Tensor) -> Tensor:
        """Points [B, 478, 2] of the face of each."""
        return torch.stack([self.face(picture[None]).points for picture in pictures])

    def judge(self, edit: str, pictures: Tensor) -> Tensor:
        """The second network's number of each, [B]; NaN where it sees no face."""
        faces = self.judging(pictures)
        return torch.tensor([JUDGED[edit](found[0]) if found else math.nan for found in faces])


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
