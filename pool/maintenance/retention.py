"""Retention: remove answers older than a date.

Knows which rows have an age; personas, and the scenarios they were made for, have none and stay.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select

from ethos.errors import InputError
from ethos.pool.maintenance.removal import drop_answers, drop_calls, drop_texts, scrub, unused
from ethos.pool.storage import ledger, schema
from ethos.pool.storage.database import Database

_AGE = re.compile(r"(\d{1,5})([hdwy])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}


@dataclass(frozen=True, slots=True)
class Purged:
    """How many rows went, or would go."""

    before: str
    answers: int
    calls: int
    texts: int
    failures: int
    scenarios: int

    def as_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return asdict(self)


def moment(age: str, now: datetime | None = None) -> str:
    """The time that lies an age back, as the record writes times.

    Args:
        age: A number of hours, days, weeks or years of 365 days: ``36h``, ``180d``, ``26w``, ``2y``.
        now: Counted from then; by default from now.

    Raises:
        InputError: It is no such age, or lies before the calendar begins.
    """
    match = _AGE.fullmatch(age.strip())
    try:
        if match:
            return ((now or datetime.now(UTC)) - int(match[1]) * _UNITS[match[2]]).isoformat(timespec="seconds")
    except OverflowError:
        pass
    raise InputError(f"{age!r} is no age", "give hours, days, weeks or years: 36h, 180d, 26w, 2y")


def purge(database: Database, before: str, dry_run: bool) -> Purged:
    """Delete the answers and failures from before a time, and what only they used.

    Args:
        database: The pool's.
        before: UTC, ISO 8601.
        dry_run: Whether only to report what would be deleted.

    Raises:
        PoolError: The rows are deleted, but the log could not be emptied.
    """
    call, answer, failure = schema.CallRow, schema.AnswerRow, schema.FailureRow
    with database.rehearsal() if dry_run else database.write() as connection:
        above = ledger.last(connection)
        answers = connection.execute(select(answer.id).where(answer.created_at < before)).scalars().all()
        calls = drop_answers(connection, answers)
        # Calls of requests that came to nothing belong to no answer.
        stray = select(call.id).where(call.created_at < before, unused(call))
        gone = drop_calls(connection, calls | set(connection.execute(stray).scalars()))
        texts = drop_texts(connection)
        failures = connection.execute(delete(failure).where(failure.created_at < before)).rowcount
        lonely = delete(schema.ScenarioRow).where(schema.ScenarioRow.created_at < before, unused(schema.ScenarioRow))
        scenarios = connection.execute(lonely).rowcount
        ledger.forget(connection, above)
    done = Purged(before, len(answers), gone, texts, failures, scenarios)
    if not dry_run:
        scrub(database)
    return done
