"""An anchor: the position of the ledger in one line, to be kept elsewhere.

A chain of hashes shows what was changed within it. Who may write the whole file could make the chain anew, and only
somebody who knows an old link finds that out. Knows the ledger's links; `ethos.pool.storage.ledger` knows what they
seal.
"""

from __future__ import annotations

import re

from sqlalchemy import Connection

from ethos.errors import InputError
from ethos.pool.storage.ledger import START, Fault

_ANCHOR = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


def anchor(connection: Connection) -> str:
    """Number and link of the newest sealed note: all that was written until now follows from it."""
    newest = "SELECT seq, link FROM ledger WHERE link IS NOT NULL ORDER BY seq DESC LIMIT 1"
    row = connection.exec_driver_sql(newest).one_or_none()
    return f"{row.seq}:{row.link}" if row else f"0:{START}"


def departures(connection: Connection, anchor: str) -> list[Fault]:
    """Whether the ledger went on from an anchor; nothing if it did.

    Only a ledger without faults of its own shows by this that its past is the same.

    Raises:
        InputError: It is no anchor.
    """
    match = _ANCHOR.fullmatch(anchor.strip())
    if match is None:
        raise InputError(f"{anchor[:80]!r} is no anchor", "give it as `ethos audit verify` printed it: NUMBER:LINK")
    seq, link = int(match[1]), match[2]
    held = connection.exec_driver_sql("SELECT link FROM ledger WHERE seq = ?", (seq,)).scalar() if seq else START
    if held == link:
        return []
    return [Fault("ledger", f"[{seq}]", "is not what the anchor says: the past was written anew, or is another pool's")]
