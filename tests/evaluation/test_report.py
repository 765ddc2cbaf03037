"""The report of a run: over a small folder in the runner's own form, written by the runner's own functions."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ethos.cli.evaluate.report import report_command
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import InputError, ModelError
from ethos.evaluation.analyses.paper_figures import family, paper
from ethos.evaluation.analyses.pool_size import Size
from ethos.evaluation.judging.judge import Judgement, Verdict
from ethos.evaluation.judging.pairwise import Comparison
from ethos.evaluation.judging.pairwise import keep as keep_judgements
from ethos.evaluation.methods import MethodSettings
from ethos.evaluation.metrics.intervals import mean_interval
from ethos.evaluation.metrics.scoring import Judges
from ethos.evaluation.report.data import gather, short_model
from ethos.evaluation.report.page import MARK, markdown, plain
from ethos.evaluation.report.report import make_report, write_report
from ethos.evaluation.report.run import billions
from ethos.evaluation.runs.runner import Plan, run_evaluation
from ethos.evaluation.tasks.loading import load_task
from ethos.evaluation.tasks.run_folder import results_file
from ethos.evaluation.tasks.task import Task, TaskName
from ethos.llm import Message, Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.persona import OriginKind
from ethos.pipeline.ethos import Ethos
from ethos.pool.starter import starter_panels
from ethos.pool.storage.values import Origin
from ethos.prompts import PromptSetName, prompt_set

SMALL, LARGE = "transformers:HuggingFaceTB/SmolLM2-135M-Instruct", "transformers:Qwen/Qwen2.5-7B-Instruct"
HOSTILE = '<script>alert("x")</script> | **bold** $x_1$'
METHODS = ("vanilla", "ethos-structured", "ethos-pool")


def overton_rows(count: int) -> list[dict[str, Any]]:
    """Row 5 names a value twice, and the last row asks nothing: both are odd."""
    gold = {
        "vrd": ["Honesty", "Right to know"],
        "explanation": ["Patients deserve honesty.", "Patients have a right to know."],
    }
    twice = {"vrd": [HOSTILE] * 2, "explanation": ["Patients deserve honesty."] * 2}
    rows = [
        {"id": number, "situation": f"Telling patient {number} the truth", **(twice if number == 5 else gold)}
        for number in range(count)
    ]
    return [*rows, {"id": 99, "situation": "", **gold}]


def moral_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "question": f"You treat patient {number}. Options: A. I tell. B. I do not tell. Answer:",
            "options": ["I tell.", "I do not tell."],
            "attribute": "high_ambiguity" if number % 2 else "low_ambiguity",
            "gold_distribution": [0.5, 0.5] if number % 2 else [1.0, 0.0],
        }
        for number in range(count)
    ]


def reply(request: Request) -> str:
    """A persona where one is asked for, else a comment or an answer; patient 6 always fails."""
    asked, seed = request.messages[-1].content, request.seed
    if "patient 6" in asked and not request.schema:
        raise ModelError(f"no answer {HOSTILE}", reply="…")
    if request.schema:
        properties = json.loads(request.schema)["properties"]
        drawn = {name: properties[name]["enum"][0] for name in ("ethical_framework", "emotion")}
        word = ("Care", "Justice", "Duty", "Liberty", "Faith", "Science")[seed % 6]
        named = {"name": f"{word} advocate {seed}", "core_value": f"{word} {seed}", "right_duty": f"Right to {seed}"}
        return json.dumps({**named, **drawn, "stakeholder_role": f"{word} nurse {seed}"})
    hostile = HOSTILE if "patient 0" in asked else ""
    return f"{hostile} Honesty matters here, says voice {seed}. " * (2 if "Passage" in asked else 1)


def tokens(prompt: tuple[Message, ...]) -> dict[str, float]:
    text = prompt[-1].content
    if "patient 6" in text:
        return {}
    share = sum(map(ord, text)) % 97 / 97
    return {"A": 0.2 + share, "B": 0.5}


def answer(folder: Path, tasks: list[Task], models: tuple[str, ...], methods: tuple[str, ...], pool: Path) -> None:
    """Run an evaluation with a scripted model."""
    settings = MethodSettings(pool=pool, k=3)
    plan = Plan(tuple(tasks), methods, models, folder, seed=7, settings=settings)
    run_evaluation(plan, lambda _: None, lambda name: ScriptedModel(reply, tokens, name))


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


def task_of(folder: Path, name: TaskName, rows: list[dict[str, Any]]) -> Task:
    path = folder / f"vital_{name}.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return load_task(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("evaluation")
    tasks = [
        task_of(base, TaskName.OVERTON_VALUES, overton_rows(7)),
        task_of(base, TaskName.DISTRIBUTIONAL_MORAL, moral_rows(7)),
    ]
    with Ethos(base / "pool", model=ScriptedModel(reply)) as ethos:
        for panel in starter_panels()[:6]:
            ethos.pool.add(panel.scenario, panel.personas, Origin(OriginKind.CURATED))
        known = tasks[0].items[1].scenario  # which leaks
        ethos.pool.add(known, starter_panels()[7].personas, Origin(OriginKind.CURATED))
        ethos.pool.refresh()
    run = base / "run"
    answer(run, tasks[:1], (SMALL,), METHODS, base / "pool")
    answer(run, tasks[1:], (LARGE,), METHODS, base / "pool")
    for size in ("1", "6"):
        answer(run / f"k={size}", tasks[:1], (SMALL,), ("ethos-structured",), base / "pool")
    for name in ("judge one", "human:Ann"):
        comparison = Comparison(TaskName.OVERTON_VALUES, "ethos-pool", "vanilla", SMALL, name, "1")
        verdicts = [Verdict.FIRST, Verdict.TIE, Verdict.SECOND, Verdict.FIRST]
        both = None if name.startswith("human") else Verdict.FIRST
        judged = [Judgement(str(i), one, one, both, ("A",)) for i, one in enumerate(verdicts)]
        keep_judgements(comparison.path(run), comparison, judged)
    sizes = [Size(n, 4 * n, *(mean_interval([0.0, n / 100, 1.0]) for _ in range(3))) for n in (25, 50)]
    (run / "pool_size.json").write_text(json.dumps([size.as_dict() for size in sizes]), encoding="utf-8")
    return run


def quiet(_: str) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def written(folder: Path, embedder: Embedder) -> tuple[str, str]:
    report = make_report(gather(folder, Judges(embedder=embedder), quiet), embedder, quiet)
    page, text = write_report(report, folder)
    return page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """What a page would load or run, and whether its elements are closed in order."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts = 0
        self.open: list[str] = []
        self.ids: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        self.faults += [name for name, _ in attrs if name.startswith("on")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")


def test_the_page_loads_nothing_runs_nothing_and_is_whole(written: tuple[str, str]) -> None:
    page, _ = written
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    assert not reader.faults
    assert not reader.scripts
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in reader.addresses)
    assert len(reader.ids) == len(set(reader.ids))
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", page)
    assert MARK in page[:1000]


def test_hostile_text_is_shown_and_never_markup(written: tuple[str, str]) -> None:
    page, text = written
    assert "<script" not in page
    assert "&lt;script&gt;alert" in page
    assert "<script" not in text
    assert "&lt;script>alert" in text
    assert "**bold**" not in text


@pytest.mark.parametrize("number", ["3", "4", "5", "6", "7", "8", "14", "17", "18", "19"])
def test_every_table_of_the_paper_has_its_place(written: tuple[str, str], number: str) -> None:
    for one in written:
        assert f"Table {number})" in one


def test_scores_stand_beside_the_papers_and_beside_trivial_guesses(written: tuple[str, str]) -> None:
    _, text = written
    assert re.search(r"\| uniform: 0\.\d{3} \[[^|]*\] \(no model\) \|", text)
    # The run has Vanilla and two methods that are the paper's "Ours".
    assert "| Qwen2.5-7B, same checkpoint (the paper) | 0.283 | 0.242 | 0.242 |" in text
    assert "| LLaMA2-7B (the paper) | 0.412 | 0.234 | 0.234 |" in text


def test_a_stand_in_is_never_compared_with_the_papers_coverage(written: tuple[str, str]) -> None:
    _, text = written
    section = text[text.index("## Overton: situations") : text.index("## Distributional: moral")]
    assert "cannot be compared with the paper's figures" in section
    assert "44.27" not in section
    assert "embedding coverage" in section


def test_methods_are_compared_pairwise_and_pool_with_fresh(written: tuple[str, str], folder: Path) -> None:
    _, text = written
    assert "ethos-structured minus ethos-pool, SmolLM2-135M-Instruct" in text
    row = next(line for line in text.splitlines() if "moral scenarios, Qwen2.5-7B-Instruct: ethos-pool minus" in line)
    spent = []
    for method in ("ethos-pool", "ethos-structured"):
        lines = results_file(folder, TaskName.DISTRIBUTIONAL_MORAL, method, LARGE).read_text().splitlines()
        spent.append([sum(json.loads(line)["ethos"]["calls"].values()) for line in lines])
    assert len(spent[0]) == 6
    assert row.split(" | ")[3].startswith(f"{sum(spent[0]) / 6 - sum(spent[1]) / 6:+.2f} [")
    assert row.split(" | ")[-1] == "6 |"


def test_what_failed_what_leaked_and_what_is_odd_is_said(written: tuple[str, str]) -> None:
    page, text = written
    assert "1 item: no answer" in text
    assert "| Overton: situations | 7 | 1 | 1 |" in text
    assert "left out" in text
    assert "Leakage: the pool of ethos-pool holds personas for 1 of the items" in page


def test_a_method_of_which_nothing_came_is_counted_and_named(folder: Path, tmp_path: Path) -> None:
    task = task_of(tmp_path, TaskName.DISTRIBUTIONAL_MORAL, moral_rows(3))
    answer(tmp_path / "run", [task], (LARGE,), ("vanilla", "ethos-paper"), folder.parent / "pool")  # no line is valid
    run = gather(tmp_path / "run", Judges(), quiet)
    [nothing] = run.unanswered
    assert (nothing.method, nothing.model, nothing.asked, len(nothing.failures)) == ("ethos-paper", LARGE, 3, 3)
    _, path = write_report(make_report(run, None, quiet), tmp_path / "run")
    text = path.read_text(encoding="utf-8")
    assert "**2** methods" in text
    assert "**3** items failed" in text
    assert f"ethos-paper, {short_model(LARGE)}: no item was answered, 3 of 3 failed" in text
    assert f", ethos-paper, {short_model(LARGE)} | 3 | 3 | 0 | 0 | 3 items: 0 of 3 personas after 3 attempts" in text


def test_a_run_of_which_nothing_came_says_why_instead_of_a_report(folder: Path, tmp_path: Path) -> None:
    task = task_of(tmp_path, TaskName.DISTRIBUTIONAL_MORAL, moral_rows(3))
    answer(tmp_path / "run", [task], (LARGE,), ("ethos-paper",), folder.parent / "pool")
    with pytest.raises(InputError, match=r"all 3 items failed; the first, by ethos-paper, .*: 0 of 3 personas after 3"):
        gather(tmp_path / "run", Judges(), quiet)


def test_a_small_model_is_called_a_demonstration(written: tuple[str, str]) -> None:
    assert "SmolLM2-135M-Instruct: a demonstration model" in written[0]
    assert billions(LARGE) == 7.0
    assert billions(SMALL) == 0.135
    assert billions("openai:gpt-4o") is None


def test_judges_sizes_and_variants_found_in_the_folder_are_told(written: tuple[str, str]) -> None:
    _, text = written
    assert "| ethos-pool against vanilla, SmolLM2-135M-Instruct, overton_valuekaleidoscope | judge one | 50.0 [" in text
    assert "human:Ann, judge one | 1.000 [1.000, 1.000] | 100.0 | 4 |" in text
    assert "| 25 | 100 |" in text
    assert "| k = 1 · ethos-structured, SmolLM2-135M-Instruct |" in text
    assert "| k = 3 · Qwen2.5-7B (the paper) | Overton | value coverage (%) | 43.70 |" in text


def test_what_was_run_is_said(written: tuple[str, str]) -> None:
    _, text = written
    prompts = prompt_set(PromptSetName.STRUCTURED)
    structured = f"| structured | {prompts.version} | {prompts.content} |"
    for what in (
        "| seed | 7 |",
        structured,
        "k: 3",
        "python 3",
        " cores, ",
    ):
        assert what in text


def test_a_folder_without_results_is_refused(tmp_path: Path, embedder: Embedder) -> None:
    with pytest.raises(InputError, match="holds no results"):
        gather(tmp_path, Judges(), quiet)
    with pytest.raises(InputError, match="is no folder"):
        gather(tmp_path / "none", Judges(), quiet)


def test_a_file_that_is_no_result_is_named_not_dropped(folder: Path, tmp_path: Path, embedder: Embedder) -> None:
    (source,) = folder.glob("overton*.vanilla.*135M-Instruct.jsonl")
    (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "other.jsonl").write_text('{"what": 1}\n', encoding="utf-8")
    run = gather(tmp_path, Judges(), quiet)
    assert list(run.unread) == ["other.jsonl"]
    text = markdown(make_report(run, None, quiet))
    assert "| other.jsonl |" in text
    assert "Overton: situations, value coverage, share above 0.33: no NLI model" in text
    assert "no NLI model (--nli NAME)." in text
    assert "no run.json" in text


class Half:
    """Everything follows from everything, by half."""

    name = "half"

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [0.5] * len(pairs)


def test_value_coverage_stands_beside_table_3(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("overton*.jsonl"):
        text = path.read_text(encoding="utf-8").replace(SMALL, LARGE)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    text = markdown(make_report(gather(tmp_path, Judges(nli=Half()), quiet), None, quiet))
    section = text[text.index("## Overton: situations") : text.index("## What answers cost")]
    assert "### Value coverage, Overton mode (Table 3)" in section
    assert "| Qwen2.5-7B-Instruct | 50.0 [50.0, 50.0] | 50.0 [50.0, 50.0] | 50.0 [50.0, 50.0] |" in section
    ours = "44.27 [42.24, 43.70]"
    assert f"| Qwen2.5-7B, same checkpoint (the paper) | 32.41 | {ours} | {ours} |" in section
    assert "by half (" in section
    assert "its own procedure is ethos-paper" in section
    assert "the task's own file cannot be read" in text


def test_a_folder_of_variants_alone_has_a_report(folder: Path, tmp_path: Path) -> None:
    for size in ("1", "6"):
        shutil.copytree(folder / f"k={size}", tmp_path / f"k={size}")
    text = markdown(make_report(gather(tmp_path, Judges(), quiet), None, quiet))
    assert "**12** items answered" in text
    assert "| k = 6 · ethos-structured, SmolLM2-135M-Instruct |" in text
    assert "SmolLM2-135M-Instruct: a demonstration model" in text
    assert "| ethos-structured | k: 3 |" in text


def test_items_of_another_file_are_not_passed_off_as_vitals(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("distributional*7B-Instruct.jsonl"):
        shutil.copy(path, tmp_path)
    told = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    told["tasks"]["distributional_moralchoice"]["source"] = "/elsewhere/modplural_moral.json"
    (tmp_path / "run.json").write_text(json.dumps(told), encoding="utf-8")
    text = markdown(make_report(gather(tmp_path, Judges(), quiet), None, quiet))
    assert "- The paper's rows are of VITAL; these items are of modplural_moral.json." in text


def test_the_command_writes_both_files_or_prints_scores(folder: Path, tmp_path: Path) -> None:
    (source,) = folder.glob("distributional*.vanilla.*7B-Instruct.jsonl")
    (tmp_path / source.name).write_bytes(source.read_bytes())
    done = CliRunner().invoke(report_command, [str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "report.html").exists()
    told = CliRunner().invoke(report_command, [str(tmp_path), "--json"])
    assert json.loads(told.stdout)[0]["task"] == "distributional_moralchoice"


def test_papers_figures_are_those_printed() -> None:
    printed = paper()
    table = printed.of_task(TaskName.OVERTON_VALUES)
    assert table
    assert table.figure("Qwen2.5-7B", "ethos") == 44.27
    assert table.figure("Qwen2.5-7B", "prompting") is None
    assert table.intervals["Qwen2.5-7B"] == (42.24, 43.70)
    assert printed.model("transformers:/models/Qwen2.5-14B-Instruct") == "Qwen2.5-14B"
    assert printed.model(SMALL) is None
    assert [family(name) for name in ("ethos-pool", "modplural-cultures", "moe", "o")] == [
        "ethos",
        "modplural",
        "moe",
        "",
    ]
    assert set(printed.tables) == {"3", "4", "5", "6", "7", "8", "17a", "17b", "18a", "18b", "19"}


def test_text_that_looks_like_markdown_stays_text() -> None:
    assert plain("a|b\n# c_d [x](y)") == r"a\|b # c_d [x\](y)"
