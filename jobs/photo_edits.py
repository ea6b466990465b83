"""The edit of a few pictures: files in, finished PNG files and their records out; the same for every engine."""

from __future__ import annotations

import hashlib
import io
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from ..editing.one_for_all.render_and_correct import standard_value
from ..editing.one_for_all.transfer import Transfer, TransferResult
from ..models.files.picture_reader import PictureError, read_picture
from .manifest import DONE, SKIPPED, Record

__all__ = ["FILE_THREADS", "EditedPhoto", "Photo", "PhotoEditor", "utc_now"]

FILE_THREADS = min(4, os.cpu_count() or 1)  # reading and packing pictures, beside the networks
_HASHED_AT_A_TIME = 2**20  # bytes


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture in memory, or why it is not.

    Args:
        name: of the input file, as the manifest names it.
        result: the name of the edited picture.
        state: size in bytes and time of change (ns) of the input file.
        pixels: [3, H, W] in -1..1; None where it could not be read, for the reason in ``problem``.
        digest: of its name and contents; "" where it could not be read.
    """

    name: str
    result: str
    state: tuple[int, int]
    pixels: Tensor | None = None
    problem: str = ""
    digest: str = ""


@dataclass(frozen=True, eq=False)
class EditedPhoto:
    """The outcome of one photo.

    Args:
        record: its line in the manifest, but for the sizes and names of the files that are still to be written.
        png: the bytes of the edited picture; None when it was skipped.
        image: [3, H, W], about -1..1; None when it was skipped.
        code: [1, L, D], before the edit; None when it was skipped.
    """

    record: Record
    png: bytes | None = None
    image: Tensor | None = None
    code: Tensor | None = None


@dataclass(frozen=True, eq=False)
class PhotoEditor:
    """One edit, ready for any pictures; ``fit`` and ``background`` as in ``read_picture``."""

    transfer: Transfer
    fit: str
    background: tuple[int, int, int]

    def read(self, file: Path, name: str, result: str, state: tuple[int, int]) -> Photo:
        """Read one file; what cannot be read is a photo with a problem."""
        try:
            colours, _ = read_picture(file, self.transfer.generator.resolution, self.fit, self.background)
            digest = _digest(file, name)
        except PictureError as error:
            return Photo(name, result, state, problem=str(error))
        except OSError as error:
            return Photo(name, result, state, problem=f"it cannot be read ({error.strerror})")
        return Photo(name, result, state, rearrange(colours, "h w c -> c h w").mul(2).sub(1), digest=digest)

    def edit(
        self, photos: list[Photo], pool: ThreadPoolExecutor, progress: Callable[..., object] | None = None
    ) -> Iterator[EditedPhoto]:
        """Edit photos; yields each outcome, in their order.

        Args:
            pool: packs the pictures.
            progress: of the networks' steps; may raise to stop.
        """
        began = time.monotonic()
        pixels = [photo.pixels for photo in photos if photo.pixels is not None]
        result = self.transfer(torch.stack(pixels), progress) if pixels else None
        packed = [] if result is None else [pool.submit(as_png, image) for image in result.images.cpu()]
        seconds = round((time.monotonic() - began) / max(1, len(photos)), 4)
        index = 0
        for photo in photos:
            if photo.pixels is None:
                yield _skipped(photo, photo.problem, seconds)
                continue
            yield self._outcome(photo, result, index, packed[index], seconds)
            index += 1

    def _outcome(self, photo: Photo, result: TransferResult, index: int, png: Future, seconds: float) -> EditedPhoto:
        """Take one picture out of its batch."""
        if not bool(result.usable[index]):
            return _skipped(photo, "no code was found for it (its numbers are not finite)", seconds)
        if result.problems and result.problems[index]:
            return _skipped(photo, result.problems[index], seconds)
        strength, code, content = result.strength, result.codes[index][None], png.result()
        alpha = float(strength.alpha[index])
        before, after = self._states(code, alpha) if result.states is None else _rounded(result.states[index].tolist())
        corrections = self.transfer.corrections
        drawings = corrections + 2 if corrections else 1
        if result.drawings is not None:
            drawings = int(result.drawings[index])
        record = Record(
            photo.name, DONE, photo.result, "", alpha, bool(strength.clamped[index]),
            None if strength.confidence is None else float(strength.confidence[index]), "", *photo.state, len(content),
            seconds, utc_now(), photo.digest, before, after, drawings,
        )  # fmt: skip
        return EditedPhoto(record, content, result.images[index], code)

    def _states(self, code: Tensor, alpha: float) -> tuple[float | None, float | None]:
        """Measure a code [1, L, D] along the edit's normal, in standard deviations from the average picture.

        Picture by picture and in float64, so that the digits do not depend on who shares a batch.
        """
        direction, generator = self.transfer.direction, self.transfer.generator
        normal = direction.normal.detach().cpu().double()
        value = float((normal * code[0].detach().cpu().double()).sum())
        gain = float((normal * direction.direction.detach().cpu().double()).sum())
        states = (float(standard_value(generator, direction, number)) for number in (value, value + alpha * gain))
        return _rounded(states)


def _rounded(states: Iterable[float]) -> tuple[float | None, ...]:
    return tuple(round(state, 6) if math.isfinite(state) else None for state in states)


def as_png(image: Tensor) -> bytes:
    """Pack [3, H, W] about -1..1 as the bytes of a PNG file."""
    pixels = rearrange(image.mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8), "c h w -> h w c")
    content = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(content, "PNG", compress_level=4)
    return content.getvalue()


def utc_now() -> str:
    """Return the time, as the manifest writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _skipped(photo: Photo, problem: str, seconds: float) -> EditedPhoto:
    record = Record(
        photo.name, SKIPPED, problem=problem, source_bytes=photo.state[0], source_time=photo.state[1],
        seconds=seconds, finished=utc_now(), id=photo.digest,
    )  # fmt: skip
    return EditedPhoto(record)


def _digest(file: Path, name: str) -> str:
    """Return the id of a picture: the first half of a SHA-256 of its name and contents."""
    digest = hashlib.sha256(os.fsencode(name) + b"\0")
    with open(file, "rb") as content:
        while block := content.read(_HASHED_AT_A_TIME):
            digest.update(block)
    return digest.hexdigest()[:32]
