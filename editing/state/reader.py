"""State readers: what a picture shows, in numbers that have names, units and a noise of their own (STATE_READER)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...models.errors import InputError

if TYPE_CHECKING:
    from .example_features import ExampleFeatures

__all__ = ["StateReader", "check_picture_batch", "digest_of", "readings_of"]

_PER_PASS = 32  # pictures


@dataclass(frozen=True, eq=False)
class StateReader:
    """Reads pictures into K numbers each; nothing in it knows an editor.

    Args:
        of_pictures: pictures [B, 3, H, W] in -1..1 -> readings [B, K] (or [B] where K is 1); NaN for a picture that
            cannot be read, as where a face is asked for and there is none.
        names: K names, such as "smile".
        units: K units, such as "degrees"; left out: none.
        noise: [K], the standard deviation of each reading between pictures that show the same; left out: 0.
        kind: how the reader came about, for people.
        problems: pictures -> B sentences, "" for a picture that can be read; None: a picture is unreadable where a
            reading is not finite, without a reason.
        target: [K], the readings of the example's edited picture, where there is one.
        key: tells the reader from others in the settings of a job, such as a digest of what it learned.
        example: what it was made of, where it came from an example's edit, so that drawings can teach it more.

    Raises:
        InputError: no names, or another number of units, noises or targets; a noise that is negative or not finite.
    """

    of_pictures: Callable[[Tensor], Tensor]
    names: tuple[str, ...]
    units: tuple[str, ...] = ()
    noise: Tensor | None = None
    kind: str = "numbers"
    problems: Callable[[Tensor], Sequence[str]] | None = None
    target: Tensor | None = None
    key: str = ""
    example: ExampleFeatures | None = None

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in self.names)
        if not names:
            raise InputError("A state reader needs a name for each of its numbers; got none.")
        units = tuple(str(unit) for unit in self.units) or ("",) * len(names)
        if len(units) != len(names):
            raise InputError(f"A state reader of {len(names)} numbers needs as many units; got {len(units)}.")
        noise = torch.zeros(len(names)) if self.noise is None else torch.as_tensor(self.noise).detach().float().cpu()
        noise = noise.reshape(-1)
        if len(noise) != len(names) or not bool((torch.isfinite(noise) & (noise >= 0)).all()):
            raise InputError(
                f"A state reader of {len(names)} numbers needs as many noises, finite and 0 or more; "
                f"got {noise.tolist()}."
            )
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "noise", noise)
        if self.target is not None:
            target = torch.as_tensor(self.target).detach().float().cpu().reshape(-1)
            if len(target) != len(names):
                raise InputError(f"A state reader of {len(names)} numbers needs as many targets; got {len(target)}.")
            object.__setattr__(self, "target", target)

    def __len__(self) -> int:
        """K, the numbers per picture."""
        return len(self.names)

    def read(self, pictures: Tensor) -> Tensor:
        """Read pictures [B, 3, H, W] in -1..1 -> [B, K], float32; NaN where a picture cannot be read.

        Raises:
            InputError: pictures of another shape, or readings of another shape than this reader's.
        """
        check_picture_batch(pictures)
        with torch.no_grad():
            rows = [torch.as_tensor(self.of_pictures(batch)).detach().float() for batch in pictures.split(_PER_PASS)]
        readings = torch.cat([row.reshape(len(row), -1) for row in rows]).to(pictures.device)
        if readings.shape != (len(pictures), len(self)):
            raise InputError(
                f"The reader of {', '.join(self.names)} gave readings of shape {list(readings.shape)}; expected "
                f"{[len(pictures), len(self)]} (pictures, numbers)."
            )
        return readings

    __call__ = read

    def explain(self, pictures: Tensor) -> tuple[str, ...]:
        """Say of each picture [B, 3, H, W] why it cannot be read; "" for one that can be."""
        if self.problems is not None:
            return tuple(str(problem) for problem in self.problems(pictures))
        readable = torch.isfinite(self.read(pictures)).all(dim=1).tolist()
        return tuple("" if flag else "its reading is not a finite number" for flag in readable)

    def select(self, names: Sequence[str]) -> StateReader:
        """Keep some of the numbers, in the order of ``names``.

        Raises:
            InputError: a name that is not among the reader's.
        """
        for name in names:
            if name not in self.names:
                raise InputError(f"The reader knows no {name!r}; expected one of {', '.join(self.names)}.")
        index = [self.names.index(name) for name in names]
        return replace(
            self,
            of_pictures=lambda pictures: self.read(pictures)[:, index],
            names=tuple(names),
            units=tuple(self.units[k] for k in index),
            noise=self.noise[index],
            target=None if self.target is None else self.target[index],
        )


def digest_of(*parts: object) -> str:
    """Return a short digest of words and tensors, for a reader's key."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.detach().float().cpu().numpy().tobytes() if isinstance(part, Tensor) else str(part).encode()
        digest.update(content + b"\0")
    return digest.hexdigest()[:12]


def check_picture_batch(pictures: Tensor) -> None:
    """Refuse what is no batch of pictures [B, 3, H, W].

    Raises:
        InputError: another shape, or an empty batch.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3 or 0 in pictures.shape:
        raise InputError(f"The pictures have shape {list(pictures.shape)}; expected [B, 3, H, W] in -1..1.")


def readings_of(read: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """Read pictures with any callable -> [B, K], float64 on the CPU.

    Args:
        read: pictures -> [B] or [B, K]; a `StateReader`, or a plain function.

    Raises:
        InputError: another number of readings than pictures.
    """
    with torch.no_grad():
        readings = torch.as_tensor(read(pictures)).detach()
    if readings.ndim not in (1, 2) or len(readings) != len(pictures):
        raise InputError(
            f"The reader gave readings of shape {list(readings.shape)} for {len(pictures)} pictures; expected one row "
            "per picture."
        )
    return readings.reshape(len(readings), -1).double().cpu()
