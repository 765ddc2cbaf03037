"""Writes the golden file of the newest schema: run once, before the next migration.

The file is a pool that was really used: something is in every table, written by the code of its time. Older files were
made so from older commits (README.md). Run it from the repository's root.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from ethos import Ethos, Scenario, Settings
from ethos.audit.influence.methods import Method, find_influence
from ethos.encoders.embedder import Vectors
from ethos.encoders.identity import EmbedderIdentity
from ethos.llm import Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.llm.calls import Failure
from ethos.pool.curation.duplicates import Pair, merge
from ethos.pool.curation.lifecycle import Status, mark
from ethos.pool.storage.database import FILE, revisions

ASKED = ("Getting a flu vaccine every winter", "Donating a kidney to a stranger")


class Numbered:
    """An encoder that needs no weights, so that the file stays small: each text has a direction of its own."""

    identity = EmbedderIdentity("numbered", "1")

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, float32, (n, 8)."""
        rows = np.stack([np.random.default_rng(list(text.encode())).standard_normal(8) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def persona_reply(request: Request) -> str:
    """A valid persona within the request's schema; another seed gives another persona."""
    assert request.schema
    properties, seed = json.loads(request.schema)["properties"], request.seed
    drawn = {name: properties[name]["enum"][0] for name in ("ethical_framework", "emotion")}
    named = {"name": f"Person {seed}", "core_value": f"Value {seed}", "right_duty": f"Duty {seed}"}
    return json.dumps({**named, **drawn, "stakeholder_role": f"Role {seed}"})


def use(folder: Path) -> None:
    """Put something into every table."""
    roles = {
        "model": ScriptedModel(lambda _: "All of them agree.", name="main"),
        "comment_model": ScriptedModel(lambda _: "It should be so.", name="comments"),
        "persona_model": ScriptedModel(persona_reply, name="personas"),
    }
    with Ethos(embedder=Numbered(), settings=Settings(pool=folder, k=2), **roles) as ethos:
        answers = [ethos.answer(situation) for situation in ASKED]
        find_influence(ethos, answers[0].answer_id, Method.TEXTUAL)
        one, two = ([member.persona for member in answer.panel.members] for answer in answers)
        database = ethos.pool.database
        merge(database, [Pair(one[0], two[0], 0.99, 0.9)])
        mark(database, [one[1].id], Status.QUARANTINED, "a test")
        ethos.pool.facts.put("a fact", "kept")
        ethos.record.keep_failures(Scenario(ASKED[0]), [Failure("persona", 1, "no JSON", "I would rather not.")])
        with database.write() as connection:
            lease = "INSERT INTO leases (key, owner, expires_at) VALUES (?, ?, ?)"
            connection.exec_driver_sql(lease, ("0" * 32, "1" * 32, 0.0))


def pack(source: Path, target: Path) -> None:
    """Copy a database into one small file: without its log, in small pages."""
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA page_size = 512")
        connection.execute("VACUUM")
    target.write_bytes(source.read_bytes())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        use(Path(home) / "pool")
        pack(Path(home) / "pool" / FILE, Path(__file__).with_name(f"{revisions()[-1]}.db"))
