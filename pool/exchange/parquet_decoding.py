"""Unpacks a foreign Parquet file in a process of its own, which may take only so much memory.

A Parquet file states its own size, and the statement may be false: 2 MB may unpack to 20 GB, and a length in a
page's header is allocated before it is read. So no check of the footer is enough (notes/platform.md section 5): the
system sets the limit, and a reader that breaks takes nothing with it. Reads the file from standard input, writes a JSON
line a row to standard output, and says on standard error why it stopped. Knows columns; judges no row.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from ethos.errors import InputError
from ethos.persona import ATTRIBUTES
from ethos.pool.exchange.parquet import REFUSED, VECTOR
from ethos.pool.exchange.row_format import (
    MAX_LINE_BYTES,
    MAX_PANEL,
    MAX_ROWS,
    MAX_UNPACKED_BYTES,
    NOTES,
    VECTORS,
    Record,
)
from ethos.text.option_letters import MAX_OPTIONS

MEMORY = 320 * 2**20  # bytes beyond what the process has once its libraries are loaded
_BATCH = 64  # rows; each may be as long as the longest
_MOST_COLUMNS = 64
_MOST_GROUPS = 100_000
_MOST_FOOTER_BYTES = 2**20  # of one text in it
_TEXTS = {"persona_id", *ATTRIBUTES, "scenario", "kind", *NOTES, "status"}
_LISTS = {"options": MAX_OPTIONS, "panels": MAX_PANEL}
_VECTOR_COLUMNS = {VECTOR + name: name for name in VECTORS}


def decode(handle: BinaryIO) -> Iterator[Record]:
    """The rows of a file; one that cannot be read is an object of the key `REFUSED` and the cause.

    Raises:
        InputError: Not Parquet, or other columns or types than ours.
    """
    import pyarrow as pa  # late: this module's constants are wanted without it
    from pyarrow import parquet

    limits: dict[str, Any] = {
        "thrift_string_size_limit": _MOST_FOOTER_BYTES,
        "thrift_container_size_limit": _MOST_GROUPS,
        "arrow_extensions_enabled": False,
    }
    try:
        with parquet.ParquetFile(handle, pre_buffer=False, **limits) as file:
            _check_footer(file.metadata)
            texts = _check_columns(pa, file.schema_arrow)
        # As dictionaries, so that a text that stands in a million rows is unpacked once; by pages, not by columns.
        with parquet.ParquetFile(
            handle,
            read_dictionary=texts,
            pre_buffer=False,
            buffer_size=2**16,
            page_checksum_verification=True,
            **limits,
        ) as file:
            for batch in file.iter_batches(_BATCH, use_threads=False):
                yield from _records(pa, batch)
    except MemoryError as error:  # Arrow's own is one as well
        raise InputError(f"it needs more than {MEMORY >> 20} MiB of memory to unpack") from error
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"not a Parquet file that can be read: {_first_line(error)}") from error


def main() -> int:
    """Decode standard input; 0 if all of it was."""
    import pyarrow.parquet  # noqa: F401  (before the limit is set: it counts from here)

    limit_memory(MEMORY)
    try:
        # A second descriptor, since Arrow closes what it reads.
        with open(sys.stdin.fileno(), "rb", closefd=False) as handle:
            for record in decode(handle):
                sys.stdout.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
    except InputError as error:
        sys.stderr.write(json.dumps({REFUSED: error.message}))
        return 1
    return 0


def _check_footer(metadata: Any) -> None:
    """Refuse what says outright that it is too much."""
    if metadata.num_columns > _MOST_COLUMNS:
        raise InputError(f"it has {metadata.num_columns:,} columns, more than {_MOST_COLUMNS}")
    if metadata.num_rows > MAX_ROWS:
        raise InputError(f"it has {metadata.num_rows:,} rows, more than {MAX_ROWS:,}")
    size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if size > MAX_UNPACKED_BYTES:
        raise InputError(f"it unpacks to {size >> 30:,} GiB, more than {MAX_UNPACKED_BYTES >> 30}")


def _check_columns(pa: Any, schema: Any) -> list[str]:
    """Names of the text columns, if all columns are ours."""
    if len(set(schema.names)) < len(schema.names):
        raise InputError("two of its columns have the same name")
    for field in schema:
        if field.name not in {*_TEXTS, *_LISTS, *_VECTOR_COLUMNS, "seed"}:
            raise InputError(f"unknown column {field.name[:60]!r}")
        if not _fits(pa.types, field.name, field.type):
            raise InputError(f"the column {field.name!r} is of type {str(field.type)[:60]}")
    return [field.name for field in schema if field.name in _TEXTS and not pa.types.is_null(field.type)]


def _fits(types: Any, name: str, kind: Any) -> bool:
    if types.is_null(kind):  # what writers make of a column without any value
        return True
    if name in _TEXTS:
        return _is_text(types, kind.value_type if types.is_dictionary(kind) else kind)
    if name == "seed":
        return bool(types.is_integer(kind))
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return False
    if name == "options":
        return _is_text(types, kind.value_type)
    if name == "panels":
        return bool(types.is_struct(kind.value_type)) and all(
            types.is_integer(part.type) or types.is_floating(part.type) for part in kind.value_type
        )
    return bool(types.is_float32(kind.value_type))


def _is_text(types: Any, kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _records(pa: Any, batch: Any) -> Iterator[Record]:
    """The rows of a batch, none of them as Python objects before its size is known."""
    causes = _too_large(pa, batch)
    if not causes:
        with suppress(UnicodeDecodeError):
            yield from _together(batch)
            return
    for number in range(batch.num_rows):
        if number in causes:
            yield {REFUSED: causes[number]}
            continue
        try:
            yield from _together(batch.slice(number, 1))
        except UnicodeDecodeError:
            yield {REFUSED: "a text is not UTF-8"}


def _together(batch: Any) -> list[Record]:
    """Rows as a JSON line can carry them."""
    names = batch.schema.names
    records: list[Record] = batch.select([name for name in names if name not in _VECTOR_COLUMNS]).to_pylist()
    for column in _VECTOR_COLUMNS.keys() & set(names):
        for record, value in zip(records, batch.column(column), strict=True):
            if value.is_valid:
                packed = base64.b64encode(value.values.to_numpy(zero_copy_only=False).tobytes())
                record.setdefault("vectors", {})[_VECTOR_COLUMNS[column]] = packed.decode("ascii")
    return records


def _too_large(pa: Any, batch: Any) -> dict[int, str]:
    """Rows with a text or a list beyond any limit, and why."""
    from pyarrow import compute

    found: dict[int, str] = {}
    for name in batch.schema.names:
        column = batch.column(name)
        if pa.types.is_null(column.type):
            continue
        if name in _TEXTS:
            if isinstance(column, pa.DictionaryArray):
                sizes = compute.binary_length(column.dictionary).take(column.indices)
            else:
                sizes = compute.binary_length(column)
            limit, unit = MAX_LINE_BYTES, "bytes"
        elif name in _LISTS:
            sizes, limit, unit = compute.list_value_length(column), _LISTS[name], "entries"
        else:
            continue
        for number, size in enumerate(sizes.to_pylist()):
            if size is not None and size > limit:
                found.setdefault(number, f"{name!r} has {size:,} {unit}, more than {limit:,}")
    return found


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def limit_memory(more: int) -> None:
    """Let the system refuse this process more bytes than it has now and so many; where it cannot, nothing changes."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    with suppress(BrokenPipeError):  # the reader has seen enough
        sys.exit(main())
