"""Answers a file of scenarios into a file of answers, many side by side, resumable.

Knows items, answers and the two files; answering itself is handed in. A row is written when it is done and never
changed, so what a stopped run has written stays, and the next run goes on behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from ethos.answer import Answer
from ethos.errors import EthosError
from ethos.pipeline.scenario_files import Item
from ethos.scenario import Attribute, Mode, Scenario
from ethos.text.cleaning import digest
from ethos.text.json_lines import append, read

TOGETHER = 16  # scenarios answered side by side: three full batches of comments, and little lost when it is stopped

_BEGINNING = b'{"id": '  # of every row
_MEND = "name another --output"

AnswerAll = Callable[[Sequence[tuple[Scenario, Mode]]], Sequence[Answer | EthosError]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row to be answered.

    Attributes:
        id: The item's own id.
        scenario: What is asked.
        mode: How comments become the answer.
        key: Content address of scenario, mode and seed: what a row is recognised by when a run is resumed.
    """

    id: str
    scenario: Scenario
    mode: Mode
    key: str


@dataclass
class BatchReport:
    """What a run did.

    Attributes:
        rows: How many the input has.
        skipped: How many the output had already.
        answered: The answers that were added to it.
        failed: The rows without an answer, with the reason.
    """

    rows: int
    skipped: int = 0
    answered: list[Answer] = field(default_factory=list)
    failed: list[tuple[Row, EthosError]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many rows need nothing more in this run."""
        return self.skipped + len(self.answered) + len(self.failed)


def rows_of(items: Iterable[Item], mode: Mode, attribute: str | None, seed: int) -> list[Row]:
    """What is to be answered; mode and attribute are for the items that do not tell their own.

    Raises:
        InputError: The attribute cannot be used.
    """
    rows = []
    for item in items:
        chosen, scenario = item.mode or mode, item.scenario
        if attribute is not None and scenario.attribute is None:
            scenario = scenario.steered(Attribute.parse(attribute, chosen))
        rows.append(Row(item.id, scenario, chosen, digest("row", astuple(scenario), chosen, seed)))
    return rows


def answer_rows(
    rows: Sequence[Row], output: Path, answer_all: AnswerAll, progress: Callable[[BatchReport], None]
) -> BatchReport:
    """Answer the rows that the output does not have, and append them to it.

    A row that fails is listed in `failures_of` the output, and tried again by the next run.

    Args:
        rows: All rows; equal ones are answered as often as they occur.
        output: JSON lines, one answer each, with ``id`` and ``key`` of its row; made, for its owner only, if needed.
        answer_all: Answers scenarios side by side.
        progress: Told whenever rows are done.

    Raises:
        InputError: The output cannot be read as answers, or not be written.
        EthosError: As `answer_all` raises it; what was written stays.
    """
    had = _keys_in(output)
    report = BatchReport(len(rows))
    waiting = []
    for row in rows:
        if had[row.key]:
            had[row.key] -= 1
            report.skipped += 1
        else:
            waiting.append(row)
    progress(report)
    failures_of(output).unlink(missing_ok=True)
    for start in range(0, len(waiting), TOGETHER):
        some = waiting[start : start + TOGETHER]
        results = list(zip(some, answer_all([(row.scenario, row.mode) for row in some]), strict=True))
        answers = [(row, result) for row, result in results if isinstance(result, Answer)]
        failed = [(row, result) for row, result in results if isinstance(result, EthosError)]
        append(output, [{"id": row.id, "key": row.key, **answer.as_dict()} for row, answer in answers], _MEND)
        append(failures_of(output), [_failure(row, error) for row, error in failed], _MEND)
        report.answered += [answer for _, answer in answers]
        report.failed += failed
        progress(report)
    return report


def failures_of(output: Path) -> Path:
    """Where the rows that failed are listed: beside the output."""
    return output.with_name(f"{output.name}.failed")


def _failure(row: Row, error: EthosError) -> Mapping[str, Any]:
    asked = {"scenario": row.scenario.situation, "mode": str(row.mode), "attribute": str(row.scenario.attribute or "")}
    return {"id": row.id, "key": row.key, **asked, "error": error.message, "hint": error.hint}


def _keys_in(output: Path) -> Counter[str]:
    """How often each row is in the output."""
    return Counter(read(output, _BEGINNING, _key, "answer of a batch", _MEND))


def _key(row: Mapping[str, Any]) -> str | None:
    return str(row["key"]) if "key" in row else None
