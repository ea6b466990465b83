"""The settings that a job was started with, on file, so that nothing else is mixed into its folder later."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from ..editing.common.types import EditDirection
from ..editing.one_for_all.transfer import Transfer
from ..models.errors import InputError
from ..models.files.atomic import atomic_write
from .state_transfer import StateTransfer

__all__ = [
    "JOB_NAME",
    "check_settings",
    "describe_transfer",
    "differences",
    "pack_settings",
    "parse_settings",
    "read_settings",
    "write_settings",
]

JOB_NAME = "job.json"
_FORMAT, _VERSION = "semantic_edit folder job", 1


def describe_transfer(transfer: Transfer) -> dict[str, object]:
    """List every setting that changes the results, by its name for people; networks by a fingerprint of their weights.

    The fingerprints tell contents, not files: the same weights under another name are the same setting.
    """
    generator, direction, encoder = transfer.generator, transfer.direction, transfer.encoder
    read: dict[str, object] = {}
    if isinstance(transfer, StateTransfer):
        reader = transfer.reader
        read = {
            "reader": f"{reader.names[0]}, {reader.kind} [{reader.key}]",
            "state": float(transfer.state),
            "rounds": transfer.rounds,
        }
    return {
        **read,
        "generator": f"{generator.name} [{_weights_digest(generator.network)}]",
        "direction": f"{direction.name} [{_edit_digest(direction)}]",
        "encoder": "none" if encoder is None else f"[{_weights_digest(encoder)}]",
        "strength": float(transfer.strength),
        "mode": transfer.mode,
        "target": transfer.target if transfer.mode == "number" else None,
        "reference": "none" if transfer.reference is None else f"[{_digest({'code': transfer.reference})}]",
        "limit": transfer.limit,
        "inversion steps": transfer.steps,
        "corrections": f"{transfer.corrections} [{_score_digest(transfer)}]" if transfer.corrections else "none",
    }


def write_settings(folder: Path, settings: dict[str, object]) -> None:
    """Write the settings of a new job."""
    with atomic_write(folder / JOB_NAME) as partial:
        partial.write_bytes(pack_settings(settings))


def pack_settings(settings: dict[str, object]) -> bytes:
    """Return the contents of the file of settings."""
    content = {"format": _FORMAT, "version": _VERSION, "settings": settings}
    return (json.dumps(content, indent=2) + "\n").encode()


def read_settings(folder: Path) -> dict[str, object] | None:
    """Read the settings that the folder's job was started with; None when there is no job in it.

    Raises:
        InputError: the file is damaged, or from another version.
    """
    path = folder / JOB_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return parse_settings(content, path)


def parse_settings(content: bytes, path: str | Path) -> dict[str, object]:
    """Read the contents of a file of settings.

    Args:
        path: of the file, for the sentence.

    Raises:
        InputError: it is damaged, or from another version.
    """
    try:
        fields = json.loads(content)
        settings, version = fields["settings"], fields["version"]
        valid = fields["format"] == _FORMAT and isinstance(settings, dict)
    except (ValueError, KeyError, TypeError, RecursionError):
        valid, version = False, _VERSION
    if not valid or version != _VERSION:
        problem = "is damaged" if not valid else f"is of version {version}, which this version does not continue"
        raise InputError(f"{path} {problem}. Choose another output folder; the pictures in this one stay as they are.")
    return settings


def check_settings(folder: Path | str, stored: dict[str, object], now: dict[str, object]) -> None:
    """Refuse to go on with other settings than the job was started with.

    Args:
        stored: of the job in the folder.
        now: of the job that wants to go on there.

    Raises:
        InputError: the sentence names each difference.
    """
    changes = differences(stored, now)
    if changes:
        raise InputError(
            f"The folder {folder} holds a batch with other settings ({changes}). Go on with the settings it was "
            "started with, or choose another output folder."
        )


def differences(stored: dict[str, object], now: dict[str, object]) -> str:
    """Name each difference between settings in words; "" where there is none."""
    now = json.loads(json.dumps(now))  # as they would come back from the file
    changed = [name for name in sorted({*stored, *now}) if _comparable(stored.get(name)) != _comparable(now.get(name))]
    return "; ".join(f"{name}: {_text(stored.get(name))} then, {_text(now.get(name))} now" for name in changed)


def _comparable(value: object) -> object:
    """Return a fingerprint without the name in front of it; other values as they are."""
    return value[value.rindex("[") :] if isinstance(value, str) and value.endswith("]") and "[" in value else value


def _text(value: object) -> str:
    return "none" if value is None else str(value)


def _weights_digest(network: nn.Module) -> str:
    return _digest(network.state_dict())


def _edit_digest(direction: EditDirection) -> str:
    # The average picture, taken for the example, follows from the generator; before it was taken, there were no states.
    start, offset = (None, None) if direction.note else (direction.start, direction.offset)
    numbers = torch.tensor([start or 0.0, offset or 0.0], dtype=torch.float64)
    presence = torch.tensor([start is not None, offset is not None, *direction.layers])
    return _digest({"d": direction.direction, "v": direction.normal, "numbers": numbers, "known": presence})


def _score_digest(transfer: Transfer) -> str:
    numbers = torch.tensor([transfer.corrections, transfer.score.intercept], dtype=torch.float64)
    return _digest({"weights": transfer.score.weights, "numbers": numbers})


def _digest(tensors: dict[str, Tensor]) -> str:
    """Return the first digits of a SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:12]
