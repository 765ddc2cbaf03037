"""The whole lineage of an answer as one page: what was available, used, and by whom.

Reads the record and writes pages; computes nothing anew and calls no model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ethos.audit.influence.methods import agreement, influences
from ethos.audit.reading import show_answer
from ethos.errors import InputError
from ethos.pool.curation.lifecycle import Status, history
from ethos.pool.storage.record import Record
from ethos.text.pages import page
from ethos.text.withholding import is_withheld

MARK = "Ethos answer lineage"  # by which a page is known as ours


def lineage(record: Record, identifier: str) -> dict[str, Any]:
    """One answer with all that the record holds of it, as plain JSON values.

    Returns:
        The answer's own JSON, and: ``version``, ``request`` and ``embedder`` of the run; ``withheld``, whether the
        record keeps less than was asked and said; ``since``, what became of members who may no longer be retrieved, by
        id; ``cut``, the calls whose reply was cut at the token limit; ``attributions``, the influences by every method
        known so far, with what the methods agree on under ``agreement``; ``model_calls``, as sent and received, with
        the natural logarithm of each label's own probability where labels were read.

    Raises:
        InputError: No answer's id starts with this, or several do.
    """
    found = show_answer(record, identifier)
    answer = record.answer(found["answer_id"])
    attributions = influences(record, answer)
    for call in found["model_calls"]:
        if call["reading"]:
            call["reading"] = {**call["reading"], "log_probabilities": _logarithms(call["reading"])}
    return {
        **found,
        **record.circumstances(answer.answer_id),
        "withheld": is_withheld(found["scenario"]),
        "since": _since(record, [member["persona_id"] for member in found["panel"]]),
        "cut": [call["id"] for call in found["model_calls"] if call["finish_reason"] == "length"],
        "attributions": [one.as_dict() for one in attributions],
        "agreement": agreement(attributions),
    }


def _logarithms(reading: dict[str, Any]) -> list[float | None]:
    """Of the labels' probabilities before they were normalised; None where it was nothing."""
    own = (probability * reading["mass"] for probability in reading["probabilities"])
    return [math.log(value) if value > 0 else None for value in own]


def _since(record: Record, personas: list[str]) -> dict[str, dict[str, str]]:
    """The newest change of status of those who are not active."""
    newest = {one: changes[-1] for one in personas if (changes := history(record.database, one))}
    return {one: change for one, change in newest.items() if change["status"] != Status.ACTIVE}


def lineage_page(found: dict[str, Any]) -> str:
    """A lineage as one HTML page."""
    names = {member["persona_id"]: member["name"] for member in found["panel"]}
    textual = next((one for one in found["attributions"] if one["method"] == "textual"), None)
    return page(
        "ethos.audit", "lineage.html", mark=MARK, found=found, names=names, trace=textual and textual["details"]
    )


def save_page(html: str, path: Path) -> None:
    """Write a page; an older lineage there is replaced, nothing else ever is.

    Raises:
        InputError: Another file is there, or the page cannot be written.
    """
    try:
        if path.exists() and MARK.encode() not in path.read_bytes()[:1000]:
            raise InputError(f"{path} exists and is no lineage of an answer", "name another file with --html")
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise InputError(f"the page cannot be written to {path}: {error.strerror}", "name another file") from error
