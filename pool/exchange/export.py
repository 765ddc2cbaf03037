"""Personas out of a pool into a file or a dataset folder.

Knows files, formats and the dataset card; knows no table. Texts in a manifest may come from anywhere, so they
stand in the card as code. What is written appears under its name when it is whole, and is for its owner
only until the owner shares it: scenarios may hold personal text.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ethos.encoders.identity import EmbedderIdentity
from ethos.errors import InputError
from ethos.pool.exchange.files import CARD, DATA, FILE_MANIFEST, LINES, MANIFEST, PARQUET, PERSONAS
from ethos.pool.exchange.manifest import FileFact, Manifest, Tally, plain_name, sha256
from ethos.pool.exchange.parquet import write_parquet
from ethos.pool.exchange.pools import Selection, count, records
from ethos.pool.exchange.row_format import KEYS, Record
from ethos.pool.retrieval.vectors import VectorStore
from ethos.pool.storage.database import Database

# The hub knows licences by these identifiers; any other is named in the text.
_LICENCES = {"mit": "mit", "apache-2.0": "apache-2.0", "cc0-1.0": "cc0-1.0", "cc-by-4.0": "cc-by-4.0"}
_LICENCES |= {"cc-by-sa-4.0": "cc-by-sa-4.0", "cc-by-nc-4.0": "cc-by-nc-4.0"}


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


def card(manifest: Manifest) -> str:
    """The README.md of a dataset folder."""
    licences = {name.strip().lower() for name in manifest.licences}
    (licence,) = licences if len(licences) == 1 else {"other"}
    files = "".join(f"      - data/{file.name}\n" for file in manifest.files)
    return f"""---
license: {_LICENCES.get(licence, "other")}
tags:
- ethos-pool
- moral-personas
- health
configs:
- config_name: default
  data_files:
  - split: train
    path:
{files}---

# A pool of moral personas for health scenarios

{manifest.personas:,} personas, made for {manifest.scenarios:,} scenarios, in {manifest.rows:,} rows: one a persona and
a way it came to be. Written by Ethos {manifest.ethos_version} on {manifest.created_at}.

    ethos pool import FOLDER            # quarantined until `ethos pool approve --source NAME`
    ethos pool pull OWNER/NAME

**Scenarios may hold personal text.** Look through them before you share this folder.

| column | meaning |
| --- | --- |
| `persona_id` | content address of the six texts |
| `name`, `core_value`, `ethical_framework`, `right_duty`, `emotion`, `stakeholder_role` | the persona |
| `scenario`, `options` | what it was made for |
| `kind` | `curated`, `generated` or `imported` |
| `model`, `model_revision`, `model_precision`, `prompt_set`, `seed` | of a generated one |
| `source`, `licence` | of a collection |
| `status` | `active`, `quarantined` or `retired` |
| `panels` | places in panels that were made for the scenario |

Rows by kind, licence, and model or collection:

{_counts("kind", manifest.origin_kinds)}
{_counts("licence", manifest.licences)}
{_counts("from", manifest.sources)}
`ethos-pool.json` holds the same counts and the SHA-256 of every file. There is no index and no code in this folder.
"""


def _counts(what: str, counts: Mapping[str, int]) -> str:
    rows = "".join(f"| {_code(name)} | {count:,} |\n" for name, count in list(counts.items())[:50])
    return f"| {what} | rows |\n| --- | --- |\n{rows}"


def _code(text: str) -> str:
    """A text as code in a table's cell: nothing in it can become a link, markup or another cell."""
    plain = " ".join(re.sub(r"[`|]", " ", text).split())
    return f"`{plain[:200]}`" if plain else "none stated"
