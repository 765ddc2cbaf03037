"""Looking back over many answers: full text, who has a say, in what two answers differ, and whether all is in order."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ethos import Answer, Ethos, Settings
from ethos.audit.comparison import diff
from ethos.audit.plot import plot
from ethos.audit.statistics import stats
from ethos.cli import main
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import InputError
from ethos.llm import Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.persona import OriginKind, Persona
from ethos.pool.curation.lifecycle import Status, mark
from ethos.pool.maintenance.full_text import FILE as WORDS
from ethos.pool.maintenance.full_text import Filter, Hit, search
from ethos.pool.maintenance.upkeep import backup, restore
from ethos.pool.storage.database import FILE, Database
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario

NURSE = Persona("Ward Nurse", "Safety", "Care ethics", "Duty of care", "Concern", "Nurse on a night ward")
PRIEST = Persona("Village Priest", "Mercy", "Natural law", "Right to life", "Hope", "Priest of a small parish")
LAWYER = Persona("Court Clerk", "Fairness", "Contractualism", "Right to a hearing", "Resolve", "Lawyer in a court")
UNHEARD = Persona("Tax Payer", "Thrift", "Libertarianism", "Right to property", "Anger", "Shopkeeper paying taxes")
PANEL = (NURSE, PRIEST, LAWYER)
VACCINE, KIDNEY = "Should flu vaccines be required of nurses?", "Donating a kidney to a stranger"


def reply(request: Request) -> str:
    asked = request.messages[-1].content
    for persona, said in ((NURSE, "Vaccinations protect the frail."), (PRIEST, "Conscience must be heard.")):
        if persona.core_value in asked and "perspective" in asked:
            return said
    return "Procédures matter."


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Path:
    """A pool with three answers; to be copied, not written."""
    folder = tmp_path_factory.mktemp("asked") / "pool"
    small, large = (ScriptedModel(reply, lambda _: {"A": 0.9, "B": 0.1}, name=name) for name in ("small", "LARGE"))
    with Ethos(model=small, embedder=embedder, settings=Settings(pool=folder, k=3)) as ethos:
        for situation in (VACCINE, KIDNEY):
            ethos.pool.add(Scenario(situation), PANEL, Origin(OriginKind.CURATED))
        ethos.pool.add(Scenario("Taxing sugar in drinks"), (UNHEARD,), Origin(OriginKind.CURATED))
        ethos.answer(VACCINE)
        ethos.answer(KIDNEY, "distributional", options=("Yes", "No"), attribute="Kenya")
    with Ethos(model=large, embedder=embedder, settings=Settings(pool=folder, k=3)) as ethos:
        ethos.answer(VACCINE, seed=1)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path / "pool")
    return tmp_path / "pool"


@pytest.fixture
def ethos(folder: Path, embedder: Embedder) -> Iterator[Ethos]:
    with Ethos(folder, model=ScriptedModel(reply), embedder=embedder) as opened:
        yield opened


@pytest.fixture
def find(folder: Path) -> Iterator[Callable[..., list[Hit]]]:
    database = Database(folder)
    yield lambda query, limit=20, **wanted: search(database, query, Filter(**wanted), limit)
    database.close()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def kinds(hits: list[Hit]) -> list[str]:
    return sorted(hit.kind for hit in hits)


def test_a_word_is_found_in_scenarios_personas_answers_and_their_comments(find: Callable[..., list[Hit]]) -> None:
    assert kinds(find("kidney")) == ["scenario", "scenario"]  # asked with options, it is another scenario
    assert kinds(find("mercy")) == ["persona"]
    assert kinds(find("conscience")) == ["answer", "answer", "answer"]
    assert {hit.title for hit in find("conscience")} == {VACCINE, KIDNEY}


def test_forms_accents_and_case_of_a_word_do_not_count(find: Callable[..., list[Hit]]) -> None:
    assert len(find("procedure", kinds=("answer",))) == 3
    assert find("VACCINE")
    assert find("vaccin*", kinds=("scenario",))
    assert not find("vacci")


def test_all_words_must_be_there_and_a_phrase_stands_together(find: Callable[..., list[Hit]]) -> None:
    assert find("stranger kidney")
    assert not find("stranger liver")
    assert find('"a stranger"')
    assert not find('"stranger a"')


@pytest.mark.parametrize("query", ['"', "'", "a AND", "NEAR(", "x:y", "-", "duty OR", "^a", "{b}", 'say "a', "%"])
def test_no_query_is_an_error_but_one_without_words(find: Callable[..., list[Hit]], query: str) -> None:
    if any(character.isalnum() for character in query):
        assert isinstance(find(query), list)
    else:
        with pytest.raises(InputError, match="has no word"):
            find(query)


def test_the_excerpt_shows_what_was_found(find: Callable[..., list[Hit]]) -> None:
    [hit] = find("mercy")
    assert "[Mercy]" in hit.excerpt
    assert hit.title == "Village Priest"


@pytest.mark.parametrize(
    ("wanted", "answers"),
    [
        ({}, 3),
        ({"mode": "overton"}, 2),
        ({"mode": "steerable"}, 0),
        ({"model": "large"}, 1),
        ({"model": "small", "mode": "overton"}, 1),
        ({"since": "2000"}, 3),
        ({"since": "2999-01-01"}, 0),
        ({"until": "2999-01-01"}, 3),
        ({"until": "2000-01-01T10:00"}, 0),
        ({"framework": "CARE"}, 3),
        ({"framework": "libertarian"}, 0),
        ({"stakeholder": "priest", "mode": "distributional"}, 1),
    ],
)
def test_filters_narrow_the_answers(find: Callable[..., list[Hit]], wanted: dict[str, str], answers: int) -> None:
    assert len(find("frail", kinds=("answer",), **wanted)) == answers


def test_filters_hold_for_the_answers_of_personas_and_scenarios_too(find: Callable[..., list[Hit]]) -> None:
    assert [hit.title for hit in find("kidney", mode="distributional")] == [KIDNEY]
    assert not find("kidney", mode="overton")
    assert [hit.title for hit in find("thrift")] == ["Tax Payer"]
    assert not find("thrift", since="2000"), "it never took part in an answer"
    assert [hit.title for hit in find("thrift", framework="libertarian")] == ["Tax Payer"]
    assert not find("mercy", framework="libertarian")
    assert find("mercy", framework="natural", mode="overton", model="large")


def test_a_time_that_is_none_is_refused(find: Callable[..., list[Hit]]) -> None:
    with pytest.raises(InputError, match="is no time"):
        find("kidney", since="yesterday")


def test_what_is_answered_later_is_found(find: Callable[..., list[Hit]], ethos: Ethos) -> None:
    assert not find("conjoined")
    ethos.pool.add(Scenario("Parting conjoined twins"), (NURSE,), Origin(OriginKind.CURATED))
    assert [hit.title for hit in find("conjoined")] == ["Parting conjoined twins"]


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but words", None], ids=["empty", "other", "gone"])
def test_the_words_are_taken_in_anew_when_their_file_cannot_be_used(
    folder: Path, find: Callable[..., list[Hit]], damage: bytes | None
) -> None:
    before = find("frail")
    (folder / WORDS).unlink() if damage is None else (folder / WORDS).write_bytes(damage)
    assert find("frail") == before


def test_after_an_older_backup_was_put_back_only_what_is_there_is_found(folder: Path, tmp_path: Path) -> None:
    database = Database(folder)
    copy = backup(database, tmp_path / "copy.db")
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO scenarios VALUES ('x', 'Parting conjoined twins', '[]', '2026')")
    assert search(database, "conjoined", Filter(), 9)
    database.close()
    restore(folder, copy)
    database = Database(folder)
    assert not search(database, "conjoined", Filter(), 9)
    assert search(database, "kidney", Filter(), 9)
    database.close()


def test_the_file_of_words_is_for_its_owner_only(folder: Path, find: Callable[..., list[Hit]]) -> None:
    find("frail")
    assert (folder / WORDS).stat().st_mode & 0o077 == 0


def test_the_command_finds_and_filters(folder: Path) -> None:
    result = run(
        "audit", "search", "frail", "conscience", "--mode", "overton", "--model", "large", "--json", "--pool", folder
    )
    [hit] = json.loads(result.stdout)
    assert (hit["kind"], hit["title"]) == ("answer", VACCINE)
    assert "Village Priest" in run("audit", "search", "mercy", "--pool", folder).stdout


def test_the_command_imports_nothing_that_it_does_not_need(folder: Path) -> None:
    code = (
        "import sys; from ethos.cli import main\n"
        f"main(['audit', 'search', 'mercy', '--json', '--pool', {str(folder)!r}], standalone_mode=False)\n"
        "assert not {'sqlalchemy', 'numpy', 'torch', 'alembic', 'importlib.metadata'} & set(sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)


# Who has a say.


def test_seats_and_influence_are_counted_by_persona_framework_and_stakeholder(ethos: Ethos) -> None:
    found = stats(ethos.pool.database, ethos.pool.vectors)
    assert (found.answers, sum(one.seats for one in found.personas.standings)) == (3, 9)
    assert {one.name: one.seats for one in found.personas.standings} == {
        "Ward Nurse": 3,
        "Village Priest": 3,
        "Court Clerk": 3,
        "Tax Payer": 0,
    }
    assert [one.name for one in found.personas.never] == ["Tax Payer"]
    assert found.personas.seats
    assert found.personas.seats.herfindahl == pytest.approx(1 / 3, abs=1e-6)
    assert found.personas.seats.gini == pytest.approx(1 / 4, abs=1e-6)  # three of four have a third each
    assert sum(one.influence_share for one in found.personas.standings) == pytest.approx(1, abs=1e-5)
    assert [one.name for one in found.frameworks.never] == ["Liberal and libertarian"]
    assert sum(one.seats for one in found.stakeholders.standings) == 9


def test_a_retired_persona_is_no_longer_one_who_could_be_asked(ethos: Ethos) -> None:
    mark(ethos.pool.database, [UNHEARD.id, PRIEST.id], Status.RETIRED, "a test")
    found = stats(ethos.pool.database, ethos.pool.vectors)
    assert {one.name: one.personas for one in found.personas.standings} == {
        "Ward Nurse": 1,
        "Village Priest": 0,
        "Court Clerk": 1,
    }


def test_an_empty_pool_has_nothing_to_say_and_says_so(tmp_path: Path, embedder: Embedder) -> None:
    with Ethos(tmp_path / "empty", embedder=embedder) as empty:
        found = stats(empty.pool.database, empty.pool.vectors)
    assert found.as_dict()["personas"] == {
        "concentration": {"seats": None, "influence": None},
        "never": [],
        "standings": [],
    }
    plot(found, tmp_path / "empty.png")


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_picture_is_drawn(ethos: Ethos, tmp_path: Path, ending: str) -> None:
    plot(stats(ethos.pool.database, ethos.pool.vectors), tmp_path / f"say.{ending}")
    assert (tmp_path / f"say.{ending}").stat().st_size > 5_000


def test_a_picture_of_no_known_kind_is_refused(ethos: Ethos, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no picture's name"):
        plot(stats(ethos.pool.database, ethos.pool.vectors), tmp_path / "say.txt")


def test_the_command_tells_who_has_a_say(folder: Path, tmp_path: Path) -> None:
    result = run("audit", "stats", "--plot", tmp_path / "say.png", "--json", "--pool", folder)
    told = json.loads(result.stdout)
    assert told["personas"]["never"] == [UNHEARD.id]
    assert (tmp_path / "say.png").exists()
    assert "Never asked: 1 of 4 (Tax Payer)" in run("audit", "stats", "--pool", folder).stdout


# In what two answers differ.


def answers(ethos: Ethos) -> list[Answer]:
    return [ethos.record.answer(row["answer_id"]) for row in ethos.record.answers(9)]


def test_an_answer_does_not_differ_from_itself(ethos: Ethos) -> None:
    [one, *_] = answers(ethos)
    assert diff(ethos.record, one.answer_id, one.answer_id[:10]) == []


def test_what_differs_is_told_in_the_order_in_which_answers_are_made(ethos: Ethos) -> None:
    by_model = {(answer.models["main"], str(answer.mode)): answer.answer_id for answer in answers(ethos)}
    small, large = by_model["scripted:small", "overton"], by_model["scripted:LARGE", "overton"]
    found = diff(ethos.record, small, large)
    assert [(d.part, d.what) for d in found] == [
        ("settings", "seed"),
        ("settings", "models"),
        ("settings", "revisions"),
    ]
    assert (found[0].one, found[0].other) == (0, 1)

    found = diff(ethos.record, small, by_model["scripted:small", "distributional"])
    parts = [d.part for d in found]
    assert parts == sorted(parts, key=["question", "settings", "panel", "prompts", "comments", "outcome"].index)
    told = {d.what: (d.one, d.other) for d in found}
    assert told["mode"] == ("overton", "distributional")
    assert told["attribute"] == (None, "Kenya")
    assert all(own.startswith("3 of its own") for own in told["comment"])


def test_the_command_compares(folder: Path) -> None:
    listed = json.loads(run("audit", "list", "--json", "--pool", folder).stdout)
    one, other = ({row["mode"]: row["answer_id"] for row in listed}[mode] for mode in ("overton", "distributional"))
    assert "Kenya" in run("audit", "diff", one, other, "--pool", folder).stdout
    assert json.loads(run("audit", "diff", one, one, "--json", "--pool", folder).stdout) == []
    assert "the same" in run("audit", "diff", one, one, "--pool", folder).stdout


# Whether all is in order.


def test_verify_says_that_all_is_in_order_or_which_row_is_not(folder: Path) -> None:
    result = run("audit", "verify", "--pool", folder)
    assert (result.exit_code, result.stdout.startswith("In order")) == (0, True)
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as raw:
        [(key,)] = raw.execute("SELECT id FROM answers LIMIT 1").fetchall()
        raw.execute("UPDATE answers SET output = 'They agreed.' WHERE id = ?", (key,))
    result = run("audit", "verify", "--json", "--pool", folder)
    assert result.exit_code == 4
    [fault] = json.loads(result.stdout)["faults"]
    assert (fault["table"], fault["key"]) == ("answers", f'["{key}"]')
    assert key[:12] in run("audit", "verify", "--pool", folder).stdout


@pytest.mark.parametrize(
    "command",
    [("verify",), ("purge", "--older-than", "1d"), ("forget", "it", "--yes"), ("export", "out.jsonl")],
    ids=lambda command: command[0],
)
def test_where_there_is_no_pool_nothing_is_said_to_be_in_order(tmp_path: Path, command: tuple[str, ...]) -> None:
    result = run("audit", *command, "--pool", tmp_path / "pool")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no pool in" in result.stderr
    assert not list(tmp_path.iterdir())


def test_purge_and_forget_are_commands(folder: Path) -> None:
    told = json.loads(run("audit", "purge", "--older-than", "1d", "--dry-run", "--json", "--pool", folder).stdout)
    assert told["answers"] == 0
    assert run("audit", "purge", "--older-than", "soon", "--pool", folder).exit_code == 1
    assert run("audit", "forget", KIDNEY, "--pool", folder).exit_code == 1, "nobody said yes"
    result = run("audit", "forget", KIDNEY, "--yes", "--pool", folder)
    assert "Forgotten: 2 scenarios, 1 answers" in result.stdout
    assert run("audit", "verify", "--pool", folder).exit_code == 0
    assert run("audit", "forget", KIDNEY, "--yes", "--pool", folder).exit_code == 1
