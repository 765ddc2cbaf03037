"""What another process has added is what the very next question finds, with an index that was open all the while."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ethos.pool.pool import Pool

WORKER = Path(__file__).with_name("adding_worker.py")
ROUNDS = 50


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("adding_worker", WORKER)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


worker = _load()


def rounds_seen(folder: Path, count: int) -> int:
    """In how many rounds one question, asked once, found exactly those whom the other process had just added."""
    pool, rng, seen = Pool(folder, worker.Numbered()), random.Random(0), 0
    command = [sys.executable, str(WORKER), str(folder), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin
        assert other.stdout
        for turn in range(ROUNDS):
            other.stdin.write(f"{turn}\n")
            other.stdin.flush()
            assert other.stdout.readline() == f"{turn}\n", "the other process added them"
            number = rng.randrange(count // worker.TOGETHER)
            found = pool.search(worker.scenario(turn, number).situation, worker.TOGETHER)
            seen += {one.persona for one in found} == set(worker.personas(turn, number))
        other.stdin.close()
    pool.close()
    return seen


def test_a_round_of_new_personas_is_seen_by_the_next_question(tmp_path: Path) -> None:
    assert rounds_seen(tmp_path / "pool", 2 * worker.TOGETHER) == ROUNDS


@pytest.mark.stress
def test_fifteen_hundred_new_personas_a_round_are_seen_by_the_next_question(tmp_path: Path) -> None:
    assert rounds_seen(tmp_path / "pool", 1500) == ROUNDS
