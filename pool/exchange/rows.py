"""One checked row of an exchanged pool: a persona, a scenario it was made for, and how it came to be.

Pure: knows what a row may hold; knows neither files nor tables. A row comes from outside, so nothing in it is believed
before it is checked here.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ethos.encoders.embedder import Vectors
from ethos.errors import InputError
from ethos.llm import ModelIdentity
from ethos.persona import ATTRIBUTES, OriginKind, Persona
from ethos.pool.curation.lifecycle import Status
from ethos.pool.exchange.row_format import KEYS, MAX_NOTE_CHARACTERS, MAX_PANEL, MODEL, NOTES, VECTORS
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario
from ethos.text.cleaning import MAX_ATTRIBUTE_CHARACTERS, MAX_SCENARIO_CHARACTERS, clean_line
from ethos.text.option_letters import MAX_OPTIONS

MAX_DIMENSIONS = 8_192
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Seat:
    """A persona's place in a stored panel of the row's scenario."""

    k: int
    rank: int
    relevance: float


@dataclass(frozen=True, slots=True)
class Row:
    """One checked row.

    Attributes:
        persona: Who.
        scenario: What it was made for.
        origin: How it came to be, as the row claims; None where the row does not say of which kind it is.
        licence: As the row claims; empty if it names none.
        status: Where it was in its life.
        seats: Its places in panels of this scenario.
        vectors: By text, not yet checked against an embedder.
    """

    persona: Persona
    scenario: Scenario
    origin: Origin | None
    licence: str
    status: Status
    seats: tuple[Seat, ...] = ()
    vectors: Mapping[str, Vectors] = field(default_factory=dict)


def row_of(record: Mapping[str, Any]) -> Row:
    """Check one row.

    Raises:
        InputError: A key that is unknown or missing, a value of another type or beyond its limit, a text that cannot
            be stored, or an id that is not that of the texts.
    """
    if unknown := sorted(record.keys() - {*KEYS, "vectors"}):
        raise InputError(f"unknown key {unknown[0][:60]!r}")
    persona = Persona(**{attribute: _required(record, attribute) for attribute in ATTRIBUTES})
    if record.get("persona_id") not in (None, persona.id):
        raise InputError("'persona_id' is not that of the six texts")
    situation = _required(record, "scenario")
    if len(situation) > MAX_SCENARIO_CHARACTERS:
        raise InputError(f"'scenario' has {len(situation):,} characters, more than {MAX_SCENARIO_CHARACTERS:,}")
    scenario = _topic(situation, _options(record.get("options")))
    notes = {key: _note(record, key) for key in NOTES}
    return Row(
        persona,
        scenario,
        _origin(record, notes),
        notes["licence"],
        Status(_one_of(record, "status", Status) or Status.ACTIVE),
        _seats(record.get("panels")),
        _vectors(record.get("vectors"), persona, scenario),
    )


def vector_text(vector: Vectors) -> str:
    """A vector as a row carries it: its bytes as little-endian float32, in base64."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


# Rows of one scenario stand together, as a rule.
@lru_cache(64)
def _topic(situation: str, options: tuple[str, ...]) -> Scenario:
    return Scenario.of(situation, options).topic


def _required(record: Mapping[str, Any], key: str) -> str:
    if record.get(key) is None:
        raise InputError(f"{key!r} is missing")
    return _text(record[key], key)


def _text(value: object, key: str) -> str:
    """A text that can be stored; cutting one short at a NUL, or mending a surrogate, would be guessing."""
    if not isinstance(value, str):
        raise InputError(f"{key!r} is not a text")
    if "\0" in value:
        raise InputError(f"{key!r} holds a NUL character")
    if _SURROGATE.search(value):
        raise InputError(f"{key!r} holds half of a surrogate pair")
    if key in ATTRIBUTES and len(value) > MAX_ATTRIBUTE_CHARACTERS:
        raise InputError(f"{key!r} has {len(value):,} characters, more than {MAX_ATTRIBUTE_CHARACTERS}")
    return value


def _note(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None or value == "":
        return ""
    return clean_line(_text(value, key), key.replace("_", " "), MAX_NOTE_CHARACTERS)


def _one_of(record: Mapping[str, Any], key: str, kind: type[Status] | type[OriginKind]) -> str | None:
    value = record.get(key)
    if value is not None and (not isinstance(value, str) or value not in set(kind)):
        raise InputError(f"{key!r} is none of {', '.join(kind)}")
    return value


def _options(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InputError("'options' is not a list")
    if len(value) > MAX_OPTIONS:
        raise InputError(f"'options' has {len(value):,} entries, more than {MAX_OPTIONS}")
    return tuple(_text(option, "options") for option in value)


def _origin(record: Mapping[str, Any], notes: Mapping[str, str]) -> Origin | None:
    kind, seed = _one_of(record, "kind", OriginKind), record.get("seed")
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**63):
        raise InputError("'seed' is not a whole number from 0 to 2^63-1")
    if (notes["model_revision"] or notes["model_precision"]) and not notes["model"]:
        raise InputError("'model' is missing, though the row states its revision or precision")
    if kind is None:
        return None
    return Origin(
        OriginKind(kind),
        ModelIdentity(*(notes[key] for key in MODEL)) if notes["model"] else None,
        notes["prompt_set"] or None,
        seed,
        notes["source"] or None,
        notes["licence"] or None,
    )


def _seats(value: object) -> tuple[Seat, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_PANEL:
        raise InputError(f"'panels' is not a list of at most {MAX_PANEL} places")
    return tuple(map(_seat, value))


def _seat(value: object) -> Seat:
    if not isinstance(value, dict) or value.keys() != {"k", "rank", "relevance"}:
        raise InputError("a place in 'panels' is not an object of k, rank and relevance")
    k, rank, relevance = value["k"], value["rank"], value["relevance"]
    if type(k) is not int or type(rank) is not int or not 1 <= rank <= k <= MAX_PANEL:
        raise InputError(f"a place in 'panels' is not a rank from 1 to k, with k at most {MAX_PANEL}")
    # Cosines of float32 vectors may exceed 1 in the last digit.
    if type(relevance) not in (int, float) or not math.isfinite(relevance) or abs(relevance) > 1.001:
        raise InputError("the relevance of a place in 'panels' is no cosine")
    return Seat(k, rank, float(relevance))


def _vectors(value: object, persona: Persona, scenario: Scenario) -> dict[str, Vectors]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not value.keys() <= set(VECTORS):
        raise InputError(f"'vectors' is not an object of {', '.join(VECTORS)}")
    texts = {"scenario": scenario.situation, "core_value": persona.core_value, "right_duty": persona.right_duty}
    return {texts[name]: _vector(packed, name) for name, packed in value.items()}


def _vector(packed: object, name: str) -> Vectors:
    try:
        raw = base64.b64decode(packed if isinstance(packed, str) else "?", validate=True)
        vector = np.frombuffer(raw, dtype="<f4")
    except (binascii.Error, ValueError) as error:
        raise InputError(f"the vector of {name!r} cannot be read") from error
    if not 1 <= len(vector) <= MAX_DIMENSIONS:
        raise InputError(f"the vector of {name!r} has {len(vector):,} dimensions")
    if not np.isfinite(vector).all() or abs(float(np.linalg.norm(vector)) - 1.0) > 1e-3:
        raise InputError(f"the vector of {name!r} is not of unit length")
    return vector
