"""Which test items a pool has been prepared for: their scores say how the pool repeats, not how it serves."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ethos.evaluation.tasks.task import Item
from ethos.pool.pool import Pool

# The last change of a link says whether it holds. SQLite gives the operation of the row that has the greatest number.
_HELD = """
SELECT DISTINCT situation FROM (
    SELECT scenarios.situation, changes.operation, max(changes.seq)
    FROM changes JOIN scenarios ON scenarios.id = changes.scenario_id
    WHERE scenarios.situation IN (SELECT value FROM json_each(?))
    GROUP BY changes.persona_id, changes.scenario_id
) WHERE operation = 'add'
"""


def leaked(pool: Pool, items: Iterable[Item]) -> list[str]:
    """Ids of the items whose very situation the pool holds active personas for, whatever the options, in order."""
    asked = list(items)
    situations = json.dumps(sorted({item.scenario.situation for item in asked}))
    with pool.database.glance() as connection:
        held = {situation for (situation,) in connection.execute(_HELD, (situations,))}
    return [item.id for item in asked if item.scenario.situation in held]
