"""A process that adds personas to a pool whenever it is told to: ``python adding_worker.py FOLDER PERSONAS``.

Reads a round's number from standard input, adds so many new personas, and says so once they are acknowledged.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ethos.encoders.embedder import Vectors
from ethos.encoders.identity import EmbedderIdentity
from ethos.persona import OriginKind, Persona
from ethos.pool.pool import Pool
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario

TOGETHER = 15  # personas of one scenario


class Numbered:
    """An encoder that needs no weights: each text has a direction of its own."""

    identity = EmbedderIdentity("numbered", "1")

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.stack([np.random.default_rng(list(text.encode())).standard_normal(16) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def scenario(turn: int, number: int) -> Scenario:
    return Scenario(f"The question number {number} of round {turn}")


def personas(turn: int, number: int) -> list[Persona]:
    """Whoever was made for a scenario. Their values are few, so that encoding them is not what takes time."""
    return [
        Persona(f"Name {turn} {number} {side}", f"Value {side}", "Ethics", f"Right {side}", "Calm", f"Role {side}")
        for side in range(TOGETHER)
    ]


def main(folder: Path, count: int) -> None:
    pool = Pool(folder, Numbered())
    for line in sys.stdin:
        for number in range(count // TOGETHER):
            pool.add(scenario(int(line), number), personas(int(line), number), Origin(OriginKind.GENERATED))
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
