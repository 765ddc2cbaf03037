"""The report's last part: what was run and what was not, what is odd about the data, and who the personas were.

Knows a run's manifest and results; knows nothing of a page.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ethos.encoders.embedder import Embedder
from ethos.errors import InputError
from ethos.evaluation.analyses.paper_figures import paper
from ethos.evaluation.analyses.persona_diversity import PersonaDiversity, persona_diversity
from ethos.evaluation.report.data import Run, short_model
from ethos.evaluation.report.metric_names import TITLES, label
from ethos.evaluation.report.parts import NOTHING, Picture, Quote, Row, Section, Table
from ethos.evaluation.tasks.task import TaskName
from ethos.persona import ATTRIBUTES, Persona
from ethos.pool.curation.plots import HEIGHT, WIDTH
from ethos.scenario import Scenario
from ethos.text.pages import page

_SIZE = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)\s*([MB])(?![A-Za-z0-9])", re.IGNORECASE)
_SMALL = 1.0  # billions of parameters below which a model shows the machinery, not good answers
_MOST_TOLD = 8
_PART = re.compile(r"'[^']*'|\"[^\"]*\"|\d+(?:\.\d+)?")  # of what is odd about a row, what is that row's own
_MOST_QUOTED = 600  # characters


def small_models(run: Run) -> list[str]:
    """The main models whose names tell of fewer than a billion parameters."""
    names = dict.fromkeys(result.model for result in run.everything)
    return [name for name in names if (size := billions(name)) is not None and size < _SMALL]


def billions(name: str) -> float | None:
    """Parameters of a model in billions, as its name tells them: ``Qwen2.5-7B-Instruct``; None if it does not."""
    found = _SIZE.findall(short_model(name))
    if not found:
        return None
    number, unit = found[-1]
    return float(number) / (1000 if unit in "mM" else 1)


def made_section(run: Run) -> Section:
    """Models, prompts, seeds, settings, versions, hardware."""
    manifest = run.about
    if not manifest:
        said = "The folder holds no run.json, so nothing is known of models, prompts, seeds and hardware."
        return Section("run", "What was run", missing=(said,))
    models = {**manifest.get("helpers", {}), **manifest.get("models", {})}
    rows = [
        Row(
            (
                name,
                "main" if name in manifest.get("models", {}) else "helper",
                *(_told(about.get(key)) for key in ("revision", "precision")),
            )
        )
        for name, about in models.items()
    ]
    tables = [Table("Models", ("model", "role", "revision", "precision"), tuple(rows), texts=frozenset({1, 2, 3}))]
    plain = {name: value for name, value in manifest.items() if name in ("seed", "precision", "permute_options")}
    tables.append(_pairs("Seeds", plain))
    methods = [Row((name, _settings(about))) for name, about in manifest.get("methods", {}).items()]
    tables.append(Table("Methods", ("method", "follows"), tuple(methods), texts=frozenset({1})))
    prompts = manifest.get("prompts", {})
    tables.append(
        Table(
            "Prompts",
            ("family", "version", "content address"),
            tuple(Row((name, about["version"], about["content"])) for name, about in prompts.items()),
            texts=frozenset({1, 2}),
        )
    )
    tables.append(_sessions(manifest.get("sessions", [])))
    return Section("run", "What was run", (), (), tuple(tables))


def undone_section(run: Run) -> Section:
    """What failed, what was not read, and which of the paper's tasks, models and methods are not here."""
    rows = []
    for result in run.everything:
        score = result.scored.score
        answered = len(result.predictions)
        open_ = max(0, result.asked - answered - len(result.failures))
        if result.failures or open_ or score.unreadable or score.missing:
            counts = (result.asked, len(result.failures), len(score.unreadable), len(score.missing) + open_)
            reasons = [*result.failures.values(), *score.unreadable.values()]
            rows.append(_undone_row(result.task.name, result.label, counts, reasons))
    for one in run.nothing_came:
        counts = (one.asked, len(one.failures), 0, one.asked - len(one.failures))
        rows.append(_undone_row(one.task, one.label, counts, [*one.failures.values()]))
    failed = Table(
        "Items without a score",
        ("", "asked", "failed", "unreadable", "not answered", "reasons"),
        tuple(rows),
        "None of these is scored as right, wrong or uniform; they are in no mean.",
        texts=frozenset({5}),
    )
    unread = Table(
        "Files that could not be read",
        ("file", "reason"),
        tuple(Row((name, why)) for name, why in run.unread.items()),
        texts=frozenset({1}),
    )
    there = {paper().model(result.model) for result in run.everything}
    absent = [name for name in paper().models if name not in there]
    missing = [f"The paper's models that were not run here: {', '.join(absent)}."] if absent else []
    done = {str(result.task.name) for result in run.everything} | {one.task for one in run.nothing_came}
    tasks = [TITLES[name] for name in TaskName if name not in done]
    missing += [f"Tasks that were not run here: {'; '.join(tasks)}."] if tasks else []
    missing += _not_computed(run)
    missing.append("Table 4 (Modular Pluralism's own test cases) is run by “ethos eval run” on that project's files.")
    tables = (failed, unread) if run.unread else (failed,)
    return Section("undone", "What was not run, or failed", (), tuple(dict.fromkeys(missing)), tables)


def _undone_row(task: str, label: str, counts: Sequence[int], reasons: Sequence[str]) -> Row:
    told = "; ".join(
        f"{count} item{'s' if count > 1 else ''}: {_cut(why, 160)}"
        for why, count in Counter(reasons).most_common(_MOST_TOLD)
    )
    return Row((f"{TITLES[TaskName(task)]}, {label}", *map(str, counts), told or "not answered yet"))


def _not_computed(run: Run) -> Iterator[str]:
    """Metrics that no result of a task has, with the reason, a line each."""
    for task in run.tasks:
        why: dict[str, list[str]] = {}
        for result in run.of_task(task):
            for metric, one in result.scored.score.values.items():
                if one.mean is None and label(metric) not in why.setdefault(one.reason, []):
                    why[one.reason].append(label(metric))
        for reason, metrics in why.items():
            if metrics:
                yield f"{TITLES[TaskName(task)]}, {', '.join(metrics)}: {reason.removeprefix('not computed: ')}."


def data_section(run: Run) -> Section:
    """Oddities and leakage, by task."""
    rows, leaks = [], []
    tasks: Mapping[str, Any] = run.about.get("tasks", {})
    for name, about in tasks.items():
        counted = Counter((_PART.sub("…", odd["what"]), bool(odd["left_out"])) for odd in about.get("odd", []))
        for (what, left_out), count in counted.most_common(_MOST_TOLD):
            rows.append(Row((TITLES[TaskName(name)], what, str(count), "left out" if left_out else "kept")))
        if rest := len(counted) - _MOST_TOLD:
            rows += [Row((TITLES[TaskName(name)], f"{rest} more kinds", "", ""))] if rest > 0 else []
        leaked = run.leaked(name)
        if leaked is None:
            told = (NOTHING, "no method of this run asked a pool")
        else:
            ids = ", ".join(leaked[:_MOST_TOLD]) + ("…" if len(leaked) > _MOST_TOLD else "")
            told = (str(len(leaked)), ids or "none")
        leaks.append(Row((TITLES[TaskName(name)], str(about.get("items", "")), *told)))
    odd = Table("Oddities", ("task", "what", "rows", "what became of them"), tuple(rows), texts=frozenset({1, 3}))
    leakage = Table(
        "Leakage",
        ("task", "items", "known to the pool", "ids"),
        tuple(leaks),
        "Items for whose very situation the pool of ethos-pool holds personas: their scores say how the pool repeats, "
        "not how it serves.",
        texts=frozenset({3}),
    )
    missing = () if run.about else ("Nothing is known of the data, since there is no run.json.",)
    notes = [
        f"{TITLES[TaskName(r.task.name)]}: {note}." for r in run.everything for note in r.scored.score.notes
    ]  # most are of the gold, and the same for all methods
    return Section("data", "The data", tuple(dict.fromkeys(notes)), missing, (odd, leakage) if run.about else ())


def persona_section(run: Run, embedder: Embedder | None) -> Section:
    """Who spoke: failures of Table 14, a map with topics, word clouds."""
    seats = list(_seats(run))
    if not seats or embedder is None:
        why = "no answer of this run names its personas" if embedder else "no encoder was given"
        return Section("personas", "The personas", missing=(f"Not looked at: {why}.",))
    found = persona_diversity(seats, embedder)
    said = f"{found.there} different personas spoke; below are {found.personas} of them, in {found.seats} seats."
    topics = f" Topics, by their leading terms: {'; '.join(found.topics)}." if found.topics else ""
    rows = tuple(Row((one.kind, str(one.findings), str(one.personas), one.example)) for one in found.failures)
    table = Table(
        "Failures (Table 14)",
        ("kind", "findings", "personas", "for example"),
        rows,
        "By rules on words and vectors, the same as “ethos pool lint”: they find less than a reader would.",
        texts=frozenset({3}),
    )
    return Section("personas", "The personas", (said + topics,), (), (table,), tuple(_persona_pictures(found)))


def sample_section(run: Run) -> Section:
    """What the methods said of the first item of each task, word for word."""
    quotes = []
    for task in run.tasks:
        results = run.of_task(task)
        for item in results[0].task.items[:1]:
            quotes.append(Quote(f"{TITLES[TaskName(task)]}: asked", _cut(item.scenario.question, _MOST_QUOTED)))
            quotes += [
                Quote(result.label, _cut(result.predictions[item.id].output or "(no text)", _MOST_QUOTED))
                for result in results
                if item.id in result.predictions
            ]
    small = small_models(run)
    said = "The first item of each task, as it came."
    if small:
        said += f" {', '.join(map(short_model, small))} is a demonstration model: these show the machinery."
    return Section("samples", "What they said", (said,), quotes=tuple(quotes))


def _seats(run: Run) -> Iterator[tuple[Persona, Scenario]]:
    for result in run.everything:
        scenarios = {item.id: item.scenario for item in result.task.items}
        for item, prediction in result.predictions.items():
            for speaker in prediction.speakers:
                if set(ATTRIBUTES) <= speaker.keys():
                    try:
                        yield Persona(*(str(speaker[name]) for name in ATTRIBUTES)), scenarios[item].topic
                    except InputError:  # another's file may hold what is no persona
                        continue


def _persona_pictures(found: PersonaDiversity) -> Iterator[Picture]:
    if found.map:
        caption = (
            "Each dot is a persona, placed by t-SNE so that those with alike lines are neighbours, coloured by topic "
            "(Figure 8). Axes have no meaning."
        )
        drawn = page("ethos.pool.data", "map.html", map=found.map, size=(WIDTH, HEIGHT))
        yield Picture(drawn, caption, f"Map of {found.personas} personas")
    for cloud in found.clouds:
        common = ", ".join(f"{text} ({count})" for text, count in cloud.common)
        yield Picture(cloud.address, f"{cloud.what.capitalize()} (Figures 6, 7): {common}.", f"Word cloud: {common}")


def _sessions(sessions: list[Mapping[str, Any]]) -> Table:
    rows = []
    for session in sessions:
        hardware = session.get("hardware", {})
        machine = ", ".join(
            filter(
                None,
                (
                    _told(hardware.get("processor")),
                    f"{hardware.get('cores')} cores",
                    *map(str, hardware.get("graphics") or ["no GPU"]),
                ),
            )
        )
        versions = ", ".join(f"{name} {number}" for name, number in session.get("versions", {}).items())
        rows.append(Row((_told(session.get("began")), machine, _told(hardware.get("system")), versions)))
    return Table("Sessions", ("began", "machine", "system", "versions"), tuple(rows), texts=frozenset({1, 2, 3}))


def _settings(about: Mapping[str, Any]) -> str:
    given = {name: value for name, value in about.items() if value not in ("", None, {}, list(ATTRIBUTES))}
    told = (f"{name.replace('_', ' ')}: {_told(value)}" for name, value in given.items())
    return "; ".join(told) or "nothing but the prompts"


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    rows = tuple(Row((name.replace("_", " "), _told(value))) for name, value in values.items())
    return Table(title, ("setting", "value"), rows, texts=frozenset({1}))


def _told(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
