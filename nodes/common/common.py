"""What the nodes share: their sockets, pictures in and out, choosing files, checks and progress."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ... import host
from ...editing.common.pictures import check_pictures
from ...editing.common.types import GanLatent
from ...host import io
from ...models.errors import InputError

log = logging.getLogger(__name__)

GanGeneratorType = io.Custom("GAN_GENERATOR")
GanLatentType = io.Custom("GAN_LATENT")
EditDirectionType = io.Custom("EDIT_DIRECTION")
EditStrengthType = io.Custom("EDIT_STRENGTH")
TextEditType = io.Custom("TEXT_EDIT")
PartLabelsType = io.Custom("PART_LABELS")
ConceptUnitsType = io.Custom("CONCEPT_UNITS")
GanPaintingType = io.Custom("GAN_PAINTING")
TextImageScorerType = io.Custom("TEXT_IMAGE_SCORER")
AlignmentType = io.Custom("ALIGNMENT")
# Of detectors that people have installed; ComfyUI itself only names them.
BoxesType = io.Custom("BBOX")
PoseKeypointType = io.Custom("POSE_KEYPOINT")

MAX_SEED = 0xFFFFFFFFFFFFFFFF  # ComfyUI's own seeds
_NOTHING = "nothing here yet"


def CATEGORY(stage: str) -> str:  # noqa: N802  (reads as the constant it is in every schema)
    """Return the menu path of a stage: generator, photos, example, batch, text, paint, imagic or demo."""
    return f"Semantic Edit/{stage}"


def to_image_batch(pictures: Tensor) -> Tensor:
    """Turn pictures [B,3 or 1,H,W] about -1..1 into an IMAGE [B,H,W,3], float32 0..1, on the host's result device."""
    pictures = pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures
    images = pictures.to(host.current().result_device(), torch.float32).movedim(1, -1)
    return images.add(1).mul(0.5).clamp(0, 1).contiguous()


def from_image_batch(images: Tensor, device: torch.device | str | None = None) -> Tensor:
    """Turn an IMAGE [B,H,W,3 or 4] in 0..1 into pictures [B,3,H,W] float32 in -1..1; an alpha channel is dropped.

    Raises:
        InputError: another shape, or an empty batch.
    """
    check_pictures(images)
    colours = images[..., :3].to(device or host.current().device(), torch.float32)
    return colours.movedim(-1, 1).mul(2).sub(1).contiguous()


def check_latent(generator, latent: GanLatent, what: str = "The latent") -> None:
    """Refuse codes of another shape or family than the generator's; codes without a family pass with a warning.

    Raises:
        InputError: the sentence names both.
    """
    generator.check_latent(latent.codes, latent.family, what)
    if not latent.family:
        log.warning("%s names no generator family; its shape fits '%s' and it is used as it is.", what, generator.name)


def check_choice(what: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is not in a fixed list; older ComfyUI servers do not check that themselves.

    Raises:
        InputError: the sentence lists the choices.
    """
    if value not in choices:
        raise InputError(f"{what} is {value!r}; expected one of {', '.join(choices)}.")


def place(generator, *others) -> None:
    """Bring a generator's weights to the working device; call it before each use.

    An adapted generator's weights are those of its base, so that the host counts and moves them once.

    Args:
        others: what works together with it: networks, text-image scorers, or None. A scorer of another pack that holds
            no network looks after itself.
    """
    place_all(getattr(generator.network, "base", generator.network), *others)


def place_all(*others) -> None:
    """Bring networks and text-image scorers to the working device, as `place` does."""
    networks = [getattr(other, "model", other) for other in others]
    host.current().place(*(network for network in networks if isinstance(network, nn.Module)))


def progress_for(total: int, label: str = "") -> host.Progress:
    """Return a reporter ``(step, total=..., preview=None)`` of the host, with `total` filled in."""
    report = host.current().progress(total, label)

    @functools.wraps(report)
    def reporter(step: int, total: int = total, preview: Tensor | None = None) -> None:
        report(step, total, preview)

    return reporter


def seed_input(id: str = "seed", tooltip: str = "", randomize: bool = False) -> io.Int.Input:
    """Return a seed widget.

    Args:
        randomize: offer ComfyUI's "control after generate" beside it: for nodes that sample. Nodes that train keep one
            seed, or every queue would train again.
    """
    # Said either way: left out, ComfyUI adds the control to every input that is called "seed" or "noise_seed".
    return io.Int.Input(id, default=0, min=0, max=MAX_SEED, control_after_generate=randomize, tooltip=tooltip)


def file_input(kind: str, id: str, tooltip: str) -> io.Combo.Input:
    """Return a list of the files of a kind; while there are none, its one entry says where they belong."""
    return io.Combo.Input(id, options=host.current().list_models(kind) or [no_file(kind)], tooltip=tooltip)


def no_file(kind: str) -> str:
    """Return the list entry that stands for an empty folder."""
    return f"({_NOTHING}: add files to models/semantic_edit/{kind})"


def chosen_file(kind: str, name: str) -> Path:
    """Return the file that was chosen from `file_input`.

    Raises:
        InputError: the entry of an empty list, or a name that is not in the list.
    """
    if name.startswith(f"({_NOTHING}"):
        folder = host.current().model_folders(kind)[0]
        raise InputError(
            f"There are no {kind.replace('_', ' ')} yet. Put {host.MODEL_SUFFIX} files into {folder}, then refresh and "
            "choose one. Files in other formats are made usable by the command `semantic-edit convert`."
        )
    return host.current().model_path(kind, name)


def file_state(path: Path) -> str:
    """Return a value that changes when the file is replaced, "" while it is not there: for `fingerprint_inputs`."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{path} {state.st_mtime_ns} {state.st_size}"


def chosen_file_state(kind: str, name: str | None) -> str:
    """Return `file_state` of a file chosen from `file_input`, "" when it is not to be found or comes by wire (None)."""
    try:
        return file_state(chosen_file(kind, name)) if name else ""
    except InputError:
        return ""
