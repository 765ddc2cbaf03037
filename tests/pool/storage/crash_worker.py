"""A process that works on a pool and may be killed at any moment; it tells what is acknowledged, line by line.

``python crash_worker.py FOLDER WORKER [POINT|ROUNDS]``: adds, asks and snapshots until it is killed. With a point, it
kills itself there, after ten rounds; with a number, it ends by itself after so many.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import event

from ethos.encoders.embedder import Vectors
from ethos.encoders.identity import EmbedderIdentity
from ethos.persona import OriginKind, Persona
from ethos.pool.pool import Pool
from ethos.pool.retrieval import index, snapshot
from ethos.pool.retrieval import neighbours as nearest
from ethos.pool.storage.values import Origin, Placed
from ethos.scenario import Scenario

K = 2


class Numbered:
    """An encoder that needs no weights: each text has a direction of its own."""

    identity = EmbedderIdentity("numbered", "1")

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.stack([np.random.default_rng(list(text.encode())).standard_normal(16) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def small_limits() -> None:
    """Snapshots and clusters from so few personas on that they are often in the making."""
    index.SNAPSHOT = 8
    nearest.FLAT = 24


def scenario(worker: str, number: int) -> Scenario:
    return Scenario(f"Worker {worker} asks for the {number}th time")


def personas(worker: str, number: int) -> list[Persona]:
    names = ("name", "value", "ethics", "right", "emotion", "role")
    return [Persona(*(f"{name} {worker} {number} {side}" for name in names)) for side in range(K)]


def add(pool: Pool, worker: str, number: int) -> None:
    made = personas(worker, number)
    placed = [Placed(persona, 1.0) for persona in made]
    pool.add(scenario(worker, number), made, Origin(OriginKind.GENERATED), placed)


def work(folder: Path, worker: str, arm: Callable[[], None], rounds: int | None = None) -> None:
    pool = Pool(folder, Numbered(), threshold=-1.0)
    number = 0
    while number != rounds:
        if number == 10:
            arm()
        add(pool, worker, number)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        pool.retrieve(Scenario(f"Anything like {number}?"), K)
        number += 1


def die(*_: Any, **__: Any) -> Any:
    os._exit(99)


def around(owner: Any, name: str, before: bool) -> Callable[[], None]:
    """Die before or after the next call of a function."""

    def arm() -> None:
        real = getattr(owner, name)

        def after(*given: Any, **named: Any) -> None:
            real(*given, **named)
            die()

        setattr(owner, name, die if before else after)

    return arm


def at_statement(start: str, before: bool) -> Callable[[], None]:
    """Die before or after the next statement that starts so."""
    from sqlalchemy.engine import Engine

    def seen(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith(start):
            die()

    return lambda: event.listen(Engine, "before_cursor_execute" if before else "after_cursor_execute", seen)


def at_commit(before: bool) -> Callable[[], None]:
    from sqlalchemy.engine import Engine

    if before:
        return lambda: event.listen(Engine, "commit", die)
    return around(Pool, "add", before=False)


_ON_SNAPSHOT = {
    "snapshot write": (snapshot.Snapshots, "_write"),
    "arrays": (np, "savez"),
    "fsync": (os, "fsync"),
    "rename": (Path, "replace"),
    "manifest": (snapshot, "asdict"),
    "sweep": (Path, "unlink"),
    "save": (snapshot.Snapshots, "save"),
}
POINTS: dict[str, Callable[[], None]] = {
    **{f"{when} insert": at_statement("INSERT INTO personas", when == "before") for when in ("before", "after")},
    **{f"{when} seal": at_statement("UPDATE ledger", when == "before") for when in ("before", "after")},
    **{f"{when} vectors": at_statement("INSERT INTO embeddings", when == "before") for when in ("before", "after")},
    **{f"{when} commit": at_commit(when == "before") for when in ("before", "after")},
    **{
        f"{when} {name}": around(owner, function, when == "before")
        for name, (owner, function) in _ON_SNAPSHOT.items()
        for when in ("before", "after")
    },
}


if __name__ == "__main__":
    small_limits()
    folder, worker, *point = sys.argv[1:]
    if point and point[0].isdigit():
        work(Path(folder), worker, lambda: None, int(point[0]))
    else:
        work(Path(folder), worker, POINTS[point[0]] if point else lambda: None)
