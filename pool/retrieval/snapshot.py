"""Snapshots: the index in a file, so that a large pool opens fast; checked before it is used.

A snapshot is a file of arrays and a manifest that names it: the manifest is written last and is the moment of commit.
What the manifest says is checked against the pool, and the file against the manifest, before anything is read from it;
whatever is wrong, the index is built from SQL again. Knows files; knows nothing of what the arrays mean.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from ethos.pool.storage.values import Position

FOLDER = "index"
MANIFEST = "manifest.json"
FORMAT = 1
_FILE = re.compile(r"arrays-\d+-[0-9a-f]{8}\.npz")
_log = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]


class Snapshots:
    """The snapshots of one pool folder, of which there is one at a time.

    Args:
        folder: The pool's.
        embedder: Id of the encoder; a snapshot of another one's vectors is passed over.
    """

    def __init__(self, folder: Path, embedder: str) -> None:
        self._folder = folder / FOLDER
        self._embedder = embedder

    def load(self) -> tuple[Position, Arrays] | None:
        """The newest snapshot, if it is whole; None if there is none, or it cannot be trusted, which is logged."""
        manifest = self._folder / MANIFEST
        try:
            if not manifest.exists():
                return None
            manifest_values = json.loads(manifest.read_text(encoding="utf-8"))
            if (manifest_values["format"], manifest_values["embedder"]) != (FORMAT, self._embedder):
                return None
            if not _FILE.fullmatch(manifest_values["file"]):
                raise ValueError(f"{manifest_values['file']!r} is no name of a snapshot")
            path = self._folder / manifest_values["file"]
            if path.is_symlink():
                raise ValueError(f"{manifest_values['file']} is a link")
            content = path.read_bytes()
            if (len(content), hashlib.sha256(content).hexdigest()) != (
                manifest_values["size"],
                manifest_values["sha256"],
            ):
                raise ValueError(f"{manifest_values['file']} is not as it was written")
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return Position(**manifest_values["position"]), dict(arrays)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            _log.warning("the index is built anew, since its snapshot cannot be used: %s", error)
            return None

    def delete(self) -> None:
        """Remove whatever there is."""
        (self._folder / MANIFEST).unlink(missing_ok=True)
        for path in self._folder.glob("arrays-*"):
            path.unlink(missing_ok=True)

    def save(self, position: Position, arrays: Mapping[str, NDArray[Any]]) -> bool:
        """Write a snapshot in place of the last one; False if another process is writing one."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        try:
            with FileLock(self._folder / "lock", timeout=0, mode=0o600):
                self._write(position, arrays)
        except Timeout:
            return False
        return True

    def _write(self, position: Position, arrays: Mapping[str, NDArray[Any]]) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        content = buffer.getvalue()
        name = f"arrays-{position.change}-{secrets.token_hex(4)}.npz"
        manifest_values = {
            "format": FORMAT,
            "embedder": self._embedder,
            "position": asdict(position),
            "file": name,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        _put(self._folder / name, content)
        _put(self._folder / MANIFEST, json.dumps(manifest_values, indent=2).encode("utf-8"))
        for path in self._folder.iterdir():
            if path.name not in {name, MANIFEST, "lock"}:
                path.unlink(missing_ok=True)


def _put(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens to the machine."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)
