"""The record in others' hands: tables, W3C provenance, OpenTelemetry; and a key that is in none of them."""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prov.model import ProvDerivation, ProvDocument

from ethos import Answer, Ethos, Settings
from ethos.audit.export import export
from ethos.audit.provenance import document, write
from ethos.cli import main
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import EthosError, InputError, ModelError
from ethos.llm import Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.llm.opening import Endpoint
from ethos.llm.telemetry import CONTENT

KEY = "sk-canary-6f1d2c9ab4"
SITUATION = "Getting a flu vaccine every winter"


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def ethos(used_pool: Path, tmp_path: Path, embedder: Embedder) -> Iterator[Ethos]:
    shutil.copytree(used_pool, tmp_path / "pool")
    tokens = {"A": 0.6, "B": 0.2, "1": 0.1, "2": 0.06, "3": 0.04}
    model = ScriptedModel(lambda _: "It depends.", lambda _: tokens)
    with Ethos(model=model, embedder=embedder, settings=Settings(pool=tmp_path / "pool", k=3)) as opened:
        yield opened


@pytest.fixture
def answer(ethos: Ethos) -> Answer:
    """One of each mode is in the record; the last one."""
    ethos.answer(SITUATION, "steerable", options=("Yes", "No"), attribute="Safety")
    return ethos.answer(SITUATION, "distributional", options=("Yes", "No"), attribute="Kenya")


# Tables.


def test_every_answer_is_one_line_with_the_same_keys(ethos: Ethos, answer: Answer, tmp_path: Path) -> None:
    assert export(ethos.record, tmp_path / "out.jsonl", ()) == 4
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({tuple(row) for row in rows}) == 1
    [row] = [row for row in rows if row["answer_id"] == answer.answer_id]
    assert row["distribution"] == pytest.approx([0.75, 0.25])
    assert row["persona_ids"] == [member.persona.id for member in answer.panel.members]
    assert not any(isinstance(value, dict) for row in rows for value in row.values())
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o077 == 0


def test_pandas_loads_the_lines_in_one_call(ethos: Ethos, answer: Answer, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    export(ethos.record, tmp_path / "out.jsonl", ())
    table = pandas.read_json(tmp_path / "out.jsonl", lines=True)
    assert sorted(table["mode"]) == ["distributional", "overton", "overton", "steerable"]
    assert table.explode("persona_ids")["persona_ids"].nunique() > 3
    assert table["gate_score"].dtype == float


def test_duckdb_loads_the_lines_in_one_call(ethos: Ethos, answer: Answer, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    export(ethos.record, tmp_path / "out.jsonl", ())
    seats = "mode, unnest(names) AS name, unnest(influences) AS influence"
    said = duckdb.sql(f"SELECT {seats} FROM read_json_auto('{tmp_path}/out.jsonl')")
    assert len(said.fetchall()) == 6 + 6 + 3 + 3
    assert [str(kind) for kind in said.types] == ["VARCHAR", "VARCHAR", "DOUBLE"]


def test_the_documented_lines_run(
    ethos: Ethos, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("pandas", "duckdb"):
        pytest.importorskip(package)
    page = (Path(__file__).parents[2] / "docs/how-to/audit.md").read_text(encoding="utf-8")
    section = page.partition("## Export the record")[2]
    monkeypatch.chdir(tmp_path)
    export(ethos.record, Path("OUT.jsonl"), ())
    exec(section.partition("```python")[2].partition("```")[0], {})
    assert answer.panel.members[0].persona.name in capsys.readouterr().out


def test_one_answer_can_be_exported_and_nothing_is_overwritten(ethos: Ethos, answer: Answer, tmp_path: Path) -> None:
    pool, out = str(tmp_path / "pool"), str(tmp_path / "one.jsonl")
    command = ["audit", "export", out, "--answer", answer.answer_id[:12], "--pool", pool]
    assert CliRunner().invoke(main, command).stdout.startswith("1 answers written")
    again = CliRunner().invoke(main, command)
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)
    assert len(Path(out).read_text().splitlines()) == 1


def test_an_ending_that_tells_no_form_is_refused(ethos: Ethos, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no known file name ending"):
        export(ethos.record, tmp_path / "out.csv", ())


def test_an_export_that_fails_leaves_no_file(ethos: Ethos, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        export(ethos.record, tmp_path / "out.jsonl", ("nonsense",))
    with pytest.raises(InputError, match="cannot be written"):
        export(ethos.record, tmp_path / "nowhere" / "out.jsonl", ())
    assert not list(tmp_path.glob("out*"))


# W3C provenance.


def test_provenance_reads_back_equal(ethos: Ethos, answer: Answer, tmp_path: Path) -> None:
    ids = [row["answer_id"] for row in ethos.record.answers(9)][::-1]
    told = document(ethos.record, ids)
    export(ethos.record, tmp_path / "out.prov.json", ())
    assert ProvDocument.deserialize(str(tmp_path / "out.prov.json")) == told
    assert told.get_records()
    export(ethos.record, tmp_path / "out.provn", ())
    assert (tmp_path / "out.provn").read_text(encoding="utf-8") == told.get_provn() + "\n"


def test_provenance_says_what_was_made_of_what(ethos: Ethos, answer: Answer) -> None:
    told = document(ethos.record, [answer.answer_id])
    kinds = [str(kind) for record in told.get_records() for kind in record.get_asserted_types()]
    counts = {
        kind: kinds.count(f"ethos:{kind}") for kind in ("Scenario", "Persona", "Comment", "Answer", "Prompt", "Call")
    }
    assert counts == {
        "Scenario": 1,
        "Persona": 3,
        "Comment": 3,
        "Answer": 1,
        "Prompt": 4,
        "Call": 4,
    }  # equal comments, so equal readings
    name = told.valid_qualified_name(f"ethos:answer-{answer.answer_id}")
    comments = [r for r in told.get_records(ProvDerivation) if r.args[0] == name]
    influence = told.valid_qualified_name("ethos:influence")
    assert [set(r.get_attribute(influence)) for r in comments] == [{value} for value in answer.outcome.influences]


def test_what_answers_share_is_told_once(ethos: Ethos, answer: Answer) -> None:
    ids = [row["answer_id"] for row in ethos.record.answers(9)]
    names = [str(record.identifier) for record in document(ethos.record, ids).get_records() if record.identifier]
    assert len(names) == len(set(names))


def test_without_the_library_it_is_said_how_to_get_it(ethos: Ethos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prov.model", None)
    with pytest.raises(EthosError, match="needs the library prov"):
        document(ethos.record, [])


# OpenTelemetry.


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """What an application that collects spans sets up; a process can do so once."""
    collected = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(collected))
    trace.set_tracer_provider(provider)
    return collected


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def as_text(spans: InMemorySpanExporter) -> str:
    return "\n".join(span.to_json() for span in spans.get_finished_spans())


def test_every_call_is_a_span_within_its_stage(ethos: Ethos, spans: InMemorySpanExporter) -> None:
    answer = ethos.answer(SITUATION, seed=3, personas="pool")
    [whole] = named(spans, "ethos.answer")
    stages = {name: named(spans, f"ethos.{name}")[0] for name in ("panel", "comments", "outcome")}
    assert {stage.parent and stage.parent.span_id for stage in stages.values()} == {
        whole.context and whole.context.span_id
    }
    calls = named(spans, "chat scripted")
    assert len(calls) == sum(answer.calls.values()) == 4
    comment = next(call for call in calls if call.attributes and call.attributes["ethos.stage"] == "comment")
    assert comment.parent
    assert stages["comments"].context
    assert comment.parent.span_id == stages["comments"].context.span_id
    assert dict(comment.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.max_tokens": 200,
        "gen_ai.request.temperature": (comment.attributes or {})["gen_ai.request.temperature"],
        "gen_ai.request.seed": (comment.attributes or {})["gen_ai.request.seed"],
        "gen_ai.output.type": "text",
        "gen_ai.usage.input_tokens": (comment.attributes or {})["gen_ai.usage.input_tokens"],
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.response.finish_reasons": ("stop",),
        "ethos.stage": "comment",
    }
    [event] = whole.events
    assert dict(event.attributes or {}) == {"ethos.answer_id": answer.answer_id, "ethos.mode": "overton"}


def test_what_is_asked_and_said_is_in_no_span_unless_told(
    ethos: Ethos, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    ethos.answer(SITUATION, seed=4, personas="pool")
    assert "flu vaccine" not in as_text(spans)
    assert "It depends." not in as_text(spans)
    monkeypatch.setenv(CONTENT, "1")
    ethos.answer(SITUATION, seed=5, personas="pool")
    assert "flu vaccine" in as_text(spans)
    assert "It depends." in as_text(spans)


def test_readings_of_options_are_spans_too(ethos: Ethos, spans: InMemorySpanExporter, answer: Answer) -> None:
    read = [dict(span.attributes or {}) for span in spans.get_finished_spans()]
    masses = {
        round(float(attributes["ethos.label_mass"]), 6) for attributes in read if "ethos.label_mass" in attributes
    }
    assert masses == {0.2, 0.8}


def test_a_call_that_fails_is_a_span_that_says_only_which_error(
    used_pool: Path, tmp_path: Path, embedder: Embedder, spans: InMemorySpanExporter
) -> None:
    def fails(_: Request) -> str:
        raise ModelError("the server says: flu vaccine?", retryable=True)

    shutil.copytree(used_pool, tmp_path / "pool")
    with Ethos(tmp_path / "pool", model=ScriptedModel(fails), embedder=embedder) as ethos, pytest.raises(ModelError):
        ethos.answer(SITUATION, personas="pool", seed=9)
    failed = named(spans, "chat scripted")
    assert failed
    assert {(span.attributes or {})["error.type"] for span in failed} == {"ModelError"}
    assert not any(span.status.is_ok for span in failed)
    assert "flu vaccine" not in as_text(spans)


def test_nothing_is_imported_for_those_who_collect_no_spans() -> None:
    from subprocess import run

    code = (
        "import sys, ethos.pipeline.stages, ethos.llm.calls\n"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0


# The key.


def holding(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.mark.parametrize("succeeds", [True, False], ids=["succeeding", "failing"])
def test_the_key_is_in_no_file_log_span_export_or_output(
    used_pool: Path,
    tmp_path: Path,
    embedder: Embedder,
    faults: Any,
    spans: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    succeeds: bool,
) -> None:
    shutil.copytree(used_pool, tmp_path / "pool")
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(CONTENT, "1")
    if not succeeds:  # some servers quote the key they refuse
        faults.will_answer(
            *[{"status": 401, "body": {"error": {"message": f"Incorrect API key provided: {KEY}"}}}] * 20
        )
    settings = Settings(
        pool=tmp_path / "pool", model="openai:m", endpoint=Endpoint(base_url=faults.base_url, api_key=KEY)
    )
    told = ""
    with Ethos(embedder=embedder, settings=settings) as ethos:
        try:
            told = str(ethos.answer(SITUATION, personas="pool", seed=7).as_dict())
        except EthosError as error:
            told = f"{error} {getattr(error, 'reply', '')}"
        assert any(KEY in seen.headers.get("authorization", "") for seen in faults.seen), "it was used"
        for name in ("out.jsonl", "out.prov.json", "out.provn"):
            export(ethos.record, tmp_path / name, ())
    pool = ("--pool", str(tmp_path / "pool"))
    remote = ("--model", "openai:m", "--base-url", faults.base_url)
    commands: list[tuple[str, ...]] = [
        ("answer", SITUATION, "--personas", "pool", "--seed", "8", *remote, *pool),
        ("pool", "export", str(tmp_path / "personas.jsonl"), *pool),
        ("audit", "list", "--json", *pool),
    ]
    with Ethos(tmp_path / "pool", embedder=embedder) as ethos:
        newest = ethos.record.answers(1)[0]["answer_id"]
    commands += [
        ("audit", "show", newest, *form, *pool) for form in ((), ("--json",), ("--html", f"{tmp_path}/o.html"))
    ]
    for command in commands:
        ran = CliRunner().invoke(main, command, env={"ETHOS_API_KEY": KEY})
        assert ran.exit_code == (0 if succeeds or command[0] != "answer" else 1), ran.output
        told += ran.output
    assert spans.get_finished_spans()
    assert caplog.text
    assert not holding(tmp_path, KEY)
    assert KEY not in caplog.text
    assert KEY not in as_text(spans)
    assert KEY not in told


def test_provenance_can_be_written_anywhere(ethos: Ethos, answer: Answer) -> None:
    out = io.StringIO()
    write(document(ethos.record, [answer.answer_id]), out, as_json=True)
    assert json.loads(out.getvalue())["prefix"] == {"ethos": "urn:ethos:"}
