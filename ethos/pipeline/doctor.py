"""Diagnose an installation: try each part and name the fix for each fault.

Each part is really used: the folder is written to, the encoder encodes, the model generates. No file is changed.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ethos.encoders.embedder import open_embedder
from ethos.errors import EthosError, ModelError
from ethos.llm import LanguageModel, Request, schema_text, user
from ethos.llm.opening import open_model
from ethos.pipeline.settings import Settings
from ethos.pool.storage.backup import check
from ethos.pool.storage.database import FILE, Database
from ethos.pool.storage.facts import embedder_name

PACKAGES = ("sqlalchemy", "alembic", "faiss-cpu", "onnxruntime", "sentence-transformers", "torch", "transformers")
SQLITE = (3, 37)
ROOM = 1 << 30  # bytes that should be free: a pool of a million personas with its backup takes four times that
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "ceph"}
_SCHEMA = schema_text(
    {
        "type": "object",
        "properties": {"name": {"enum": ["Ana"]}},
        "required": ["name"],
        "additionalProperties": False,
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for one part.

    Attributes:
        part: Name of the part.
        works: Whether it works; None where it works with a drawback, or was not tried.
        detail: What was observed.
        fix: The next step; empty where none is needed.
    """

    part: str
    works: bool | None
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {"part": self.part, "works": self.works, "detail": self.detail, "fix": self.fix}


def examine(settings: Settings, models: bool = True) -> Iterator[Finding]:
    """Try all parts, the quick ones first.

    Args:
        settings: The settings to try.
        models: Whether to load the encoder and the models, and to call the endpoint.
    """
    yield from (_python(), _packages(), _sqlite())
    yield from (_folder(settings.pool), _file_system(settings.pool), _room(settings.pool), _database(settings.pool))
    if models:
        yield _tried("encoder", lambda: _encoder(settings))
        for name in dict.fromkeys(filter(None, (settings.model, settings.comment_model, settings.persona_model))):
            yield from _model(name, settings)


def _tried(part: str, attempt: Callable[[], Finding]) -> Finding:
    try:
        return attempt()
    except EthosError as error:
        return Finding(part, False, error.message, error.hint)


def _python() -> Finding:
    return Finding("python", True, f"{sys.version.split()[0]}, Ethos {version('ethos-pool')}")


def _packages() -> Finding:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding(
            "packages",
            False,
            f"missing: {', '.join(missing)}",
            "reinstall Ethos: pip install --force-reinstall ethos-pool",
        )
    return Finding("packages", True, ", ".join(found))


def _sqlite() -> Finding:
    if sqlite3.sqlite_version_info < SQLITE:
        wanted = ".".join(map(str, SQLITE))
        return Finding("sqlite", False, sqlite3.sqlite_version, f"use a Python built with SQLite {wanted} or newer")
    connection = sqlite3.connect(":memory:")
    options = {row[0] for row in connection.execute("PRAGMA compile_options")}
    connection.close()
    if "ENABLE_FTS5" not in options:
        return Finding("sqlite", None, f"{sqlite3.sqlite_version} without FTS5", "full-text search needs FTS5")
    return Finding("sqlite", True, f"{sqlite3.sqlite_version} with FTS5")


def _folder(pool: Path) -> Finding:
    if not pool.exists():
        return Finding("folder", None, f"{pool} does not exist yet", "create it: ethos pool init")
    try:
        with tempfile.TemporaryFile(dir=pool):
            pass
    except OSError as error:
        return Finding("folder", False, f"{pool}: {error.strerror}", "grant yourself write permission")
    others = pool.stat().st_mode & 0o077
    loose = [path.name for path in pool.glob(f"{FILE}*") if path.stat().st_mode & 0o077]
    if others or loose:
        what = ", ".join([*([str(pool)] if others else []), *loose])
        return Finding("folder", False, f"others may read {what}", f"chmod -R go-rwx {pool}")
    return Finding("folder", True, f"{pool}, for its owner only")


def _file_system(pool: Path) -> Finding:
    kind = _kind_of_file_system(pool)
    if kind in _REMOTE:
        return Finding("file system", False, f"{pool} is on {kind}", "put the pool on a disk of this machine")
    return Finding("file system", True if kind else None, kind or "not known on this system")


def _kind_of_file_system(path: Path) -> str:
    """Return the file system type of the mount that holds a path; empty where the system does not report it."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    rows = [line.split() for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines()]
    full = str(path.resolve())
    holding = [(row[1], row[2]) for row in rows if full == row[1] or full.startswith(row[1].rstrip("/") + "/")]
    return max(holding, key=lambda row: len(row[0]))[1] if holding else ""


def _room(pool: Path) -> Finding:
    at = next(parent for parent in (pool, *pool.resolve().parents) if parent.exists())
    free = shutil.disk_usage(at).free
    detail = f"{free / 1e9:.1f} GB free"
    return Finding("disk", True, detail) if free >= ROOM else Finding("disk", None, detail, "free some disk space")


def _database(pool: Path) -> Finding:
    if not (pool / FILE).exists():
        return Finding("database", None, "no database yet")

    def opened() -> Finding:
        database = Database(pool)
        try:
            with database.plain() as connection:
                check(connection, database.path)
                [count] = connection.execute("SELECT count(*) FROM personas").fetchone()
        finally:
            database.close()
        return Finding("database", True, f"sound, {count} personas; full check: ethos pool verify")

    return _tried("database", opened)


def _encoder(settings: Settings) -> Finding:
    name = settings.embedder or embedder_name(settings.pool)
    embedder = open_embedder(name)
    vectors = embedder.encode(["A nurse asks whether to tell the truth.", "A nurse asks whether to be honest."])
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.allclose(lengths, 1.0, atol=1e-3):
        return Finding("encoder", False, f"{name} gives vectors of length {lengths}", "name another --embedder")
    return Finding("encoder", True, f"{name}, {vectors.shape[1]} dimensions")


def _model(name: str, settings: Settings) -> Iterator[Finding]:
    try:
        model = open_model(name, settings.endpoint, settings.precision)
        [completion] = model.generate([Request(user("Say hello."), 8, 0.0, 0)])
    except EthosError as error:
        yield Finding(f"model {name}", False, error.message, error.hint)
        return
    yield Finding(f"model {name}", True, f"writes {completion.text[:40]!r}")
    yield _capability(name, "option probabilities", lambda: _reads_options(model))
    yield _capability(name, "schema", lambda: _keeps_schema(model))
    yield _capability(name, "seed", lambda: _repeats_itself(model))


def _capability(name: str, what: str, attempt: Callable[[], Finding]) -> Finding:
    try:
        return attempt()
    except ModelError as error:
        return Finding(f"{what} of {name}", False, error.message, error.hint or "use another server or model")


def _reads_options(model: LanguageModel) -> Finding:
    prompt = user("Which letter comes first in the alphabet?\nA. A\nB. B\nAnswer with one letter.")
    [reading] = model.option_probabilities([prompt], ("A", "B"))
    probabilities = ", ".join(f"{p:.2f}" for p in reading.probabilities)
    return Finding("option probabilities", True, f"A and B: {probabilities}, {reading.mass:.0%} of all probability")


def _keeps_schema(model: LanguageModel) -> Finding:
    [reply] = model.generate([Request(user("Give a name as JSON."), 24, 0.0, 0, _SCHEMA)])
    if reply.text.replace(" ", "").replace("\n", "") == '{"name":"Ana"}':
        return Finding("schema", True, "replies keep to a schema")
    fix = "use --prompts paper, or a server with response_format json_schema"
    return Finding("schema", False, f"a reply does not keep to its schema: {reply.text[:60]!r}", fix)


def _repeats_itself(model: LanguageModel) -> Finding:
    request = Request(user("Name a city."), 12, 1.0, 7)
    first, second = (model.generate([request])[0].text for _ in range(2))
    if first == second:
        return Finding("seed", True, "the same request with the same seed gives the same text")
    return Finding("seed", None, "the same request with the same seed gives another text", "replay will differ")
