"""Rows to Parquet and back; `ethos.pool.exchange.parquet_decoding` unpacks foreign files in a process of its own.

Knows columns; knows nothing of what a row means.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from ethos.errors import InputError
from ethos.pool.exchange.json_lines import json_lines
from ethos.pool.exchange.row_format import KEYS, MAX_UNPACKED_BYTES, VECTORS, Entry, Record

GROUP = 5_000  # rows; 50 MB where every row has its vectors
REFUSED = "refused"  # the key under which the other process says why it passes a row over
VECTOR = "vector_"  # begins the names of the columns of vectors


def write_parquet(path: Path, records: Iterable[Record], vectors: bool) -> None:
    """Write rows, a group at a time.

    Args:
        path: The new file.
        records: Their keys are those of the format.
        vectors: Whether rows carry vectors.
    """
    import pyarrow as pa  # late: 0.2 s
    from pyarrow import parquet

    schema = _schema(pa, vectors)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        group: list[Record] = []
        for record in records:
            group.append(_flat(record))
            if len(group) == GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema))
                group.clear()
        writer.write_table(pa.Table.from_pylist(group, schema))


def parquet_entries(handle: BinaryIO) -> Iterator[Entry]:
    """The rows of a file.

    Raises:
        InputError: Not Parquet, other columns or types than ours, or more than its process may unpack.
    """
    command = [sys.executable, "-P", "-m", "ethos.pool.exchange.parquet_decoding"]
    # One arena and one allocator: what they set aside counts against the limit on memory.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
    handle.seek(0)
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=handle, stdout=subprocess.PIPE, stderr=errors, env=environment) as process,
    ):
        try:
            assert process.stdout
            yield from _received(process.stdout)
            if process.wait():
                raise InputError(_last_words(errors))
        finally:
            process.kill()


def _received(stream: IO[bytes]) -> Iterator[Entry]:
    unpacked = _Counted(stream)
    for entry in json_lines(unpacked, "row"):  # type: ignore[arg-type]  # it asks for readline alone
        if entry.record is not None and REFUSED in entry.record:
            yield Entry(entry.place, None, str(entry.record[REFUSED]))
        else:
            yield entry


class _Counted:
    """A stream of which only so much is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = MAX_UNPACKED_BYTES

    def readline(self, limit: int) -> bytes:
        line = self._stream.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise InputError(f"it unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB", "split it")
        return line


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(0)
    try:
        return str(json.loads(errors.read(4096))[REFUSED])
    except (ValueError, TypeError, KeyError):
        return "it cannot be unpacked: it is damaged, or needs more memory than its process may take"


def _schema(pa: Any, vectors: bool) -> Any:
    """The columns as Arrow types."""
    seat = pa.struct([("k", pa.int64()), ("rank", pa.int64()), ("relevance", pa.float64())])
    types = {"options": pa.list_(pa.string()), "panels": pa.list_(seat), "seed": pa.int64()}
    columns = [(key, types.get(key, pa.string())) for key in KEYS]
    return pa.schema([*columns, *((VECTOR + name, pa.list_(pa.float32())) for name in VECTORS if vectors)])


def _flat(record: Record) -> Record:
    """A row whose vectors are columns."""
    packed = record.get("vectors") or {}
    floats = {VECTOR + name: memoryview(base64.b64decode(text)).cast("f").tolist() for name, text in packed.items()}
    return {**{key: record.get(key) for key in KEYS}, **floats}
