"""The runner: what a killed run left is gone on from, failures are listed, and other settings are another run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ethos import Mode, Scenario
from ethos.cli import main
from ethos.errors import ConfigurationError, InputError, ModelError
from ethos.evaluation.methods import MethodSettings
from ethos.evaluation.methods.registry import METHODS
from ethos.evaluation.runs import runner
from ethos.evaluation.runs.runner import EvalReport, Plan, run_evaluation
from ethos.evaluation.tasks.leakage import leaked
from ethos.evaluation.tasks.loading import load_task, sample
from ethos.evaluation.tasks.run_folder import (
    RunFolder,
    completed,
    failures_of,
    read_run,
    results_file,
    slug,
)
from ethos.evaluation.tasks.task import Item, Task, TaskName
from ethos.llm import LanguageModel, Message, Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.llm.weights import SMOLLM2
from ethos.persona import ATTRIBUTES
from ethos.pipeline.ethos import Ethos
from ethos.pool.curation.statistics import statistics
from ethos.pool.starter import starter_panels
from ethos.pool.storage.personas import OriginKind
from ethos.pool.storage.values import Origin, Placed
from ethos.prompts import PromptSetName, baseline_prompts, prompt_set

COMMUNITIES = {which: dict.fromkeys(names, "main") for which, names in baseline_prompts().communities.items()}
OVERTON, MORAL = TaskName.OVERTON_VALUES, TaskName.DISTRIBUTIONAL_MORAL
NAMES = tuple(METHODS)


def rows(task: TaskName, count: int) -> list[dict[str, Any]]:
    """Rows in VITAL's form, written for these tests."""
    if task is OVERTON:
        gold = {"vrd": ["Health", "Duty to care"], "explanation": ["Health is at stake.", "Somebody must care."]}
        return [
            {"situation": f"Working in ward {n}", **gold, "input": f"Comment: ward {n}", "output": None, "id": n}
            for n in range(count)
        ]
    return [
        {
            "question": f"Below is a scenario and two potential actions, please select the one that is more moral.\n"
            f"Scenario: Bed {n} is the last one.\nA. I share it.\nB. I keep it.\nAnswer:",
            "options": ["I share it.", "I keep it."],
            "attribute": "low_ambiguity",
            "gold_distribution": [1, 0],
            "pred_distribution": None,
            "id": f"C_{n:03}",
        }
        for n in range(count)
    ]


def task_file(folder: Path, task: TaskName, count: int) -> Path:
    path = folder / f"vital_{task}.json"
    path.write_text(json.dumps(rows(task, count)))
    return path


def reply(request: Request) -> str:
    """A persona where one is asked for, else a comment; another seed says another thing."""
    asked, seed = request.messages[-1].content, request.seed
    if request.schema:
        properties = json.loads(request.schema)["properties"]
        drawn = {name: properties[name]["enum"][0] for name in ("ethical_framework", "emotion")}
        named = {"name": f"Person {seed}", "core_value": f"Value {seed}", "right_duty": f"Duty {seed}"}
        return json.dumps({**named, **drawn, "stakeholder_role": f"Role {seed}"})
    if "contrasting ethical perspectives" in asked:
        mark = "#" if "#Name" in asked else ""
        return "\n".join(f"{mark}P {n} {seed}: Value {n}, Ethics {n}, Duty {n}, Zeal {n}, Role {n}" for n in range(2))
    return f"It said {seed}."


def tokens(prompt: tuple[Message, ...]) -> dict[str, float]:
    share = sum(map(ord, prompt[-1].content)) % 97 / 97
    return {"A": 0.1 + share, "B": 0.5, "1": 0.1 + share, "2": 0.3, "5": 0.4}


def scripted(_: str) -> LanguageModel:
    return ScriptedModel(reply, tokens)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool with the starter's first scenarios."""
    folder = tmp_path_factory.mktemp("evaluation") / "pool"
    with Ethos(folder, model=ScriptedModel(reply)) as ethos:
        for panel in starter_panels()[:12]:
            placed = [Placed(persona, 1.0) for persona in panel.personas]
            ethos.pool.add(panel.scenario, panel.personas, Origin(OriginKind.CURATED), placed)
        ethos.pool.refresh()
    return folder


@pytest.fixture
def plan(tmp_path: Path, pool: Path) -> Callable[..., Plan]:
    def make(folder: str = "run", counts: int = 5, methods: tuple[str, ...] = ("vanilla",), **given: Any) -> Plan:
        files = [task_file(tmp_path, task, counts) for task in (OVERTON, MORAL)]
        settings = MethodSettings(pool=pool, k=2, communities=COMMUNITIES)
        tasks = tuple(map(load_task, files))
        return Plan(tasks, methods, ("scripted:main",), tmp_path / folder, settings=settings, **given)

    return make


def run(made: Plan, open_model: Callable[[str], LanguageModel] = scripted) -> EvalReport:
    return run_evaluation(made, lambda _: None, open_model)


def said(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every prediction of a run, without what two makings of the same differ in."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        kept = [json.loads(line) for line in path.read_text().splitlines()]
        for row in kept:
            for name in ("seconds", "answer_id", "calls", "tokens"):  # a call in the record is not made again
                row["ethos"].pop(name)
        found[path.name] = kept
    return found


KILLED = """
import os, signal, sys
from importlib import util
spec = util.spec_from_file_location("runner_test", {file!r})
test = util.module_from_spec(spec)
sys.modules["runner_test"] = test
spec.loader.exec_module(test)
from pathlib import Path
from ethos.evaluation.runs import runner
from ethos.evaluation.tasks.loading import load_task
from ethos.evaluation.methods import MethodSettings
from ethos.llm.backends.scripted import ScriptedModel

runner.TOGETHER = 2
asked = 0

class Mortal(ScriptedModel):
    def _count(self):
        global asked
        asked += 1
        if asked == {calls}:
            os.kill(os.getpid(), signal.SIGKILL)

    def generate(self, requests):
        self._count()
        return super().generate(requests)

    def option_probabilities(self, prompts, labels):
        self._count()
        return super().option_probabilities(prompts, labels)

plan = runner.Plan(
    tuple(load_task(Path(path)) for path in {files!r}), {methods!r}, ("scripted:main",), Path({folder!r}),
    settings=MethodSettings(pool=Path({pool!r}), k=2, communities=test.COMMUNITIES),
)
runner.run_evaluation(plan, lambda _: None, lambda _: Mortal(test.reply, test.tokens))
"""


def test_a_run_that_was_killed_ends_as_an_unbroken_one(
    plan: Callable[..., Plan], pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "TOGETHER", 2)
    methods = ("vanilla", "modplural", "ethos-structured", "ethos-pool")
    unbroken, broken = plan("unbroken", 5, methods), plan("broken", 5, methods)
    assert run(unbroken).failed == 0
    # Three times the same run, each killed at one of its calls: among the first, amid the panels, near the end.
    for calls, least in ((2, 0), (25, 8), (20, 16)):
        script = KILLED.format(
            file=__file__, calls=calls, methods=methods, pool=str(pool),
            files=[task.source for task in broken.tasks], folder=str(broken.folder),
        )  # fmt: skip
        killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert killed.returncode == -9, killed.stderr
        left = sum(len(completed(path)) for path in broken.folder.glob("*.jsonl"))
        assert least <= left < 40
    report = run(broken)
    assert (report.failed, report.done) == (0, 40)
    assert sum(cell.skipped for cell in report.cells) == left
    assert said(broken.folder) == said(unbroken.folder)
    assert len(read_run(broken.folder)["sessions"]) == 4


def test_a_torn_last_line_is_answered_again(plan: Callable[..., Plan]) -> None:
    made = plan(methods=("vanilla", "ethos-structured"))
    run(made)
    whole = said(made.folder)
    [path, *_] = made.folder.glob("*vanilla*.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    assert len(completed(path)) == 4
    report = run(made)
    assert [cell.answered for cell in report.cells if cell.results == path] == [1]
    assert said(made.folder) == whole


def test_every_task_by_every_method_leaves_vitals_rows_with_the_answers_filled_in(plan: Callable[..., Plan]) -> None:
    made = plan(counts=2, methods=NAMES)
    report = run(made)
    assert (report.failed, report.done) == (0, 2 * len(NAMES) * 2)
    for task in made.tasks:
        for name in NAMES:
            kept = completed(results_file(made.folder, task.name, name, "scripted:main"))
            assert list(kept) == [item.id for item in task.items]
            for item, row in zip(task.items, kept.values(), strict=True):
                ours = {"output", "pred_distribution", "ethos", "id"}
                assert {key: row[key] for key in row.keys() - ours} == {
                    key: item.row[key] for key in item.row.keys() - ours
                }
                assert row["id"] == item.row["id"]
                assert row["output"]
                assert (row["pred_distribution"] is None) == (task.name is OVERTON)
                assert (row["ethos"]["method"], row["ethos"]["model"]) == (name, "scripted:main")


def test_batches_are_of_sixteen_items(plan: Callable[..., Plan]) -> None:
    model = ScriptedModel(reply, tokens)
    made = plan(counts=18)
    run(replace(made, tasks=made.tasks[:1]), lambda _: model)
    assert [len(batch) for batch in model.batches] == [16, 2]


def test_an_item_that_fails_is_listed_and_tried_again(plan: Callable[..., Plan]) -> None:
    def fails_in_ward_three(request: Request) -> str:
        if "ward 3" in request.messages[-1].content:
            raise ModelError("the prompt is too long", "shorten it", reply="no")
        return reply(request)

    made = plan()
    report = run(made, lambda _: ScriptedModel(fails_in_ward_three, tokens))
    [cell] = [cell for cell in report.cells if cell.failed]
    assert (cell.task, list(cell.failed), cell.answered, report.failed) == (OVERTON, ["3"], 4, 1)
    [failure] = [json.loads(line) for line in failures_of(cell.results).read_text().splitlines()]
    assert failure == {
        "id": "3", "error": "the prompt is too long", "hint": "shorten it", "kind": "ModelError", "reply": "no",
    }  # fmt: skip
    again = run(made)
    assert (again.failed, sum(cell.answered for cell in again.cells)) == (0, 1)
    assert not failures_of(cell.results).exists()


def test_a_server_that_is_down_ends_the_run_and_the_next_goes_on(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down_from_ward_three(request: Request) -> str:
        if "ward 3" in request.messages[-1].content:
            raise ModelError("the endpoint cannot be reached", retryable=True)
        return reply(request)

    monkeypatch.setattr(runner, "TOGETHER", 2)
    made = plan(counts=6)
    with pytest.raises(ModelError, match="cannot be reached"):
        run(made, lambda _: ScriptedModel(down_from_ward_three, tokens))
    report = run(made)
    assert [(cell.skipped, cell.answered) for cell in report.cells] == [(2, 4), (0, 6)]


CHANGES: dict[str, Callable[[Plan], Plan]] = {
    "seed": lambda made: replace(made, seed=1),
    "permute_options": lambda made: replace(made, permute_options=True),
    "methods, ethos-structured, k is 2 there, and 3 now": lambda made: replace(
        made, settings=replace(made.settings, k=3)
    ),
    "tasks, overton_valuekaleidoscope, items is 5 there, and 2 now": lambda made: replace(
        made, tasks=(sample(made.tasks[0], 2, 0), made.tasks[1])
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_resume_with_other_settings_is_refused(what: str, plan: Callable[..., Plan]) -> None:
    made = plan(methods=("ethos-structured",))
    run(made)
    whole = said(made.folder)
    with pytest.raises(InputError, match=f"holds a run with other settings: {what}"):
        run(CHANGES[what](made))
    assert said(made.folder) == whole
    assert len(read_run(made.folder)["sessions"]) == 1


def test_methods_and_models_may_be_added_to_a_run(plan: Callable[..., Plan]) -> None:
    made = plan()
    run(made)
    report = run(replace(made, methods=("prompting", "moe"), models=("scripted:main", "scripted:other")))
    assert [cell.skipped for cell in report.cells] == [0] * 8
    noted = read_run(made.folder)
    assert list(noted["methods"]) == ["vanilla", "prompting", "moe"]
    assert list(noted["models"]) == ["scripted:main", "scripted:other"]
    assert noted["methods"]["moe"]["communities"] == COMMUNITIES["perspectives"]
    assert noted["helpers"] == {"main": {"revision": "", "precision": ""}}


def test_a_run_tells_what_was_run(plan: Callable[..., Plan]) -> None:
    made = plan(methods=("ethos-paper",), seed=7)
    run(made)
    noted = read_run(made.folder)
    assert noted["seed"] == 7
    assert noted["methods"]["ethos-paper"] == {
        "comment_model": "",
        "persona_model": "",
        "k": 2,
        "attributes": list(ATTRIBUTES),
        "embedder": "",
    }
    assert noted["tasks"][str(OVERTON)]["items"] == 5
    assert noted["prompts"].keys() == {"paper", "aggregation"}
    assert noted["prompts"]["paper"]["version"] == prompt_set(PromptSetName.PAPER).version
    [session] = noted["sessions"]
    assert {"python", "ethos-pool", "torch"} <= session["versions"].keys()
    assert {"processor", "cores", "graphics"} <= session["hardware"].keys()


def test_a_folder_of_something_else_is_left_alone(plan: Callable[..., Plan]) -> None:
    made = plan()
    made.folder.mkdir()
    (made.folder / "run.json").write_text("[1, 2]")
    with pytest.raises(InputError, match="is not of format 1"):
        run(made)
    (made.folder / "run.json").unlink()
    results = results_file(made.folder, OVERTON, "vanilla", "scripted:main")
    results.write_text('{"a": "diary"}\n')
    with pytest.raises(InputError, match="is no prediction of a run"):
        run(made)
    assert results.read_text() == '{"a": "diary"}\n'


def test_one_run_at_a_time_writes_to_a_folder(plan: Callable[..., Plan]) -> None:
    made = plan()
    first = RunFolder(made.folder)
    with pytest.raises(InputError, match="another run is writing to"):
        run(made)
    first.close()
    assert run(made).failed == 0


def test_what_cannot_be_told_apart_in_a_folder_is_refused(plan: Callable[..., Plan]) -> None:
    made = plan()
    for change in (
        {"tasks": made.tasks * 2},
        {"methods": ("vanilla", "vanilla")},
        {"models": ("openai:a/b", "transformers:a-b")},
    ):
        with pytest.raises(InputError, match="is given twice"):
            replace(made, **change)  # type: ignore[arg-type]
    for nothing in ("tasks", "methods", "models"):
        with pytest.raises(InputError, match="is given"):
            replace(made, **{nothing: ()})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="there is no method 'magic'"):
        replace(made, methods=("magic",))


def test_a_method_without_its_models_is_an_error_before_anything_is_asked(plan: Callable[..., Plan]) -> None:
    made = plan(methods=("modplural",))
    with pytest.raises(ConfigurationError, match="no community models are named for 'perspectives'"):
        run(replace(made, settings=MethodSettings()))


def test_a_model_is_let_go_before_the_next_is_opened(plan: Callable[..., Plan]) -> None:
    opened: list[str] = []

    def noted(name: str) -> LanguageModel:
        opened.append(name)
        return scripted(name)

    made = replace(plan(methods=("vanilla", "prompting", "moe")), models=("scripted:a", "scripted:b"))
    run(made, noted)
    # Opened for their identities, then used; weights load at the first request only.
    assert opened == ["scripted:a", "scripted:b", "main"]


def item(identifier: str, scenario: Scenario) -> Item:
    return Item(identifier, scenario, (), None, (), "", {"id": identifier})


def test_what_the_pool_was_prepared_for_is_told(plan: Callable[..., Plan], pool: Path, tmp_path: Path) -> None:
    known = starter_panels()[3].scenario
    items = (
        item("known", known),
        item("other options", Scenario(known.situation, ("Yes", "No"))),
        item("new", Scenario("Working in ward 77")),
        item("not taken in", starter_panels()[40].scenario),
    )
    with Ethos(pool) as ethos:
        assert leaked(ethos.pool, items) == ["known", "other options"]
    task = Task(OVERTON, items[:3:2], (), "memory")
    made = replace(plan(methods=("ethos-pool",)), tasks=(task,))
    report = run(made)
    assert report.leaked == {str(OVERTON): ["known"]} == read_run(made.folder)["leaked"]
    gates = {name: row["ethos"]["gate"] for name, row in completed(report.cells[0].results).items()}
    assert gates["new"] != "hit"


def test_the_pool_stays_as_it_was(plan: Callable[..., Plan], pool: Path) -> None:
    def counts(folder: Path) -> dict[str, object]:
        with Ethos(folder) as ethos:
            return statistics(ethos.pool.database)

    before = counts(pool)
    made = plan(methods=("ethos-pool", "ethos-structured"))
    run(made)
    assert counts(pool) == before
    assert counts(made.folder / "pool")["answers"] == 10


def test_a_pool_that_is_not_there_is_an_error(plan: Callable[..., Plan], tmp_path: Path) -> None:
    made = plan(methods=("ethos-pool",))
    with pytest.raises(InputError, match="there is no pool in"):
        run(replace(made, settings=replace(made.settings, pool=tmp_path / "nowhere")))


def test_slugs_are_safe_in_file_names() -> None:
    assert slug("transformers:HuggingFaceTB/SmolLM2-135M-Instruct") == "HuggingFaceTB-SmolLM2-135M-Instruct"
    assert slug("transformers:/home/x/../models/my model/") == "home-x-..-models-my-model"
    assert len(slug("openai:" + "m" * 300)) == 80


def test_the_real_model_predicts_the_same_whatever_shares_its_batch(
    plan: Callable[..., Plan], model: LanguageModel
) -> None:
    made = plan(counts=2, methods=("vanilla",))
    [together, *_] = [run(replace(made, tasks=made.tasks[1:]), lambda _: model).cells]
    both = [row["pred_distribution"] for row in completed(together[0].results).values()]
    for place, one in enumerate(made.tasks[1].items):
        alone = replace(made.tasks[1], items=(one,))
        report = run(replace(made, tasks=(alone,), folder=made.folder.with_name(f"alone{place}")), lambda _: model)
        [row] = completed(report.cells[0].results).values()
        assert row["pred_distribution"] == pytest.approx(both[place], abs=1e-5)


def ethos_eval(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["eval", "run", *map(str, arguments)])


def test_the_command_line_runs_and_resumes(tmp_path: Path) -> None:
    source, out = task_file(tmp_path, MORAL, 4), tmp_path / "run"
    done = ethos_eval(source, "--methods", "vanilla,prompting", "--limit", "2", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [(cell["method"], cell["answered"]) for cell in report["cells"]] == [("vanilla", 2), ("prompting", 2)]
    assert "4 of 4 items" in done.stderr
    resumed = ethos_eval(source, "--methods", "vanilla", "--limit", "2", "--out", out)
    assert resumed.exit_code == 0, resumed.output
    for told in ("distributional_moralchoice", "vanilla", "SmolLM2-135M-Instruct", f"The predictions are in {out}"):
        assert told in resumed.stdout
    other = ethos_eval(source, "--methods", "vanilla", "--limit", "2", "--out", out, "--seed", "3")
    assert other.exit_code == 1
    assert "other settings: seed is 0 there, and 3 now" in other.stderr


def test_the_command_line_exits_with_three_when_items_failed(tmp_path: Path) -> None:
    source = tmp_path / "vital_overton_valuekaleidoscope.json"
    # A digit is a token: more of them than the model reads.
    source.write_text(json.dumps([{**row, "situation": "31415926535 " * 1500} for row in rows(OVERTON, 2)]))
    done = ethos_eval(source, "--methods", "vanilla", "--out", tmp_path / "run")
    assert done.exit_code == 3, done.output
    assert "2 failed, overton_valuekaleidoscope by vanilla" in done.stderr
    failed = failures_of(results_file(tmp_path / "run", OVERTON, "vanilla", f"transformers:{SMOLLM2}"))
    assert len(failed.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[others]\n"a" = "openai:m"\n', "'others' is no set of community models"),
        ("[cultures]\na = 3\n", "'cultures' is no set of community models"),
        ("not toml", "cannot be read"),
        ('[perspectives]\n"left news" = "openai:none"\n', "needs an endpoint"),
    ],
)
def test_a_file_of_communities_is_checked(text: str, told: str, tmp_path: Path) -> None:
    source, communities = task_file(tmp_path, MORAL, 2), tmp_path / "c.toml"
    communities.write_text(text)
    done = ethos_eval(source, "--methods", "moe", "--out", tmp_path / "run", "--communities", communities)
    assert done.exit_code == 1
    assert told in done.stderr


def test_modes_follow_from_tasks() -> None:
    assert [name.mode for name in (OVERTON, MORAL)] == [Mode.OVERTON, Mode.DISTRIBUTIONAL]
