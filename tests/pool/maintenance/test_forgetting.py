"""What was asked can be taken back: the text is in no file any more, and the ledger still proves all the rest."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ethos import Answer, Ethos, Settings
from ethos.audit.comparison import diff
from ethos.audit.influence.methods import Method, find_influence
from ethos.audit.panel_swap import swap
from ethos.audit.reading import show_answer
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import InputError, PoolError
from ethos.llm import Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.pool.maintenance.forgetting import FORGOTTEN, forget
from ethos.pool.maintenance.full_text import Filter, search
from ethos.pool.maintenance.retention import moment, purge
from ethos.pool.maintenance.upkeep import backup
from ethos.pool.maintenance.verification import verify
from ethos.pool.storage.database import FILE, Database
from ethos.pool.storage.ledger import Fault, faults
from ethos.text.fence import defused
from ethos.text.withholding import Content, is_of

CANARY = 'My sister Quillendra asks: "may I stop\nher <treatment>?" Ünsure'
OTHER = "Should flu vaccines be required of nurses?"
QUOTING = f"Is this a question for a hotline: {CANARY} And why?"


def reply(request: Request) -> str:
    if not request.schema:
        return f"Comment {request.seed}."
    properties, seed = json.loads(request.schema)["properties"], request.seed
    drawn = {name: properties[name]["enum"][0] for name in ("ethical_framework", "emotion")}
    named = {"name": f"Person {seed}", "core_value": f"Value {seed}", "right_duty": f"Duty {seed}"}
    return json.dumps({**named, **drawn, "stakeholder_role": f"Role {seed}"})


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def opened(tmp_path: Path, embedder: Embedder) -> Iterator[Callable[..., Ethos]]:
    """Opens the same pool anew."""
    made: list[Ethos] = []

    def make(**settings: Any) -> Ethos:
        model = ScriptedModel(reply, lambda _: {"A": 0.7, "B": 0.3})
        made.append(Ethos(model=model, embedder=embedder, settings=Settings(pool=tmp_path / "pool", k=3, **settings)))
        return made[-1]

    yield make
    for ethos in made:
        ethos.close()


def files_with(folder: Path, *texts: str) -> set[str]:
    """Names of the files that hold a text, plain or as JSON writes it."""
    spelt = {
        form
        for text in (*texts, *map(defused, texts))
        for form in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    }
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and any(form.encode() in path.read_bytes() for form in spelt)
    }


def found(database: Database) -> list[Fault]:
    with database.read() as connection:
        return faults(connection)


def query(database: Database, statement: str) -> list[Any]:
    with database.read() as connection:
        return [row[0] for row in connection.exec_driver_sql(statement)]


def asked(ethos: Ethos) -> tuple[Answer, Answer]:
    """The canary in two modes, so that nothing of it is in one place only."""
    one = ethos.answer(CANARY)
    other = ethos.answer(CANARY, "distributional", options=("Yes, Quillendra", "No"), attribute="Kenya")
    return one, other


def test_after_forgetting_the_text_is_in_no_file_and_the_chain_verifies(
    opened: Callable[..., Ethos], embedder: Embedder, tmp_path: Path
) -> None:
    with opened() as ethos:
        kept = ethos.answer(OTHER)
        asked(ethos)
        assert search(ethos.pool.database, "quillendra", Filter(), 9)
        assert files_with(tmp_path / "pool", CANARY)
        assert files_with(tmp_path / "pool", "quillendra") == {"search.db"}

        done = forget(ethos.pool.database, CANARY)

        assert (done.scenarios, done.answers, done.elsewhere) == (2, 2, ())
        assert not files_with(tmp_path / "pool", CANARY, "Quillendra", "quillendra", "Yes, Quillendra")
        assert found(ethos.pool.database) == []
        assert [check.count for check in verify(ethos.pool.database, embedder, repair=False)] == [0] * 6
        assert search(ethos.pool.database, "quillendra", Filter(), 9) == []
        assert ethos.record.answer(kept.answer_id).as_dict() == kept.as_dict()
    assert not files_with(tmp_path / "pool", CANARY, "Quillendra")


def test_what_was_forgotten_can_be_asked_again_as_if_for_the_first_time(opened: Callable[..., Ethos]) -> None:
    with opened() as ethos:
        before = ethos.answer(CANARY)
        forget(ethos.pool.database, CANARY)
        after = ethos.answer(CANARY, reuse=True)
    assert not after.reused
    assert after.panel.gate.decision == before.panel.gate.decision == "miss"


def test_an_index_that_was_open_elsewhere_forgets_too(opened: Callable[..., Ethos], embedder: Embedder) -> None:
    with opened() as one, opened() as other:
        one.answer(CANARY)
        one.answer(OTHER)
        assert len(other.pool.search(CANARY, 20)) == 6
        forget(one.pool.database, CANARY)
        assert {hit.situation for hit in other.pool.search(CANARY, 20)} == {OTHER}


def test_personas_stay_unless_they_are_to_go(opened: Callable[..., Ethos]) -> None:
    with opened() as ethos:
        answer = ethos.answer(CANARY)
        ids = {member.persona.id for member in answer.panel.members}
        done = forget(ethos.pool.database, CANARY)
        assert (done.personas_kept, done.personas_lost, done.personas_deleted) == (3, 3, 0)
        assert {ethos.pool.store.find(one) for one in ids} == ids
        [origin] = ethos.pool.store.origins(min(ids))
        assert str(origin["situation"]).startswith("forgotten ")

        again = ethos.answer(CANARY)  # the same model with the same seed invents the same three
        assert {member.persona.id for member in again.panel.members} == ids
        ethos.answer("My sister asks whether she may stop her treatment", personas="pool")
        done = forget(ethos.pool.database, CANARY, with_personas=True)
        assert (done.personas_kept, done.personas_lost, done.personas_deleted) == (3, 3, 0), "another answer has them"

        forget(ethos.pool.database, "My sister asks whether she may stop her treatment")
        ethos.answer(CANARY)
        done = forget(ethos.pool.database, CANARY, with_personas=True)
        assert (done.personas_kept, done.personas_deleted) == (0, 3)
        assert query(ethos.pool.database, "SELECT count(*) FROM scenarios") == [0], "nor is what stood for it left"
        assert found(ethos.pool.database) == []


def test_with_its_personas_a_scenario_leaves_nothing(opened: Callable[..., Ethos], tmp_path: Path) -> None:
    with opened() as ethos:
        answer = ethos.answer(CANARY)
        done = forget(ethos.pool.database, CANARY, with_personas=True)
        assert (done.personas_kept, done.personas_deleted) == (0, 3)
        assert query(ethos.pool.database, "SELECT count(*) FROM personas") == [0]
        assert query(ethos.pool.database, "SELECT count(*) FROM scenarios") == [0]
        assert found(ethos.pool.database) == []
    assert not files_with(tmp_path / "pool", *(member.persona.core_value for member in answer.panel.members))


def test_a_prompt_that_showed_the_text_as_an_example_no_longer_does(opened: Callable[..., Ethos]) -> None:
    with opened() as ethos:
        ethos.answer(CANARY)
        with ethos.pool.database.write() as connection:  # only curated personas are shown to a model
            connection.exec_driver_sql("UPDATE origins SET kind = 'curated'")
        shown = ethos.answer(OTHER)
        near = ethos.answer("My sister asks whether she may stop her treatment", personas="pool")
        prompts = [call["prompt"] for call in ethos.record.calls(shown.answer_id)]
        quoted = json.dumps(defused(CANARY), ensure_ascii=False)[1:-1]
        showing = sum(quoted in prompt for prompt in prompts)
        assert showing
        assert all(CANARY in member.reason for member in near.panel.members)

        done = forget(ethos.pool.database, CANARY)

        assert (done.redacted, done.elsewhere) == (showing + 3, ())
        after = [call["prompt"] for call in ethos.record.calls(shown.answer_id)]
        assert after == [prompt.replace(quoted, FORGOTTEN) for prompt in prompts]
        assert ethos.record.answer(shown.answer_id).as_dict() == shown.as_dict()
        again = ethos.record.answer(near.answer_id)
        assert [m.reason for m in again.panel.members] == [
            m.reason.replace(CANARY, FORGOTTEN) for m in near.panel.members
        ]
        assert (again.output, again.comments) == (near.output, near.comments)
        assert found(ethos.pool.database) == []


def test_somebody_elses_question_that_contains_the_text_is_told_and_left_alone(opened: Callable[..., Ethos]) -> None:
    with opened() as ethos:
        ethos.answer(CANARY)
        other = ethos.answer(QUOTING, personas="fresh")
        done = forget(ethos.pool.database, CANARY)
        assert f'scenarios ["{other.scenario.key}"]' in done.elsewhere
        assert ethos.record.answer(other.answer_id).as_dict() == other.as_dict()


def test_calls_of_a_request_that_came_to_nothing_are_forgotten_too(
    opened: Callable[..., Ethos], tmp_path: Path
) -> None:
    with opened() as ethos:
        answer = ethos.answer(CANARY)
        with ethos.pool.database.write() as connection:
            for table in ("answer_calls", "members", "answers"):
                key = "id" if table == "answers" else "answer_id"
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE {key} = ?", (answer.answer_id,))
        forget(ethos.pool.database, CANARY)
    assert not files_with(tmp_path / "pool", CANARY, "Quillendra")


@pytest.fixture
def steered(tmp_path: Path, embedder: Embedder) -> Iterator[tuple[Ethos, Answer]]:
    """A steered answer whose comments quote the question, with calls that belong to no answer."""

    def quoting(request: Request) -> str:
        return reply(request) if request.schema else f"Quillendra may stop, says number {request.seed}."

    model = ScriptedModel(quoting, lambda _: {"1": 0.5, "2": 0.3, "3": 0.2})
    with Ethos(tmp_path / "pool", model=model, embedder=embedder, settings=Settings(k=3)) as ethos:
        answer = ethos.answer(CANARY, "steerable", attribute="Autonomy")
        for method in (Method.ORDER, Method.RUNNER_UP):
            find_influence(ethos, answer.answer_id, method)
        yield ethos, answer


def test_calls_that_only_influences_and_other_panels_needed_are_forgotten_too(
    steered: tuple[Ethos, Answer], tmp_path: Path
) -> None:
    ethos, answer = steered
    swap(ethos, answer.answer_id, without=[answer.panel.members[0].persona.id])
    forget(ethos.pool.database, CANARY)
    assert not files_with(tmp_path / "pool", "Quillendra")
    assert query(ethos.pool.database, "SELECT count(*) FROM calls WHERE stage = 'main'") == [0]
    assert found(ethos.pool.database) == []


def test_influences_found_lately_go_with_an_answer_that_is_too_old(
    steered: tuple[Ethos, Answer], tmp_path: Path
) -> None:
    ethos, _ = steered
    with ethos.pool.database.write() as connection:
        connection.exec_driver_sql("UPDATE answers SET created_at = '2020-01-01T00:00:00+00:00'")
    purge(ethos.pool.database, "2021-01-01T00:00:00+00:00", dry_run=False)
    assert query(ethos.pool.database, "SELECT count(*) FROM calls WHERE stage = 'main'") == [0]
    assert not files_with(tmp_path / "pool", "Quillendra may stop")
    assert found(ethos.pool.database) == []


def test_backups_are_named_and_deleted_only_when_told(opened: Callable[..., Ethos], tmp_path: Path) -> None:
    with opened() as ethos:
        ethos.answer(CANARY)
        copy = backup(ethos.pool.database, None)
        done = forget(ethos.pool.database, CANARY)
        assert (done.backups, done.backups_deleted) == ((str(copy),), False)
        assert files_with(tmp_path / "pool", CANARY) == {f"backups/{copy.name}"}
        ethos.answer(CANARY)
        forget(ethos.pool.database, CANARY, backups=True)
    assert not files_with(tmp_path / "pool", CANARY)


def test_a_scenario_is_named_by_its_id_or_its_text_and_by_nothing_else(opened: Callable[..., Ethos]) -> None:
    with opened() as ethos:
        answer = ethos.answer(CANARY)
        with pytest.raises(InputError, match="neither a text that the pool holds nor the start"):
            forget(ethos.pool.database, "My sister")
        with pytest.raises(InputError, match="is the start of no scenario id"):
            forget(ethos.pool.database, "0123456789abcdef")
        assert found(ethos.pool.database) == []
        assert forget(ethos.pool.database, answer.scenario.key[:10]).answers == 1


def test_while_somebody_reads_the_log_cannot_be_emptied_and_that_is_told(
    opened: Callable[..., Ethos], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ethos.pool.storage.database.BUSY_MILLISECONDS", 50)
    with opened() as ethos, closing(sqlite3.connect(tmp_path / "pool" / FILE, isolation_level=None)) as reader:
        ethos.answer(CANARY)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM answers").fetchall()
        with pytest.raises(PoolError, match="still holds them"):
            forget(ethos.pool.database, CANARY)


# The ledger: only a forgetting may strip notes.


@pytest.fixture
def forgotten(used_pool: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The raw file of a used pool that has forgotten one of its scenarios."""
    shutil.copytree(used_pool, tmp_path / "pool")
    database = Database(tmp_path / "pool")
    forget(database, "Donating a kidney to a stranger")
    database.close()
    with closing(sqlite3.connect(tmp_path / "pool" / FILE, isolation_level=None)) as raw:
        yield raw


def now_found(tmp_path: Path) -> set[tuple[str, str]]:
    database = Database(tmp_path / "pool")
    result = {(fault.table, fault.cause) for fault in found(database)}
    database.close()
    return result


def test_a_note_that_somebody_else_stripped_is_found(forgotten: sqlite3.Connection, tmp_path: Path) -> None:
    assert now_found(tmp_path) == set()
    [(_, key)] = forgotten.execute(
        "SELECT max(seq), row_key FROM ledger WHERE table_name = 'answers' AND salt IS NOT NULL"
    )
    forgotten.execute("UPDATE ledger SET row_key = NULL, salt = NULL WHERE row_key = ?", (key,))
    forgotten.execute("PRAGMA foreign_keys = OFF")
    for (name,) in forgotten.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        forgotten.execute(f"DROP TRIGGER {name}")
    forgotten.execute("DELETE FROM answers WHERE id = ?", json.loads(key))
    assert now_found(tmp_path) == {("ledger", "was stripped, or is there again, as no forgetting did it")}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET salt = NULL WHERE seq = (SELECT min(seq) FROM ledger WHERE salt IS NOT NULL)",
        "UPDATE ledger SET row_key = '[1]' WHERE seq = (SELECT min(seq) FROM ledger WHERE salt IS NULL)",
        "UPDATE ledger SET salt = '00' WHERE seq = (SELECT min(seq) FROM ledger WHERE salt IS NULL)",
        "UPDATE ledger SET row_key = '[[1,9]]' WHERE operation = 'forget'",
        "UPDATE ledger SET row_key = '[[1,9999]]' WHERE operation = 'forget'",
        "UPDATE ledger SET operation = 'insert' WHERE operation = 'forget'",
        "DELETE FROM ledger WHERE operation = 'forget'",
        "UPDATE ledger SET content = 'x' WHERE seq = (SELECT min(seq) FROM ledger WHERE salt IS NULL)",
    ],
)
def test_a_forgetting_cannot_be_forged_by_a_change(
    forgotten: sqlite3.Connection, tmp_path: Path, statement: str
) -> None:
    forgotten.execute(statement)
    assert now_found(tmp_path)


def test_after_a_forgetting_nothing_confirms_a_guess_of_what_was_there(forgotten: sqlite3.Connection) -> None:
    held = "\n".join(str(row) for row in forgotten.execute("SELECT * FROM ledger").fetchall())
    assert "31667d00d8c52965bbb615f123a0d596" not in held  # the scenario's id, a digest of its text
    for table in ("scenarios", "changes", "origins", "panels", "answers"):
        assert "31667d00d8c52965bbb615f123a0d596" not in str(forgotten.execute(f"SELECT * FROM {table}").fetchall())


# Retention.


def test_what_is_older_than_the_retention_goes_and_the_rest_stays(
    opened: Callable[..., Ethos], embedder: Embedder, tmp_path: Path
) -> None:
    with opened() as ethos:
        old, new = ethos.answer(CANARY), ethos.answer(OTHER)
        fleeting = ethos.answer(f"{OTHER} Says who?", personas="pool")  # nobody is made for it
        database = ethos.pool.database
        with database.write() as connection:
            for table in ("answers", "calls", "scenarios"):
                keep = (
                    f"SELECT call_id FROM answer_calls WHERE answer_id = '{new.answer_id}'"
                    if table == "calls"
                    else (f"'{new.answer_id}', '{new.scenario.key}'")
                )
                connection.exec_driver_sql(f"UPDATE {table} SET created_at = '2020-01-01' WHERE id NOT IN ({keep})")
        told = purge(database, "2021-01-01", dry_run=True)
        assert len(ethos.record.answers(9)) == 3
        done = purge(database, "2021-01-01", dry_run=False)

        assert told == done
        assert (done.answers, done.scenarios) == (2, 1)
        assert [answer["answer_id"] for answer in ethos.record.answers(9)] == [new.answer_id]
        assert ethos.record.answer(new.answer_id).as_dict() == new.as_dict()
        assert found(database) == []
        assert [check.count for check in verify(database, embedder, repair=False)] == [0] * 6
        assert {hit.situation for hit in ethos.pool.search(CANARY, 20)} == {CANARY, OTHER}, (
            "the pool keeps its personas"
        )
        assert not files_with(tmp_path / "pool", old.comments[0].text, fleeting.scenario.situation)


@pytest.mark.parametrize(("age", "days"), [("48h", 2), ("180d", 180), ("2w", 14), ("1y", 365)])
def test_an_age_is_counted_back_from_now(age: str, days: int) -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert moment(age, now) == (now - timedelta(days=days)).isoformat(timespec="seconds")


@pytest.mark.parametrize("age", ["", "180", "d", "-3d", "1.5d", "9m", "99999y"])
def test_what_is_no_age_is_refused(age: str) -> None:
    with pytest.raises(InputError, match="is no age"):
        moment(age)


# What is never kept.


@pytest.mark.parametrize("content", [Content.HASH, Content.NONE])
def test_a_record_that_withholds_never_has_the_text_in_any_file(
    opened: Callable[..., Ethos], tmp_path: Path, content: Content
) -> None:
    with opened(audit_content=content) as ethos:
        one, other = asked(ethos)
        assert one.scenario.situation == CANARY, "who asks gets the whole answer"
        assert not files_with(
            tmp_path / "pool", CANARY, "Quillendra", one.output, *(c.text for c in (*one.comments, *other.comments))
        )
        kept = ethos.record.answer(other.answer_id)
        assert kept.scenario.options == ("A", "B")
        assert kept.outcome.distribution == other.outcome.distribution
        assert [m.persona for m in kept.panel.members] == [m.persona for m in other.panel.members]
        assert is_of(kept.scenario.situation, CANARY) == (content is Content.HASH)
        assert not is_of(kept.scenario.situation, OTHER)
        assert query(
            ethos.pool.database,
            "SELECT count(*) FROM calls WHERE key IN (SELECT key FROM calls GROUP BY key HAVING count(*) > 1)",
        ) == [0]
        assert found(ethos.pool.database) == []
    assert not files_with(tmp_path / "pool", one.scenario.key, other.scenario.key), "a bare digest confirms a guess"


def test_who_has_the_text_can_forget_what_was_kept_as_a_digest(opened: Callable[..., Ethos]) -> None:
    with opened(audit_content=Content.HASH) as ethos:
        asked(ethos)
        ethos.answer(OTHER)
        assert forget(ethos.pool.database, CANARY).answers == 2
        assert len(ethos.record.answers(9)) == 1
        assert found(ethos.pool.database) == []


def test_a_pool_does_not_learn_from_what_is_withheld(opened: Callable[..., Ethos]) -> None:
    with opened(audit_content=Content.NONE) as ethos:
        ethos.answer(OTHER)
        assert ethos.pool.search(OTHER, 9) == []
        assert not ethos.answer(OTHER, reuse=True).reused


def test_an_answer_whose_texts_are_withheld_can_be_looked_at_and_compared(opened: Callable[..., Ethos]) -> None:
    with opened(audit_content=Content.HASH) as ethos:
        one, other = asked(ethos)
        shown = show_answer(ethos.record, one.answer_id)
        assert all(turn["content"].startswith("[withheld") for call in shown["model_calls"] for turn in call["prompt"])
        assert "prompts" in {difference.part for difference in diff(ethos.record, one.answer_id, other.answer_id)}
        assert search(ethos.pool.database, "quillendra", Filter(), 9) == []
