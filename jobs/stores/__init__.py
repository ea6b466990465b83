"""Stores: where pictures come from and results go, a folder of this machine or any address that fsspec knows."""

from __future__ import annotations

from pathlib import Path

from .local import LocalStore
from .remote import RemoteStore, is_remote
from .store import Entry, Store

__all__ = ["Entry", "Store", "is_remote", "open_store"]


def open_store(address: str | Path) -> Store:
    """Open a folder, by its path or its address: ``photos``, ``file:///photos``, ``s3://bucket/photos``.

    Raises:
        InputError: nothing here speaks the address' protocol, or the package that does is missing.
    """
    if is_remote(address):
        return RemoteStore(str(address))
    return LocalStore(Path(str(address).removeprefix("file://")))
