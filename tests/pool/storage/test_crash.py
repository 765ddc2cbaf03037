"""Processes that die at any moment: nothing acknowledged is lost, and nothing wrong is ever served."""

from __future__ import annotations

import importlib.util
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from ethos.pool.maintenance.verification import verify
from ethos.pool.pool import Pool
from ethos.pool.retrieval.snapshot import FOLDER
from ethos.pool.storage.database import Database
from ethos.scenario import Scenario

WORKER = Path(__file__).with_name("crash_worker.py")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("crash_worker", WORKER)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["crash_worker"] = module
    spec.loader.exec_module(module)
    return module


worker = _load()


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.index, "SNAPSHOT", 8)
    monkeypatch.setattr(worker.nearest, "FLAT", 24)


def start(folder: Path, name: str, point: str = "") -> subprocess.Popen[str]:
    arguments = [sys.executable, str(WORKER), str(folder), name, *([point] if point else [])]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(folder: Path) -> list[object]:
    pool = Pool(folder, worker.Numbered(), threshold=-1.0)
    found = [pool.retrieve(Scenario(f"Question {number}"), 2) for number in range(5)]
    pool.close()
    return [(one.members, one.gate) for one in found]


def assert_sound(folder: Path, acknowledged: dict[str, int]) -> None:
    """Verify is clean, all that was acknowledged is there, and answers are those of an index built from SQL alone."""
    database = Database(folder)
    found = [check for check in verify(database, worker.Numbered(), repair=False) if check.count]
    database.close()
    assert found == []
    pool = Pool(folder, worker.Numbered(), threshold=-1.0)
    for name, count in acknowledged.items():
        for number in range(count):
            members = [placed.persona for placed in pool.store.panel(worker.scenario(name, number).key, worker.K)]
            assert members == worker.personas(name, number)
    pool.close()
    copy = folder.with_name(f"{folder.name}-copy")
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / FOLDER, ignore_errors=True)
    assert told(folder) == told(copy)
    shutil.rmtree(copy)


@pytest.mark.parametrize("point", worker.POINTS)
def test_a_process_that_dies_at_a_point_loses_nothing_it_acknowledged(tmp_path: Path, point: str) -> None:
    with start(tmp_path / "pool", "a", point) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 99, err
    acknowledged = len(out.split())
    assert acknowledged >= 10, "the point is reached after some work"
    assert_sound(tmp_path / "pool", {"a": acknowledged})


def test_eight_processes_at_once_wait_for_each_other_and_lose_nothing(tmp_path: Path) -> None:
    running = {side: start(tmp_path / "pool", side, "12") for side in "abcdefgh"}
    for process in running.values():
        out, err = process.communicate(timeout=300)
        assert (process.returncode, len(out.split())) == (0, 12), err
        assert "locked" not in err
    assert_sound(tmp_path / "pool", dict.fromkeys(running, 12))


def test_what_another_process_adds_is_found_by_the_next_question(tmp_path: Path) -> None:
    pool = Pool(tmp_path / "pool", worker.Numbered(), threshold=-1.0)
    assert pool.search(worker.scenario("a", 0).situation, 1) == []
    with start(tmp_path / "pool", "a", "50") as process:
        seen = 0
        assert process.stdout
        for line in process.stdout:
            number = int(line)
            found = pool.search(worker.scenario("a", number).situation, worker.K)
            seen += {one.persona for one in found} == set(worker.personas("a", number))
    pool.close()
    assert seen == 50


def kill_loop(folder: Path, rounds: int, seed: int) -> dict[str, int]:
    """Kill three processes again and again in the middle of their work; what each acknowledged, by its name."""
    rng = random.Random(seed)
    acknowledged: dict[str, int] = {}
    for number in range(rounds):
        running = {f"{number}{side}": start(folder, f"{number}{side}") for side in "abc"}
        for process in running.values():
            assert process.stdout
            process.stdout.readline()  # it is at work
        time.sleep(rng.uniform(0.0, 0.3))
        for process in running.values():
            process.send_signal(signal.SIGKILL)
        for name, process in running.items():
            out, err = process.communicate(timeout=60)
            assert process.returncode == -signal.SIGKILL, err
            acknowledged[name] = 1 + len(out.split())
        assert_sound(folder, acknowledged)
    return acknowledged


def test_processes_that_are_killed_lose_nothing_they_acknowledged(tmp_path: Path) -> None:
    assert sum(kill_loop(tmp_path / "pool", rounds=4, seed=0).values()) >= 12


@pytest.mark.stress
def test_processes_that_are_killed_a_hundred_times_lose_nothing(tmp_path: Path) -> None:
    acknowledged = kill_loop(tmp_path / "pool", rounds=100, seed=1)
    assert len(acknowledged) == 300
    assert all(acknowledged.values()), "each had written before it was killed"
    print(f"{sum(acknowledged.values())} acknowledged writes, none lost")  # noqa: T201  (for whoever runs `make stress`)
