"""Read scenarios from files: plain lines, JSON lines, and VITAL's own JSON.

Knows formats and fields; knows no model and no pool. An unusable row raises an error that names file and row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethos.errors import InputError
from ethos.scenario import GOLD_CLASSES, Attribute, AttributeKind, Mode, Scenario
from ethos.text.cleaning import MAX_OPTION_CHARACTERS, clean_line

MAX_FILE_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a file.

    Attributes:
        id: The row's own id, else its number in the file.
        scenario: The scenario.
        mode: The mode that its fields imply; None where they imply none.
    """

    id: str
    scenario: Scenario
    mode: Mode | None


def read_items(path: Path) -> list[Item]:
    """Return all rows of a file, in order.

    A ``.json`` file is a list of objects, a ``.jsonl`` file one object (or string) a line; any other file has one
    scenario a line, without empty lines and lines that start with ``#``.

    Raises:
        InputError: No such file, not UTF-8, not JSON, no rows, or a row that cannot be used.
    """
    items = []
    for number, row in read_rows(path):
        try:
            items.append(read_item(row, number))
        except InputError as error:
            raise InputError(f"{path}, row {number}: {error.message}", error.hint) from error
    if not items:
        raise InputError(f"the file {path} holds no scenario", "give one a line, or a JSON list")
    return items


def read_rows(path: Path) -> list[tuple[int, Any]]:
    """Return all rows of a file unparsed, each with its number, in the formats of `read_items`.

    Raises:
        InputError: No such file, not UTF-8, or not JSON.
    """
    text = _text(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return list(enumerate(_json(text, f"{path}"), start=1))
    if suffix in {".jsonl", ".ndjson"}:
        return [(n, _json(line, f"{path}, line {n}")) for n, line in _lines(text)]
    return [(n, line) for n, line in _lines(text) if not line.startswith("#")]


def distinct_scenarios(items: list[Item]) -> list[Scenario]:
    """Return each topic once, in order of first appearance: the scenarios that need personas."""
    return list({item.scenario.key: item.scenario.topic for item in items}.values())


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"the file {path} is larger than {MAX_FILE_BYTES >> 20} MiB", "split it")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}", "check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the file {path} is not UTF-8 (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"the file {path} cannot be read: {error.strerror}") from error


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _json(text: str, where: str) -> Any:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from error
    if where.lower().endswith(".json") and not isinstance(data, list):
        raise InputError(f"{where} is not a JSON list", "give a list of objects")
    return data


def read_item(row: object, number: int) -> Item:
    """Return the scenario of one row.

    Raises:
        InputError: The row cannot be used.
    """
    if isinstance(row, str):
        return Item(str(number), Scenario.of(row), None)
    if not isinstance(row, Mapping):
        raise InputError("the row is neither a text nor an object")
    mode = _mode(row)
    text, attribute = _field(row, "question", "scenario", "situation", "text"), _attribute(row, mode)
    if "vrd" in row and isinstance(row["vrd"], str):
        text = _field(row, "input", "situation")
    options = row.get("options") or []
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise InputError("'options' is not a list of texts")
    if len(options) == 1:
        # 132 OpinionQA rows have one option: nothing can be chosen, but personas can be made for the question.
        return Item(_id(row, number), Scenario.of(text.partition("\nOptions:")[0]), None)
    return Item(_id(row, number), Scenario.of(text, tuple(options), attribute), mode)


def _id(row: Mapping[str, Any], number: int) -> str:
    return str(number if row.get("id") is None else row["id"])


def _field(row: Mapping[str, Any], *names: str) -> str:
    for name in names:
        if isinstance(row.get(name), str):
            return str(row[name])
    raise InputError(f"no text under any of {', '.join(names)}", "name the scenario's field 'scenario'")


def _mode(row: Mapping[str, Any]) -> Mode | None:
    """VITAL's tasks by their fields: gold values are Overton, a label or group steerable, the rest distributional."""
    if isinstance(row.get("vrd"), list):
        return Mode.OVERTON
    if isinstance(row.get("vrd"), str):
        return Mode.STEERABLE
    if isinstance(row.get("mode"), str) and row["mode"] in set(Mode):
        return Mode(row["mode"])
    if "gold_distribution" not in row:
        return None
    attribute = str(row.get("attribute") or "")
    group = attribute and Attribute.parse(attribute, Mode.STEERABLE).kind is AttributeKind.GROUP
    return Mode.STEERABLE if group else Mode.DISTRIBUTIONAL


def _attribute(row: Mapping[str, Any], mode: Mode | None) -> Attribute | None:
    text = row["vrd"] if isinstance(row.get("vrd"), str) else row.get("attribute")
    if not isinstance(text, str) or not text or text in GOLD_CLASSES:
        return None
    if isinstance(row.get("vrd"), str):
        return Attribute(AttributeKind.VALUE, clean_line(text, "vrd", MAX_OPTION_CHARACTERS))
    return Attribute.parse(text, mode or Mode.STEERABLE)
