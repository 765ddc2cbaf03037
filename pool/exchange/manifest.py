"""The manifest beside exchanged files: what they hold, who may use them, and their checksums.

Knows JSON and files; knows no table. A manifest comes from outside like the files it speaks of: it can say which bytes
belong together, not that they are to be trusted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, BinaryIO

from ethos.encoders.identity import EmbedderIdentity
from ethos.errors import InputError
from ethos.pool.exchange.json_lines import strict_json
from ethos.pool.exchange.row_format import Record
from ethos.pool.storage.rows import now
from ethos.text.cleaning import MAX_SCENARIO_CHARACTERS

FORMAT, VERSION = "ethos-pool", 1
MAX_MANIFEST_BYTES = 2**20
# A name in the folder where the manifest lies: no separators, no dot in front, no drive, no control characters.
_PLAIN_NAME = re.compile(r"\w[\w .()+=,@-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class FileFact:
    """One file.

    Attributes:
        name: Without a folder.
        sha256: Of its bytes, hexadecimal.
        bytes: Its size.
    """

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What exchanged files hold.

    Attributes:
        created_at: When they were written.
        ethos_version: By which version.
        embedder: What encodes the pool's texts, and encoded the vectors in the files if they have any.
        files: The files.
        rows: One a persona and a way it came to be.
        personas: Distinct ones.
        scenarios: Distinct ones.
        origin_kinds: Rows by kind.
        licences: Rows by licence; those without one under the empty text.
        sources: Rows by collection or model.
    """

    created_at: str
    ethos_version: str
    embedder: EmbedderIdentity
    files: tuple[FileFact, ...]
    rows: int
    personas: int
    scenarios: int
    origin_kinds: Mapping[str, int]
    licences: Mapping[str, int]
    sources: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {key: value for key, value in asdict(self).items() if key != "files"}
        return {"format": FORMAT, "version": VERSION, **values, "files": [asdict(file) for file in self.files]}

    def as_json(self) -> str:
        """As it is written."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=2) + "\n"


class Tally:
    """Counts rows as they go by."""

    def __init__(self) -> None:
        self.rows = 0
        self._personas: set[bytes] = set()
        self._scenarios: set[bytes] = set()
        self._notes: dict[str, Counter[str]] = {name: Counter() for name in ("kind", "licence", "source")}

    def add(self, record: Record, scenario_id: str) -> None:
        """Count one row."""
        self.rows += 1
        self._personas.add(bytes.fromhex(record["persona_id"]))
        self._scenarios.add(bytes.fromhex(scenario_id))
        said = {"kind": record["kind"], "licence": record["licence"], "source": record["model"] or record["source"]}
        for name, value in said.items():
            self._notes[name][value or ""] += 1

    def manifest(self, embedder: EmbedderIdentity, files: tuple[FileFact, ...]) -> Manifest:
        """The manifest of what was counted."""
        notes = {name: dict(counter.most_common()) for name, counter in self._notes.items()}
        return Manifest(
            now(),
            version("ethos-pool"),
            embedder,
            files,
            self.rows,
            len(self._personas),
            len(self._scenarios),
            notes["kind"],
            notes["licence"],
            notes["source"],
        )


def read_manifest(data: bytes) -> tuple[dict[str, FileFact], str]:
    """The files that a manifest speaks of, by name, and the identity of the embedder it names, empty for none.

    Raises:
        InputError: Not a manifest, a newer one, or one that names a file in another place.
    """
    try:
        if len(data) > MAX_MANIFEST_BYTES:
            raise InputError(f"it is larger than {MAX_MANIFEST_BYTES >> 10} KiB")
        held = strict_json(data)
        if not isinstance(held, dict) or held.get("format") != FORMAT:
            raise InputError(f"its format is not {FORMAT!r}")
        if held.get("version") != VERSION:
            raise InputError(f"its version is {str(held.get('version'))[:20]}, not {VERSION}", "upgrade ethos-pool")
        return _files(held.get("files")), _embedder_id(held.get("embedder"))
    except InputError as error:
        raise InputError(f"the manifest cannot be used: {error.message}", error.hint) from error


def sha256(handle: BinaryIO) -> str:
    """The checksum of a file from its beginning; it is left where it was found to end."""
    handle.seek(0)
    found = hashlib.sha256()
    while some := handle.read(2**20):
        found.update(some)
    return found.hexdigest()


def _files(value: object) -> dict[str, FileFact]:
    if not isinstance(value, list) or not value or len(value) > 10_000:
        raise InputError("'files' is not a list of files")
    found: dict[str, FileFact] = {}
    for held in value:
        if not isinstance(held, dict) or held.keys() != {"name", "sha256", "bytes"}:
            raise InputError("a file is not an object of name, sha256 and bytes")
        fact = FileFact(plain_name(held["name"]), str(held["sha256"]), held["bytes"])
        if not _SHA256.fullmatch(fact.sha256) or type(fact.bytes) is not int:
            raise InputError(f"the file {fact.name!r} has no SHA-256 or size")
        if fact.name in found:
            raise InputError(f"the file {fact.name!r} is named twice")
        found[fact.name] = fact
    return found


def plain_name(value: object) -> str:
    """A file's name, if it is nothing but a name.

    Raises:
        InputError: It may lead elsewhere.
    """
    if not isinstance(value, str) or not _PLAIN_NAME.fullmatch(value):
        raise InputError(f"the file name {str(value)[:60]!r} is not a plain name", "use letters, digits, dots, dashes")
    return value


def _embedder_id(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, dict) or value.keys() != {"name", "revision"}:
        raise InputError("'embedder' is not an object of name and revision")
    name, revision = value["name"], value["revision"]
    if not isinstance(name, str) or not isinstance(revision, str) or len(name + revision) > MAX_SCENARIO_CHARACTERS:
        raise InputError("'embedder' does not name an embedder")
    return EmbedderIdentity(name, revision).id
