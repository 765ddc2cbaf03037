"""The data of a report: a run's folder, read and scored.

A run's folder holds ``run.json`` and a results file a task, method and model; beside them may lie judgements
(``judge/``), variants of an ablation (``k=3/``, folders of the same form) and ``pool_size.json``. Knows files and
scores; knows no table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ethos.errors import EthosError, InputError
from ethos.evaluation.analyses.ablations import GRIDS
from ethos.evaluation.analyses.pool_size import Size
from ethos.evaluation.judging.judge import Judgement
from ethos.evaluation.judging.pairwise import Comparison, all_judgements
from ethos.evaluation.methods.registry import METHODS
from ethos.evaluation.metrics.scoring import Judges, Score, Scored, score, trivial_scores
from ethos.evaluation.tasks.loading import load_task, row_ids
from ethos.evaluation.tasks.prediction import OWN, Prediction
from ethos.evaluation.tasks.results import Results, read_results
from ethos.evaluation.tasks.run_folder import FAILED, RUN, failures_of, read_run, slug
from ethos.evaluation.tasks.task import Task, TaskName
from ethos.pipeline.scenario_files import read_rows

POOL_SIZE = "pool_size.json"
_ALONE = (
    "the task's own file cannot be read, so that rows without a model, and what groups disagree on, are taken from the "
    "items of the run alone"
)


@dataclass(frozen=True, slots=True)
class Result:
    """A method's results on a task with a model.

    Attributes:
        task: The items that have a row.
        method: Its name.
        model: The main model's.
        source: Name of the task's file; empty where the run does not tell.
        asked: How many items the run was asked for.
        predictions: By item id, those that succeeded, with what they cost.
        failures: By item id, why there is none.
        scored: The score, and the trivial predictors' on the same items.
    """

    task: Task
    method: str
    model: str
    source: str
    asked: int
    predictions: Mapping[str, Prediction]
    failures: Mapping[str, str]
    scored: Scored

    @property
    def label(self) -> str:
        """Method and model, for plots."""
        return f"{self.method}, {short_model(self.model)}"


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A method that answered no item of a task with a model: it has failures, and nothing to score.

    Attributes:
        task: The task's name.
        method: Its name.
        model: The main model's.
        asked: How many items the run was asked for.
        failures: By item id, why there is no prediction.
    """

    task: str
    method: str
    model: str
    asked: int
    failures: Mapping[str, str]

    @property
    def label(self) -> str:
        """Method and model."""
        return f"{self.method}, {short_model(self.model)}"


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder.

    Attributes:
        folder: It.
        manifest: ``run.json``; empty where there is none.
        results: By task, method and model, in the order of their files' names.
        unanswered: Those of them that came to nothing.
        unread: By file, why it could not be read or scored.
        judged: Judgements.
        variants: By grid, the runs of its variants by their values.
        sizes: A pool as it grew; empty where that was not measured.
    """

    folder: Path
    manifest: Mapping[str, Any]
    results: tuple[Result, ...]
    unanswered: tuple[Unanswered, ...]
    unread: Mapping[str, str]
    judged: tuple[tuple[Comparison, list[Judgement]], ...]
    variants: Mapping[str, Mapping[str, Run]]
    sizes: tuple[Size, ...]

    def of_task(self, task: str) -> list[Result]:
        """The results on one task."""
        return [result for result in self.results if result.task.name == task]

    @property
    def everything(self) -> list[Result]:
        """Its results, and those of its variants."""
        return [*self.results, *chain.from_iterable(run.results for run in self._of_variants)]

    @property
    def nothing_came(self) -> list[Unanswered]:
        """What came to nothing, in it and in its variants."""
        return [*self.unanswered, *chain.from_iterable(run.unanswered for run in self._of_variants)]

    @property
    def _of_variants(self) -> list[Run]:
        return [run for runs in self.variants.values() for run in runs.values()]

    @property
    def about(self) -> Mapping[str, Any]:
        """Its manifest; a folder of variants alone has that of the first: the others differ from it in one setting."""
        return self.manifest or next((run.manifest for run in self._of_variants), {})

    def leaked(self, task: str) -> list[str] | None:
        """Ids of items whose situation the pool held personas for; None where no pool was asked."""
        found = self.about.get("leaked", {}).get(task)
        return None if found is None else list(map(str, found))

    @property
    def tasks(self) -> list[str]:
        """The tasks that have results, in the order of the paper."""
        there = {result.task.name for result in self.results}
        return [name for name in TaskName if name in there]


def gather(folder: Path, judges: Judges, progress: Callable[[str], None]) -> Run:
    """Read a run's folder, and score what is in it.

    Args:
        folder: The folder.
        judges: Score answers to situations.
        progress: Told which file is being scored.

    Raises:
        InputError: The folder holds no results, or ``run.json``, ``pool_size.json`` or judgements cannot be read.
        ConfigurationError: The entailment model cannot be loaded.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", "name the --out of an `ethos eval run`")
    run = _read(folder, _Scorer(judges), progress)
    if not run.results and not run.variants:
        if run.unanswered:
            one = run.unanswered[0]
            raise InputError(
                f"{folder} holds nothing to score: all {sum(len(each.failures) for each in run.unanswered)} items "
                f"failed; the first, by {one.label}: {next(iter(one.failures.values()), '')[:200]}",
                "fix the cause and run the same command again: failed items are tried again",
            )
        why = "; ".join(f"{name}: {reason}" for name, reason in list(run.unread.items())[:3])
        raise InputError(
            f"{folder} holds no results{f' ({why})' if why else ''}", "name the --out of an `ethos eval run`"
        )
    return run


class _Scorer:
    """Scores results; what needs no method is scored once a task, and gold files are read once."""

    def __init__(self, judges: Judges) -> None:
        self._judges = judges
        self._wholes: dict[str, Task | None] = {}
        self._trivial: dict[str, dict[str, Score]] = {}

    def __call__(self, found: Results, source: str) -> Scored:
        """The score of what was read; `source` is the task's own file, which may be gone."""
        whole = self._whole(source)
        own = score(
            found.task, found.predictions, method=found.method, model=found.model, source=found.source,
            judges=self._judges, whole=whole,
        )  # fmt: skip
        if whole is None:
            own = replace(own, notes=(*own.notes, _ALONE))
        if found.task.key not in self._trivial:
            self._trivial[found.task.key] = trivial_scores(found.task, self._judges, whole)
        return Scored(own, self._trivial[found.task.key])

    def _whole(self, source: str) -> Task | None:
        if source not in self._wholes:
            try:
                self._wholes[source] = load_task(Path(source)) if source else None
            except InputError:  # gone, or another file by now; a note says what that means
                self._wholes[source] = None
        return self._wholes[source]


def load_result(path: Path, scorer: Callable[[Results, str], Scored], manifest: Mapping[str, Any]) -> Result:
    """One results file, with its failures and its score.

    Raises:
        InputError: It cannot be read.
    """
    found = read_results(path)
    about = manifest.get("tasks", {}).get(str(found.task.name), {})
    rows = read_rows(path)
    own = {item: row.get(OWN) for item, (_, row) in zip(row_ids(rows), rows, strict=True) if isinstance(row, Mapping)}
    predictions, failures = {}, {}
    for item, said in found.predictions.items():
        if isinstance(said, EthosError):
            failures[item] = str(said)
        else:
            predictions[item] = _with_costs(said, own[item])
    if (failed := failures_of(path)).exists():
        failures |= {str(row["id"]): str(row["error"]) for _, row in read_rows(failed)}
    return Result(
        found.task,
        found.method or path.stem,
        found.model or "a model that the file does not name",
        Path(about.get("source", "")).name,
        int(about.get("items", len(found.predictions))),
        predictions,
        failures,
        scorer(found, str(about.get("source", ""))),
    )


def _read(folder: Path, scorer: _Scorer, progress: Callable[[str], None]) -> Run:
    manifest = read_run(folder) if (folder / RUN).exists() else {}
    results, unread = [], {}
    for path in sorted(folder.glob("*.jsonl")):
        if path.name.endswith(FAILED) or _came_to_nothing(path):
            continue
        progress(f"scoring {path.name}")
        try:
            results.append(load_result(path, scorer, manifest))
        except InputError as error:
            unread[path.name] = str(error)
    variants: dict[str, dict[str, Run]] = {}
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        grid, equals, value = inner.name.partition("=")
        if equals and grid in GRIDS:
            variants.setdefault(grid, {})[value] = _read(inner, scorer, progress)
    order = {name: place for place, name in enumerate(METHODS)}
    results.sort(key=lambda result: order.get(result.method, len(order)))  # files come by name
    nothing = [
        _unanswered(path, manifest)
        for path in sorted(folder.glob(f"*{FAILED}"))
        if _came_to_nothing(path.with_name(f"{path.name.removesuffix(FAILED)}.jsonl"))
    ]
    nothing.sort(key=lambda one: order.get(one.method, len(order)))
    return Run(
        folder,
        manifest,
        tuple(results),
        tuple(nothing),
        unread,
        tuple(all_judgements(folder)),
        variants,
        _sizes(folder),
    )


def _came_to_nothing(results: Path) -> bool:
    """Whether failures are listed, and no prediction is."""
    return failures_of(results).exists() and not (results.exists() and results.stat().st_size)


def _unanswered(failed: Path, manifest: Mapping[str, Any]) -> Unanswered:
    """What a file of failures says, whose name says whose they are."""
    task, _, rest = failed.name.removesuffix(FAILED).partition(".")
    method, _, model = rest.partition(".")
    named = next((name for name in manifest.get("models", {}) if slug(name) == model), model)
    failures = {str(row["id"]): str(row["error"]) for _, row in read_rows(failed)}
    asked = int(manifest.get("tasks", {}).get(task, {}).get("items", len(failures)))
    return Unanswered(task, method, named, asked, failures)


def _sizes(folder: Path) -> tuple[Size, ...]:
    path = folder / POOL_SIZE
    if not path.exists():
        return ()
    try:
        return tuple(Size.read(row) for row in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read: {error}", "delete it, and run `ethos eval pool-size` again"
        ) from error


def _with_costs(prediction: Prediction, own: object) -> Prediction:
    """A prediction with what its row says beyond what scores need; a row of another's making says nothing."""
    if not isinstance(own, Mapping):
        return prediction
    return replace(
        prediction,
        speakers=tuple(s for s in own.get("speakers") or () if isinstance(s, Mapping)),
        calls=_numbers(own.get("calls")),
        tokens=_numbers(own.get("tokens")),
        seconds=_numbers(own.get("seconds")),
        answer_id=str(own.get("answer_id") or ""),
        gate=str(own.get("gate") or ""),
        warnings=tuple(map(str, own.get("warnings") or ())),
    )


def _numbers(given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        return {}
    return {str(name): value for name, value in given.items() if isinstance(value, int | float)}


def short_model(name: str) -> str:
    """A model's own name, without backend and folders."""
    return name.rpartition(":")[2].rstrip("/").rpartition("/")[2] or name


def models_of(results: Sequence[Result]) -> list[str]:
    """The main models, each once, in order."""
    return list(dict.fromkeys(result.model for result in results))
