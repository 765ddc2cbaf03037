"""The command line on real models: the contract of design.md section 10, and what bad input ends in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

QUESTION = "Question: How serious is air pollution in our country?\nOptions: A. Very B. Somewhat C. Not at all\nAnswer:"
MORAL = (
    "Below is a scenario and two potential actions, please select the one that is more moral.\n"
    "Scenario: You find a wallet in a clinic.\nA. I give it back.\nB. I keep it.\nAnswer:"
)
TASKS = {
    "overton": ["Refusing a vaccine because a neighbour did", "--mode", "overton"],
    "value": ["Refusing a vaccine because a neighbour did", "--mode", "steerable", "--attribute", "Public health",
              "--option", "Support", "--option", "Oppose", "--option", "Either"],
    "group": [QUESTION, "--mode", "steerable", "--attribute", "POLPARTY_Democrat",
              "--option", "Very", "--option", "Somewhat", "--option", "Not at all"],
    "poll": [QUESTION, "--mode", "distributional", "--attribute", "Kenya"],
    "moral": [MORAL, "--mode", "distributional", "--attribute", "low_ambiguity"],
}  # fmt: skip


def ethos(
    *arguments: str, pool: Path, stdin: bytes | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "ethos.cli", *arguments],
        env={**os.environ, "ETHOS_POOL": str(pool), **variables},
        input=stdin,
        capture_output=True,
        timeout=600,
    )
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode(errors="replace")
    )


def answer(*arguments: str, pool: Path, **variables: str) -> dict[str, Any]:
    result = ethos("answer", *arguments, "--json", pool=pool, **variables)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


def assert_contract(found: dict[str, Any], mode: str) -> None:
    assert found["mode"] == mode
    assert found["output"]
    assert found["gate"]["decision"] in {"hit", "partial", "miss", "fresh"}
    assert set(found["calls"]) == {"persona", "comment", "main"}
    assert set(found["timings"]) == {"embed", "retrieve", "persona", "comment", "main", "total"}
    assert set(found["models"]) == {"persona", "comment", "main"}
    assert [member["rank"] for member in found["panel"]] == [1, 2, 3, 4, 5, 6]
    for attribute in ("name", "core_value", "ethical_framework", "right_duty", "emotion", "stakeholder_role"):
        assert len({member[attribute].casefold() for member in found["panel"]}) == 6
    assert all(member["comment"] for member in found["panel"])
    if found["options"]:
        assert found["choice"] in "ABCDE"
        assert len(found["distribution"]) == len(found["options"])
        assert sum(found["distribution"]) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pools") / "pool"
    scenarios = folder.with_suffix(".txt")
    scenarios.write_text("A parent refuses the measles vaccine for a healthy child\n", encoding="utf-8")
    result = ethos("pool", "build", str(scenarios), "--json", pool=folder)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["personas"] == 6
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_each_task_is_answered_and_asked_again_gives_the_same(pool: Path, task: str) -> None:
    first = answer(*TASKS[task], pool=pool)
    assert_contract(first, TASKS[task][2])
    again = answer(*TASKS[task], pool=pool)
    assert again["calls"]["persona"] == 0
    assert [again[key] for key in ("output", "options")] == [first[key] for key in ("output", "options")]
    assert again.get("distribution") == first.get("distribution")
    assert [m["comment"] for m in again["panel"]] == [m["comment"] for m in first["panel"]]


def test_fresh_personas_are_generated_even_when_the_pool_is_warm(pool: Path) -> None:
    found = answer(*TASKS["moral"], "--personas", "fresh", pool=pool)
    assert found["gate"]["decision"] == "fresh"
    assert found["calls"]["persona"] >= 1


def test_a_distribution_is_the_weighted_mean_of_the_panel_in_the_audit(pool: Path) -> None:
    found = answer(*TASKS["poll"], pool=pool)
    shown = json.loads(ethos("audit", "show", found["answer_id"], "--json", pool=pool).stdout)
    for option, probability in enumerate(shown["distribution"]):
        mean = sum(member["weight"] * member["distribution"][option] for member in shown["panel"])
        assert probability == pytest.approx(mean, abs=1e-12)
    assert shown["model_calls"]


def test_a_persona_leads_back_to_its_answers(pool: Path) -> None:
    found = answer(*TASKS["moral"], pool=pool)
    persona = found["panel"][2]["persona_id"]
    listed = json.loads(ethos("audit", "persona", persona[:12], "--json", pool=pool).stdout)
    assert found["answer_id"] in {entry["answer_id"] for entry in listed["answers"]}
    assert found["answer_id"] in {
        a["answer_id"] for a in json.loads(ethos("audit", "list", "--json", pool=pool).stdout)
    }


def test_people_see_panel_comments_answer_and_influence(pool: Path) -> None:
    result = ethos("answer", *TASKS["moral"], pool=pool)
    assert result.returncode == 0, result.stderr
    for part in ("Gate:", "Persona", "Relevance", "Answer", "Influence is", "Recorded: ethos audit show"):
        assert part in " ".join(result.stdout.split())


def test_an_endpoint_serves_every_role(tmp_path: Path, llama_server: Any) -> None:
    served = {
        "ETHOS_MODEL": f"openai:{llama_server.model}",
        "ETHOS_BASE_URL": llama_server.base_url,
        "ETHOS_API_KEY": llama_server.api_key,
    }
    pool = tmp_path / "pool"
    first = answer(*TASKS["poll"], pool=pool, **served)
    assert_contract(first, "distributional")
    again = answer(*TASKS["poll"], pool=pool, **served)
    assert again["calls"]["persona"] == 0
    assert again["distribution"] == first["distribution"]
    written = b"".join(path.read_bytes() for path in pool.iterdir())
    assert llama_server.api_key.encode() not in written


BAD = {
    "no such file": (["pool", "build", "no-such-file.txt"], b"", 1, "there is no file no-such-file.txt"),
    "empty scenario": (["answer", "  "], b"", 1, "the scenario is empty"),
    "unknown mode": (["answer", "x", "--mode", "loud"], b"", 2, "'loud' is not one of"),
    "one option": (["answer", "x", "--mode", "distributional", "--option", "Yes"], b"", 1, "at least two options"),
    "no attribute": (["answer", "x", "--mode", "steerable"], b"", 1, "needs a value or group"),
    "1 MB of text": (["answer", "-"], b"x" * 2**20, 1, "1,048,576 characters"),
    "invalid UTF-8": (["answer", "-"], b"caf\xe9", 1, "not UTF-8"),
    "unreachable endpoint": (
        ["answer", "x", "--personas", "fresh", "--model", "openai:m", "--base-url", "http://127.0.0.1:9/v1"],
        b"", 1, "http://127.0.0.1:9",
    ),
    "no endpoint": (["answer", "x", "--model", "openai:m"], b"", 1, "set ETHOS_BASE_URL"),
    "no backend": (["answer", "x", "--model", "gpt"], b"", 1, "does not say its backend"),
    "k of zero": (["answer", "x", "--k", "0"], b"", 1, "choose k from 1 to 32"),
    "unknown answer": (["audit", "show", "abc"], b"", 1, "ethos audit list"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_what_and_how_to_mend(tmp_path: Path, case: str) -> None:
    arguments, stdin, code, message = BAD[case]
    result = ethos(*arguments, pool=tmp_path / "pool", stdin=stdin)
    assert result.returncode == code, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1


def test_a_damaged_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    database = tmp_path / "pool" / "pool.db"
    database.write_bytes(b"not a database " * 500)
    result = ethos("answer", "Refusing a vaccine", pool=tmp_path / "pool")
    assert result.returncode == 1
    assert "is damaged" in result.stderr
    assert "put a backup back" in result.stderr
    assert database.read_bytes() == b"not a database " * 500
