"""Configuration files of the paper's tables: read strictly, turned into plans, and run from file to report."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ethos.cli import main
from ethos.errors import ConfigurationError, InputError
from ethos.evaluation.analyses.paper_figures import paper
from ethos.evaluation.judging.pairwise import all_judgements
from ethos.evaluation.methods import MethodSettings
from ethos.evaluation.runs.configuration import SETTINGS, Configuration, load_configuration, read_configuration, shipped
from ethos.evaluation.runs.reproduction import opener, reproduce
from ethos.evaluation.tasks.files import task_file
from ethos.evaluation.tasks.task import TaskName
from ethos.llm import Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.llm.opening import Endpoint
from ethos.prompts import PromptSetName

EMBEDDED = "transformers:HuggingFaceTB/SmolLM2-135M-Instruct"
GIVEN: dict[str, Any] = {
    "table": "3",
    "title": "Mine",
    "tasks": ["overton_valuekaleidoscope"],
    "methods": ["vanilla", "ethos-structured"],
    "models": ["transformers:one"],
}


@pytest.fixture
def vital(tmp_path: Path) -> Path:
    """A folder with three situations and three polls."""
    folder = tmp_path / "vital"
    folder.mkdir()
    situations = [
        {"id": n, "situation": text, "vrd": ["Health"], "explanation": ["It protects health."]}
        for n, text in enumerate(("Getting a flu vaccine", "Giving blood", "Skipping a check-up"))
    ]
    polls = [
        {
            "id": n,
            "question": "Question: Is obesity a problem?\nOptions: A. Big B. Small\nAnswer:",
            "options": ["Big", "Small"],
            "attribute": country,
            "gold_distribution": [0.8, 0.2],
        }
        for n, country in enumerate(("Chile", "Ghana", "Japan"))
    ]
    for name, rows in (("overton_valuekaleidoscope", situations), ("distributional_globalopinionqa", polls)):
        (folder / f"vital_{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def nli(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny entailment model with random weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("nli")
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{one}" for one in letters), "."]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=128).save_pretrained(folder)
    torch.manual_seed(0)
    labels = dict(enumerate(("contradiction", "neutral", "entailment")))
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=128, initializer_range=0.8,
        id2label=labels, label2id={name: number for number, name in labels.items()},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


def configured(**more: Any) -> Configuration:
    return read_configuration({**GIVEN, **more}, "mine.toml")


def test_there_is_a_configuration_for_every_table_with_results() -> None:
    tables = {f"table{number}" for number in (3, 4, 5, 6, 7, 8, 17, 18, 19)}
    assert set(shipped()) == tables | {"figure5"}


@pytest.mark.parametrize("name", ["table3", "table5", "table17", "table18"])
def test_the_seven_models_are_the_papers(name: str) -> None:
    models = [model.partition(":")[2] for model in load_configuration(name).models]
    assert models == list(paper().models.values())


@pytest.mark.parametrize("name", ["table3", "table7", "table8", "table19", "figure5"])
def test_shipped_ones_become_plans(name: str, vital: Path, tmp_path: Path) -> None:
    found = load_configuration(name)
    plans = found.plans(vital, tmp_path / "out", limit=2)
    folders = [plan.folder.relative_to(tmp_path / "out").as_posix() for plan in plans]
    expected = {"table8": ["k=1", "k=2", "k=3", "k=6"], "table3": ["."], "figure5": ["."]}
    assert folders == expected.get(name, folders)
    assert len(plans) == {"table7": 2, "table8": 4, "table19": 5}.get(name, 1)
    assert all(len(plan.tasks[0].items) == 2 for plan in plans)
    if name == "table8":
        assert [plan.settings.k for plan in plans] == [1, 2, 3, 6]
    if name == "table7":
        assert plans[0].settings.attributes == ("name", "core_value", "right_duty")
        assert len(plans[1].settings.attributes) == 6


@pytest.mark.parametrize("name", shipped())
def test_one_model_takes_every_role(name: str) -> None:
    found = load_configuration(name).with_model("transformers:mine").with_prompts(PromptSetName.STRUCTURED)
    assert found.models == ("transformers:mine",)
    assert not any(found.settings.get(role) for role in ("comment_model", "persona_model"))
    assert {model for models in found.communities.values() for model in models.values()} <= {"transformers:mine"}
    assert not found.served
    assert "ethos-paper" not in found.methods
    assert not found.judging or (found.judging.judges, found.judging.method) == (
        ("transformers:mine",),
        "ethos-structured",
    )


def test_the_grid_of_comment_models_is_one_run_with_one_model(vital: Path, tmp_path: Path) -> None:
    (vital / "vital_steerable_opinionqa.json").write_text(
        '[{"id": 1, "question": "Q?\\nOptions: A. Yes B. No\\nAnswer:", "options": ["Yes", "No"], '
        '"attribute": "SEX_Female", "gold_distribution": [0.5, 0.5]}]'
    )
    (vital / "vital_distributional_moralchoice.json").write_text(
        '[{"id": 1, "question": "Q?\\nA. Yes\\nB. No\\nAnswer:", "options": ["Yes", "No"], '
        '"gold_distribution": [1, 0]}]'
    )
    found = load_configuration("table5")
    assert [plan.settings.comment_model for plan in found.plans(vital, tmp_path)] == [
        "transformers:Qwen/Qwen2.5-7B-Instruct",
        "openai:deepseek-chat",
    ]
    [plan] = found.with_model("transformers:mine").plans(vital, tmp_path)
    assert plan.settings.comment_model == "transformers:mine"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"sed": 1}, "'sed' was unexpected"),
        ({"settings": {"comment_modle": "x"}}, "settings: .*'comment_modle' was unexpected"),
        ({"settings": {"prompts": "papers"}}, "settings.prompts: 'papers'"),
        ({"settings": {"k": "six"}}, "settings.k: 'six'"),
        ({"judging": {"judges": ["x"], "method": "vanilla", "against": ["moe"], "limits": 3}}, "judging: "),
        ({"tasks": ["overton"]}, "tasks.0: 'overton'"),
        ({"methods": ["vanila"]}, "methods.0: 'vanila'"),
        ({"models": "transformers:one"}, "models: "),
        ({"models": ["transformers:one", "transformers:one"]}, "non-unique"),
        ({"seed": -1}, "seed: -1"),
        ({"grid": "size"}, "grid: 'size'"),
        ({"grid": "k", "variants": ["7"]}, "no variant '7'"),
        ({"first": {"overton_valuekaleidoscope": 0}}, "first.overton_valuekaleidoscope: 0"),
        ({"communities": {"perspective": {"left": "x"}}}, "communities: .*'perspective'"),
        ({"served": {"openai:x": {"url": "http://x"}}}, "served.openai:x: "),
    ],
)
def test_what_a_file_has_wrong_is_named(more: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"mine.toml: .*{named}"):
        configured(**more)


def test_a_file_may_tell_methods_whatever_they_can_be_told() -> None:
    assert {*SETTINGS, "communities"} == {one.name for one in fields(MethodSettings)}


def test_a_key_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'models' is a required property"):
        read_configuration({name: value for name, value in GIVEN.items() if name != "models"}, "mine.toml")


@pytest.mark.parametrize(("text", "what"), [(None, "no such file|No such file"), ("table = ", "Invalid value")])
def test_a_file_that_cannot_be_read_says_what_is_shipped(text: str | None, what: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError, match=what) as error:
        load_configuration(str(tmp_path / "mine.toml"))
    assert "table3" in error.value.hint


def test_the_first_items_are_those_of_the_file(vital: Path, tmp_path: Path) -> None:
    [plan] = configured(first={"overton_valuekaleidoscope": 2}).plans(vital, tmp_path)
    assert [item.id for item in plan.tasks[0].items] == ["0", "1"]


def test_a_tasks_file_is_found_by_its_name_and_two_are_refused(vital: Path) -> None:
    assert task_file(vital, TaskName.OVERTON_VALUES).name == "vital_overton_valuekaleidoscope.json"
    with pytest.raises(InputError, match="no file of steerable_opinionqa"):
        task_file(vital, TaskName.STEERABLE_OPINIONS)
    (vital / "overton_test_valuekaleidoscope_small.json").write_text("[]")
    with pytest.raises(InputError, match="2 files of overton_valuekaleidoscope"):
        task_file(vital, TaskName.OVERTON_VALUES)
    with pytest.raises(InputError, match="is no folder"):
        task_file(vital / "absent", TaskName.OVERTON_VALUES)


def test_a_model_is_opened_where_the_file_says_with_the_key_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    found = configured(served={"openai:far": {"base_url": "https://far.example/v1", "key": "FAR_KEY"}})
    opened = opener(found, Endpoint("http://127.0.0.1:1/v1"), "auto")
    monkeypatch.delenv("FAR_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="FAR_KEY"):
        opened("openai:far")
    monkeypatch.setenv("FAR_KEY", "sk-canary")
    assert opened("openai:far").identity.revision == "https://far.example:443"
    assert opened("openai:near").identity.revision == "http://127.0.0.1:1"


def plays_all_roles(request: Request) -> str:
    """Personas, verdicts or texts, by the schema that is asked for."""
    properties = json.loads(request.schema)["properties"] if request.schema else {}
    if "verdict" in properties:
        return '{"verdict": "A"}'
    if "core_value" in properties:
        drawn = {name: properties[name]["enum"][0] for name in ("ethical_framework", "emotion")}
        named = {name: f"{name} {request.seed}" for name in ("name", "core_value", "right_duty", "stakeholder_role")}
        return json.dumps({**named, **drawn})
    return "It protects health."


def test_a_grid_runs_each_variant_into_its_folder_and_judges_judge(vital: Path, tmp_path: Path) -> None:
    judging = {"judges": ["scripted:judge"], "method": "ethos-structured", "against": ["vanilla"], "limit": 5}
    found = configured(grid="k", variants=["1", "2"], judging=judging)
    plans = found.plans(vital, tmp_path / "out", limit=2)
    told: list[str] = []
    model = ScriptedModel(plays_all_roles)
    reports = list(reproduce(found, plans, lambda name: model, told.append))
    assert [report.folder.name for report in reports] == ["k=1", "k=2"]
    assert all(report.failed == 0 and report.done == 4 for report in reports)
    for plan in plans:
        [(comparison, judgements)] = all_judgements(plan.folder)
        # A judge that prefers what is shown first makes ties.
        assert (comparison.second, [one.verdict for one in judgements]) == ("vanilla", ["tie", "tie"])
    asked = len(model.batches)
    list(reproduce(found, plans, lambda name: model, told.append))
    assert len(model.batches) == asked


def test_a_table_from_its_file_to_its_report_with_the_embedded_model(vital: Path, nli: str, tmp_path: Path) -> None:
    path, out = tmp_path / "mine.toml", tmp_path / "out"
    path.write_text(
        'table = "18"\ntitle = "Mine"\nnotes = ["A note."]\nmethods = ["vanilla"]\nmodels = ["transformers:absent"]\n'
        'tasks = ["overton_valuekaleidoscope", "distributional_globalopinionqa"]\n'
    )
    arguments = ["eval", "reproduce", str(path), "--data", str(vital), "--out", str(out), "--limit", "2"]
    result = CliRunner().invoke(main, [*arguments, "--model", EMBEDDED, "--nli", nli], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Note: A note." in result.stderr
    assert json.loads((out / "run.json").read_text())["models"].keys() == {EMBEDDED}
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "value coverage" in text.lower()
    assert "js distance" in text.lower()


def test_a_run_with_failures_is_reported_and_ends_with_code_3(
    vital: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A real model cannot be made to write nothing.
    model = ScriptedModel(lambda request: "", lambda prompt: {"A": 0.5, "B": 0.5})
    monkeypatch.setattr("ethos.evaluation.runs.reproduction.open_model", lambda *_: model)
    path, out = tmp_path / "mine.toml", tmp_path / "out"
    path.write_text(
        'table = "3"\ntitle = "Mine"\nmethods = ["vanilla"]\nmodels = ["transformers:mine"]\n'
        'tasks = ["overton_valuekaleidoscope", "distributional_globalopinionqa"]\n'
    )
    result = CliRunner().invoke(main, ["eval", "reproduce", str(path), "--data", str(vital), "--out", str(out)])
    assert result.exit_code == 3, result.output
    assert "3 failed, overton_valuekaleidoscope by vanilla; the first: " in result.stderr
    assert (out / "report.html").exists()
