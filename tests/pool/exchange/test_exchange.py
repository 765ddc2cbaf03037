"""Export and import: what goes out comes back the same, and what comes in waits until somebody approves it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from ethos.cli import main
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.encoders.identity import EmbedderIdentity
from ethos.errors import ConfigurationError, InputError
from ethos.llm import ModelIdentity
from ethos.persona import OriginKind, Persona
from ethos.pool.curation import duplicates
from ethos.pool.curation.lifecycle import Status, history, mark
from ethos.pool.curation.statistics import statistics
from ethos.pool.exchange.export import export
from ethos.pool.exchange.files import opened
from ethos.pool.exchange.hub import pull
from ethos.pool.exchange.importing import import_rows, source_name, terms
from ethos.pool.exchange.pools import Selection
from ethos.pool.exchange.storing import Terms, approve
from ethos.pool.maintenance.reembedding import reembed
from ethos.pool.pool import Pool
from ethos.pool.storage import ledger, schema
from ethos.pool.storage.facts import EMBEDDER, check_embedder, embedder_name, remembered
from ethos.pool.storage.values import Origin, Placed
from ethos.scenario import Scenario

VACCINE = Scenario("Getting a flu vaccine every winter")
KIDNEY = Scenario.of(
    "Who should get the kidney, “the first” or <the sickest>?\n\nThink of both.", ("The first", "The sickest")
)
MASK = Scenario("Wearing a mask on the bus")

NURSE = Persona("Ward Nurse", "Compassion", "Care ethics", "Duty to protect the frail", "Concern", "Nurse")
RANCHER = Persona("Free Rancher", "Liberty", "Libertarianism", "Right to refuse", "Distrust", "Rancher, retired")
STEWARD = Persona("Health Steward", "Wellbeing of all", "Utilitarianism", "Duty to reduce harm", "Hope", "Official")
ELDER = Persona("Māori Elder", "Whānau", "Tikanga", "Duty to the ancestors", 'Calm "aroha"', "=cmd|'/c calc'!A1")
MODEL = ModelIdentity("openai:gpt-4o", "2026-01-01")
CURATED = Origin(OriginKind.CURATED, source="Clinic A", licence="CC-BY-4.0")
GENERATED = Origin(OriginKind.GENERATED, MODEL, "structured 3", 7)
FORMATS = ("rows.jsonl", "rows.parquet", "dataset", "pool")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def pool(tmp_path: Path, embedder: Embedder) -> Iterator[Pool]:
    """Three scenarios: a panel, a question, and one whose persona is retired."""
    opened_pool = Pool(tmp_path / "pool", embedder)
    opened_pool.add(VACCINE, [NURSE, RANCHER, STEWARD], CURATED, placed(NURSE, RANCHER, STEWARD))
    opened_pool.add(KIDNEY, [ELDER, NURSE], GENERATED)
    opened_pool.add(MASK, [STEWARD], Origin(OriginKind.IMPORTED, source="elsewhere"))
    mark(opened_pool.database, [STEWARD.id], Status.RETIRED, "a test")
    opened_pool.refresh()
    yield opened_pool
    opened_pool.close()


@pytest.fixture
def other(tmp_path: Path, embedder: Embedder) -> Iterator[Pool]:
    opened_pool = Pool(tmp_path / "other", embedder)
    yield opened_pool
    opened_pool.close()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Runs a command line over the folder of `other`."""
    return lambda *arguments: CliRunner().invoke(
        main, ["pool", *map(str, arguments), "--pool", str(tmp_path / "other")]
    )


def placed(*personas: Persona) -> list[Placed]:
    return [Placed(persona, 1.0) for persona in personas]


def quiet(*_: object) -> None:
    pass


def exported(pool: Pool, name: str, selection: Selection = Selection(), **given: bool) -> Path:  # noqa: B008  (frozen)
    """Where rows can be imported from; the pool's own folder for the name of none of the formats."""
    out = pool.database.folder.parent / name
    if out != pool.database.folder:
        export(pool.database, out, selection, pool_embedder(pool), quiet, **given)
    return out


def pool_embedder(pool: Pool) -> EmbedderIdentity:
    return open_embedder().identity if pool else EmbedderIdentity("", "")


def imported(into: Pool, path: Path, *, trust: bool = False, skip_bad: bool = False, **given: Any) -> Any:
    with opened(path, into.database.folder) as source:
        agreed = given.get("agreed") or terms(source, open_embedder(), source_name(source.name), trust=trust)
        return import_rows(into.database, source, agreed, quiet, skip_bad)


def content(pool: Pool) -> dict[str, list[Any]]:
    """Everything that an exchange is to keep."""
    found = {}
    with pool.database.read() as connection:
        for table in (schema.ScenarioRow, schema.PersonaRow, schema.OriginRow, schema.ModelRow, schema.PanelRow):
            columns = [column for column in table.__table__.columns if column.name != "created_at"]
            found[table.__tablename__] = sorted(map(tuple, connection.execute(select(*columns)).all()), key=str)
    return {**found, "links": pool.store.links()}


def vectors(pool: Pool) -> dict[str, bytes]:
    with pool.database.read() as connection:
        return dict(connection.execute(select(schema.EmbeddingRow.text_id, schema.EmbeddingRow.vector)).all())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_exported_and_trusted_comes_back_the_same(pool: Pool, other: Pool, name: str) -> None:
    report = imported(other, exported(pool, name), trust=True)
    assert content(other) == content(pool)
    assert (report.rows, report.refused, report.stored.personas, report.repeated) == (6, 0, 4, 0)
    assert other.store.panel(VACCINE.key, 3) == pool.store.panel(VACCINE.key, 3) == []  # the steward is retired
    mark(other.database, [STEWARD.id], Status.ACTIVE, "a test")
    assert [p.persona for p in other.store.panel(VACCINE.key, 3)] == [NURSE, RANCHER, STEWARD]
    with other.database.read() as connection:
        assert ledger.faults(connection) == []


@pytest.mark.parametrize("name", FORMATS)
def test_importing_again_what_is_there_changes_nothing(pool: Pool, other: Pool, name: str) -> None:
    path = exported(pool, name)
    imported(other, path, trust=True)
    before = content(other)
    again = imported(other, path, trust=True)
    assert content(other) == before
    assert (again.stored.personas, again.stored.origins, again.stored.links, again.repeated) == (0, 0, 0, 6)


def test_an_imported_origin_is_the_one_that_the_store_would_write(pool: Pool, other: Pool) -> None:
    imported(other, exported(pool, "rows.jsonl"), trust=True)
    before = content(other)
    other.add(VACCINE, [NURSE, RANCHER], CURATED)
    other.add(KIDNEY, [ELDER, NURSE], GENERATED)
    assert content(other) == before


@pytest.mark.parametrize("name", ["rows.parquet", "dataset"])
def test_vectors_travel_in_parquet_and_need_no_encoding(pool: Pool, other: Pool, name: str) -> None:
    report = imported(other, exported(pool, name, vectors=True), trust=True)
    assert vectors(other) == vectors(pool)
    assert report.stored.vectors == len(vectors(pool)) > 6


def test_vectors_are_taken_neither_without_trust_nor_of_another_embedder(pool: Pool, other: Pool) -> None:
    path = exported(pool, "rows.parquet", vectors=True)
    assert imported(other, path).stored.vectors == 0
    manifest = path.with_name("rows.parquet.manifest.json")
    told = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**told, "embedder": {"name": "another", "revision": ""}}), encoding="utf-8")
    assert imported(other, path, trust=True).stored.vectors == 0
    assert vectors(other) == {}


def test_vectors_of_another_size_than_the_embedders_are_left(pool: Pool, other: Pool) -> None:
    path, embedder = exported(pool, "rows.parquet", vectors=True), open_embedder().identity
    agreed = Terms("a test", trust=True, embedder=embedder, dimensions=385)
    assert imported(other, path, agreed=agreed).stored.vectors == 0


def test_vectors_in_json_lines_are_refused_before_anything_is_written(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="to Parquet only"):
        exported(pool, "rows.jsonl", vectors=True)
    assert not (tmp_path / "rows.jsonl").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_without_trust_everybody_waits_and_origins_are_claims(pool: Pool, other: Pool, name: str) -> None:
    report = imported(other, exported(pool, name))
    assert other.store.links() == []
    assert {p.name: status for p, status in other.store.personas()} == {
        "Ward Nurse": "quarantined",
        "Free Rancher": "quarantined",
        "Māori Elder": "quarantined",
        "Health Steward": "retired",
    }
    assert {origin["kind"] for persona in (NURSE, ELDER) for origin in other.store.origins(persona.id)} == {"imported"}
    [origin] = other.store.origins(ELDER.id)
    assert origin["source"] == f"{report.source}: generated by openai:gpt-4o, with structured 3"
    assert (origin["model"], origin["seed"]) == (None, None)
    [origin] = other.store.origins(RANCHER.id)
    assert (origin["source"], origin["licence"]) == (f"{report.source}: curated, Clinic A", "CC-BY-4.0")
    assert statistics(other.database)["scenarios_with_panel"] == 0
    [change] = history(other.database, NURSE.id)
    assert (change["status"], change["reason"]) == ("quarantined", f"imported from {report.source}")


def test_approving_a_source_lets_all_of_it_be_found_but_who_was_retired(pool: Pool, other: Pool) -> None:
    report = imported(other, exported(pool, "rows.jsonl"))
    assert approve(other.database, report.source) == 3
    assert other.store.links() == pool.store.links()
    found = other.retrieve(Scenario("Having the yearly flu shot"), 2)
    assert {member.persona for member in found.members} == {NURSE, RANCHER}
    assert approve(other.database, report.source) == 0
    with pytest.raises(InputError, match="nothing was imported from 'rows'"):
        approve(other.database, "rows")


def test_a_known_persona_keeps_its_status_and_finds_no_new_scenario_before_it_is_approved(
    pool: Pool, other: Pool
) -> None:
    other.add(MASK, [NURSE, RANCHER], CURATED)
    mark(other.database, [RANCHER.id], Status.RETIRED, "a test")
    report = imported(other, exported(pool, "rows.jsonl"))
    assert (report.stored.personas, report.stored.origins) == (2, 6)
    assert [link.persona for link in other.store.links()] == [NURSE]
    assert len(other.store.origins(NURSE.id)) == 3
    assert approve(other.database, report.source) == 2
    assert {link.situation for link in other.store.links() if link.persona == NURSE} == {
        MASK.situation,
        VACCINE.situation,
        KIDNEY.situation,
    }
    assert RANCHER not in {link.persona for link in other.store.links()}


def test_the_command_line_imports_approves_and_tells_what_waits(
    pool: Pool, other: Pool, run: Callable[..., Result]
) -> None:
    path = exported(pool, "rows.jsonl")
    result = run("import", path, "--source", "Clinic B", "--licence", "CC0-1.0")
    assert (result.exit_code, "4 new personas" in result.stdout) == (0, True)
    assert 'ethos pool approve --source "Clinic B"' in result.stdout
    assert other.store.origins(ELDER.id)[0]["licence"] == "CC0-1.0"
    assert other.store.origins(RANCHER.id)[0]["licence"] == "CC-BY-4.0"
    assert run("approve", "--source", "Clinic B", "--json").exit_code == 0
    assert len(other.store.links()) == 4
    assert run("approve").exit_code == 2


def test_a_source_must_not_pass_for_another_ones_claim(pool: Pool, run: Callable[..., Result]) -> None:
    result = run("import", exported(pool, "rows.jsonl"), "--source", "Clinic A: curated")
    assert (result.exit_code, "holds a colon" in result.stderr) == (1, True)


def test_a_thousand_clones_are_one_persona(other: Pool, tmp_path: Path) -> None:
    row = json.dumps({**NURSE.as_dict(), "scenario": VACCINE.situation})
    path = tmp_path / "clones.jsonl"
    path.write_text(f"{row}\n" * 1000, encoding="utf-8")
    report = imported(other, path)
    assert (report.rows, report.stored.personas, report.stored.origins, report.repeated) == (1000, 1, 1, 999)


def test_one_bad_row_keeps_all_out_unless_it_is_left_out(
    other: Pool, tmp_path: Path, run: Callable[..., Result]
) -> None:
    path, report = tmp_path / "rows.jsonl", tmp_path / "report.json"
    good = json.dumps({**NURSE.as_dict(), "scenario": VACCINE.situation})
    path.write_text("\n".join([good, *['{"name": 1}'] * 25, "", good]), encoding="utf-8")
    result = run("import", path, "--report", report)
    assert (result.exit_code, result.stderr.count("Refused: ")) == (1, 20)
    assert "Refused: rows.jsonl, line 2: 'name' is not a text" in result.stderr
    assert "… and 5 more" in result.stderr
    assert "25 of 27 rows cannot be used, so nothing was stored" in result.stderr
    assert [refusal["place"] for refusal in json.loads(report.read_text())["refusals"]] == [
        f"rows.jsonl, line {number}" for number in range(2, 27)
    ]
    assert other.store.personas() == []
    result = run("import", path, "--skip-bad", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["new_personas"], told["refused"], len(told["refusals"])) == (3, 1, 25, 25)


def test_the_persona_that_is_kept_stands_for_its_duplicate_in_an_export(pool: Pool, other: Pool) -> None:
    twin = Persona("Ward Nurse", "Compassion", "Care ethics", "Duty to protect the frail", "Worry", "Nurse")
    pool.add(MASK, [twin], GENERATED)
    assert duplicates.merge(pool.database, [duplicates.Pair(NURSE, twin, 0.99, 0.9)])
    imported(other, exported(pool, "rows.jsonl"), trust=True)
    assert other.store.links() == pool.store.links()
    assert twin not in {persona for persona, _ in other.store.personas()}


def test_an_export_holds_no_answer_and_no_scenario_that_nobody_was_made_for(pool: Pool) -> None:
    with pool.database.write() as connection:
        from ethos.pool.storage.rows import put_scenario

        put_scenario(connection, Scenario("My own illness, which I asked about once"))
    rows = lines(exported(pool, "rows.jsonl"))
    assert {row["scenario"] for row in rows} == {VACCINE.situation, KIDNEY.situation, MASK.situation}


def test_only_one_kind_or_only_active_personas_are_exported_on_request(pool: Pool) -> None:
    curated = lines(exported(pool, "curated.jsonl", Selection(OriginKind.CURATED)))
    assert {row["kind"] for row in curated} == {"curated"}
    active = lines(exported(pool, "active.jsonl", Selection(active=True)))
    assert STEWARD.id not in {row["persona_id"] for row in active}
    assert len(active) == 4
    with pytest.raises(InputError, match="no persona of the kind"):
        exported(pool, "none.jsonl", Selection(OriginKind.IMPORTED, active=True))


def test_a_panel_of_which_a_place_is_missing_is_not_stored(pool: Pool, other: Pool, tmp_path: Path) -> None:
    rows = lines(exported(pool, "rows.jsonl"))
    left = [row for row in rows if row["persona_id"] != RANCHER.id]
    path = tmp_path / "left.jsonl"
    path.write_text("\n".join(map(json.dumps, left)), encoding="utf-8")
    imported(other, path, trust=True)
    assert content(other)["panels"] == []


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "dataset"])
def test_nothing_is_overwritten_unless_it_is_forced(pool: Pool, tmp_path: Path, name: str) -> None:
    exported(pool, name)
    with pytest.raises(InputError, match="is there already"):
        exported(pool, name)
    exported(pool, name, force=True)
    assert not list(tmp_path.glob(".ethos-export-*"))


def test_a_folder_that_is_not_ours_is_not_replaced_even_by_force(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="no dataset folder of Ethos"):
        exported(pool, "photos", force=True)
    assert (tmp_path / "photos" / "one.jpg").exists()


def test_what_is_exported_is_for_its_owner_only(pool: Pool, tmp_path: Path) -> None:
    for name in ("rows.jsonl", "dataset"):
        assert exported(pool, name).stat().st_mode & 0o077 == 0
    assert (tmp_path / "dataset" / "data" / "personas.parquet").stat().st_mode & 0o077 == 0


def test_the_card_of_a_dataset_lets_no_text_of_the_pool_become_markup(pool: Pool) -> None:
    nasty = Origin(OriginKind.IMPORTED, source="a`|[x](http://evil)\n---", licence="MIT\nlicense: evil")
    pool.add(MASK, [NURSE], nasty)
    text = (exported(pool, "dataset") / "README.md").read_text(encoding="utf-8")
    assert text.count("\n---\n") == 1
    assert "license: other\n" in text
    assert "\nlicense: evil" not in text


def test_a_pool_is_not_merged_with_itself(pool: Pool) -> None:
    with pytest.raises(InputError, match="is the pool itself"):
        imported(pool, pool.database.folder)


# Encodes the pool by another embedder and is killed after two batches.
_KILLED = """
import os, signal, sys
from pathlib import Path
from ethos.encoders.embedder import open_embedder
from ethos.encoders.identity import EmbedderIdentity
from ethos.pool.maintenance import reembedding as reembed
from ethos.pool.storage.database import Database
embedder = open_embedder()
embedder.identity = EmbedderIdentity("another", "1")
reembed._BATCH = 3
def told(done, total):
    if done >= 6:
        os.kill(os.getpid(), signal.SIGKILL)
reembed.reembed(Database(Path(sys.argv[1])), embedder, told)
"""


class Counted:
    """The real embedder under another name, which counts what it encodes."""

    def __init__(self, name: str) -> None:
        self.identity = EmbedderIdentity(name, "1")
        self.encoded: list[str] = []

    def encode(self, texts: Any) -> Any:
        self.encoded += texts
        return open_embedder().encode(texts)


def test_a_reembedding_that_was_killed_goes_on_and_the_old_vectors_serve_until_it_is_done(pool: Pool) -> None:
    folder = pool.database.folder
    assert subprocess.run([sys.executable, "-c", _KILLED, str(folder)], check=False).returncode == -9
    assert remembered(pool.database) is None
    assert len(pool.search("flu", 2)) == 2  # by the old vectors, as `pool` was opened
    another = Counted("another")
    pool.facts.put("calibration", None)
    done = reembed(pool.database, another, quiet)
    assert (done.texts, done.encoded, len(another.encoded)) == (8, 2, 2)
    assert remembered(pool.database) == another.identity
    assert embedder_name(folder) == "another"
    with pool.database.read() as connection:
        rows = connection.execute(select(schema.EmbeddingRow.embedder_id)).scalars().all()
    assert {embedder: rows.count(embedder) for embedder in set(rows)}[another.identity.id] == 8
    assert open_embedder().identity.id in rows


def test_old_vectors_go_on_request_and_a_wrong_embedder_is_named(pool: Pool) -> None:
    done = reembed(pool.database, Counted("another"), quiet, drop_old=True)
    assert done.dropped == 11
    with pool.database.read() as connection:
        assert len(connection.execute(select(schema.EmbedderRow.id)).all()) == 1
    with pytest.raises(ConfigurationError, match=r"is encoded with another, but .*MiniLM.* was named"):
        check_embedder(pool.database, open_embedder().identity)
    check_embedder(pool.database, EmbedderIdentity("another", "1"))
    with pytest.raises(ConfigurationError, match="another has other weights"):
        check_embedder(pool.database, EmbedderIdentity("another", "2"))


def test_the_command_reembeds_and_says_so(pool: Pool, embedder: Embedder) -> None:
    result = CliRunner().invoke(
        main, ["pool", "reembed", embedder.identity.name, "--json", "--pool", str(pool.database.folder)]
    )
    assert json.loads(result.stdout)["encoded"] == 0
    assert pool.facts.get(EMBEDDER)["name"] == embedder.identity.name


class Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as its client needs to upload and download one dataset."""

    files: dict[str, bytes]
    commit = "a" * 40

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, body: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_POST(self) -> None:
        body, address = self._body(), f"http://{self.headers['Host']}/datasets/o/n"
        told: dict[str, Any] = {"url": address, "name": "o/n"}
        if "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            told = {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]}
        elif "/commit/" in self.path:
            for row in map(json.loads, body.splitlines()):
                if row["key"] == "file":
                    self.files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            told = {"commitUrl": f"{address}/commit/{self.commit}", "commitOid": self.commit, "success": True}
        self._answer(json.dumps(told).encode())

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if "/resolve/" in path:
            content = self.files[path.partition("/resolve/")[2].partition("/")[2]]
            self._answer(content, X_Repo_Commit=self.commit, ETag=f'"{len(content)}"')
            return
        held = [{"rfilename": name, "path": name, "size": len(data)} for name, data in self.files.items()]
        told: Any = {"_id": "1", "id": "o/n", "sha": self.commit, "private": True, "siblings": held}
        if "/tree/" in path:
            told = [{"type": "file", "oid": "b" * 40, **file} for file in held]
        self._answer(json.dumps(told).encode())

    do_HEAD = do_GET  # noqa: N815


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs a command line against a hub of this test's own; `up=False` against none."""
    Hub.files = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def command(*arguments: str, up: bool = True) -> subprocess.CompletedProcess[str]:
            address = f"http://127.0.0.1:{server.server_port if up else 9}"
            environment = {"HF_ENDPOINT": address, "HF_TOKEN": "hf_canary", "HF_HOME": str(tmp_path / "hf")}
            return subprocess.run(
                [sys.executable, "-m", "ethos.cli", "pool", *arguments],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=False,
            )

        yield command
        server.shutdown()
        thread.join()


def test_a_pool_is_pushed_to_the_hub_and_pulled_from_it(
    pool: Pool, other: Pool, hub: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    pushed = hub("push", "o/n", "--pool", str(pool.database.folder))
    assert (pushed.returncode, "6 rows pushed" in pushed.stdout) == (0, True)
    assert sorted(Hub.files) == ["README.md", "data/personas.parquet", "ethos-pool.json"]
    pulled = hub("pull", "o/n", "--revision", Hub.commit, "--trust", "--pool", str(other.database.folder))
    assert pulled.returncode == 0, pulled.stderr
    assert content(other) == content(pool)


def test_a_hub_that_cannot_be_reached_is_an_error_in_one_line(
    pool: Pool, hub: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for command in ("push", "pull"):
        result = hub(command, "o/n", "--pool", str(pool.database.folder), up=False)
        last = result.stderr.splitlines()[-1]
        assert (result.returncode, "check the connection to the hub" in last) == (1, True)
        assert "Traceback" not in result.stderr
        assert "hf_canary" not in result.stderr


def test_without_the_extra_the_hub_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigurationError, match=r"ethos-pool\[hub\]"):
        pull("o/n", "", tmp_path)


@pytest.mark.parametrize(
    "name", ["", "o", "o/n/m", "../n", "o/..", "/etc/passwd", "o/n?x", "o\0/n", "https://evil/o/n"]
)
def test_only_a_plain_repository_is_asked_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the name of a repository"):
        pull(name, "", tmp_path)


def test_a_vector_survives_its_way_through_text_bit_by_bit() -> None:
    from ethos.pool.exchange.rows import row_of, vector_text

    vector = open_embedder().encode(["Compassion"])[0]
    row = row_of({**NURSE.as_dict(), "scenario": "x", "vectors": {"core_value": vector_text(vector)}})
    assert np.array_equal(row.vectors["Compassion"], vector)
