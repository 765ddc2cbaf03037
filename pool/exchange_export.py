"""Personas out of a pool into a file or a dataset folder.

Knows files and formats; knows no table. What is written appears under its name when it is whole, and is for its owner
only until the owner shares it: scenarios may hold personal text.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ethos.embedding import EmbedderIdentity
from ethos.errors import InputError
from ethos.pool.database import Database
from ethos.pool.exchange_card import card
from ethos.pool.exchange_files import CARD, DATA, FILE_MANIFEST, LINES, MANIFEST, PARQUET, PERSONAS
from ethos.pool.exchange_format import KEYS, Record
from ethos.pool.exchange_manifest import FileFact, Manifest, Tally, plain_name, sha256
from ethos.pool.exchange_parquet import write_parquet
from ethos.pool.exchange_pool import Selection, count, records
from ethos.pool.vectors import VectorStore


def export(
    database: Database,
    out: Path,
    selection: Selection,
    embedder: EmbedderIdentity,
    progress: Callable[[int, int], None],
    *,
    vectors: bool = False,
    force: bool = False,
) -> Manifest:
    """Write personas with their scenarios and origins; never answers.

    Args:
        database: The pool's.
        out: A ``.jsonl`` or ``.parquet`` file, which gets a manifest beside it, or else a dataset folder.
        selection: Which rows.
        embedder: What the pool's texts are encoded with.
        progress: Told how many of how many rows are written.
        vectors: Whether stored vectors go with the texts; in Parquet only.
        force: Whether what is there already may be replaced.

    Raises:
        InputError: Something is there already, the name cannot stand in a manifest, nothing is selected, vectors were
            asked for in JSON lines, or the place cannot be written.
    """
    suffix, single = out.suffix.lower(), out.suffix.lower() in {*LINES, *PARQUET}
    if vectors and suffix in LINES:
        raise InputError("vectors are exported to Parquet only", "name a .parquet file or a folder")
    plain_name(out.resolve().name)
    _check_free(out, single, force)
    stored = VectorStore(database)
    with database.read() as connection:
        total = count(connection, selection)
        if not total:
            raise InputError("the pool holds no persona of the kind that is to be exported", "see `ethos pool stats`")
        tally = Tally()
        found = records(connection, selection, (lambda texts: stored.get(embedder, texts)) if vectors else None)
        rows = _told(found, tally, total, progress)
        with _explained(out):
            if single:
                return _write_file(out, rows, tally, embedder, vectors)
            return _write_folder(out, rows, tally, embedder, vectors)


def _told(
    rows: Iterable[tuple[Record, str]], tally: Tally, total: int, progress: Callable[[int, int], None]
) -> Iterator[Record]:
    for record, scenario_id in rows:
        tally.add(record, scenario_id)
        yield record
        if tally.rows % 500 == 0 or tally.rows == total:
            progress(tally.rows, total)


def _write_file(out: Path, rows: Iterator[Record], tally: Tally, embedder: EmbedderIdentity, vectors: bool) -> Manifest:
    with _workplace(out) as folder:
        written = folder / out.name
        _write(written, rows, vectors)
        manifest = tally.manifest(embedder, (_fact(written),))
        beside = folder / (out.name + FILE_MANIFEST)
        beside.write_text(manifest.as_json(), encoding="utf-8")
        # The manifest last: until then a reader finds a checksum that does not fit, never rows that nobody vouches for.
        written.replace(out)
        beside.replace(out.with_name(beside.name))
    return manifest


def _write_folder(
    out: Path, rows: Iterator[Record], tally: Tally, embedder: EmbedderIdentity, vectors: bool
) -> Manifest:
    with _workplace(out) as folder:
        made = folder / "new"
        (made / DATA).mkdir(parents=True)
        _write(made / DATA / PERSONAS, rows, vectors)
        manifest = tally.manifest(embedder, (_fact(made / DATA / PERSONAS),))
        (made / CARD).write_text(card(manifest), encoding="utf-8")
        (made / MANIFEST).write_text(manifest.as_json(), encoding="utf-8")
        made.chmod(0o700)
        if out.exists():
            out.replace(folder / "old")
        made.replace(out)
    return manifest


def _write(path: Path, rows: Iterator[Record], vectors: bool) -> None:
    if path.suffix.lower() in PARQUET:
        write_parquet(path, rows, vectors)
        return
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        for record in rows:
            ordered = {key: record[key] for key in KEYS}
            handle.write(json.dumps(ordered, ensure_ascii=False, separators=(",", ":")) + "\n")


def _fact(path: Path) -> FileFact:
    path.chmod(0o600)
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
        return FileFact(path.name, sha256(handle), path.stat().st_size)


def _check_free(out: Path, single: bool, force: bool) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if out.is_dir() and single:
        raise InputError(f"{out} is a folder", "name a file")
    ours = single or (out.is_dir() and (not any(out.iterdir()) or (out / MANIFEST).is_file()))
    if not ours:
        # Replacing a folder takes away what is in it.
        raise InputError(f"{out} is there, and is no dataset folder of Ethos", "choose another name")
    if not force and (single or any(out.iterdir())):
        raise InputError(f"{out} is there already", "choose another name, or replace it with --force")


@contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """A folder beside the target, on the same file system, that leaves nothing behind."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".ethos-export-", dir=out.parent))
    try:
        yield folder
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror or error}") from error
