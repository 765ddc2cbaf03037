"""Export answers from the record, as JSON lines or as W3C provenance.

Knows recorded answers and files; calls no model. What is written appears under its name when it is whole, and is for
its owner only until the owner shares it: it holds what was asked and said.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ethos.errors import InputError
from ethos.pool.storage.record import Record

LINES = (".jsonl", ".ndjson")
PROV_JSON, PROV_N = ".prov.json", ".provn"
_ALL = 2**62

# Of each member of the panel; a column a key, a list a row.
_MEMBERS = {
    "persona_ids": "persona_id",
    "names": "name",
    "core_values": "core_value",
    "frameworks": "ethical_framework",
    "stakeholders": "stakeholder_role",
    "sources": "source",
    "relevances": "relevance",
    "weights": "weight",
    "influences": "influence",
    "comments": "comment",
}
_PLAIN = (
    *("answer_id", "created_at", "mode", "scenario", "options", "attribute", "output", "choice", "distribution"),
    *("finish_reason", "label_mass", "influence_method", "seed", "prompts", "warnings"),
)
_NESTED = {"gate": "gate", "calls": "calls", "tokens": "tokens", "timings": "seconds", "models": "model"}


def export(record: Record, path: Path, answers: Sequence[str]) -> int:
    """Write answers into a new file, oldest first; how many.

    Args:
        record: The pool's.
        path: Its ending chooses the form: ``.jsonl`` (an answer a line), ``.prov.json`` or ``.provn``.
        answers: Ids, or their starts; none for all.

    Raises:
        InputError: The ending is another, the file exists or cannot be written, or an id is none.
        ConfigurationError: Provenance was asked for, and `prov` is not installed.
    """
    name = path.name.lower()
    if not name.endswith((*LINES, PROV_JSON, PROV_N)):
        raise InputError(f"{path} has no known file name ending", f"name it …{LINES[0]}, …{PROV_JSON} or …{PROV_N}")
    if path.exists():
        raise InputError(f"{path} is there already", "choose another name")
    ids = [record.answer(one).answer_id for one in answers] or [a["answer_id"] for a in record.answers(_ALL)][::-1]
    with _draft(path) as file:
        if name.endswith(LINES):
            for answer_id in ids:
                file.write(json.dumps(row(record, answer_id), ensure_ascii=False, allow_nan=False) + "\n")
        else:
            from ethos.audit.provenance import document, write  # late: needs a library that is not always there

            write(document(record, ids), file, as_json=name.endswith(PROV_JSON))
    return len(ids)


def row(record: Record, answer_id: str) -> dict[str, Any]:
    """One answer as one row: plain values and lists of them, the same keys for every answer, so that tables load it."""
    answer = record.answer(answer_id).as_dict()
    flat: dict[str, Any] = {name: answer.get(name) for name in _PLAIN}
    for name, prefix in _NESTED.items():
        flat |= {f"{prefix}_{key}": value for key, value in answer[name].items()}
    flat["version"] = record.circumstances(answer_id)["version"]
    return flat | {name: [member[key] for member in answer["panel"]] for name, key in _MEMBERS.items()}


@contextmanager
def _draft(path: Path) -> Iterator[TextIO]:
    """A file that takes its name when it is whole."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            yield file
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", "name a file in another folder") from error
    finally:
        draft.unlink(missing_ok=True)
