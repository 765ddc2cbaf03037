"""Finds the files of VITAL's tasks in a folder, by their names."""

from __future__ import annotations

from pathlib import Path

from ethos.errors import InputError
from ethos.evaluation.tasks.task import TaskName

_SUFFIXES = (".json", ".jsonl")


def task_file(folder: Path, name: TaskName) -> Path:
    """The file of a task: the one whose name has all parts of the task's.

    ``vital_overton_valuekaleidoscope.json`` and ``steerable_test_valuekaleidoscope_small.json`` are found.

    Raises:
        InputError: There is none, or several.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", "name the folder that holds VITAL's files")
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and all(part in path.stem.lower() for part in name.split("_"))
    )
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{folder} holds {len(found)} files of {name}: {names}", "leave one there, or name a file")
    raise InputError(f"{folder} holds no file of {name}", f"put VITAL's vital_{name}.json there")
