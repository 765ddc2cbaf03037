"""A request that was answered before: when its answer, or the calls behind it, need not be made again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from replies import persona_reply

from ethos import Answer, Ethos, Settings
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.llm import Message, Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.pool.curation.lifecycle import Status, mark
from ethos.pool.retrieval.calibration import Target, Trial

ASKED: dict[str, Any] = {
    "scenario": "Should flu vaccines be required of nurses?",
    "mode": "distributional",
    "options": ("Yes", "No"),
}
HEAVY = {"torch", "transformers", "faiss", "onnxruntime", "sentence_transformers"}
_LISTED = """
import sys
from ethos.cli import main
main(sys.argv[1:], standalone_mode=False)
print("\\n".join(name for name in sys.modules if "." not in name), file=sys.stderr)
"""


def reply(request: Request) -> str:
    return persona_reply(request) if request.schema else f"Comment {request.seed}."


def likes_some_comments(prompt: tuple[Message, ...]) -> dict[str, float]:
    share = int(prompt[-1].content.partition("Comment ")[2].partition(".")[0]) % 10 / 10
    return {"A": share, "B": 1 - share}


def silent(_: object) -> Any:
    raise AssertionError("the model was asked")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def opened(tmp_path: Path, embedder: Embedder) -> Iterator[Callable[..., Ethos]]:
    """Opens the same pool anew, with other settings or a model that must not be asked."""
    made: list[Ethos] = []

    def make(name: str = "talking", asked: bool = True, **settings: Any) -> Ethos:
        model = ScriptedModel(reply, likes_some_comments, name) if asked else ScriptedModel(silent, silent, name)
        folder = tmp_path / "pool"
        made.append(Ethos(model=model, embedder=embedder, settings=Settings(pool=folder, **{"k": 3, **settings})))
        return made[-1]

    yield make
    for ethos in made:
        ethos.close()


def ids(answer: Answer) -> list[str]:
    return [member.persona.id for member in answer.panel.members]


def answers_in(ethos: Ethos) -> int:
    return len(ethos.record.answers(100))


def test_the_same_request_gets_the_recorded_answer_which_says_so(opened: Callable[..., Ethos]) -> None:
    first = opened().answer(**ASKED)
    ethos = opened(asked=False)
    again = ethos.answer(**ASKED, reuse=True)
    assert (first.reused, again.reused) == (False, True)
    assert (again.answer_id, again.created_at) == (first.answer_id, first.created_at)
    assert (again.outcome, again.comments, again.panel) == (first.outcome, first.comments, first.panel)
    assert again.calls == {"persona": 0, "comment": 0, "main": 0}
    assert again.tokens == {"prompt": 0, "completion": 0}
    assert again.timings["total"] > 0
    assert again.as_dict()["reused"] is True
    assert answers_in(ethos) == 1


def test_without_leave_to_reuse_the_answer_is_made_anew_from_the_same_comments(opened: Callable[..., Ethos]) -> None:
    ethos = opened()
    first, again = ethos.answer(**ASKED), ethos.answer(**ASKED)
    assert again.calls == {"persona": 0, "comment": 0, "main": 3}
    assert (again.reused, answers_in(ethos)) == (False, 2)
    assert again.answer_id != first.answer_id


@pytest.mark.parametrize(
    "change",
    [
        {"scenario": "Should flu vaccines be required of doctors?"},
        {"options": ("No", "Yes")},
        {"mode": "overton"},
        {"attribute": "Kenya"},
        {"seed": 1},
        {"personas": "pool"},
    ],
)
def test_another_request_is_not_answered_from_the_record(opened: Callable[..., Ethos], change: dict[str, Any]) -> None:
    ethos = opened()
    ethos.answer(**ASKED)
    assert not ethos.answer(**{**ASKED, **change}, reuse=True).reused
    assert answers_in(ethos) == 2


@pytest.mark.parametrize("change", [{"name": "another"}, {"k": 2}, {"threshold": 0.5}, {"plan": True}])
def test_another_setting_is_not_answered_from_the_record(opened: Callable[..., Ethos], change: dict[str, Any]) -> None:
    opened().answer(**ASKED)
    assert not opened(**change).answer(**ASKED, reuse=True).reused


def test_a_newly_calibrated_gate_decides_anew(opened: Callable[..., Ethos]) -> None:
    ethos = opened()
    ethos.answer(**ASKED)
    trials = [Trial(estimate=0.8, achieved=0.9)] * 100
    ethos.pool.calibrate(ethos.pool.calibration(trials, Target(), 3))
    assert not ethos.answer(**ASKED, reuse=True).reused
    ethos.pool.calibrate(None)
    assert ethos.answer(**ASKED, reuse=True).reused


def test_an_answer_of_which_a_persona_was_retired_is_not_given_again(opened: Callable[..., Ethos]) -> None:
    ethos = opened()
    first = ethos.answer(**ASKED)
    mark(ethos.pool.database, [ids(first)[1]], Status.RETIRED, "a test")
    # Another model, which does not invent the retired persona again.
    ethos._models["model"] = ScriptedModel(lambda r: reply(r).replace("Value", "Worth"), likes_some_comments, "talking")
    again = ethos.answer(**ASKED, reuse=True)
    assert not again.reused
    assert ids(first)[1] not in ids(again)
    mark(ethos.pool.database, [ids(first)[1]], Status.ACTIVE, "a test")
    assert ethos.answer(**ASKED, reuse=True).answer_id in {first.answer_id, again.answer_id}


def test_fresh_personas_are_invented_even_for_the_same_request(opened: Callable[..., Ethos]) -> None:
    ethos = opened()
    ethos.answer(**ASKED, personas="fresh")
    again = ethos.answer(**ASKED, personas="fresh", reuse=True)
    assert (again.reused, again.calls["persona"]) == (False, 3)


def test_other_priors_weigh_the_recorded_readings_without_a_model(opened: Callable[..., Ethos]) -> None:
    ethos = opened()
    first = ethos.answer(**ASKED)
    lone = {ids(first)[0]: 1.0, ids(first)[1]: 0.0, ids(first)[2]: 0.0}
    weighed = opened(asked=False).answer(**ASKED, priors=lone, reuse=True)
    assert (weighed.reused, weighed.calls) == (False, {"persona": 0, "comment": 0, "main": 0})
    assert weighed.outcome.distribution == pytest.approx(first.outcome.distributions[0])
    assert weighed.outcome.distributions == first.outcome.distributions
    assert {call["reused"] for call in ethos.record.calls(weighed.answer_id)} == {True}


def test_a_repeat_in_a_fresh_process_loads_nothing_heavy(tmp_path: Path) -> None:
    question = ["Should nurses be vaccinated?", "--mode", "distributional", "--option", "Yes", "--option", "No"]
    command = ["answer", *question, "--k", "1", "--json", "--pool", str(tmp_path / "pool")]
    first, again = (
        subprocess.run(
            [sys.executable, "-c", _LISTED, *command], env=dict(os.environ), capture_output=True, text=True, check=True
        )
        for _ in range(2)
    )
    assert set(first.stderr.split()) >= {"torch", "transformers"}
    assert not set(again.stderr.split()) & HEAVY
    made, found = json.loads(first.stdout), json.loads(again.stdout)
    assert (made["reused"], found["reused"]) == (False, True)
    same = {"reused", "calls", "tokens", "timings"}
    assert {k: v for k, v in found.items() if k not in same} == {k: v for k, v in made.items() if k not in same}
