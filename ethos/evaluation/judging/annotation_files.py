"""The files of annotations: sheets and keys that are written once, and verdicts that join a run's judgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ethos.errors import InputError
from ethos.evaluation.judging.annotation import Key
from ethos.evaluation.judging.judge import Judgement
from ethos.evaluation.judging.pairwise import HUMAN, Comparison, keep


def write_new(files: Mapping[Path, str]) -> None:
    """Write files none of which exists: a sheet that was handed out must keep its key.

    Raises:
        InputError: One exists, or cannot be written.
    """
    for path in files:
        if path.exists():
            raise InputError(f"{path} exists", "name another file, or delete it")
    for path, text in files.items():
        try:
            # The sheet's own line ends, and a mark by which spreadsheets know UTF-8.
            path.write_text(text, encoding="utf-8-sig" if path.suffix == ".csv" else "utf-8", newline="")
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}", "name a file in another folder") from error


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        InputError: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "name another file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8", "save it as CSV in UTF-8") from error


def keep_new(folder: Path, key: Key, annotator: str, judgements: Sequence[Judgement]) -> Path:
    """Keep an annotator's verdicts with a run's judgements; where they are.

    Raises:
        InputError: There are some by the same name on the same comparison, or they cannot be written.
    """
    about = {name: str(key.about.get(name, "")) for name in ("task", "first", "second", "model")}
    comparison = Comparison(**about, judge=f"{HUMAN}{annotator}", prompt="")
    path = comparison.path(folder)
    if path.exists():
        raise InputError(f"{path} holds verdicts of {annotator} already", "name another --annotator, or delete it")
    keep(path, comparison, judgements)
    return path
