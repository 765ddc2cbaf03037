"""A persona's life: whoever is not active is retrieved by nobody, and stays in the record of what it took part in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner, Result
from replies import persona_reply
from sqlalchemy import Connection, create_engine

from ethos import Ethos, Scenario
from ethos.audit import reading as audit
from ethos.cli import main
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import PoolEmpty
from ethos.llm.backends.scripted import ScriptedModel
from ethos.persona import OriginKind, Persona
from ethos.pool.curation.lifecycle import Status, history, mark
from ethos.pool.pool import Pool
from ethos.pool.storage.record import Record
from ethos.pool.storage.values import Origin, Placed

VACCINE = Scenario("Getting a flu vaccine every winter")
ASKED = Scenario("Having the yearly flu shot")
CURATED = Origin(OriginKind.CURATED)

NURSE = Persona("Ward Nurse", "Compassion", "Care ethics", "Duty to protect the frail", "Concern", "Nurse")
RANCHER = Persona("Free Rancher", "Liberty", "Libertarianism", "Right to refuse", "Distrust", "Rancher")
STEWARD = Persona("Health Steward", "Collective wellbeing", "Utilitarianism", "Duty to reduce harm", "Hope", "Official")
THREE = (NURSE, RANCHER, STEWARD)

# Asks its own pool for a panel of three whenever a situation arrives, and prints the members' names.
_ASKER = """
import json, sys
from pathlib import Path
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.pool.pool import Pool
from ethos.scenario import Scenario
pool = Pool(Path(sys.argv[1]), open_embedder())
for line in sys.stdin:
    print(json.dumps(sorted(m.persona.name for m in pool.retrieve(Scenario(line.strip()), 3).members)), flush=True)
"""


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def pool(tmp_path: Path, embedder: Embedder) -> Iterator[Pool]:
    opened = Pool(tmp_path / "pool", embedder)
    yield opened
    opened.close()


@pytest.fixture
def ethos(tmp_path: Path, embedder: Embedder) -> Iterator[Ethos]:
    """Over the same folder as `pool`, with scripted models."""
    roles = {
        "model": ScriptedModel(lambda _: "All of them agree.", name="main"),
        "comment_model": ScriptedModel(lambda _: "It should be so.", name="comments"),
        "persona_model": ScriptedModel(persona_reply, name="personas"),
    }
    with Ethos(tmp_path / "pool", embedder=embedder, **roles) as opened:
        yield opened


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Runs a command line over the folder of `pool`."""
    return lambda *arguments: CliRunner().invoke(main, [*arguments, "--pool", str(tmp_path / "pool")])


def retrieved(pool: Pool, scenario: Scenario = ASKED, k: int = 3) -> set[Persona]:
    return {member.persona for member in pool.retrieve(scenario, k).members}


def placed(*personas: Persona) -> list[Placed]:
    return [Placed(persona, 1.0) for persona in personas]


def reasons(pool: Pool, persona: Persona) -> list[tuple[str, str]]:
    return [(change["status"], change["reason"]) for change in history(pool.database, persona.id)]


@pytest.mark.parametrize("status", [Status.RETIRED, Status.QUARANTINED])
def test_who_is_not_active_is_retrieved_by_no_index_and_no_process_until_it_is_approved(
    pool: Pool, embedder: Embedder, status: Status
) -> None:
    pool.add(VACCINE, THREE, CURATED)
    assert retrieved(pool) == set(THREE)  # also stores the question's vector, so that the other process needs no model

    def seen_by_a_new_index() -> set[Persona]:
        opened = Pool(pool.database.folder, embedder)
        found = retrieved(opened)
        opened.close()
        return found

    with subprocess.Popen(
        [sys.executable, "-c", _ASKER, str(pool.database.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as other:

        def seen_by_another_process() -> list[str]:
            assert other.stdin
            assert other.stdout
            other.stdin.write(f"{ASKED.situation}\n")
            return list(json.loads(other.stdout.readline()))

        everybody = sorted(persona.name for persona in THREE)
        assert seen_by_another_process() == everybody  # its index is open from now on
        mark(pool.database, [NURSE.id], status, "a test")
        assert retrieved(pool) == seen_by_a_new_index() == {RANCHER, STEWARD}
        assert seen_by_another_process() == ["Free Rancher", "Health Steward"]
        mark(pool.database, [NURSE.id], Status.ACTIVE, "a test")
        assert retrieved(pool) == seen_by_a_new_index() == set(THREE)
        assert seen_by_another_process() == everybody


def test_who_is_not_active_is_neither_found_by_a_search_nor_shown_as_an_example(pool: Pool) -> None:
    pool.add(VACCINE, THREE, CURATED)
    mark(pool.database, [NURSE.id], Status.QUARANTINED, "a test")
    assert {candidate.persona for candidate in pool.search(ASKED.situation, 3)} == {RANCHER, STEWARD}
    assert {example.persona for example in pool.examples(ASKED)} == {RANCHER, STEWARD}


def test_a_pool_whose_personas_are_all_retired_is_a_miss_and_fills_again(pool: Pool) -> None:
    pool.add(VACCINE, [NURSE], CURATED)
    mark(pool.database, [NURSE.id], Status.RETIRED, "a test")
    found = pool.retrieve(ASKED, 3)
    assert (found.gate.decision, found.members, found.gate.coverage) == ("miss", (), 0.0)
    pool.add(VACCINE, [RANCHER], CURATED)
    assert retrieved(pool) == {RANCHER}


def test_a_retired_persona_that_is_added_again_stays_retired(pool: Pool) -> None:
    pool.add(VACCINE, THREE, CURATED)
    mark(pool.database, [NURSE.id], Status.RETIRED, "a test")
    other = Scenario("Giving the flu vaccine to children")
    pool.add(other, [NURSE], CURATED)
    assert NURSE not in retrieved(pool, other)
    mark(pool.database, [NURSE.id], Status.ACTIVE, "a test")
    [candidate] = [c for c in pool.search(other.situation, 3) if c.persona == NURSE]
    assert candidate.situation == other.situation


def test_a_stored_panel_is_served_only_while_all_its_members_are_active(pool: Pool) -> None:
    pool.add(VACCINE, THREE, CURATED, placed(*THREE))
    whole = pool.retrieve(VACCINE, 3)
    assert [member.persona for member in whole.members] == list(THREE)
    mark(pool.database, [RANCHER.id], Status.QUARANTINED, "a test")
    broken = pool.retrieve(VACCINE, 3)
    assert (broken.gate.decision, {m.persona for m in broken.members}) == ("partial", {NURSE, STEWARD})
    mark(pool.database, [RANCHER.id], Status.ACTIVE, "a test")
    assert pool.retrieve(VACCINE, 3) == whole


def test_every_change_is_kept_with_its_reason_and_no_change_is_not(pool: Pool) -> None:
    pool.add(VACCINE, THREE, CURATED)
    both = [NURSE.id, RANCHER.id]
    assert mark(pool.database, both, Status.QUARANTINED, "odd") == 2
    assert mark(pool.database, both, Status.QUARANTINED, "odd again") == 0
    assert mark(pool.database, [NURSE.id], Status.RETIRED, "worse than odd") == 1
    assert mark(pool.database, both, Status.ACTIVE, "looked at") == 2
    assert reasons(pool, NURSE) == [("quarantined", "odd"), ("retired", "worse than odd"), ("active", "looked at")]
    assert reasons(pool, RANCHER) == [("quarantined", "odd"), ("active", "looked at")]
    assert reasons(pool, STEWARD) == []


def test_old_answers_keep_their_retired_personas(ethos: Ethos) -> None:
    answer = ethos.answer(VACCINE)
    members = [member.persona.id for member in answer.panel.members]
    before = audit.show_answer(ethos.record, answer.answer_id)
    mark(ethos.pool.database, members, Status.RETIRED, "a test")
    assert audit.show_answer(ethos.record, answer.answer_id) == before
    assert ethos.record.answer(answer.answer_id) == answer
    shown = audit.show_persona(ethos.pool.store, ethos.record, members[2], limit=10)
    assert (shown["status"], shown["name"]) == ("retired", answer.panel.members[2].persona.name)
    assert [(entry["answer_id"], entry["rank"]) for entry in shown["answers"]] == [(answer.answer_id, 3)]


def test_a_question_whose_panel_lost_a_member_gets_another_one_in_its_place(ethos: Ethos) -> None:
    first = ethos.answer(VACCINE)
    gone = first.panel.members[3].persona
    mark(ethos.pool.database, [gone.id], Status.RETIRED, "a test")
    with pytest.raises(PoolEmpty, match="5 distinct personas"):
        ethos.answer(VACCINE, personas="pool")
    second = ethos.answer(VACCINE)
    assert second.panel.gate.decision == "partial"
    assert gone not in [member.persona for member in second.panel.members]
    assert ethos.answer(VACCINE).calls["persona"] == 0


def test_a_retired_persona_does_not_come_back_by_being_invented_again(ethos: Ethos) -> None:
    gone = {member.persona.id for member in ethos.answer(VACCINE).panel.members}
    mark(ethos.pool.database, sorted(gone), Status.RETIRED, "a test")
    assert not gone & {member.persona.id for member in ethos.answer(VACCINE).panel.members}


# The command line.


@pytest.mark.parametrize(("verb", "status"), [("retire", "retired"), ("quarantine", "quarantined")])
def test_the_commands_end_a_persona_s_life_and_give_it_back(
    pool: Pool, run: Callable[..., Result], verb: str, status: str
) -> None:
    pool.add(VACCINE, THREE, CURATED)
    result = run("pool", verb, NURSE.id[:12], RANCHER.id, "--why", "a complaint", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"persona_ids": [NURSE.id, RANCHER.id], "status": status, "changed": 2}
    assert retrieved(pool) == {STEWARD}
    shown = json.loads(run("pool", "show", NURSE.id[:12], "--json").stdout)
    assert (shown["status"], shown["line"], shown["origins"][0]["situation"]) == (
        status,
        NURSE.line,
        VACCINE.situation,
    )
    [change] = shown["status_changes"]
    assert change.pop("created_at").endswith("+00:00")
    assert change == {"status": status, "reason": "a complaint"}
    assert "a complaint" in run("pool", "show", NURSE.id).stdout
    assert json.loads(run("pool", "stats", "--json").stdout)["status"] == {"active": 1, status: 2}
    approved = run("pool", "approve", NURSE.id, RANCHER.id, STEWARD.id)
    assert (approved.exit_code, approved.stdout) == (0, "2 of 3 personas are now active.\n")
    assert retrieved(pool) == set(THREE)


@pytest.mark.parametrize("verb", ["retire", "quarantine", "approve"])
def test_an_id_that_is_none_ends_in_one_line_and_changes_nobody(
    pool: Pool, run: Callable[..., Result], verb: str
) -> None:
    pool.add(VACCINE, THREE, CURATED)
    result = run("pool", verb, NURSE.id, "no-such-id", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == ("Error: 'no-such-id' is the start of no persona id. Fix: see `ethos pool list`.\n")
    assert reasons(pool, NURSE) == []


# Pools made before there was a history.

SCORED = {"decision": "hit", "score": 1.0, "threshold": 0.45}  # a gate as schema 0001 recorded it
ANSWERED: dict[str, Any] = {
    "choice": None,
    "distribution": None,
    "influence_method": "share of sentences",
    "label_mass": None,
    "finish_reason": "stop",
    "gate": SCORED,
    "calls": {"persona": 0, "comment": 2, "main": 1},
    "tokens": {"prompt": 9, "completion": 9},
    "timings": {"total": 1.0},
    "models": {"persona": "scripted:m", "comment": "scripted:m", "main": "scripted:m"},
    "warnings": [],
}


def insert(connection: Connection, table: str, *rows: dict[str, Any]) -> None:
    for row in rows:
        marks = ", ".join("?" * len(row))
        values = tuple(json.dumps(value) if isinstance(value, (dict, list)) else value for value in row.values())
        connection.exec_driver_sql(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", values)


def fill_first_schema(connection: Connection) -> None:
    """Three personas, one of them retired; the panel and the answer of the other two."""
    at = "2026-01-01T00:00:00+00:00"
    stored = [{"id": p.id, **p.as_dict(), "status": "active", "created_at": at} for p in THREE]
    stored[2]["status"] = "retired"
    linked = [("add", NURSE), ("add", RANCHER), ("add", STEWARD), ("remove", STEWARD)]
    origins = [{"persona_id": p.id, "scenario_id": VACCINE.key, "kind": "curated", "created_at": at} for p in THREE]
    text = {"prompt_id": "asked", "completion_id": "said", "finish_reason": "stop"}
    spent = {"prompt_tokens": 3, "completion_tokens": 3, "seconds": 0.5, "created_at": at}
    calls = [f"call {number}" for number in range(3)]
    insert(connection, "pool_facts", {"name": "made by", "value": "0001"})
    insert(connection, "personas", *stored)
    insert(
        connection, "scenarios", {"id": VACCINE.key, "situation": VACCINE.situation, "options": [], "created_at": at}
    )
    insert(connection, "origins", *({"id": f"origin {i}", **origin} for i, origin in enumerate(origins)))
    insert(
        connection,
        "changes",
        *({"operation": operation, "persona_id": p.id, "scenario_id": VACCINE.key} for operation, p in linked),
    )
    panel = {"scenario_id": VACCINE.key, "k": 2, "relevance": 1.0}
    insert(connection, "panels", *({**panel, "rank": i + 1, "persona_id": THREE[i].id} for i in range(2)))
    insert(connection, "models", {"id": "model", "name": "scripted:m", "revision": "", "precision": ""})
    insert(connection, "texts", {"id": "asked", "content": "[]"}, {"id": "said", "content": "It should be so."})
    asked = {"key": "key", "stage": "comment", "model_id": "model", "parameters": {}, **text, **spent}
    insert(connection, "calls", *({"id": call, **asked} for call in calls))
    answer = {"id": "answer", "created_at": at, "mode": "overton", "scenario_id": VACCINE.key, "options": []}
    answer |= {"wording": "", "output": "Both.", "seed": 0, "prompt_set": "paper-1", "version": "0.1.0"}
    insert(connection, "answers", {**answer, "record": ANSWERED})
    member = {"answer_id": "answer", "source": "pool", "relevance": 1.0, "reason": "stored", "weight": 0.5}
    member |= {"influence": 0.5, "record": {"distribution": None, "selection": None}}
    insert(
        connection,
        "members",
        *({**member, "rank": i + 1, "persona_id": THREE[i].id, "comment_call_id": calls[i]} for i in range(2)),
    )
    insert(
        connection,
        "answer_calls",
        *({"answer_id": "answer", "position": i, "call_id": call, "reused": 0} for i, call in enumerate(calls)),
    )
    insert(connection, "embedders", {"id": "encoder", "name": "e", "revision": "1", "dimensions": 1})
    insert(connection, "embeddings", {"embedder_id": "encoder", "text_id": "text", "vector": b"\0\0\x80?"})
    insert(
        connection,
        "failures",
        {"stage": "persona", "scenario_id": VACCINE.key, "attempt": 1, "reason": "no", "reply": "", "created_at": at},
    )


def rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Everything in the tables of schema 0001, whose columns may have become more."""
    tables = """pool_facts personas scenarios origins changes panels models texts calls answers members answer_calls
        embedders embeddings failures"""
    return {
        table: [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY rowid").mappings()]
        for table in tables.split()
    }


@pytest.fixture
def first_schema(tmp_path: Path) -> Path:
    """The folder of `pool`, as an Ethos with schema 0001 left it."""
    folder = tmp_path / "pool"
    folder.mkdir()
    engine = create_engine(f"sqlite:///{folder / 'pool.db'}")
    config = Config()
    config.set_main_option("script_location", str(files("ethos.migrations")))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        fill_first_schema(connection)
    engine.dispose()
    return folder


def test_a_pool_of_the_first_schema_is_upgraded_with_its_rows_intact(first_schema: Path, embedder: Embedder) -> None:
    engine = create_engine(f"sqlite:///{first_schema / 'pool.db'}")
    with engine.begin() as connection:
        before = rows(connection)
    engine.dispose()
    assert all(before.values())
    pool = Pool(first_schema, embedder)
    with pool.database.read() as connection:
        assert (
            MigrationContext.configure(connection).get_current_revision()
            == ScriptDirectory(str(files("ethos.migrations"))).get_current_head()
        )
        after = rows(connection)
    pool.close()
    kept = {table: [{name: row[name] for name in before[table][0]} for row in found] for table, found in after.items()}
    assert kept == before


def test_a_pool_of_the_first_schema_serves_its_panel_its_personas_and_its_answers(
    first_schema: Path, embedder: Embedder
) -> None:
    pool = Pool(first_schema, embedder)
    assert retrieved(pool, VACCINE, 2) == retrieved(pool) == {NURSE, RANCHER}
    answer = Record(pool.database).answer("answer").as_dict()
    assert answer["gate"] == {**SCORED, "coverage": None, "required": 0.0}
    assert [(m["name"], m["adds"], m["displaced"]) for m in answer["panel"]] == [
        ("Ward Nurse", [], None),
        ("Free Rancher", [], None),
    ]
    assert reasons(pool, STEWARD) == []
    mark(pool.database, [STEWARD.id], Status.ACTIVE, "looked at")
    assert retrieved(pool) == set(THREE)
    pool.close()
