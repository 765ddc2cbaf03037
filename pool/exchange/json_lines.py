"""Read JSON lines from outside: strictly, one line at a time, with a limit on each.

Knows bytes and JSON; knows nothing of personas. What JSON leaves open is refused: a key that comes twice, a number that
is none, a text in another encoding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Never

from ethos.errors import InputError
from ethos.pool.exchange.row_format import MAX_LINE_BYTES, Entry

_BOM = b"\xef\xbb\xbf"


def json_lines(handle: BinaryIO, unit: str = "line") -> Iterator[Entry]:
    """The objects of a file, one a line; empty lines are left out.

    Args:
        handle: Read from where it stands; no more than one line is held at a time.
        unit: What a line is called in messages.
    """
    number = 0
    while line := handle.readline(MAX_LINE_BYTES + 1):
        number += 1
        place = f"{unit} {number}"
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            _skip_line(handle)
            yield Entry(place, None, f"the {unit} is longer than {MAX_LINE_BYTES:,} bytes")
            continue
        if number == 1:
            line = line.removeprefix(_BOM)
        if not line.strip():
            continue
        try:
            record = strict_json(line)
        except InputError as error:
            yield Entry(place, None, error.message)
            continue
        if isinstance(record, dict):
            yield Entry(place, record)
        else:
            yield Entry(place, None, "not a JSON object")


def strict_json(data: bytes) -> Any:
    """The value of a JSON document.

    Raises:
        InputError: Not UTF-8, not JSON, a key twice in one object, NaN or Infinity, or nested too deeply.
    """
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 (byte {error.start + 1})") from error
    except RecursionError as error:
        raise InputError("not JSON that can be read: nested too deeply") from error
    except ValueError as error:
        raise InputError(f"not JSON: {str(error)[:120]}") from error


def _skip_line(handle: BinaryIO) -> None:
    while (rest := handle.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InputError(f"the key {name[:60]!r} comes twice")
        found[name] = value
    return found


def _constant(name: str) -> Never:
    raise InputError(f"{name} is no JSON number")
