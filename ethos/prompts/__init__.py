"""Prompt sets: named, versioned families of prompts, kept as readable text files beside this module.

Loads and fills templates; knows no model, and makes no request. What a template lacks is an error at load, not at
the first answer.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from ethos.text.cleaning import digest


class PromptSetName(StrEnum):
    """The shipped prompt sets."""

    STRUCTURED = "structured"
    PAPER = "paper"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class PromptSet:
    """How personas are asked for and comments are written.

    Attributes:
        name: Which set.
        version: Raised with every change of its text.
        source: Where the text comes from.
        personas: Table ``personas`` of the file.
        comments: Table ``comments`` of the file.
        content: Content address of the whole file.
    """

    name: str
    version: str
    source: str
    personas: Mapping[str, Any]
    comments: Mapping[str, Any]
    content: str

    @property
    def label(self) -> str:
        """How answers and origins name the set: ``paper-1``."""
        return f"{self.name}-{self.version}"


@dataclass(frozen=True, slots=True)
class AggregationPrompts:
    """How the main model turns comments into an answer, one table a mode."""

    version: str
    overton: Mapping[str, Any]
    steerable: Mapping[str, Any]
    distributional: Mapping[str, Any]
    content: str


@dataclass(frozen=True, slots=True)
class BaselinePrompts:
    """What the methods that Ethos is compared with ask, one table each."""

    version: str
    answer: Mapping[str, Any]
    prompting: Mapping[str, Any]
    moe: Mapping[str, Any]
    community: Mapping[str, Any]
    communities: Mapping[str, list[str]]
    content: str


@cache
def prompt_set(name: PromptSetName) -> PromptSet:
    """Load a shipped prompt set."""
    text, data = _read(name)
    return PromptSet(data["name"], data["version"], data["source"], data["personas"], data["comments"], digest(text))


@cache
def aggregation_prompts() -> AggregationPrompts:
    """Load the main model's prompts."""
    text, data = _read("aggregation")
    return AggregationPrompts(data["version"], data["overton"], data["steerable"], data["distributional"], digest(text))


@cache
def baseline_prompts() -> BaselinePrompts:
    """Load the prompts of the methods that Ethos is compared with."""
    text, data = _read("baselines")
    tables = {name: data[name] for name in ("answer", "prompting", "moe", "community", "communities")}
    return BaselinePrompts(data["version"], **tables, content=digest(text))


def _read(name: str) -> tuple[str, dict[str, Any]]:
    text = (files("ethos.prompts") / f"{name}.toml").read_text(encoding="utf-8")
    return text, tomllib.loads(text)


def fill(template: str, **values: object) -> str:
    """Fill a template; the values are placed as they are, braces in them included."""
    return template.strip("\n").format(**values)


def numbered(label: str, texts: list[str]) -> str:
    """``Passage 1: …``, ``Passage 2: …``, parted by blank lines."""
    return "\n\n".join(f"{label} {number}: {text}" for number, text in enumerate(texts, start=1))
