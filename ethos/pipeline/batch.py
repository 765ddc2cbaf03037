"""Answer a file of scenarios into a file of answers, in batches, resumable.

Knows items, answers and the two files; the caller passes the function that answers. Finished rows are appended, so a
stopped run keeps them and the next run continues after them.
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

TOGETHER = 16  # scenarios a batch: three full batches of comments, and little lost when the run is stopped

_BEGINNING = b'{"id": '  # of every row
_FIX = "name another --output"

AnswerAll = Callable[[Sequence[tuple[Scenario, Mode]]], Sequence[Answer | EthosError]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row to answer.

    Attributes:
        id: The item's own id.
        scenario: The scenario.
        mode: How comments become the answer.
        key: Content address of scenario, mode and seed; identifies the row when a run is resumed.
    """

    id: str
    scenario: Scenario
    mode: Mode
    key: str


@dataclass
class BatchReport:
    """Result of a run.

    Attributes:
        rows: Number of rows of the input.
        skipped: Number of rows that the output already had.
        answered: The answers that were appended.
        failed: The rows without an answer, with the error.
    """

    rows: int
    skipped: int = 0
    answered: list[Answer] = field(default_factory=list)
    failed: list[tuple[Row, EthosError]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Return the number of rows that are finished in this run."""
        return self.skipped + len(self.answered) + len(self.failed)


def rows_of(items: Iterable[Item], mode: Mode, attribute: str | None, seed: int) -> list[Row]:
    """Return the rows to answer; mode and attribute apply to the items that name none.

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
    """Answer the rows that the output lacks, and append the answers.

    A row that fails is listed in `failures_of` the output; the next run tries it again.

    Args:
        rows: All rows; equal rows are answered as often as they occur.
        output: JSON lines, one answer each, with ``id`` and ``key`` of its row; created readable by its owner only.
        answer_all: Answers a batch of scenarios.
        progress: Called after each batch.

    Raises:
        InputError: The output cannot be read as answers, or not be written.
        EthosError: As `answer_all` raises it; written rows are kept.
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
        append(output, [{"id": row.id, "key": row.key, **answer.as_dict()} for row, answer in answers], _FIX)
        append(failures_of(output), [_failure(row, error) for row, error in failed], _FIX)
        report.answered += [answer for _, answer in answers]
        report.failed += failed
        progress(report)
    return report


def failures_of(output: Path) -> Path:
    """Return the path of the list of failed rows, beside the output."""
    return output.with_name(f"{output.name}.failed")


def _failure(row: Row, error: EthosError) -> Mapping[str, Any]:
    asked = {"scenario": row.scenario.situation, "mode": str(row.mode), "attribute": str(row.scenario.attribute or "")}
    return {"id": row.id, "key": row.key, **asked, "error": error.message, "hint": error.hint}


def _keys_in(output: Path) -> Counter[str]:
    """Return how often each row is in the output."""
    return Counter(read(output, _BEGINNING, _key, "answer of a batch", _FIX))


def _key(row: Mapping[str, Any]) -> str | None:
    return str(row["key"]) if "key" in row else None
