"""Feeds mutated files to the importers until the time is up: `make stress`.

    python tests/pool/exchange/fuzz_importers.py lines|parquet [-max_total_time=60]

What the importers promise of any bytes: rows that were checked, refusals with a cause, or an `InputError`; nothing else
is raised, and no row gets through that cannot be stored. Parquet is decoded in this process instead of one of its own,
so that the fuzzer sees it, and under the same kind of limit on memory: what it refuses to allocate is a refusal.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ethos"]):
    from ethos.errors import InputError
    from ethos.pool.exchange.json_lines import json_lines
    from ethos.pool.exchange.parquet import REFUSED, write_parquet
    from ethos.pool.exchange.parquet_decoding import decode, limit_memory
    from ethos.pool.exchange.rows import row_of, vector_text
    from ethos.pool.starter import starter_panels

_MEMORY = 2**30  # bytes; the corpus is in it as well


def lines(data: bytes) -> None:
    """One run of the importer of JSON lines."""
    for entry in json_lines(io.BytesIO(data)):
        if entry.record is None:
            assert entry.cause
            continue
        try:
            row = row_of(entry.record)
        except InputError:
            continue
        for text in (*row.persona.texts(), row.scenario.situation, *row.scenario.options, row.licence):
            assert "\0" not in text
            text.encode("utf-8")


def parquet(data: bytes) -> None:
    """One run of the importer of Parquet."""
    try:
        for record in decode(io.BytesIO(data)):
            if REFUSED not in record:
                lines(json.dumps(record, ensure_ascii=False).encode("utf-8"))
    except InputError as error:
        if not error.message:
            raise


def seeds(folder: Path, target: str) -> None:
    """Sound files to start from."""
    import numpy as np

    vector = vector_text(np.array([0.6, 0.8], dtype=np.float32))
    records = [
        {**persona.as_dict(), "persona_id": persona.id, "scenario": panel.scenario.situation, "options": ["Yes", "No"]}
        | {"kind": "curated", "seed": 1, "panels": [{"k": 6, "rank": 1, "relevance": 1.0}]}
        | {"vectors": {"scenario": vector}}
        for panel in starter_panels()[:2]
        for persona in panel.personas[:2]
    ]
    if target == "parquet":
        write_parquet(folder / "vectors", records, vectors=True)
        write_parquet(folder / "plain", records[:1], vectors=False)
    else:
        (folder / "lines").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")


def main() -> None:
    """Fuzz the target that is named first; all else is for libFuzzer."""
    target = sys.argv[1] if len(sys.argv) > 1 else ""
    if target not in {"lines", "parquet"}:
        sys.exit("name a target: lines or parquet")
    with tempfile.TemporaryDirectory() as folder:
        seeds(Path(folder), target)
        if target == "parquet":
            limit_memory(_MEMORY)
        limits = ["-rss_limit_mb=0", "-max_len=65536"]
        atheris.Setup([sys.argv[0], *limits, *sys.argv[2:], folder], lines if target == "lines" else parquet)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
