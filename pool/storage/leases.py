"""Leases: work that several callers need and one does, with owner and expiry.

Knows a table of keys, owners and times; knows nothing of the work. A lease is a row, not a lock: no transaction is
open while the work goes on, and what a dead owner leaves behind expires.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from sqlalchemy import delete, update
from sqlalchemy.dialects.sqlite import insert

from ethos.errors import PoolError
from ethos.pool.storage import schema
from ethos.pool.storage.database import Database
from ethos.scenario import Scenario
from ethos.text.cleaning import digest

SECONDS = 30.0  # that a dead owner keeps others waiting
_SKEW = 1.0  # seconds by which the clocks of two threads' readings may differ, and more
POLL = 0.05  # seconds between two looks at what another does

Done = Callable[[str], bool]
Work = Callable[[list[str]], None]


def panel_key(scenario: Scenario, k: int) -> str:
    """The key of generating a scenario's panel.

    Neither seed, prompts nor model are part of it: who asks a pool gets the panel it has, whoever made it, so who asks
    while it is being made gets it too.
    """
    return digest("panel", scenario.key, k)


class Leases:
    """The leases of one pool.

    Args:
        database: The pool's.
        seconds: How long a lease lasts without renewal; its owner renews it three times as often.
    """

    def __init__(self, database: Database, seconds: float = SECONDS) -> None:
        self._database = database
        self._seconds = seconds

    def each_once(self, keys: Iterable[str], done: Done, work: Work) -> None:
        """Have every key worked on by one owner only, here or elsewhere, and return when none is in work.

        A key that another worked on without success is worked on here too.

        Args:
            keys: What is wanted.
            done: Whether a key needs no work, as far as the pool shows.
            work: Works on keys that are free and not done; may be called several times, never twice with a key.

        Raises:
            Exception: Whatever `work` raises; the leases are released.
        """
        left = self._work_on_free(keys, done, work)
        while left:
            time.sleep(POLL)
            left = self._work_on_free(left, done, work)

    def _work_on_free(self, keys: Iterable[str], done: Done, work: Work) -> list[str]:
        """Work on the keys that are free and not done, if there are any; the keys that others are working on."""
        wanted = [key for key in keys if not done(key)]
        if not wanted:
            return []
        with self.holding() as held:
            mine = held.take(wanted)
            # Again: a key may have been done, and its lease released, since the first look.
            if undone := [key for key in mine if not done(key)]:
                work(undone)
        return [key for key in wanted if key not in mine]

    @contextmanager
    def holding(self) -> Iterator[Held]:
        """Keep what one owner acquires in the block, renewed, until it is released or the block ends."""
        held = Held(self._database, self._seconds)
        try:
            yield held
        finally:
            held.end()


class Held:
    """The leases of one owner, renewed from the first that it takes.

    Args:
        database: The pool's.
        seconds: How long a lease lasts without renewal.
    """

    def __init__(self, database: Database, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._owner = uuid.uuid4().hex
        self._asked = False
        self._over = threading.Event()
        self._renewal: threading.Thread | None = None

    def take(self, keys: Sequence[str]) -> list[str]:
        """Take those of the keys that are free, and give them."""
        if not keys:
            return []
        self._asked = True
        now = time.time()
        with self._database.write() as connection:
            taken = [
                key
                for key in keys
                if connection.execute(
                    insert(schema.LeaseRow)
                    .values(key=key, owner=self._owner, expires_at=now + self._seconds)
                    .on_conflict_do_update(
                        index_elements=["key"],
                        set_={"owner": self._owner, "expires_at": now + self._seconds},
                        # One that ends later than any could was taken before the clock was set back.
                        where=(schema.LeaseRow.expires_at < now)
                        | (schema.LeaseRow.expires_at > now + self._seconds + _SKEW),
                    )
                ).rowcount
            ]
        if taken and not self._renewal:
            self._renewal = threading.Thread(target=self._renew, daemon=True)
            self._renewal.start()
        return taken

    def give_back(self, key: str) -> None:
        """Let others have a key that was taken."""
        self._give_back(key=key)

    def end(self) -> None:
        """Let others have all that was taken, and take no more."""
        self._over.set()
        if self._renewal:
            self._renewal.join()
        if self._asked:
            self._give_back()

    def _give_back(self, **which: str) -> None:
        with self._database.write() as connection:
            connection.execute(delete(schema.LeaseRow).filter_by(owner=self._owner, **which))

    def _renew(self) -> None:
        """Put off when the leases end, until all is over."""
        renewed = update(schema.LeaseRow).filter_by(owner=self._owner)
        while not self._over.wait(self._seconds / 3):
            # A pool that is busy for a moment is no reason to give up; there are two more tries.
            with suppress(PoolError), self._database.write() as connection:
                connection.execute(renewed.values(expires_at=time.time() + self._seconds))
