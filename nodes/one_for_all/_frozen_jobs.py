"""The frozen job of Edit Folder: one file that the command line, or this node, does again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ... import host
from ...jobs import FolderJob
from ...jobs.frozen import freeze, write_frozen
from ...models.errors import InputError
from ...models.files.storage import TakenError
from ..common.model_files import listed_name, model_file

__all__ = ["save_job"]

_NONE = "none"
_SHIPPED = host.PACK / "models" / "demo"


def save_job(work: FolderJob, encoder: str, name: str) -> str:
    """Freeze a job below output/semantic_edit/jobs, unless it is there; returns a sentence that names it, or why not.

    Args:
        encoder: as the node lists it; "none" for none.
        name: of the results.
    """
    encoder_file = _NONE if encoder == _NONE else _where(model_file("encoders", encoder))
    digest = hashlib.sha256(json.dumps(work.settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = host.current().save_path("jobs", name).parent
    path = folder / f"{Path(host.safe_name(name)).name}-{digest}.safetensors"
    try:
        frozen = freeze(
            work.transfer, str(work.source.resolve()), _generator_file(work.transfer.generator.name), encoder_file,
            work.fit, work.background, work.keep_codes,
        )  # fmt: skip
        write_frozen(path, frozen, exclusive=True)
    except TakenError:
        pass  # the same job, from an earlier run
    except InputError as error:
        return f"No job was frozen: {error}"
    return f"Frozen as {listed_name('jobs', path)}: semantic-edit batch {path} does the same anywhere."


def _generator_file(name: str) -> str:
    """Return the file that a generator of this name was loaded from, as far as the lists tell."""
    for listed in host.current().list_models("generators"):
        if Path(listed).stem == name:
            return _where(model_file("generators", listed))
    return name


def _where(path: Path) -> str:
    """Return a path, or the bare name of a file that comes with the pack."""
    return path.stem if path.is_relative_to(_SHIPPED) else str(path)
