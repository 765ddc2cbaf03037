"""Counts of a pool's contents, in plain SQL: no SQLAlchemy, encoder or index is loaded for them."""

from __future__ import annotations

import json
from typing import Any

from ethos.persona import ATTRIBUTES
from ethos.pool.storage.database import Database

TABLES = ("personas", "scenarios", "origins", "answers", "calls", "failures")


def statistics(database: Database) -> dict[str, Any]:
    """Return row counts, counts by status and origin, distinct texts by attribute, and the stored calibration.

    All counts are of one moment. ``calibration`` is None where the gate is not calibrated.
    """
    distinct = ", ".join(f"count(DISTINCT lower({attribute}))" for attribute in ATTRIBUTES)
    with database.plain() as connection:
        connection.execute("BEGIN")  # one consistent view
        counts = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
        panels = connection.execute("SELECT count(DISTINCT scenario_id) FROM panels").fetchone()[0]
        status = dict(connection.execute("SELECT status, count(*) FROM personas GROUP BY status").fetchall())
        kinds = dict(connection.execute("SELECT kind, count(*) FROM origins GROUP BY kind").fetchall())
        texts = connection.execute(f"SELECT {distinct} FROM personas").fetchone()
        stored = connection.execute("SELECT value FROM pool_facts WHERE name = 'calibration'").fetchone()
        connection.execute("COMMIT")
    return {
        **counts,
        "scenarios_with_panel": panels,
        "status": status,
        "origin_kinds": kinds,
        "distinct": dict(zip(ATTRIBUTES, texts, strict=True)),
        "calibration": json.loads(stored[0]) if stored else None,
    }
