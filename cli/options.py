"""Options that several commands share, and how they become settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ethos.llm.opening import DEFAULT_MODEL, PRECISIONS, Endpoint
from ethos.pipeline.settings import Settings, default_pool
from ethos.prompts import PromptSetName
from ethos.text.withholding import Content

F = TypeVar("F", bound=Callable[..., Any])

_POOL: Sequence[Callable[[Any], Any]] = [
    click.option(
        "--pool",
        type=click.Path(path_type=Path),
        envvar="ETHOS_POOL",
        help="Pool folder.  [default: the user's own]",
    ),
    click.option(
        "--embedder",
        envvar="ETHOS_EMBEDDER",
        default="",
        help="Encoder: a folder or hub name.  [default: the pool's own, all-MiniLM-L6-v2 at first]",
    ),
]
_MODELS: Sequence[Callable[[Any], Any]] = [
    click.option(
        "--model",
        envvar="ETHOS_MODEL",
        default=DEFAULT_MODEL,
        show_default=True,
        help="Main model: transformers:NAME_OR_FOLDER or openai:NAME.",
    ),
    click.option(
        "--comment-model",
        envvar="ETHOS_COMMENT_MODEL",
        default="",
        help="Model that writes comments.  [default: the main model]",
    ),
    click.option(
        "--persona-model",
        envvar="ETHOS_PERSONA_MODEL",
        default="",
        help="Model that generates personas.  [default: the main model]",
    ),
    click.option(
        "--prompts",
        envvar="ETHOS_PROMPTS",
        type=click.Choice([name.value for name in PromptSetName]),
        default=PromptSetName.STRUCTURED.value,
        show_default=True,
        help="Prompt set: ours, the paper's, or after the authors' scripts.",
    ),
    click.option(
        "--plan",
        envvar="ETHOS_PLAN",
        is_flag=True,
        help="Assign stakeholder group and stance of each generated persona beforehand; structured prompts only.",
    ),
    click.option("--k", envvar="ETHOS_K", type=int, default=6, show_default=True, help="Personas in a panel."),
    click.option(
        "--seed",
        envvar="ETHOS_SEED",
        type=click.IntRange(0, 2**31 - 1),
        default=0,
        show_default=True,
        help="The same request with the same seed gives the same output.",
    ),
    click.option(
        "--precision",
        envvar="ETHOS_PRECISION",
        type=click.Choice(PRECISIONS),
        default="auto",
        show_default=True,
        help="Precision of local models.",
    ),
    click.option(
        "--most-share",
        envvar="ETHOS_MOST_SHARE",
        type=click.FloatRange(0, 1),
        default=0.5,
        show_default=True,
        help="Warn where one persona has more of an Overton answer's sentences than this.",
    ),
]
_ENDPOINT: Sequence[Callable[[Any], Any]] = [
    click.option(
        "--base-url",
        envvar="ETHOS_BASE_URL",
        default="",
        help="Endpoint of openai: models; its key is read from ETHOS_API_KEY.",
    ),
    click.option(
        "--in-flight",
        envvar="ETHOS_IN_FLIGHT",
        type=click.IntRange(1, 64),
        default=None,
        help="Most requests at the endpoint at once.  [default: 1 at llama.cpp, 6 elsewhere]",
    ),
]
_CONTENT: Sequence[Callable[[Any], Any]] = [
    click.option(
        "--audit-content",
        envvar="ETHOS_AUDIT_CONTENT",
        type=click.Choice([content.value for content in Content]),
        default=Content.FULL.value,
        show_default=True,
        help="How much text the record keeps: all, salted digests, or none. With less than all, answers "
        "cannot be replayed or reused, and the pool does not learn from questions.",
    ),
]

as_json = click.option("--json", "as_json", is_flag=True, envvar="ETHOS_JSON", help="Print JSON for programs.")


def folder_option(command: F) -> F:
    """Pool option for commands that read tables and encode nothing."""
    return _with(command, _POOL[:1])


def pool_options(command: F) -> F:
    """Pool and encoder options."""
    return _with(command, _POOL)


def record_options(command: F) -> F:
    """Pool and endpoint options for commands that repeat recorded calls; models and seed come from the record."""
    return _with(command, [*_POOL, *_ENDPOINT, *_CONTENT])


def model_options(command: F) -> F:
    """Model, prompt, panel and seed options, with those of the pool."""
    return _with(command, [*_POOL, *_MODELS, *_ENDPOINT, *_CONTENT])


def _with(command: F, options: Sequence[Callable[[F], F]]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def settings(given: dict[str, Any]) -> Settings:
    """Settings from the options of a command; `given` may hold others, which are left alone."""
    names = ("model", "comment_model", "persona_model", "embedder", "prompts", "plan", "k", "precision", "most_share")
    endpoint = Endpoint(given.get("base_url", ""), os.environ.get("ETHOS_API_KEY", ""), given.get("in_flight"))
    chosen = {name: given[name] for name in names if name in given}
    if "audit_content" in given:
        chosen["audit_content"] = Content(given["audit_content"])
    return Settings(pool=given.get("pool") or default_pool(), endpoint=endpoint, **chosen)
