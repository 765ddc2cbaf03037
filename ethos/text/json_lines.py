"""Append-only files of JSON lines: appended rows are durable, and a row torn by a kill is removed.

Knows lines; the caller interprets them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ethos.errors import InputError

T = TypeVar("T")


def append(path: Path, rows: Sequence[Mapping[str, Any]], fix: str) -> None:
    """Add rows to a file for good; it is made, for its owner only, if needed.

    Args:
        path: The file.
        rows: What is added.
        fix: The hint of an error.

    Raises:
        InputError: The file cannot be written.
    """
    if not rows:
        return
    try:
        # Health questions are personal: for their owner only, like the pool.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb") as file:
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"the output {path} cannot be written: {error.strerror}", fix) from error


def read(
    path: Path, beginning: bytes, take: Callable[[dict[str, Any]], T | None], what: str, fix: str, cut: bool = True
) -> list[T]:
    """What the rows of a file hold, in order; a last line that was not written to its end is left out.

    Args:
        path: The file; one that is not there has no rows.
        beginning: How every row begins: a torn line that begins otherwise is somebody else's.
        take: What a row holds; None if it is none of ours.
        what: What a row is, for the error.
        fix: The hint of an error.
        cut: Whether a torn line is taken away, for who goes on writing; another process may be at it otherwise.

    Raises:
        InputError: The file cannot be read, or holds something else.
    """
    found: list[T] = []
    whole = 0
    try:
        data = path.read_bytes()
        for number, line in enumerate(data.splitlines(keepends=True), start=1):
            row = _row(line)
            taken = take(row) if row is not None else None
            if taken is not None:
                found.append(taken)
                whole += len(line)
            elif not _torn(line, beginning):
                raise InputError(f"line {number} of {path} is no {what}", fix)
        if cut and whole < len(data):
            os.truncate(path, whole)
    except FileNotFoundError:
        return found
    except OSError as error:
        raise InputError(f"the output {path} cannot be used: {error.strerror}", fix) from error
    return found


def _row(line: bytes) -> dict[str, Any] | None:
    """The object in a line; None where it is torn, or something else."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _torn(line: bytes, beginning: bytes) -> bool:
    """Whether this is the beginning of a row; anything else is somebody's file, to be left alone."""
    return not line.endswith(b"\n") and (line.startswith(beginning) or beginning.startswith(line))
