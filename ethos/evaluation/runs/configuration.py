"""Configuration files: which tasks, methods and models make one of the paper's tables, as plans for the runner.

Shipped ones are in ``ethos/evaluation/data/paper``; anyone may write others. An unknown key is an error, since a
misspelt one would otherwise change the run without notice. Runs nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from ethos.answer import Sourcing
from ethos.errors import ConfigurationError, InputError
from ethos.evaluation.analyses.ablations import GRIDS, Variant, grid
from ethos.evaluation.methods import MethodSettings
from ethos.evaluation.methods.registry import METHODS
from ethos.evaluation.runs.runner import Plan
from ethos.evaluation.tasks.files import task_file
from ethos.evaluation.tasks.loading import load_task, sample
from ethos.evaluation.tasks.task import Task, TaskName
from ethos.persona import ATTRIBUTES
from ethos.pipeline.settings import MAX_K
from ethos.prompts import PromptSetName, baseline_prompts

_COMMENTS = "comment-model"  # the grid of Table 5
_FRESH = {f"ethos-{name}" for name in PromptSetName}


@dataclass(frozen=True, slots=True)
class Judging:
    """Which answers are compared, by whom (Figure 5).

    Attributes:
        judges: Names of models.
        method: The method whose wins are counted.
        against: The other methods.
        limit: Pairs of each.
    """

    judges: tuple[str, ...]
    method: str
    against: tuple[str, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class Served:
    """Where an ``openai:`` model is served.

    Attributes:
        base_url: The endpoint.
        key: The variable of the environment that holds its key; empty where none is needed.
    """

    base_url: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What makes one table.

    Attributes:
        table: "3", "figure5".
        title: What it is of.
        notes: What the paper leaves open, and how this file settles it.
        tasks: Names of tasks.
        methods: Names in the registry.
        models: Main models.
        seed: Of the run.
        nli: Entailment model for value coverage; empty for none.
        first: By task, how many of its file's first items are asked; all of the others'.
        settings: Settings of the methods, by the names of `MethodSettings`.
        communities: Community models by set and community.
        grid: Which ablation; empty for one plain run.
        variants: Values of the grid that are run; empty for all.
        judging: Empty for none.
        served: By name, where models are served that the command's own endpoint does not have.
    """

    table: str
    title: str
    tasks: tuple[TaskName, ...]
    methods: tuple[str, ...]
    models: tuple[str, ...]
    notes: tuple[str, ...] = ()
    seed: int = 0
    nli: str = ""
    first: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    communities: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    grid: str = ""
    variants: tuple[str, ...] = ()
    judging: Judging | None = None
    served: Mapping[str, Served] = field(default_factory=dict)

    def with_model(self, name: str) -> Configuration:
        """The same with one model in every role, as where only one can be had; served by the command's own endpoint."""
        alone = {role: "" for role in ("comment_model", "persona_model") if role in self.settings}
        return replace(
            self,
            models=(name,),
            settings={**self.settings, **alone},
            communities={which: dict.fromkeys(models, name) for which, models in self.communities.items()},
            variants=(name,) if self.grid == _COMMENTS else self.variants,
            judging=replace(self.judging, judges=(name,)) if self.judging else None,
            served={},
        )

    def with_prompts(self, prompts: PromptSetName) -> Configuration:
        """The same with another prompt set for the personas, as for a model that does not follow the paper's format."""
        own = f"ethos-{prompts}"
        methods = tuple(dict.fromkeys(own if method in _FRESH else method for method in self.methods))
        judging = self.judging and replace(
            self.judging, method=own if self.judging.method in _FRESH else self.judging.method
        )
        return replace(self, methods=methods, judging=judging)

    def plans(self, data: Path, out: Path, limit: int | None = None) -> list[Plan]:
        """What to run: one plan, or one a variant of the grid, each into its own folder.

        Args:
            data: The folder of the tasks' files.
            out: Where to.
            limit: At most so many items of each task, drawn at random.

        Raises:
            InputError: A task's file is not there, or cannot be read.
        """
        tasks = tuple(sample(self._asked(name, data), limit, self.seed) for name in self.tasks)
        settings = replace(_method_settings(self.settings), communities=self.communities)
        plan = Plan(tasks, self.methods, self.models, out, self.seed, settings)
        if not self.grid:
            return [plan]
        return [
            replace(plan, folder=out / one.folder, settings=replace(settings, **one.settings))
            for one in self._variants()
        ]

    def _asked(self, name: TaskName, data: Path) -> Task:
        task = load_task(task_file(data, name), name)
        return replace(task, items=task.items[: self.first.get(name)])

    def _variants(self) -> Sequence[Variant]:
        if self.grid == _COMMENTS and self.variants:
            return [Variant(_COMMENTS, name, {"comment_model": name}) for name in self.variants]
        return [one for one in grid(self.grid) if not self.variants or one.value in self.variants]


def shipped() -> tuple[str, ...]:
    """Names of the configurations of the paper's tables: ``table3``."""
    names = (entry.name for entry in (files("ethos.evaluation.data") / "paper").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_configuration(name: str) -> Configuration:
    """Read a configuration: a file, or a shipped one by its name.

    Raises:
        InputError: There is none, or it is no TOML.
        ConfigurationError: It has a key that is not known, lacks one, or holds a value that cannot be used.
    """
    entry = files("ethos.evaluation.data") / "paper" / f"{name}.toml" if name in shipped() else Path(name).expanduser()
    try:
        given = tomllib.loads(entry.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        hint = f"name a TOML file, or one of {', '.join(shipped())}"
        raise InputError(f"the configuration {name} cannot be read: {error}", hint) from error
    return read_configuration(given, name)


def read_configuration(given: Mapping[str, Any], where: str) -> Configuration:
    """A configuration from a file's values.

    Raises:
        ConfigurationError: As `load_configuration`.
    """
    _check(given, where)
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    judging, served = given.get("judging"), given.get("served", {})
    found = Configuration(
        **plain
        | {
            "tasks": tuple(TaskName(name) for name in given["tasks"]),
            "judging": Judging(**judging | {"judges": tuple(judging["judges"]), "against": tuple(judging["against"])})
            if judging
            else None,
            "served": {name: Served(**one) for name, one in served.items()},
        }
    )
    if found.grid and found.grid != _COMMENTS:
        absent = sorted(set(found.variants) - {one.value for one in grid(found.grid)})
        if absent:
            raise ConfigurationError(f"{where}: the grid {found.grid!r} has no variant {absent[0]!r}")
    return found


_TEXT: Mapping[str, Any] = {"type": "string", "minLength": 1}
_TEXTS: Mapping[str, Any] = {"type": "array", "items": _TEXT, "minItems": 1, "uniqueItems": True}
_COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 1}

# What a file may tell methods; community models have a table of their own.
SETTINGS: Mapping[str, Any] = {
    "comment_model": _TEXT,
    "persona_model": _TEXT,
    "pool": _TEXT,
    "personas": {"enum": [Sourcing.AUTO.value, Sourcing.POOL.value]},
    "prompts": {"enum": [name.value for name in PromptSetName]},
    "k": {**_COUNT, "maximum": MAX_K},
    "attributes": {**_TEXTS, "items": {"enum": list(ATTRIBUTES)}},
    "threshold": {"type": "number", "minimum": 0, "maximum": 1},
    "embedder": _TEXT,
}


def _table(known: Mapping[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": known}


def _schema() -> dict[str, Any]:
    names = [str(name) for name in TaskName]
    models = {"type": "object", "additionalProperties": _TEXT, "minProperties": 1}
    judging = {"judges": _TEXTS, "method": _TEXT, "against": _TEXTS, "limit": _COUNT}
    return _table(
        {
            "table": _TEXT,
            "title": _TEXT,
            "notes": {"type": "array", "items": _TEXT},
            "tasks": {**_TEXTS, "items": {"enum": names}},
            "methods": {**_TEXTS, "items": {"enum": list(METHODS)}},
            "models": _TEXTS,
            "seed": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
            "nli": _TEXT,
            "first": _table(dict.fromkeys(names, _COUNT)),
            "settings": _table(SETTINGS),
            "communities": _table(dict.fromkeys(baseline_prompts().communities, models)),
            "grid": {"enum": list(GRIDS)},
            "variants": _TEXTS,
            "judging": _table(judging, list(judging)),
            "served": {
                "type": "object",
                "additionalProperties": _table({"base_url": _TEXT, "key": _TEXT}, ["base_url"]),
            },
        },
        ("table", "title", "tasks", "methods", "models"),
    )


def _check(given: Mapping[str, Any], where: str) -> None:
    """Hold a file against the schema.

    Raises:
        ConfigurationError: Names the key.
    """
    from jsonschema import Draft202012Validator  # late: a tenth of a second
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(_schema()).iter_errors(given))
    if error is not None:
        place = ".".join(str(part) for part in error.absolute_path)
        raise ConfigurationError(f"{where}: {f'{place}: ' if place else ''}{error.message}", "fix the file")


def _method_settings(given: Mapping[str, Any]) -> MethodSettings:
    kinds = {"prompts": PromptSetName, "personas": Sourcing, "pool": Path, "attributes": tuple}
    return MethodSettings(**{name: kinds[name](value) if name in kinds else value for name, value in given.items()})
