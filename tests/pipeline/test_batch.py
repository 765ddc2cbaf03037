"""A file of scenarios answered side by side: the same answers as one by one, and nothing lost when it stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from replies import persona_reply

from ethos import Answer, Attribute, Ethos, EthosError, Mode, Scenario, Settings
from ethos.answer import Source
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import InputError, ModelError
from ethos.llm import LanguageModel, Message, Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.llm.backends.transformers_local import LocalModel
from ethos.persona import OriginKind
from ethos.pipeline.batch import TOGETHER, BatchReport, Row, answer_rows, failures_of, rows_of
from ethos.pipeline.scenario_files import Item, read_items
from ethos.pool.curation.statistics import statistics
from ethos.pool.starter import starter_panels
from ethos.pool.storage.values import Origin, Placed

NURSES = Scenario("Should flu vaccines be required of nurses?", ("Yes", "No"))
# Of unlike topics, since scenarios that are answered side by side do not share what is invented for them.
MIXED = [
    (Scenario("Donating a kidney to a stranger"), Mode.OVERTON),
    (NURSES, Mode.DISTRIBUTIONAL),
    (Scenario("Selling alcohol next to a school").steered(Attribute.parse("Autonomy", Mode.STEERABLE)), Mode.STEERABLE),
    (Scenario("Is space travel worth its risks?", ("Yes", "No", "Unsure")), Mode.OVERTON),
]  # fmt: skip
QUESTIONS = [Scenario(f"Case {number} of the clinic", ("Yes", "No")) for number in range(TOGETHER + 4)]


def reply(request: Request) -> str:
    return persona_reply(request) if request.schema else f"It said {request.seed}."


def likes_some_comments(prompt: tuple[Message, ...]) -> dict[str, float]:
    share = len(prompt[-1].content) % 10 / 10
    return {"A": share, "B": 1 - share, "C": 0.3, "1": share, "2": 0.5}


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def opened(tmp_path: Path, embedder: Embedder) -> Iterator[Callable[..., Ethos]]:
    made: list[Ethos] = []

    def make(folder: str = "pool", model: LanguageModel | None = None) -> Ethos:
        model = model or ScriptedModel(reply, likes_some_comments)
        made.append(Ethos(model=model, embedder=embedder, settings=Settings(pool=tmp_path / folder, k=2)))
        return made[-1]

    yield make
    for ethos in made:
        ethos.close()


def content(answer: object) -> dict[str, Any]:
    """What an answer says, without what differs between two makings of the same."""
    assert isinstance(answer, Answer), answer
    # The pool is empty when scenarios are asked side by side, and has the first one's personas for the second.
    differing = ("answer_id", "created_at", "timings", "gate")
    said = {name: value for name, value in answer.as_dict().items() if name not in differing}
    return {**said, "decision": answer.panel.gate.decision}


def batch_of(model: ScriptedModel) -> list[int]:
    return [len(batch) for batch in model.batches]


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(ethos: Ethos, scenarios: Sequence[Scenario], output: Path, **terms: Any) -> BatchReport:
    rows = rows_of([Item(str(n), s, None) for n, s in enumerate(scenarios)], Mode.DISTRIBUTIONAL, None, 0)
    return answer_rows(rows, output, lambda asked: ethos.answer_all(asked, **terms), lambda _: None)


def test_answers_side_by_side_are_those_given_one_by_one(opened: Callable[..., Ethos]) -> None:
    together = opened("together").answer_all(MIXED)
    alone = opened("alone")
    assert [content(a) for a in together] == [content(alone.answer(*asked)) for asked in MIXED]


def test_the_real_model_says_the_same_side_by_side_in_float32(opened: Callable[..., Ethos], model: LocalModel) -> None:
    ethos = opened(model=model)
    ethos.prompts = replace(ethos.prompts, comments={**ethos.prompts.comments, "max_tokens": 16})
    asked = [(Scenario(panel.scenario.situation, ("Yes", "No")), Mode.DISTRIBUTIONAL) for panel in starter_panels()[:4]]
    for (scenario, _), panel in zip(asked, starter_panels(), strict=False):
        personas = panel.personas[:2]
        ethos.pool.add(scenario, personas, Origin(OriginKind.CURATED), [Placed(p, 1.0) for p in personas])
    alone = [content(ethos.answer(*one)) for one in asked]
    with ethos.pool.database.write() as connection:
        connection.exec_driver_sql("UPDATE calls SET key = id")  # so that none is found in the record
    for found, single in zip(map(content, ethos.answer_all(asked)), alone, strict=True):
        assert found.pop("distribution") == pytest.approx(single.pop("distribution"), abs=1e-4)
        assert (found["output"], found["calls"], found["tokens"]) == (
            single["output"],
            single["calls"],
            single["tokens"],
        )
        for member, same in zip(found["panel"], single["panel"], strict=True):
            assert (member["persona_id"], member["comment"]) == (same["persona_id"], same["comment"])


def test_each_stage_of_all_scenarios_is_one_batch(opened: Callable[..., Ethos]) -> None:
    model = ScriptedModel(reply, likes_some_comments)
    opened(model=model).answer_all([(Scenario(s.situation), Mode.OVERTON) for s in QUESTIONS[:5]])
    assert batch_of(model) == [10, 10, 5]


def test_rows_of_one_topic_share_a_panel_and_its_comments(opened: Callable[..., Ethos]) -> None:
    model = ScriptedModel(reply, likes_some_comments)
    asked = [
        (NURSES.steered(Attribute.parse(group, Mode.STEERABLE)), Mode.STEERABLE)
        for group in ("POLPARTY_Democrat", "POLPARTY_Republican", "RELIG_Jewish")
    ]
    first, *others = opened(model=model).answer_all(asked)
    assert batch_of(model) == [2, 2]
    assert content(first)["calls"] == {"persona": 2, "comment": 2, "main": 2}
    for other in others:
        assert isinstance(other, Answer)
        assert isinstance(first, Answer)
        assert other.calls == {"persona": 0, "comment": 0, "main": 2}
        assert other.comments == first.comments
        assert (other.panel.gate.decision, other.panel.members[0].source) == ("hit", Source.POOL)


def test_one_that_fails_takes_no_other_with_it(opened: Callable[..., Ethos]) -> None:
    def fails_on_case_two(request: Request) -> str:
        if "Case 2 " in request.messages[-1].content and not request.schema:
            raise ModelError("the prompt is too long")
        return reply(request)

    ethos = opened(model=ScriptedModel(fails_on_case_two, likes_some_comments))
    asked = [(scenario, Mode.DISTRIBUTIONAL) for scenario in QUESTIONS[:4]]
    asked.append((Scenario("No options"), Mode.DISTRIBUTIONAL))
    results = ethos.answer_all(asked)
    assert [isinstance(result, Answer) for result in results] == [True, True, False, True, False]
    assert [str(result) for result in results if isinstance(result, ModelError)] == ["the prompt is too long"]
    assert isinstance(results[4], InputError)
    assert statistics(ethos.pool.database)["failures"] == 1


def test_a_server_that_is_down_ends_the_run_and_the_next_goes_on(opened: Callable[..., Ethos], tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"

    def down_in_the_second_chunk(request: Request) -> str:
        if f"Case {TOGETHER + 1} " in request.messages[-1].content:
            raise ModelError("the endpoint cannot be reached", retryable=True)
        return reply(request)

    with pytest.raises(ModelError, match="cannot be reached"):
        run(opened(model=ScriptedModel(down_in_the_second_chunk, likes_some_comments)), QUESTIONS, output)
    assert len(written(output)) == TOGETHER
    report = run(opened(), QUESTIONS, output)
    assert (report.rows, report.skipped, len(report.answered), report.failed) == (TOGETHER + 4, TOGETHER, 4, [])
    assert [row["id"] for row in written(output)] == [str(number) for number in range(TOGETHER + 4)]
    assert run(opened(), QUESTIONS, output).skipped == TOGETHER + 4


def test_a_torn_last_line_is_dropped_and_done_again(opened: Callable[..., Ethos], tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    run(opened(), QUESTIONS[:3], output)
    whole = output.read_bytes()
    for cut in (5, len(whole.splitlines()[-1])):
        output.write_bytes(whole[:-cut])
        report = run(opened(), QUESTIONS[:3], output, reuse=True)
        assert (report.skipped, [answer.reused for answer in report.answered]) == (2, [True])
        assert [row["id"] for row in written(output)] == ["0", "1", "2"]
    assert output.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["my notes", '{"id": "1"}\n', '{"id": "1", "key": "k"}\nmine\n'])
def test_another_file_is_not_written_to(tmp_path: Path, text: str) -> None:
    output = tmp_path / "notes.txt"
    output.write_text(text)
    with pytest.raises(InputError, match="is no answer of a batch"):
        answer_rows([Row("1", NURSES, Mode.OVERTON, "k")], output, lambda _: [], lambda _: None)
    assert output.read_text() == text


def test_failed_rows_are_listed_and_tried_again(opened: Callable[..., Ethos], tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    results: list[list[Answer | EthosError]] = [[ModelError("no reply", "wait")]]
    rows = [Row("7", NURSES, Mode.DISTRIBUTIONAL, "k")]
    report = answer_rows(rows, output, lambda _: results.pop(), lambda _: None)
    assert [(row.id, error.message) for row, error in report.failed] == [("7", "no reply")]
    [failure] = written(failures_of(output))
    assert (failure["id"], failure["scenario"], failure["error"]) == ("7", NURSES.situation, "no reply")
    results.append([opened().answer(NURSES, Mode.DISTRIBUTIONAL)])
    assert not answer_rows(rows, output, lambda _: results.pop(), lambda _: None).failed
    assert not failures_of(output).exists()


def test_equal_rows_are_answered_as_often_as_they_occur(opened: Callable[..., Ethos], tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    assert len(run(opened(), [NURSES, NURSES], output).answered) == 2
    report = run(opened(), [NURSES, NURSES, NURSES], output)
    assert (report.skipped, len(report.answered)) == (2, 1)


def test_a_row_keeps_the_mode_and_attribute_it_tells(tmp_path: Path) -> None:
    source = tmp_path / "rows.json"
    question = "Question: Is it safe?\nOptions: A. Yes B. No\nAnswer:"
    source.write_text(
        json.dumps([
            {"id": "a", "question": question, "attribute": "POLPARTY_Democrat", "gold_distribution": [0.5, 0.5]},
            {"id": "b", "question": question},
        ])
    )  # fmt: skip
    rows = rows_of(read_items(source), Mode.DISTRIBUTIONAL, "Kenya", 0)
    assert [(row.id, row.mode, str(row.scenario.attribute)) for row in rows] == [
        ("a", Mode.STEERABLE, "political party: Democrat"),
        ("b", Mode.DISTRIBUTIONAL, "Kenya"),
    ]
    assert rows[0].key != rows[1].key


def test_the_command_line_answers_a_file_and_tells_what_it_cost(tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    asked = {"question": "Should nurses be vaccinated?", "options": ["Yes", "No"], "mode": "distributional"}
    source.write_text(f'{json.dumps(asked)}\n{{"scenario": "No attribute", "mode": "steerable"}}\n')
    command = [sys.executable, "-m", "ethos.cli", "answer", "--input", str(source), "--output", str(output)]
    options = ["--k", "1", "--json", "--profile", "--pool", str(tmp_path / "pool")]
    done = subprocess.run([*command, *options], env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert (report["rows"], report["answered"], report["skipped"]) == (2, 1, 0)
    assert [failed["id"] for failed in report["failed"]] == ["2"]
    told = " ".join(done.stderr.split())
    for part in ("2 of 2 answers", "Time by stage", "persona, 1 comment, 1 main", "0 of 1 personas"):
        assert part in told
    [row] = written(output)
    assert (row["id"], row["mode"], len(row["distribution"])) == ("1", "distributional", 2)


@pytest.mark.parametrize("arguments", [[], ["x", "--input", "f", "--output", "o"], ["--input", "f"], ["--output", "o"]])
def test_a_text_or_a_file_is_asked_for(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "ethos.cli", "answer", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert "give TEXT, or --input FILE with --output FILE" in done.stderr
