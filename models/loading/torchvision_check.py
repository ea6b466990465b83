"""Check of torchvision before pip is asked: what open_clip needs of it, without importing either."""

from __future__ import annotations

import importlib.util
import re
from importlib import metadata


def torchvision_problem() -> str | None:
    """Return a sentence when torchvision is missing, or is made for another torch than the one here; else None.

    `pip install -r requirements.txt` would then bring a torch of its own along, since open_clip needs torchvision.
    """
    torch_version = _version("torch")
    if importlib.util.find_spec("torchvision") is None or _version("torchvision") is None:
        return (
            "Semantic Edit: torchvision is not installed. Text edits need it (open_clip), and 'pip install -r "
            f"requirements.txt' would fetch it together with another torch in place of your {torch_version}. Install "
            "the torchvision made for your torch first, from where your torch came from; everything else works without."
        )
    expected = next(filter(None, map(_pinned_torch, metadata.requires("torchvision") or [])), None)
    if expected is None or torch_version is None or expected == torch_version.partition("+")[0]:
        return None
    return (
        f"Semantic Edit: torchvision {_version('torchvision')} is made for torch {expected}, and {torch_version} is "
        "installed. Text edits may fail to load (open_clip), and pip may exchange torch. Install the torchvision made "
        "for your torch, from where your torch came from."
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _pinned_torch(requirement: str) -> str | None:
    """Return the version of "torch==2.8.0" or "torch (==2.8.0)", None for other requirements."""
    match = re.match(r"torch\s*\(?\s*==\s*([\d.]+)", requirement)
    return match[1] if match else None
