"""Reads a task from a file: VITAL's five, and files of the same shape such as Modular Pluralism's.

Every row becomes an item, or an oddity that says why it cannot. Reading rows and what they ask is
`ethos.pipeline.scenario_files`'s; this adds the gold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ethos.errors import InputError
from ethos.evaluation.tasks.gold import gold_distribution, gold_label, gold_values
from ethos.evaluation.tasks.prediction import OWN
from ethos.evaluation.tasks.task import Item, Oddity, Task, TaskName
from ethos.pipeline.scenario_files import read_item, read_rows
from ethos.scenario import GOLD_CLASSES, Attribute, AttributeKind, Mode, Scenario
from ethos.text.cleaning import digest

Row = Mapping[str, Any]


def load_task(path: Path, name: TaskName | None = None) -> Task:
    """Read a task's file: a JSON list, or JSON lines.

    Args:
        path: The file.
        name: Which task; where it is not given, the rows' own word, the file's name or the rows' fields tell.

    Raises:
        InputError: The file cannot be read, is of no known task, or holds no row that can be evaluated.
    """
    return task_of(read_rows(path), path, name)


def task_of(rows: Sequence[tuple[int, Any]], path: Path, name: TaskName | None = None) -> Task:
    """The task that numbered rows of a file are.

    Raises:
        InputError: The rows are of no known task, or none can be evaluated.
    """
    name = name or _told(rows, path)
    odd: list[Oddity] = []
    items: list[Item] = []
    ids = row_ids(rows, odd)
    for (number, row), identifier in zip(rows, ids, strict=True):
        try:
            items.append(_item(row, number, identifier, name, odd))
        except InputError as error:
            odd.append(Oddity(identifier, error.message, left_out=True))
    if not items:
        why = f"; the first: {odd[0].what}" if odd else ""
        raise InputError(f"no row of {path} can be evaluated as {name}{why}", "name the task with --task")
    return Task(name, tuple(items), tuple(odd), str(path))


def sample(
    task: Task, limit: int | None = None, seed: int = 0, ids: Collection[str] = (), exclude_ids: Collection[str] = ()
) -> Task:
    """Some of a task's items, in their file's order.

    Args:
        task: The whole.
        limit: At most so many, drawn at random; a larger limit with the same seed holds the smaller's items.
        seed: Of the draw.
        ids: Only these; empty for all.
        exclude_ids: None of these; those that are not there are no error.

    Raises:
        InputError: An id that is asked for is not there, or excluded; or nothing is left.
    """
    there = {item.id for item in task.items}
    if absent := [identifier for identifier in ids if identifier not in there]:
        reasons = {oddity.item: oddity.what for oddity in task.odd if oddity.left_out}
        said = ", ".join(f"{one} ({reasons[one]})" if one in reasons else one for one in absent[:8])
        raise InputError(f"{len(absent)} of the ids asked for are not among the items of {task.source}: {said}")
    if both := sorted(set(ids) & set(exclude_ids)):
        raise InputError(f"ids are both asked for and excluded: {', '.join(both[:8])}", "name them once")
    kept = [item for item in task.items if (not ids or item.id in ids) and item.id not in exclude_ids]
    if limit is not None:
        drawn = sorted(kept, key=lambda item: digest("sample", seed, item.id))[:limit]
        chosen = {item.id for item in drawn}
        kept = [item for item in kept if item.id in chosen]
    if not kept:
        raise InputError(f"no item of {task.source} is left", "exclude fewer, or raise --limit")
    return replace(task, items=tuple(kept))


def row_ids(rows: Sequence[tuple[int, Any]], odd: list[Oddity] | None = None) -> list[str]:
    """The ids of numbered rows, of a task or of results, in order and each unique.

    Args:
        rows: Each with its number, which is its id where it names none.
        odd: Takes a note for each that was made unique.
    """
    ids = [read_id(row, number) if isinstance(row, Mapping) else str(number) for number, row in rows]
    return _unique(ids, [] if odd is None else odd)


def read_id(row: Row, number: int) -> str:
    """The id of a row of a task or of results: the one we gave it, its own, else its number."""
    own = row.get(OWN)
    if isinstance(own, Mapping) and isinstance(own.get("item"), str):
        return _printable(own["item"])
    return _printable(str(number if row.get("id") is None else row["id"]))


def _printable(identifier: str) -> str:
    # JSON can hold halves of characters, which neither a terminal nor a digest takes.
    return identifier.encode("utf-8", "backslashreplace").decode("utf-8")


def _unique(ids: Sequence[str], odd: list[Oddity]) -> list[str]:
    """Ids in which none stands twice: the second 7 is "7#2"."""
    taken, seen, found = set(ids), Counter[str](), []
    for identifier in ids:
        seen[identifier] += 1
        unique = identifier
        if seen[identifier] > 1:
            while (unique := f"{identifier}#{seen[identifier]}") in taken:
                seen[identifier] += 1
            odd.append(Oddity(unique, f"the id {identifier} stands in an earlier row, so this one is {unique}", False))
            taken.add(unique)
        found.append(unique)
    return found


def _told(rows: Sequence[tuple[int, Any]], path: Path) -> TaskName:
    """The task that the rows' own word, the file's name, or most rows' fields tell."""
    mappings = [row for _, row in rows if isinstance(row, Mapping)]
    for row in mappings:
        own = row.get(OWN)
        if isinstance(own, Mapping) and own.get("task") in list(TaskName):
            return TaskName(own["task"])
    stem = path.stem.lower()
    named = [name for name in TaskName if all(part in stem for part in name.split("_"))]
    if len(named) == 1:
        return named[0]
    fields = Counter(name for row in mappings if (name := _by_fields(row)))
    if not fields:
        raise InputError(
            f"what task the file {path} holds cannot be told", f"name it with --task: {', '.join(TaskName)}"
        )
    return fields.most_common(1)[0][0]


def _by_fields(row: Row) -> TaskName | None:
    if isinstance(row.get("vrd"), list):
        return TaskName.OVERTON_VALUES
    if isinstance(row.get("vrd"), str):
        return TaskName.STEERABLE_VALUES
    if not isinstance(row.get("gold_distribution"), list):
        return None
    attribute = row.get("attribute")
    if not isinstance(attribute, str) or not attribute.strip() or attribute in GOLD_CLASSES:
        return TaskName.DISTRIBUTIONAL_MORAL
    try:
        kind = Attribute.parse(attribute, Mode.STEERABLE).kind
    except InputError:
        return None
    return TaskName.STEERABLE_OPINIONS if kind is AttributeKind.GROUP else TaskName.DISTRIBUTIONAL_POLLS


def _item(row: object, number: int, identifier: str, name: TaskName, odd: list[Oddity]) -> Item:
    """One row, with its gold.

    Raises:
        InputError: Why it cannot be evaluated.
    """
    if not isinstance(row, Mapping):
        raise InputError("the row is no object with fields")
    options = row.get("options")
    if isinstance(options, list) and len(options) == 1:
        raise InputError("one option only: nothing can be chosen")
    scenario, notes = read_item(row, number).scenario, list[str]()
    item = Item(identifier, scenario, (), None, (), "", row)
    if name is TaskName.OVERTON_VALUES:
        item = replace(item, values=gold_values(row, notes))
    elif name is TaskName.STEERABLE_VALUES:
        _steers(scenario, AttributeKind.VALUE)
        item = replace(item, label=gold_label(row, scenario.options, notes))
    else:
        item = replace(item, distribution=gold_distribution(row, scenario.options, notes))
        if name is TaskName.DISTRIBUTIONAL_MORAL:
            # Whatever stands under "attribute" is the gold's class, which no model may see.
            item = replace(item, scenario=scenario.steered(None), stratum=str(row.get("attribute") or ""))
        else:
            opinions = name is TaskName.STEERABLE_OPINIONS
            _steers(scenario, AttributeKind.GROUP if opinions else AttributeKind.COUNTRY)
    odd.extend(Oddity(identifier, what, left_out=False) for what in notes)
    return item


def _steers(scenario: Scenario, kind: AttributeKind) -> None:
    if scenario.attribute is None or scenario.attribute.kind is not kind:
        found = f"{scenario.attribute} is a {scenario.attribute.kind}" if scenario.attribute else "there is none"
        raise InputError(f"the row names no {kind} to answer as: {found}")
