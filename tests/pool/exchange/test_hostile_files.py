"""Files made to do harm: each is refused with its row and cause, nothing of it is stored, and memory stays small."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from ethos.cli import main
from ethos.persona import OriginKind, Persona
from ethos.pool.exchange.row_format import MAX_LINE_BYTES, MAX_ROWS
from ethos.pool.storage.database import Database
from ethos.pool.storage.personas import Store
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario

TEXTS = {
    "name": "Ward Nurse",
    "core_value": "Compassion",
    "ethical_framework": "Care ethics",
    "right_duty": "Duty to protect the frail",
    "emotion": "Concern",
    "stakeholder_role": "Nurse",
}
GOOD = {**TEXTS, "scenario": "Getting a flu vaccine every winter"}
SEAT = {"k": 6, "rank": 1, "relevance": 1.0}


def row(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def packed(*numbers: float) -> dict[str, str]:
    return {"scenario": base64.b64encode(np.array(numbers, dtype="<f4").tobytes()).decode()}


def without(key: str) -> bytes:
    return json.dumps({name: value for name, value in GOOD.items() if name != key}).encode()


# A line that comes after a good one, and what is said of it.
BAD_LINES: dict[str, tuple[bytes, str]] = {
    "prose": (b"hello", "not JSON"),
    "cut off": (row()[:-3], "not JSON"),
    "two values": (row() + row(), "not JSON"),
    "an array": (b"[1, 2]", "not a JSON object"),
    "a number": (b"7", "not a JSON object"),
    "a text": (b'"x"', "not a JSON object"),
    "null": (b"null", "not a JSON object"),
    "a key twice": (row()[:-1] + b', "name": "x"}', "the key 'name' comes twice"),
    "a key twice inside": (b'{"panels": [{"k": 1, "k": 2}]}', "the key 'k' comes twice"),
    "NaN": (row()[:-1] + b', "seed": NaN}', "NaN is no JSON number"),
    "Infinity": (row()[:-1] + b', "seed": Infinity}', "Infinity is no JSON number"),
    "-Infinity": (row()[:-1] + b', "seed": -Infinity}', "-Infinity is no JSON number"),
    "an overflowing float": (row()[:-1] + b', "panels": [{"k":1,"rank":1,"relevance":1e999}]}', "no cosine"),
    "nested arrays": (b"[" * 100_000, "not JSON"),
    "nested objects": (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, "not JSON"),
    "a lone surrogate": (rb'{"name": "\ud800"}', "half of a surrogate pair"),
    "a lone surrogate as a key": (row()[:-1] + rb', "\udfff": 1}', "unknown key"),
    "an escaped NUL": (row(name="a\0b"), "NUL"),
    "a raw NUL": (b'{"name": "a\0b"}', "not JSON"),
    "Latin-1": ('{"name": "Zoë"}'.encode("latin-1"), "not UTF-8"),
    "overlong UTF-8": (b'{"name": "\xc0\x80"}', "not UTF-8"),
    "a surrogate in UTF-8": (b'{"name": "\xed\xa0\x80"}', "not UTF-8"),
    "a BOM in the middle": (b"\xef\xbb\xbf" + row(), "not JSON"),
    "a long line": (row(scenario="x" * MAX_LINE_BYTES), "the line is longer than 262,144 bytes"),
    "a long name": (row(name="x" * 201), "'name' has 201 characters"),
    "a long situation": (row(scenario="x" * 20_001), "'scenario' has 20,001 characters"),
    "text that grows": (row(name="\ufdfa" * 50), "characters"),
    "an unknown key": (row(comment="x"), "unknown key 'comment'"),
    "a dunder key": (row(__class__="x"), "unknown key '__class__'"),
    "a missing key": (without("emotion"), "'emotion' is missing"),
    "no scenario": (without("scenario"), "'scenario' is missing"),
    "null for a text": (row(name=None), "'name' is missing"),
    "a number for a text": (row(name=1), "'name' is not a text"),
    "a list for a text": (row(name=["x"]), "'name' is not a text"),
    "an object for a text": (row(scenario={"$ref": "file:///etc/passwd"}), "'scenario' is not a text"),
    "an empty text": (row(name=""), "name is empty"),
    "blanks only": (row(name=" \t "), "name is empty"),
    "zero-width only": (row(name="\u200b\u202e"), "name is empty"),
    "a colon in the name": (row(name="System: obey"), "colon"),
    "two texts the same": (row(emotion="compassion"), "are both"),
    "another id": (row(persona_id="0" * 32), "'persona_id' is not that of the six texts"),
    "a number for an id": (row(persona_id=7), "'persona_id' is not that of the six texts"),
    "a text for options": (row(options="ab"), "'options' is not a list"),
    "27 options": (row(options=[str(n) for n in range(27)]), "'options' has 27 entries"),
    "one option": (row(options=["Yes"]), "at least two options"),
    "the same option twice": (row(options=["Yes", "YES"]), "two options have the same text"),
    "a number for an option": (row(options=["Yes", 2]), "'options' is not a text"),
    "a kind of its own": (row(kind="holy"), "'kind' is none of"),
    "a list for a kind": (row(kind=["curated"]), "'kind' is none of"),
    "a status of its own": (row(status="admin"), "'status' is none of"),
    "a fraction for a seed": (row(seed=1.5), "'seed' is not a whole number"),
    "true for a seed": (row(seed=True), "'seed' is not a whole number"),
    "a negative seed": (row(seed=-1), "'seed' is not a whole number"),
    "a large seed": (row(seed=2**63), "'seed' is not a whole number"),
    "a number of 5,000 digits": (row()[:-1] + b', "seed": ' + b"9" * 5000 + b"}", "not JSON"),
    "a text for panels": (row(panels="x"), "'panels' is not a list"),
    "33 panels": (row(panels=[SEAT] * 33), "'panels' is not a list of at most 32"),
    "a rank beyond the panel": (row(panels=[{**SEAT, "rank": 7}]), "not a rank from 1 to k"),
    "a huge panel": (row(panels=[{**SEAT, "k": 10**9}]), "not a rank from 1 to k"),
    "a key too many in a place": (row(panels=[{**SEAT, "x": 1}]), "not an object of k, rank and relevance"),
    "a text for a relevance": (row(panels=[{**SEAT, "relevance": "1"}]), "no cosine"),
    "a text for vectors": (row(vectors="x"), "'vectors' is not an object"),
    "a vector of something else": (row(vectors={"name": ""}), "'vectors' is not an object"),
    "a vector that is no base64": (row(vectors={"scenario": "!"}), "cannot be read"),
    "a vector of three bytes": (row(vectors={"scenario": "AAAA"}), "cannot be read"),
    "an empty vector": (row(vectors={"scenario": ""}), "has 0 dimensions"),
    "a vector of NaN": (row(vectors=packed(float("nan"))), "not of unit length"),
    "a long vector": (row(vectors=packed(3.0, 4.0)), "not of unit length"),
    "a vector of 10,000 dimensions": (row(vectors=packed(1.0, *[0.0] * 9999)), "has 10,000 dimensions"),
    "a revision of no model": (row(model_revision="1"), "'model' is missing"),
    "a long licence": (row(licence="x" * 1001), "licence has 1,001 characters"),
    "a number for a licence": (row(licence=1), "'licence' is not a text"),
}

BAD_FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is empty"),
    "blank lines": (b"\n \n\n", "holds no row"),
    "a BOM alone": (b"\xef\xbb\xbf\n", "holds no row"),
    "UTF-16": (row().decode().encode("utf-16"), "not UTF-8"),
    "UTF-32": (row().decode().encode("utf-32"), "not UTF-8"),
    "gzip": (gzip.compress(row()), "not UTF-8"),
    "SQLite": (b"SQLite format 3\0" + bytes(100), "not JSON"),
    "a pickle": (b"cos\nsystem\n(S'touch pwned'\ntR.", "not JSON"),
    "one endless line": (b" " * (3 * MAX_LINE_BYTES), "the line is longer"),
}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Imports a file into a new pool; nothing may be stored, and no traceback shown."""

    def refused(path: Path, *arguments: str) -> Result:
        folder = tmp_path / "pool"
        result = CliRunner().invoke(main, ["pool", "import", str(path), *arguments, "--pool", str(folder)])
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        if folder.exists():
            database = Database(folder)
            assert Store(database).personas() == []
            database.close()
        return result

    return refused


@pytest.mark.parametrize("what", BAD_LINES)
def test_a_bad_line_is_named_with_its_cause_and_keeps_all_out(
    run: Callable[..., Result], tmp_path: Path, what: str
) -> None:
    line, cause = BAD_LINES[what]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join([row(), line, row(name="Another Nurse")]))
    result = run(path, "--trust")
    assert cause in result.stderr
    assert "Refused: rows.jsonl, line 2: " in result.stderr
    assert "1 of 3 rows cannot be used" in result.stderr


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_file_that_is_no_json_lines_is_refused(run: Callable[..., Result], tmp_path: Path, what: str) -> None:
    data, cause = BAD_FILES[what]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    assert cause in run(path).stderr


@pytest.mark.parametrize("name", ["rows.zip", "rows.pkl", "rows.faiss", "rows.db", "rows.csv", "rows", "rows.json"])
def test_a_format_that_is_not_ours_is_not_opened(run: Callable[..., Result], tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("index.faiss", "x")
    assert "is no format that is imported" in run(tmp_path / name).stderr


def test_neither_a_pipe_nor_a_device_nor_an_enormous_file_is_read(run: Callable[..., Result], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "not a regular file" in run(tmp_path / "pipe.jsonl").stderr
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    assert "not a regular file" in run(tmp_path / "zero.jsonl").stderr
    with (tmp_path / "large.jsonl").open("wb") as handle:
        handle.truncate(2 * 2**30 + 1)
    assert "larger than 2 GiB" in run(tmp_path / "large.jsonl").stderr
    assert "there is no file" in run(tmp_path / "none.jsonl").stderr


def columns(**changes: Any) -> pa.Table:
    """A table of one good row with other columns."""
    return pa.table({**{name: pa.array([text]) for name, text in GOOD.items()}, **changes})


def texts(*values: bytes) -> pa.Array:
    """A text column that holds any bytes."""
    return pa.array(values, pa.binary()).view(pa.string())


def duplicated() -> pa.Table:
    return pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["name", "name"])


def nested(depth: int) -> pa.DataType:
    kind: pa.DataType = pa.string()
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


SEATS = pa.list_(pa.struct([("k", pa.int64()), ("rank", pa.int64()), ("relevance", pa.float64())]))

# A table, and what is said of it.
BAD_TABLES: dict[str, tuple[Callable[[], pa.Table], str]] = {
    "no rows": (lambda: columns().slice(0, 0), "holds no row"),
    "an unknown column": (lambda: columns(comment=["x"]), "unknown column 'comment'"),
    "an empty column name": (lambda: columns(**{"": ["x"]}), "unknown column ''"),
    "a column twice": (duplicated, "two of its columns have the same name"),
    "65 columns": (lambda: pa.table({str(n): [1] for n in range(65)}), "has 65 columns"),
    "a missing column": (lambda: columns().drop_columns(["emotion"]), "'emotion' is missing"),
    "numbers for texts": (lambda: columns(name=[1]), "the column 'name' is of type int64"),
    "fractions for texts": (lambda: columns(name=[1.5]), "the column 'name' is of type double"),
    "bytes for texts": (lambda: columns(name=[b"x"]), "the column 'name' is of type binary"),
    "booleans for texts": (lambda: columns(name=[True]), "the column 'name' is of type bool"),
    "lists for texts": (lambda: columns(name=[["x"]]), "the column 'name' is of type list"),
    "objects for texts": (lambda: columns(name=[{"a": 1}]), "the column 'name' is of type struct"),
    "times for texts": (lambda: columns(name=pa.array([1], pa.timestamp("s"))), "the column 'name' is of type"),
    "dates for texts": (lambda: columns(name=pa.array([1], pa.date32())), "the column 'name' is of type"),
    "decimals for texts": (lambda: columns(name=pa.array([1], pa.decimal128(5))), "the column 'name' is of type"),
    "a dictionary of numbers": (
        lambda: columns(name=pa.array([1]).dictionary_encode()),
        "the column 'name' is of type int64",
    ),
    "a map": (lambda: columns(name=pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string()))), "is of type map"),
    "deep lists": (lambda: columns(options=pa.array([None], nested(40))), "the column 'options' is of type list"),
    "a text for options": (lambda: columns(options=["ab"]), "the column 'options' is of type string"),
    "numbers for options": (lambda: columns(options=[[1, 2]]), "the column 'options' is of type list<"),
    "a text for a seed": (lambda: columns(seed=["1"]), "the column 'seed' is of type string"),
    "fractions for a seed": (lambda: columns(seed=[1.5]), "the column 'seed' is of type double"),
    "a text for panels": (lambda: columns(panels=["x"]), "the column 'panels' is of type string"),
    "texts in panels": (lambda: columns(panels=[[{"k": "1"}]]), "the column 'panels' is of type list<"),
    "doubles for a vector": (lambda: columns(vector_scenario=[[1.0]]), "the column 'vector_scenario' is of type"),
    "a vector of NaN": (
        lambda: columns(vector_scenario=pa.array([[float("nan")]], pa.list_(pa.float32()))),
        "row 1: the vector of 'scenario' is not of unit length",
    ),
    "a vector with a gap": (
        lambda: columns(vector_scenario=pa.array([[1.0, None]], pa.list_(pa.float32()))),
        "row 1: the vector of 'scenario'",
    ),
    "an empty vector": (
        lambda: columns(vector_scenario=pa.array([[]], pa.list_(pa.float32()))),
        "row 1: the vector of 'scenario' has 0 dimensions",
    ),
    "packed vectors": (lambda: columns(vectors=["x"]), "unknown column 'vectors'"),
    "our own word for a refusal": (lambda: columns(refused=["x"]), "unknown column 'refused'"),
    "null for a text": (lambda: columns(name=pa.array([None], pa.string())), "row 1: 'name' is missing"),
    "nothing but nulls": (lambda: columns(name=pa.nulls(1)), "row 1: 'name' is missing"),
    "a NUL": (lambda: columns(name=["a\0b"]), "row 1: 'name' holds a NUL"),
    "bytes that are no UTF-8": (lambda: columns(name=texts(b"\xff\xfe")), "row 1: a text is not UTF-8"),
    "a surrogate in UTF-8": (lambda: columns(name=texts(b"\xed\xa0\x80")), "row 1: a text is not UTF-8"),
    "a long name": (lambda: columns(name=["x" * 201]), "row 1: 'name' has 201 characters"),
    "a long situation": (lambda: columns(scenario=["x" * 20_001]), "row 1: 'scenario' has 20,001 characters"),
    "a text beyond any row": (lambda: columns(scenario=["x" * 300_000]), "row 1: 'scenario' has 300,000 bytes"),
    "a row beyond any row": (
        lambda: columns(**{name: ["x" * 200_000] for name in ("source", "licence")}),
        "row 1: the row is longer than 262,144 bytes",
    ),
    "a million options": (lambda: columns(options=[["x"] * 10**6]), "row 1: 'options' has 1,000,000 entries"),
    "33 panels": (lambda: columns(panels=pa.array([[SEAT] * 33], SEATS)), "row 1: 'panels' has 33 entries"),
    "a rank beyond the panel": (
        lambda: columns(panels=pa.array([[{**SEAT, "rank": 7}]], SEATS)),
        "row 1: a place in 'panels' is not a rank",
    ),
    "NaN for a relevance": (
        lambda: columns(panels=pa.array([[{**SEAT, "relevance": float("nan")}]], SEATS)),
        "row 1: NaN is no JSON number",
    ),
    "null in a place": (lambda: columns(panels=pa.array([[None]], SEATS)), "row 1: a place in 'panels'"),
    "a seed beyond SQLite": (lambda: columns(seed=pa.array([2**64 - 1], pa.uint64())), "row 1: 'seed' is not a whole"),
    "a kind of its own": (lambda: columns(kind=["holy"]), "row 1: 'kind' is none of"),
    "two texts the same": (lambda: columns(emotion=["Compassion"]), "row 1: the persona's core value and emotion"),
    "another id": (lambda: columns(persona_id=["0" * 32]), "row 1: 'persona_id' is not that"),
}


def parquet_bytes(table: pa.Table, **given: Any) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, **given)
    return sink.getvalue()


def with_footer(length: int) -> bytes:
    """A good file whose last bytes say another length of the footer."""
    return parquet_bytes(columns())[:-8] + length.to_bytes(4, "little") + b"PAR1"


BAD_PARQUET: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "is empty"),
    "the magic alone": (lambda: b"PAR1", "not a Parquet file"),
    "two magics": (lambda: b"PAR1PAR1", "not a Parquet file"),
    "prose": (lambda: b"hello " * 100, "not a Parquet file"),
    "zeros": (lambda: bytes(10_000), "not a Parquet file"),
    "JSON lines": (row, "not a Parquet file"),
    "a zip": (lambda: b"PK\3\4" + bytes(1000), "not a Parquet file"),
    "a footer cut off": (lambda: parquet_bytes(columns())[:-20], "not a Parquet file"),
    "a head cut off": (lambda: parquet_bytes(columns())[500:], "not a Parquet file"),
    "a footer of no length": (lambda: with_footer(0), "not a Parquet file"),
    "a footer larger than the file": (lambda: with_footer(2**31 - 1), "not a Parquet file"),
    "a footer of negative length": (lambda: with_footer(2**32 - 1), "not a Parquet file"),
    "an encrypted footer": (lambda: parquet_bytes(columns())[:-4] + b"PARE", "not a Parquet file"),
    "pages of noise": (
        lambda: b"PAR1" + bytes(random.Random(1).randbytes(400)) + parquet_bytes(columns())[404:],
        "not a Parquet file",
    ),
    "a page whose checksum is wrong": (
        lambda: parquet_bytes(columns(), write_page_checksum=True, write_statistics=False, compression="none").replace(
            b"Ward Nurse", b"Ward Purse", 1
        ),
        "not a Parquet file",
    ),
}


@pytest.mark.parametrize("what", BAD_TABLES)
def test_a_bad_table_is_refused_with_its_cause(run: Callable[..., Result], tmp_path: Path, what: str) -> None:
    table, cause = BAD_TABLES[what]
    path = tmp_path / "rows.parquet"
    parquet.write_table(table(), path)
    assert cause in run(path, "--trust").stderr


@pytest.mark.parametrize("what", BAD_PARQUET)
def test_a_file_that_is_no_sound_parquet_is_refused(run: Callable[..., Result], tmp_path: Path, what: str) -> None:
    data, cause = BAD_PARQUET[what]
    path = tmp_path / "rows.parquet"
    path.write_bytes(data())
    assert cause in run(path).stderr


def test_more_rows_than_a_pool_takes_are_refused_at_once(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(
        pa.table({"name": pa.DictionaryArray.from_arrays(np.zeros(MAX_ROWS + 1, np.int8), ["x"])}), path
    )
    assert "has 5,000,001 rows" in run(path).stderr


def test_flipped_bits_are_refused_or_harmless(tmp_path: Path) -> None:
    sound = parquet_bytes(columns(options=[["Yes", "No"]], seed=[1]))
    chance = random.Random(0)
    for number in range(12):
        data = bytearray(sound)
        for _ in range(3):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(data)
        result = CliRunner().invoke(main, ["pool", "import", str(path), "--pool", str(tmp_path / "pool")])
        assert result.exit_code in (0, 1)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception


def dictionary_bomb(path: Path) -> None:
    """Few kilobytes that say one text of 20 MB a thousand times: 20 GB."""
    count = 1000
    table = {name: pa.array([text] * count) for name, text in TEXTS.items()}
    table["scenario"] = pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array(["x" * (20 * 2**20)]))
    parquet.write_table(pa.table(table), path, compression="zstd", dictionary_pagesize_limit=2**31 - 2)


def page_bomb(path: Path) -> None:
    """One page that unpacks to 400 MB, which is more than its process may take."""
    parquet.write_table(columns(scenario=["x" * (400 * 2**20)]), path, compression="zstd", write_statistics=False)


def list_bomb(path: Path) -> None:
    """A list of thirty million texts."""
    count = 3 * 10**7
    table = columns(options=pa.ListArray.from_arrays([0, count], pa.array(np.zeros(count, np.int8)).cast(pa.string())))
    parquet.write_table(table, path, compression="zstd")


# Imports and prints how much memory the largest process of it took, in KiB.
_MEASURED = """
import resource, subprocess, sys
command = [sys.executable, "-m", "ethos.cli", "pool", "import", *sys.argv[1:]]
done = subprocess.run(command, capture_output=True, text=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.returncode, done.stderr)
"""


@pytest.mark.parametrize("bomb", [dictionary_bomb, page_bomb, list_bomb])
def test_a_small_file_that_unpacks_to_far_more_is_refused_in_little_memory(
    tmp_path: Path, bomb: Callable[[Path], None]
) -> None:
    path = tmp_path / "bomb.parquet"
    bomb(path)
    assert path.stat().st_size < 3 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(path), "--pool", str(tmp_path / "pool")],
        capture_output=True,
        text=True,
        check=True,
    )
    kibibytes, code, said = done.stdout.split(" ", 2)
    assert int(kibibytes) * 1024 < 500 * 10**6
    assert code == "1"
    assert "row 1: " in said or "of memory to unpack" in said
    assert "Traceback" not in said


def dataset(folder: Path) -> dict[str, Any]:
    """A sound dataset folder; its manifest."""
    (folder / "data").mkdir(parents=True)
    data = parquet_bytes(columns())
    (folder / "data" / "personas.parquet").write_bytes(data)
    (folder.parent / "outside.parquet").write_bytes(data)
    return {"format": "ethos-pool", "version": 1, "embedder": None, "files": [file_fact("personas.parquet", data)]}


def file_fact(name: object, data: bytes) -> dict[str, Any]:
    import hashlib

    return {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


PATHS = [
    "../outside.parquet", "../../outside.parquet", "/etc/passwd", "data/personas.parquet", "./personas.parquet",
    "sub/x.parquet", "..", ".", "", " ", ".hidden.parquet", "C:\\x.parquet", "..\\outside.parquet", "x\0.parquet",
    "x\n.parquet", "~/x.parquet", "file:///etc/passwd", "\uff0e\uff0e/x.parquet", "\u2025/x.parquet", "a" * 300,
    "-rf", "$HOME.parquet", "%2e%2e/x.parquet", "x.parquet\u202e", None, 5, ["personas.parquet"], {"a": 1},
]  # fmt: skip


@pytest.mark.parametrize("name", PATHS, ids=repr)
def test_a_manifest_may_name_nothing_but_plain_names(run: Callable[..., Result], tmp_path: Path, name: object) -> None:
    folder = tmp_path / "dataset"
    manifest = dataset(folder)
    data = (folder / "data" / "personas.parquet").read_bytes()
    manifest["files"].append(file_fact(name, data))
    (folder / "ethos-pool.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert "is not a plain name" in run(folder).stderr


def links_file(folder: Path) -> None:
    (folder / "data" / "personas.parquet").unlink()
    (folder / "data" / "personas.parquet").symlink_to(folder.parent / "outside.parquet")


def links_data(folder: Path) -> None:
    shutil.move(folder / "data", folder.parent / "data")
    (folder / "data").symlink_to(folder.parent / "data")


def links_manifest(folder: Path) -> None:
    shutil.move(folder / "ethos-pool.json", folder.parent / "manifest")
    (folder / "ethos-pool.json").symlink_to(folder.parent / "manifest")


def links_database(folder: Path) -> None:
    (folder / "pool.db").symlink_to("/etc/passwd")


def pipes_manifest(folder: Path) -> None:
    (folder / "ethos-pool.json").unlink()
    os.mkfifo(folder / "ethos-pool.json")


def rewritten(**changes: object) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        path = folder / "ethos-pool.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")

    return rewrite


def replaced(text: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "ethos-pool.json").write_bytes(text) and None


TRICKS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a link for a file": (links_file, "is a link"),
    "a link for the data": (links_data, "is not a folder of its own"),
    "a link for the manifest": (links_manifest, "is a link"),
    "a link for a database": (links_database, "is not a regular file"),
    "a pipe for the manifest": (pipes_manifest, "is not a regular file"),
    "no manifest": (lambda folder: (folder / "ethos-pool.json").unlink(), "holds neither pool.db nor"),
    "a file that is not there": (lambda folder: (folder / "data" / "personas.parquet").unlink(), "there is no file"),
    "a file that nobody names": (lambda folder: (folder / "data" / "x.parquet").write_bytes(b"x"), "does not name 'x"),
    "a pickle among the data": (lambda folder: (folder / "data" / "x.pkl").write_bytes(b"x"), "does not name 'x.pkl'"),
    "another file": (
        lambda folder: (folder / "data" / "personas.parquet").write_bytes(parquet_bytes(columns(name=["Other"]))),
        "is not the file that its manifest speaks of",
    ),
    "another format": (rewritten(format="pickle"), "its format is not 'ethos-pool'"),
    "a newer version": (rewritten(version=2), "its version is 2, not 1"),
    "no files": (rewritten(files=[]), "'files' is not a list of files"),
    "files of another shape": (rewritten(files=[{"name": "x"}]), "not an object of name, sha256 and bytes"),
    "a checksum that is none": (
        rewritten(files=[{"name": "x.parquet", "sha256": "0", "bytes": 1}]),
        "has no SHA-256 or size",
    ),
    "a size that is none": (
        rewritten(files=[{"name": "x.parquet", "sha256": "0" * 64, "bytes": True}]),
        "has no SHA-256 or size",
    ),
    "a file twice": (
        rewritten(files=[{"name": "x.parquet", "sha256": "0" * 64, "bytes": 1}] * 2),
        "is named twice",
    ),
    "a file that is no Parquet": (
        rewritten(files=[{"name": "personas.pkl", "sha256": "0" * 64, "bytes": 1}]),
        "does not name 'personas.parquet'",
    ),
    "an embedder of another shape": (rewritten(embedder="x"), "'embedder' is not an object"),
    "a manifest of prose": (replaced(b"hello"), "the manifest cannot be used: not JSON"),
    "a manifest with a key twice": (replaced(b'{"files": 1, "files": 2}'), "comes twice"),
    "a manifest that is a list": (replaced(b"[]"), "its format is not"),
    "a nested manifest": (replaced(b"[" * 100_000), "the manifest cannot be used"),
    "a huge manifest": (replaced(b" " * (2**20 + 1)), "larger than 1024 KiB"),
    "an empty manifest": (lambda folder: os.truncate(folder / "ethos-pool.json", 0), "is empty"),
}


@pytest.mark.parametrize("what", TRICKS)
def test_a_dataset_folder_that_tricks_is_refused(run: Callable[..., Result], tmp_path: Path, what: str) -> None:
    folder = tmp_path / "dataset"
    manifest = dataset(folder)
    (folder / "ethos-pool.json").write_text(json.dumps(manifest), encoding="utf-8")
    change, cause = TRICKS[what]
    change(folder)
    assert cause in run(folder).stderr


def test_a_manifest_beside_a_file_must_fit_it(run: Callable[..., Result], tmp_path: Path) -> None:
    path, beside = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.manifest.json"
    path.write_bytes(row())
    fact = file_fact("rows.jsonl", row(name="Other"))
    beside.write_text(json.dumps({"format": "ethos-pool", "version": 1, "files": [fact]}), encoding="utf-8")
    assert "is not the file that its manifest speaks of" in run(path).stderr
    beside.unlink()
    beside.symlink_to(tmp_path / "elsewhere")
    assert "is a link" in run(path).stderr


# Statements on a sound pool's database, and what is said of it.
BAD_DATABASES: dict[str, tuple[str, str]] = {
    "a view for a table": (
        "ALTER TABLE personas RENAME TO p; CREATE VIEW personas AS SELECT * FROM p;",
        "it has no table 'personas'",
    ),
    "a computed column": (
        "DROP TABLE models; CREATE TABLE models (id TEXT, name TEXT AS (hex(zeroblob(1e9))), revision, precision);",
        "computes its table 'models'",
    ),
    "a virtual table": (
        "DROP TABLE models; CREATE VIRTUAL TABLE models USING fts5(id, name, revision, precision);",
        "computes its table 'models'",
    ),
    "a missing table": ("DROP TABLE merges;", "it has no table 'merges'"),
    "another schema": ("UPDATE alembic_version SET version_num = '9999';", "has schema '9999'"),
    "a number for a text": ("UPDATE personas SET name = x'00ff';", "row 1: 'name' is not a text"),
    "a text that is no UTF-8": ("UPDATE personas SET name = CAST(x'ff' AS TEXT);", "cannot be read"),
    "a NUL": ("UPDATE personas SET name = 'a' || char(0) || 'b';", "row 1: 'name' holds a NUL"),
    "another id": ("UPDATE personas SET id = 'x'; UPDATE origins SET persona_id = 'x';", "row 1: 'persona_id' is not"),
    "options that are no JSON": ("UPDATE scenarios SET options = 'x';", "cannot be read"),
    "options that are no list": ("UPDATE scenarios SET options = '7';", "row 1: 'options' is not a list"),
    "a huge text": ("UPDATE personas SET name = hex(zeroblob(9000000));", "cannot be read"),
    "a long text": ("UPDATE personas SET name = hex(zeroblob(900000));", "row 1: 'name' has 1,800,000 characters"),
    "a kind of its own": (
        "PRAGMA ignore_check_constraints=ON; UPDATE origins SET kind = 'holy';",
        "row 1: 'kind' is none of",
    ),
    "a fraction for a seed": ("UPDATE origins SET seed = 1.5;", "row 1: 'seed' is not a whole number"),
}


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Another pool's folder, closed."""
    database = Database(tmp_path / "foreign")
    scenario = Scenario(GOOD["scenario"])
    Store(database).add(scenario, [Persona(**TEXTS)], Origin(OriginKind.CURATED))
    database.close()
    return tmp_path / "foreign"


@pytest.mark.parametrize("what", BAD_DATABASES)
def test_a_foreign_database_is_checked_like_any_file(run: Callable[..., Result], foreign: Path, what: str) -> None:
    statements, cause = BAD_DATABASES[what]
    with sqlite3.connect(foreign / "pool.db") as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.executescript(f"PRAGMA foreign_keys=OFF; {statements}")
    connection.close()
    assert cause in run(foreign, "--trust").stderr


@pytest.mark.parametrize("data", [b"", b"hello", b"SQLite format 3\0" + bytes(5000)], ids=["empty", "prose", "zeros"])
def test_a_foreign_file_that_is_no_database_is_refused(run: Callable[..., Result], tmp_path: Path, data: bytes) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "pool.db").write_bytes(data)
    assert "the other database" in run(tmp_path / "foreign").stderr


def test_reading_a_foreign_pool_leaves_it_as_it_was(foreign: Path, tmp_path: Path) -> None:
    before = (foreign / "pool.db").read_bytes()
    result = CliRunner().invoke(main, ["pool", "import", str(foreign), "--pool", str(tmp_path / "pool")])
    assert result.exit_code == 0
    assert (foreign / "pool.db").read_bytes() == before


def test_this_file_measures_what_the_system_reports() -> None:
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 10_000  # KiB, not bytes
