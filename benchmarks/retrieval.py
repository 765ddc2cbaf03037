"""From a scenario's text to a loaded panel, beside peers: ``python -m benchmarks.retrieval [--sizes 10000] [--json]``.

Everybody holds the same synthetic personas (`benchmarks.pools`) under the same vectors, and is asked the same unseen
questions, those for which the pool has a full panel, in one process. They take turns by blocks of questions, since
nobody runs two such systems side by side: question by question, each would find the caches as another left them, and
PyTorch's threads still spinning. `Pool.retrieve` reads SQL, encodes, searches, weighs the values at stake, chooses six
personas distinct in every attribute, and asks the gate. LangChain's FAISS store chooses six of 200 by maximal marginal
relevance, from memory; GPTCache looks up one cached answer, which is another task. "Ethos's encoder" tells how much of
a gain is the encoder's. The peers come with the extra ``bench``; those not installed are left out, and said to be.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.pools import fill
from ethos.encoders.embedder import Embedder, SentenceEmbedder, Vectors, open_embedder
from ethos.persona import ATTRIBUTES
from ethos.pool.pool import Pool
from ethos.pool.starter import starter_panels
from ethos.pool.storage.values import Link
from ethos.scenario import Scenario

K = 6
BLOCKS = 5
FETCHED = 200  # candidates that LangChain re-ranks
GPTCACHE_MOST = 10_000  # its import of more takes minutes
WARM_UPS = 5  # questions at the start of each block that are not counted
MOST_DRAWN = 5  # times as many questions as are asked, in search of those with a full panel
OURS = "Ethos"
VITAL = "vital_overton_valuekaleidoscope.json"


@dataclass
class Contender:
    """One way from a question to personas.

    Attributes:
        name: Whose it is, and with which encoder.
        ask: Answers a question, and says how many personas it gave.
        milliseconds: Of each question, by the clock, a list a block.
        computing: Of each question, the processors' time, all threads together, in milliseconds.
        given: Personas to each question.
    """

    name: str
    ask: Callable[[str], int]
    milliseconds: list[list[float]] = field(default_factory=list)
    computing: list[float] = field(default_factory=list)
    given: list[int] = field(default_factory=list)

    def measure(self, block: Sequence[str]) -> None:
        """Ask the questions of a block, of which the first warm up."""
        taken = []
        for question in block:
            started, computed = time.perf_counter(), time.process_time()
            self.given.append(self.ask(question))
            self.computing.append(1000 * (time.process_time() - computed))
            taken.append(1000 * (time.perf_counter() - started))
        self.milliseconds.append(taken[WARM_UPS:])


def questions(count: int, rng: np.random.Generator, vital: Path | None) -> list[str]:
    """Texts that no pool has seen, all different: VITAL's situations, about 9 tokens long, or made ones of about 30."""
    if vital:
        rows = json.loads((vital / VITAL).read_text(encoding="utf-8"))
        return [str(rows[i]["situation"]) for i in rng.permutation(len(rows))[:count]]
    panels = starter_panels()
    roles = sorted({persona.stakeholder_role for panel in panels for persona in panel.personas})
    asked = [panels[i].scenario.situation for i in rng.integers(len(panels), size=count)]
    drawn = [roles[i] for i in rng.permutation(len(roles))[:count]]
    return [f"Is this right? {text} ({role})" for text, role in zip(asked, drawn, strict=True)]


class Ours:
    """The pool as an answer uses it; keeps the times in the encoder and in FAISS apart."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.encoding: list[float] = []  # milliseconds
        self.searching: list[float] = []
        nearest = pool._index._scenarios.nearest
        search = nearest.search

        def timed(query: Vectors, count: int) -> Any:
            started = time.perf_counter()
            found = search(query, count)
            self.searching.append(1000 * (time.perf_counter() - started))
            return found

        nearest.search = timed  # type: ignore[method-assign]

    def ask(self, question: str) -> int:
        """The panel."""
        found = self._pool.retrieve(Scenario.of(question), K)
        self.encoding.append(1000 * found.encoding_seconds)
        return len(found.members)


def langchain(links: Sequence[Link], vectors: Vectors, embedder: Embedder) -> Callable[[str], int]:
    """LangChain's FAISS store with a document a persona, under the vector of its scenario.

    Raises:
        ImportError: It is not installed.
    """
    with _peer():
        from langchain_community.vectorstores import FAISS
        from langchain_core.embeddings import Embeddings

    class Encoder(Embeddings):  # type: ignore[misc]
        """As HuggingFaceEmbeddings wraps one."""

        def embed_query(self, text: str) -> list[float]:
            found: list[float] = embedder.encode([text])[0].tolist()
            return found

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            found: list[list[float]] = embedder.encode(texts).tolist()
            return found

    documents = zip((link.persona.line for link in links), vectors, strict=True)
    store = FAISS.from_embeddings(documents, Encoder(), metadatas=[link.persona.as_dict() for link in links])

    def ask(question: str) -> int:
        found = store.max_marginal_relevance_search(question, k=K, fetch_k=FETCHED)
        return sum(len(document.metadata) == len(ATTRIBUTES) for document in found)

    return ask


def gptcache(links: Sequence[Link], vectors: Vectors, embedder: Embedder, folder: Path) -> Callable[[str], int]:
    """GPTCache with an entry a persona, in SQLite and FAISS, as its documentation sets it up.

    Raises:
        ImportError: It is not installed.
    """
    with _peer():
        from gptcache import Cache, Config
        from gptcache.adapter.api import get
        from gptcache.manager import CacheBase, VectorBase, get_data_manager
        from gptcache.processor.pre import get_prompt
        from gptcache.similarity_evaluation.distance import SearchDistanceEvaluation
        from gptcache.utils.log import gptcache_log

    folder.mkdir()
    gptcache_log.disabled = True  # at exit it saves its index once more, to a folder that is gone by then
    manager = get_data_manager(
        CacheBase("sqlite", sql_url=f"sqlite:///{folder / 'gptcache.db'}"),
        VectorBase("faiss", dimension=vectors.shape[1], index_path=str(folder / "gptcache.index")),
        max_size=2 * len(links),  # the default keeps only the last 1000
    )
    cache = Cache()
    cache.init(
        pre_embedding_func=get_prompt,
        embedding_func=lambda text, **_: embedder.encode([text])[0],
        data_manager=manager,
        similarity_evaluation=SearchDistanceEvaluation(),
        config=Config(similarity_threshold=0.0),  # so that each question finds, and loads, an answer
    )
    lines = [link.persona.line for link in links]
    manager.import_data(lines, lines, list(vectors), [None] * len(lines))
    return lambda question: int(get(question, cache_obj=cache) is not None)


@contextmanager
def _peer() -> Iterator[None]:
    """Imports of peers, whose notices about their own future are no concern here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def measure(size: int, asked: int, seed: int, vital: Path | None, ours: Embedder, stock: Embedder) -> dict[str, Any]:
    """What each contender took at one size; and who was left out, with the reason."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        fill(folder / "pool", size, seed, ours)
        filled = time.perf_counter()
        blocks = _served(folder / "pool", questions(MOST_DRAWN * asked, rng, vital), asked, ours)
        opening = time.perf_counter()
        pool = Pool(folder / "pool", ours)
        pool.refresh()
        opened = time.perf_counter()
        own = Ours(pool)
        contenders, missing = _contenders(pool, own, size, ours, stock, folder)
        for number, block in enumerate(blocks):
            for turn in range(len(contenders)):
                contenders[(number + turn) % len(contenders)].measure(block)
        pool.close()
    encoding, searching = (
        np.concatenate([block[WARM_UPS:] for block in np.split(np.array(taken), BLOCKS)])
        for taken in (own.encoding, own.searching)
    )
    rest = np.concatenate(contenders[0].milliseconds) - encoding - searching
    return {
        "personas": size,
        "asked": asked,
        "fill_s": filled - started,
        "open_s": opened - opening,
        "encode_ms": float(np.median(encoding)),
        "search_ms": float(np.median(searching)),
        "rest_ms": float(np.median(rest)),
        "rest_p95_ms": float(np.percentile(rest, 95)),
        "rows": [_row(contender, size, contenders[0]) for contender in contenders],
        "missing": missing,
    }


def _served(folder: Path, drawn: Sequence[str], asked: int, embedder: Embedder) -> list[list[str]]:
    """Blocks of questions for which the pool has a full panel, found by another pool object than the measured one."""
    count = asked // BLOCKS + WARM_UPS
    pool = Pool(folder, embedder)
    full = (question for question in drawn if len(pool.retrieve(Scenario.of(question), K).members) == K)
    found = list(islice(full, BLOCKS * count))
    pool.close()
    if len(found) < BLOCKS * count:
        raise click.ClickException(f"only {len(found)} of {len(drawn)} questions have a full panel; ask fewer")
    return [found[start : start + count] for start in range(0, len(found), count)]


def _contenders(
    pool: Pool, own: Ours, size: int, ours: Embedder, stock: Embedder, folder: Path
) -> tuple[list[Contender], list[str]]:
    found, missing = [Contender(OURS, own.ask)], []
    links = pool.store.links()
    by_text = pool.vectors(link.situation for link in links)
    vectors = np.stack([by_text[link.situation] for link in links])
    peers: dict[str, Callable[[], Callable[[str], int]]] = {
        "LangChain, its encoder": lambda: langchain(links, vectors, stock),
        "LangChain, Ethos's encoder": lambda: langchain(links, vectors, ours),
    }
    if size <= GPTCACHE_MOST:
        peers["GPTCache, LangChain's encoder"] = lambda: gptcache(links, vectors, stock, folder / "stock")
        peers["GPTCache, Ethos's encoder"] = lambda: gptcache(links, vectors, ours, folder / "ours")
    for name, peer in peers.items():
        try:
            found.append(Contender(name, peer()))
        except ImportError as error:
            missing.append(f"{name}: {error}; `make bench` installs it")
    return found, missing


def _row(contender: Contender, size: int, ours: Contender) -> dict[str, Any]:
    taken = np.concatenate(contender.milliseconds)
    by_block = [
        float(np.median(theirs) / np.median(own))
        for theirs, own in zip(contender.milliseconds, ours.milliseconds, strict=True)
    ]
    return {
        "personas": size,
        "contender": contender.name,
        "median_ms": float(np.median(taken)),
        "p05_ms": float(np.percentile(taken, 5)),
        "p95_ms": float(np.percentile(taken, 95)),
        "times_ours": float(np.median(by_block)),
        "least_times": min(by_block),
        "most_times": max(by_block),
        "cpu_ms": float(np.median(contender.computing)),
        "given": float(np.mean(contender.given)),
    }


@click.command()
@click.option("--sizes", default="10000,100000", show_default=True, help="Pool sizes, in personas.")
@click.option("--asked", default=150, show_default=True, help="Questions a size.")
@click.option("--seed", default=0, show_default=True)
@click.option("--vital", type=click.Path(exists=True, path_type=Path), help="Ask the situations of VITAL's folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(sizes: str, asked: int, seed: int, vital: Path | None, as_json: bool) -> None:
    """Measure the time from text to panel at several pool sizes."""
    ours, stock = open_embedder(), SentenceEmbedder()
    found = [measure(int(size), asked, seed, vital, ours, stock) for size in sizes.split(",")]
    rows = [row for one in found for row in one.pop("rows")]
    if as_json:
        click.echo(json.dumps({"rows": rows, "sizes": found, "seed": seed}, indent=2))
        return
    table = Table(*("personas", "who", "ms", "5% to 95%", "times Ethos (blocks)", "processor ms", "given"))
    for row in rows:
        spread = f"{row['p05_ms']:.2f} to {row['p95_ms']:.2f}"
        ratio = f"{row['times_ours']:.2f} ({row['least_times']:.2f} to {row['most_times']:.2f})"
        given = f"{row['given']:.1f}"
        table.add_row(
            f"{row['personas']:,}",
            row["contender"],
            f"{row['median_ms']:.2f}",
            spread,
            ratio,
            f"{row['cpu_ms']:.2f}",
            given,
        )
    Console(width=110).print(table)
    for one in found:
        click.echo(
            "{personas} personas: filled in {fill_s:.1f} s, opened in {open_s:.2f} s; of Ethos's time {encode_ms:.2f} "
            "ms encode, {search_ms:.2f} ms search, and {rest_ms:.2f} ms select and load (95%: {rest_p95_ms:.2f} ms)."
            "".format(**one)
        )
    for line in dict.fromkeys(line for one in found for line in one["missing"]):
        click.echo(f"left out: {line}")
    click.echo(
        f"Medians over {BLOCKS} blocks of {asked // BLOCKS} unseen questions with a full panel of {K}, seed {seed}; "
        "ratios are medians of the blocks' own. Processor time is of all threads."
    )


if __name__ == "__main__":
    main()
