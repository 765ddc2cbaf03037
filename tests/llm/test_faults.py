"""What the machine does to a pool: a full disk, a folder that cannot be written, a clock that is set back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import event

from ethos.errors import PoolError
from ethos.persona import OriginKind
from ethos.pool.curation.statistics import statistics
from ethos.pool.starter import starter_panels
from ethos.pool.storage.database import Database
from ethos.pool.storage.leases import SECONDS, Held
from ethos.pool.storage.ledger import faults
from ethos.pool.storage.personas import Store
from ethos.pool.storage.values import Origin

_OPENER = """
import os, sys
from pathlib import Path
from ethos.errors import PoolError
from ethos.pool.storage.database import Database, revisions
revisions()  # while Python's own files can be read
os.setgid(65534)
os.setuid(65534)
try:
    Database(Path(sys.argv[1]))
except PoolError as error:
    print(error.message, "/", error.hint)
"""


def fill(store: Store, acknowledged: list[str]) -> None:
    """Add the starter pool's panels; the scenarios that were acknowledged."""
    for panel in starter_panels():
        store.add(panel.scenario, panel.personas, Origin(OriginKind.CURATED))
        acknowledged.append(panel.scenario.key)


def test_a_full_disk_is_told_loses_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    database = Database(tmp_path / "pool")
    with database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    database.engine.dispose()

    def small(connection: object, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + 40}")  # type: ignore[attr-defined]

    event.listen(database.engine, "connect", small)
    store = Store(database)
    acknowledged: list[str] = []
    with pytest.raises(PoolError, match="full") as caught:
        fill(store, acknowledged)
    assert caught.value.hint == "free some disk space"
    assert acknowledged
    assert {link.scenario_id for link in store.links()} == set(acknowledged)
    event.remove(database.engine, "connect", small)
    database.engine.dispose()
    fill(store, [])
    assert statistics(database)["scenarios"] == len(starter_panels())
    with database.read() as connection:
        assert faults(connection) == []
    database.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_cannot_be_written_or_read_is_told(tmp_path: Path, mode: int) -> None:
    Database(tmp_path / "pool").close()
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(0o755)
    (tmp_path / "pool").chmod(mode)
    ran = subprocess.run([sys.executable, "-c", _OPENER, str(tmp_path / "pool")], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "cannot be used" in ran.stdout
    assert "permissions" in ran.stdout or "--pool" in ran.stdout


def test_a_lease_of_a_dead_owner_does_not_outlive_a_clock_that_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path / "pool")
    real = time.time
    assert Held(database, SECONDS).take(["key"]) == ["key"]
    monkeypatch.setattr(time, "time", lambda: real() + SECONDS / 2)
    assert Held(database, SECONDS).take(["key"]) == []
    monkeypatch.setattr(time, "time", lambda: real() - 3600.0)
    assert Held(database, SECONDS).take(["key"]) == ["key"]
    database.close()
