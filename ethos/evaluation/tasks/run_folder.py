"""The folder of a run: what was asked (``run.json``), and one file of predictions for each task, method and model.

``DIR/TASK.METHOD.MODEL.jsonl`` holds VITAL's rows with the answers filled in, ``….failed.jsonl`` why others have none.
Rows are appended and never changed, so that a run goes on where it was stopped. Runs nothing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ethos.errors import EthosError, InputError, ModelError
from ethos.evaluation.tasks.prediction import OWN, Prediction
from ethos.evaluation.tasks.task import Item
from ethos.text.json_lines import append, read

RUN = "run.json"
FAILED = ".failed.jsonl"  # how the names of files of failures end
FORMAT = 1

# What may be added to by a later run; whatever else differs makes it another run.
_GROWING = ("tasks", "methods", "models", "helpers", "leaked", "prompts")
_SESSIONS = "sessions"
_MEND = "name another --out"
_MOST_SLUG = 80  # file names are limited to 255 bytes, and folders of models may have long names


class RunFolder:
    """A run's folder, held by one process at a time.

    Args:
        path: Made if it does not exist.

    Raises:
        InputError: It cannot be made, or another process runs there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FileLock(path / "run.lock")
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(f"another run is writing to {path}", "wait for it, or name another --out") from error
        except OSError as error:
            raise InputError(f"the folder {path} cannot be used: {error.strerror}", _MEND) from error

    def close(self) -> None:
        """Let others run there."""
        self._lock.release()

    def begin(self, asked: Mapping[str, Any], session: Mapping[str, Any]) -> None:
        """Note what is run; tasks, methods and models may be added to those of an earlier run.

        Args:
            asked: All that answers depend on, as JSON values; by name: ``tasks``, ``methods``, ``models``, ``helpers``
                (models with another role), ``prompts``, and what is ``leaked`` of each task.
            session: Where and when.

        Raises:
            InputError: The folder's earlier run was another one.
        """
        before = read_run(self.path) if (self.path / RUN).exists() else {}
        merged = {"format": FORMAT, **asked, _SESSIONS: [*before.get(_SESSIONS, []), session]}
        if before:
            for name in sorted({*asked, *before} - {*_GROWING, _SESSIONS, "format"}):
                _same(self.path, name, before.get(name), asked.get(name))
            for name in _GROWING:
                for key in before[name].keys() & asked[name].keys():
                    _same(self.path, f"{name}, {key}", before[name][key], asked[name][key])
                merged[name] = {**before[name], **asked[name]}
        self._write(merged)

    def _write(self, run: Mapping[str, Any]) -> None:
        draft = self.path / f"{RUN}.tmp"
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump(run, file, ensure_ascii=False, indent=2)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path / RUN)
        except OSError as error:
            raise InputError(f"{self.path / RUN} cannot be written: {error.strerror}", _MEND) from error


def read_run(folder: Path) -> dict[str, Any]:
    """What was run in a folder, as `RunFolder.begin` noted it.

    Raises:
        InputError: It is no run's folder.
    """
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no {RUN}", "name the --out of an `ethos eval run`") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / RUN} cannot be read: {error}", _MEND) from error
    if not isinstance(run, dict) or run.get("format") != FORMAT or any(name not in run for name in _GROWING):
        raise InputError(f"{folder / RUN} is not of format {FORMAT}", "use the Ethos that wrote it")
    return run


def results_file(folder: Path, task: str, method: str, model: str) -> Path:
    """Where the predictions of one task, method and model are."""
    return folder / f"{task}.{method}.{slug(model)}.jsonl"


def failures_of(results: Path) -> Path:
    """Where the items without a prediction are listed, with the reason."""
    return results.with_name(f"{results.name.removesuffix('.jsonl')}{FAILED}")


def slug(model: str) -> str:
    """A model's name as a part of a file's: ``HuggingFaceTB-SmolLM2-135M-Instruct``."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", model.partition(":")[2] or model).strip("-.")[-_MOST_SLUG:]


def completed(results: Path, cut: bool = False) -> dict[str, dict[str, Any]]:
    """The rows of a file of predictions, by item; a line that is being written, or was torn, is left out.

    Args:
        results: The file; one that is not there has none.
        cut: Whether a torn line is taken away, for who goes on writing.

    Raises:
        InputError: It holds something else.
    """
    return dict(read(results, b'{"', _item_of, "prediction of a run", _MEND, cut))


def _item_of(row: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    own = row.get(OWN)
    return (str(own["item"]), row) if isinstance(own, dict) and "item" in own else None


def keep(results: Path, method: str, model: str, task: str, found: Sequence[tuple[Item, Prediction]]) -> None:
    """Append predictions for good.

    Raises:
        InputError: The file cannot be written.
    """
    append(results, [prediction.row(item, task, method, model) for item, prediction in found], _MEND)


def keep_failures(results: Path, failed: Sequence[tuple[Item, EthosError]]) -> None:
    """Append items that failed, with what is wrong and the reply that showed it.

    Raises:
        InputError: The file cannot be written.
    """
    rows = [
        {
            "id": item.id,
            "error": error.message,
            "hint": error.hint,
            "kind": type(error).__name__,
            "reply": error.reply if isinstance(error, ModelError) else "",
        }
        for item, error in failed
    ]
    append(failures_of(results), rows, _MEND)


def forget_failures(results: Path) -> None:
    """Take the list of failures away, since the items are tried again."""
    with suppress(FileNotFoundError):
        failures_of(results).unlink()


def _same(folder: Path, what: str, there: object, here: object) -> None:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}):
            _same(folder, f"{what}, {key}", there.get(key), here.get(key))
    elif there != here:
        told = [json.dumps(value, ensure_ascii=False)[:120] for value in (there, here)]
        raise InputError(
            f"{folder} holds a run with other settings: {what} is {told[0]} there, and {told[1]} now",
            "give the same settings again, or name another --out",
        )
