"""A frozen job: one small file with all that is the same for every picture of a job.

It holds the edit, the target, the settings and the fingerprints of the checkpoints, and names the pictures and the
checkpoints by their paths or addresses. Whoever runs it, here or on many machines, does the same to every picture, or
learns that a checkpoint is another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..editing.common.types import EditDirection
from ..editing.one_for_all.attribute_score import AttributeScore
from ..editing.one_for_all.features import encoder_space, generator_space
from ..editing.one_for_all.transfer import Transfer
from ..editing.state.response import ResponsePrior
from ..models.checkpoint import parse_json, read_safetensors, write_safetensors
from ..models.encoders.encoder import PictureEncoder
from ..models.errors import CheckpointError, InputError
from ..models.files.picture_reader import FITS
from ..models.gan.generator import GanGenerator
from .checkpoints import NO_ENCODER, load_networks
from .reader_recipes import ReaderRecipe
from .settings import describe_transfer, differences
from .state_transfer import StateTransfer

__all__ = ["KIND", "FrozenJob", "FrozenReader", "freeze", "read_frozen", "thaw", "thaw_with", "write_frozen"]

KIND = "job"
_VERSION = 1
_OPTIONS = ("strength", "mode", "target", "limit", "steps", "corrections")
_SCORES = {"encoder": "the encoder's features", "generator": "the generator's features"}


@dataclass(frozen=True, eq=False)
class FrozenReader:
    """A reader and its state: how it is made, the number that all shall show, drawings of a picture at most."""

    recipe: ReaderRecipe
    state: float
    rounds: int


@dataclass(frozen=True, eq=False)
class FrozenJob:
    """All that is the same for every picture.

    Args:
        source: the pictures, a folder or an address.
        generator, encoder: files, addresses or shipped names; an encoder may be "none".
        direction: the edit, on the CPU, without the score.
        settings: what changes the results, as ``describe_transfer`` names it, with the checkpoints' fingerprints.
        options: the numbers and choices of the edit: strength, mode, target, limit, steps, corrections.
        fit, background, keep_codes: as in `FolderJob`.
        reference: [1, L, D], a code whose state is the target.
        score: what measures the attribute for corrections: weights [F], and the other fields of `AttributeScore`.
        reader, curve: what reads the state of a picture and what all shall show, and how the reading answers to the
            strength; None for the closed form.
    """

    source: str
    generator: str
    encoder: str
    direction: EditDirection
    settings: dict[str, object]
    options: dict[str, object]
    fit: str
    background: tuple[int, int, int]
    keep_codes: bool
    reference: Tensor | None = None
    score: tuple[Tensor, dict[str, object]] | None = None
    reader: FrozenReader | None = None
    curve: ResponsePrior | None = None


def freeze(
    transfer: Transfer,
    source: str,
    generator: str,  # where its file is
    encoder: str,  # likewise; "none" for none
    fit: str,
    background: tuple[int, int, int],
    keep_codes: bool,
) -> FrozenJob:
    """Freeze an edit for the pictures of a folder.

    Raises:
        InputError: its corrections are measured by a network that is neither the generator nor the encoder, or its
            reader was made in a graph.
    """
    reader, curve = None, None
    if isinstance(transfer, StateTransfer):
        if transfer.recipe is None:
            raise InputError(
                f"What reads {transfer.reader.names[0]} ({transfer.reader.kind}) was made in a graph, which a frozen "
                "job cannot hold; expected a reader that 'semantic-edit plan' makes: --read-text, --read-example or "
                "--read-mask."
            )
        reader, curve = FrozenReader(transfer.recipe, float(transfer.state), transfer.rounds), transfer.response
    edit = transfer.direction
    direction = replace(
        edit,
        direction=edit.direction.detach().cpu(),
        normal=edit.normal.detach().cpu(),
        example=None if edit.example is None else edit.example.detach().cpu(),
        score=None,
    )
    options = {name: getattr(transfer, name) for name in _OPTIONS}
    return FrozenJob(
        source, generator, encoder, direction, describe_transfer(transfer), options, fit, tuple(background), keep_codes,
        None if transfer.reference is None else transfer.reference.detach().cpu(), _frozen_score(transfer), reader,
        curve,
    )  # fmt: skip


def thaw(job: FrozenJob, device: torch.device | str = "cpu") -> Transfer:
    """Load the networks and make the edit ready.

    Raises:
        InputError: a checkpoint is missing, damaged, or another one than the job was frozen with.
    """
    return thaw_with(job, *load_networks(job.generator, job.encoder, device))


def thaw_with(job: FrozenJob, generator: GanGenerator, encoder: PictureEncoder | None) -> Transfer:
    """Make the edit ready with networks that are loaded already.

    Raises:
        InputError: they are others than the job was frozen with.
    """
    if (encoder is None) != (job.encoder == NO_ENCODER):
        expected = "none" if job.encoder == NO_ENCODER else f"its own ({job.encoder})"
        raise InputError(f"The job was frozen with another encoder; expected {expected}.")
    device = generator.device
    direction = replace(
        job.direction,
        direction=job.direction.direction.to(device),
        normal=job.direction.normal.to(device),
    )
    score = None
    if job.score is not None:
        weights, fields = job.score
        space = encoder_space(encoder) if fields["space"] == "encoder" else generator_space(generator)
        score = AttributeScore(space, weights, **{name: fields[name] for name in fields if name != "space"})
    reference = None if job.reference is None else job.reference.to(device)
    common = {"reference": reference, "score": score, **job.options}
    if job.reader is None:
        transfer = Transfer(generator, direction, encoder, **common)
    else:
        recipe = job.reader.recipe
        transfer = StateTransfer(
            generator, direction, encoder, **common, reader=recipe.make(device), state=job.reader.state,
            rounds=job.reader.rounds, response=job.curve, recipe=recipe,
        )  # fmt: skip
    changed = differences(job.settings, describe_transfer(transfer))
    if changed:
        raise InputError(
            f"The job was frozen with other values ({changed}). Give it the checkpoints that it was frozen with, or "
            "plan it again."
        )
    return transfer


def write_frozen(path: str | Path, job: FrozenJob, exclusive: bool = False) -> Path:
    """Write a job as a .safetensors file.

    Raises:
        CheckpointError: the name ends otherwise.
    """
    edit = job.direction
    tensors = {"direction": edit.direction, "normal": edit.normal}
    tensors |= {"example": edit.example} if edit.example is not None else {}
    tensors |= {"reference": job.reference} if job.reference is not None else {}
    tensors |= {"score": job.score[0]} if job.score is not None else {}
    config = {
        "version": _VERSION,
        "pictures": {"source": job.source, "fit": job.fit, "background": list(job.background), "codes": job.keep_codes},
        "checkpoints": {"generator": job.generator, "encoder": job.encoder},
        "edit": {name: getattr(edit, name) for name in ("name", "layers", "start", "offset", "method", "note")},
        "target": job.options,
        "score": None if job.score is None else job.score[1],
        "reader": None,
        "curve": None,
        "settings": job.settings,
    }
    if job.reader is not None:
        recipe, curve = job.reader.recipe, job.curve
        config["reader"] = {**recipe.texts(), "state": job.reader.state, "rounds": job.reader.rounds}
        config["curve"] = {"slope_spread": curve.slope_spread, "noise": curve.noise}
        tensors |= {"curve_strengths": curve.strengths, "curve_shape": curve.shape}
        tensors |= {"read_before": recipe.before, "read_after": recipe.after} if recipe.before is not None else {}
    return write_safetensors(path, tensors, KIND, config, family=edit.family, exclusive=exclusive)


def read_frozen(path: str | Path) -> FrozenJob:
    """Read a file of :func:`write_frozen`.

    Raises:
        CheckpointError: it is missing, damaged, of another kind or version, or asks for what is not known here.
    """
    path = Path(path)
    tensors, metadata = read_safetensors(path, kind=KIND)
    config = parse_json(metadata, "config", path)
    if config.get("version") != _VERSION:
        raise CheckpointError(
            f"{path.name} is a job of version {config.get('version')!r}; this version runs version {_VERSION}."
        )
    try:
        return _job_of(config, tensors, metadata.get("family", ""))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path.name} is a damaged job ({type(error).__name__}: {error}). Plan it again."
        ) from None


def _job_of(config: dict, tensors: dict[str, Tensor], family: str) -> FrozenJob:
    """Put a job together again, checked."""
    pictures, checkpoints, edit = config["pictures"], config["checkpoints"], config["edit"]
    score = None
    if config["score"] is not None:
        numbers = {name: float(config["score"][name]) for name in ("intercept", "response", "trust")}
        texts = {name: _text(config["score"][name]) for name in ("space", "origin")}
        if texts["space"] not in _SCORES:
            raise ValueError(f"unknown space {texts['space']!r}")
        score = (tensors["score"].float(), {**numbers, **texts})
    options = config["target"]
    numbers = {name: float(options[name]) for name in ("strength", "target")}
    counts = {name: int(options[name]) for name in ("steps", "corrections")}
    limit = None if options["limit"] is None else float(options["limit"])
    states = {name: None if edit[name] is None else float(edit[name]) for name in ("start", "offset")}
    texts = {name: _text(edit[name]) for name in ("name", "method", "note")}
    direction = EditDirection(
        tensors["direction"].float(), tensors["normal"].float(), tuple(int(row) for row in edit["layers"]), **states,
        family=family, example=tensors.get("example"), **texts,
    )  # fmt: skip
    background = tuple(int(level) for level in pictures["background"])
    if pictures["fit"] not in FITS or len(background) != 3 or not isinstance(config["settings"], dict):
        raise ValueError("its fit, background or settings")
    if score is not None and score[1]["space"] == "encoder" and checkpoints["encoder"] == NO_ENCODER:
        raise ValueError("its score reads an encoder, and there is none")
    return FrozenJob(
        _text(pictures["source"]), _text(checkpoints["generator"]), _text(checkpoints["encoder"]), direction,
        config["settings"], {**numbers, **counts, "limit": limit, "mode": _text(options["mode"])}, pictures["fit"],
        background, bool(pictures["codes"]), tensors.get("reference"), score, *_reader_of(config, tensors),
    )  # fmt: skip


def _reader_of(config: dict, tensors: dict[str, Tensor]) -> tuple[FrozenReader | None, ResponsePrior | None]:
    """Put the reader and the curve together again, checked; (None, None) for the closed form."""
    reader, curve = config["reader"], config["curve"]
    if not reader:
        return None, None
    recipe = ReaderRecipe.from_texts(reader, tensors.get("read_before"), tensors.get("read_after"))
    strengths, shape = tensors["curve_strengths"], tensors["curve_shape"]
    if strengths.ndim != 1 or strengths.shape != shape.shape or len(strengths) < 2 or not (strengths.diff() > 0).all():
        raise ValueError("its curve")
    prior = ResponsePrior(strengths, shape, float(curve["slope_spread"]), float(curve["noise"]))
    return FrozenReader(recipe, float(reader["state"]), int(reader["rounds"])), prior


def _frozen_score(transfer: Transfer) -> tuple[Tensor, dict[str, object]] | None:
    """Return what measures the attribute, where corrections need it."""
    score = transfer.score
    if score is None or not transfer.corrections:
        return None
    if transfer.encoder is not None and score.space.key is transfer.encoder:
        space = "encoder"
    elif score.space.key == generator_space(transfer.generator).key:
        space = "generator"
    else:
        raise InputError(
            f"The corrections of '{transfer.direction.name}' are measured by {score.space.name}, which a frozen job "
            f"cannot hold; expected {' or '.join(_SCORES.values())}. Save the direction and load it again, or set "
            "corrections to 0."
        )
    fields = {"space": space, **{name: getattr(score, name) for name in ("intercept", "response", "origin", "trust")}}
    return score.weights.detach().cpu(), fields


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} should be text")
    return value
