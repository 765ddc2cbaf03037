"""Open the source of an import: a file, a dataset folder, or another pool's folder.

Knows folders and names; knows nothing of rows. No path that a file holds is followed: a manifest may only name files
that lie beside it, a link in a folder is refused, and whatever else lies there is never opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ethos.errors import InputError
from ethos.pool.exchange.json_lines import json_lines
from ethos.pool.exchange.manifest import FileFact, read_manifest, sha256
from ethos.pool.exchange.parquet import parquet_entries
from ethos.pool.exchange.pools import other_pool
from ethos.pool.exchange.row_format import MAX_FILE_BYTES, Entry, Source
from ethos.pool.storage.database import FILE

DATA, CARD, MANIFEST = "data", "README.md", "ethos-pool.json"
PERSONAS = "personas.parquet"
FILE_MANIFEST = ".manifest.json"  # after the name of a single file
LINES, PARQUET = (".jsonl", ".ndjson"), (".parquet",)

Reader = Callable[[BinaryIO], Iterator[Entry]]


@dataclass(frozen=True, slots=True)
class Files:
    """Open files as a source of rows.

    Attributes:
        name: Of the file or folder.
        embedder_id: As the manifest says; empty without one.
        parts: The files by name, each with what reads it.
    """

    name: str
    embedder_id: str
    parts: dict[str, tuple[BinaryIO, Reader]]

    def entries(self) -> Iterator[Entry]:
        """All rows of all files.

        Raises:
            InputError: A file as a whole cannot be read.
        """
        for name, (handle, read) in self.parts.items():
            try:
                for entry in read(handle):
                    yield Entry(f"{name}, {entry.place}", entry.record, entry.cause)
            except InputError as error:
                raise InputError(f"{name}: {error.message}", error.hint) from error
            except OSError as error:
                raise InputError(f"{name} cannot be read: {error.strerror}") from error


@contextmanager
def opened(path: Path, into: Path) -> Iterator[Source]:
    """Open a source of rows and check what it says of itself.

    Args:
        path: A file or folder.
        into: Folder of the pool that the rows are for.

    Raises:
        InputError: No such file, another format, too large, a link where none may be, or a manifest that does not fit.
    """
    with ExitStack() as stack:
        if not path.is_dir():
            yield _single(path, stack)
        elif (path / FILE).exists() or (path / FILE).is_symlink():
            if into.exists() and path.samefile(into):
                raise InputError(f"{path} is the pool itself", "name another pool")
            yield stack.enter_context(other_pool(path))
        else:
            yield _dataset(path, stack)


def _single(path: Path, stack: ExitStack) -> Files:
    suffix = path.suffix.lower()
    if suffix not in {*LINES, *PARQUET}:
        raise InputError(
            f"{path} is no format that is imported", "give a .jsonl or .parquet file, a dataset folder or a pool folder"
        )
    handle = _open(path, stack)
    beside = path.with_name(path.name + FILE_MANIFEST)
    embedder_id = ""
    if beside.exists() or beside.is_symlink():
        facts, embedder_id = read_manifest(_open(beside, stack, follow=False).read(MAX_FILE_BYTES))
        if len(facts) > 1:
            raise InputError(f"the manifest {beside.name} names {len(facts)} files instead of one")
        _check(path.name, handle, next(iter(facts.values())))
    return Files(path.name, embedder_id, {path.name: (handle, _lines if suffix in LINES else parquet_entries)})


def _dataset(folder: Path, stack: ExitStack) -> Files:
    data = folder / DATA
    if not (folder / MANIFEST).exists() and not (folder / MANIFEST).is_symlink():
        raise InputError(
            f"the folder {folder} holds neither {FILE} nor {MANIFEST}", "name a pool folder or an exported dataset"
        )
    facts, embedder_id = read_manifest(_open(folder / MANIFEST, stack, follow=False).read(MAX_FILE_BYTES))
    if data.is_symlink() or not data.is_dir():
        raise InputError(f"{data} is not a folder of its own")
    if unnamed := sorted(entry.name for entry in data.iterdir() if entry.name not in facts):
        raise InputError(f"the manifest does not name {unnamed[0][:60]!r}, which lies in {data}", "take it away")
    parts: dict[str, tuple[BinaryIO, Reader]] = {}
    for name, fact in facts.items():
        if not name.lower().endswith(PARQUET):
            raise InputError(f"the manifest names {name!r}, which is not Parquet")
        handle = _open(data / name, stack, follow=False)
        _check(name, handle, fact)
        parts[name] = (handle, parquet_entries)
    return Files(folder.resolve().name, embedder_id, parts)


def _open(path: Path, stack: ExitStack, follow: bool = True) -> BinaryIO:
    """Open a regular file of bearable size; one named by the user may be a link, one found in a folder may not."""
    # Without blocking: opening a pipe would wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    if not follow:
        if path.is_symlink():
            raise InputError(f"{path} is a link", "put the file itself there")
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        handle = stack.enter_context(os.fdopen(os.open(path, flags), "rb"))
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}", "check the path") from error
    except (OSError, ValueError) as error:
        raise InputError(f"the file {path} cannot be opened: {error}") from error
    held = os.fstat(handle.fileno())
    if not stat.S_ISREG(held.st_mode):
        raise InputError(f"{path} is not a regular file")
    if held.st_size > MAX_FILE_BYTES:
        raise InputError(f"{path} is larger than {MAX_FILE_BYTES >> 30} GiB", "split it")
    if held.st_size == 0:
        raise InputError(f"{path} is empty")
    return handle


def _check(name: str, handle: BinaryIO, fact: FileFact) -> None:
    if os.fstat(handle.fileno()).st_size != fact.bytes or sha256(handle) != fact.sha256:
        raise InputError(
            f"{name} is not the file that its manifest speaks of: size or SHA-256 differ", "fetch both again"
        )


def _lines(handle: BinaryIO) -> Iterator[Entry]:
    handle.seek(0)
    return json_lines(handle)
