"""Snapshots of the index: used when they are whole and the pool's own, and passed over in every other case."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from ethos.encoders.embedder import Vectors
from ethos.encoders.identity import EmbedderIdentity
from ethos.persona import OriginKind, Persona
from ethos.pool.pool import Pool
from ethos.pool.retrieval import index
from ethos.pool.retrieval import neighbours as nearest
from ethos.pool.retrieval.snapshot import FOLDER, MANIFEST, Snapshots
from ethos.pool.storage.values import Origin, Position
from ethos.scenario import Scenario

CURATED = Origin(OriginKind.CURATED)
SIZE = 32  # scenarios, of two personas each


class Numbered:
    """An encoder of its own: every text has a fixed direction, texts of near numbers near ones."""

    def __init__(self, revision: str = "1") -> None:
        self.identity = EmbedderIdentity("numbered", revision)

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.stack([np.random.default_rng(list(text.encode())).standard_normal(16) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def scenario(number: int) -> Scenario:
    return Scenario(f"Situation {number}")


def personas(number: int) -> list[Persona]:
    names = ("name", "value", "ethics", "right", "emotion", "role")
    return [Persona(*(f"{name} {number}{side}" for name in names)) for side in "ab"]


@pytest.fixture(autouse=True, scope="module")
def small_limits() -> Iterator[None]:
    """Snapshots and clusters from so few on that a test can afford them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "SNAPSHOT", 20)
        patch.setattr(nearest, "FLAT", 24)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small_limits: None) -> Path:
    folder = tmp_path_factory.mktemp("made") / "pool"
    pool = Pool(folder, Numbered(), threshold=-1.0)
    for number in range(SIZE):
        pool.add(scenario(number), personas(number), CURATED)
    pool.refresh()
    pool.close()
    return folder


@pytest.fixture(scope="module")
def expected(made: Path) -> list[Any]:
    """What it gives without its snapshot."""
    return from_sql(made)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A pool with a snapshot of all it holds."""
    shutil.copytree(made, tmp_path / "pool")
    return tmp_path / "pool"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many changes each index that was opened had to read from SQL."""
    read: list[int] = []
    follow = index.ScenarioIndex._follow

    def counted(self: Any) -> None:
        before = self._position.change
        follow(self)
        read.append(self._position.change - before)

    monkeypatch.setattr(index.ScenarioIndex, "_follow", counted)
    return read


def told(folder: Path) -> list[Any]:
    """All that a pool gives, to be compared."""
    pool = Pool(folder, Numbered(), threshold=-1.0)
    try:
        found = [pool.retrieve(Scenario(f"Question {number}"), 3) for number in range(10)]
        return [(one.members, one.gate, one.uncovered) for one in found]
    finally:
        pool.close()


def from_sql(folder: Path) -> list[Any]:
    """The same from a copy without any snapshot."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / FOLDER, ignore_errors=True)
    return told(copy)


def manifest(folder: Path) -> Path:
    return folder / FOLDER / MANIFEST


def arrays_file(folder: Path) -> Path:
    [found] = (folder / FOLDER).glob("arrays-*.npz")
    return found


def edit_manifest(folder: Path, **values: object) -> None:
    path = manifest(folder)
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_snapshot_spares_reading_sql_and_changes_no_answer(folder: Path, built: list[int]) -> None:
    expected = from_sql(folder)
    assert built == [2 * SIZE]
    built.clear()
    assert told(folder) == expected
    assert built == []


def test_what_came_after_the_snapshot_is_read_from_sql(folder: Path, built: list[int]) -> None:
    pool = Pool(folder, Numbered(), threshold=-1.0)
    pool.add(scenario(SIZE), personas(SIZE), CURATED)
    pool.close()
    assert told(folder) == from_sql(folder)
    assert built == [2, 2 * SIZE + 2]


def test_a_small_pool_has_no_snapshot(tmp_path: Path) -> None:
    pool = Pool(tmp_path / "pool", Numbered())
    pool.add(scenario(0), personas(0), CURATED)
    pool.refresh()
    pool.close()
    assert not (tmp_path / "pool" / FOLDER).exists()


def test_files_are_for_their_owner_only_and_there_is_one_snapshot_at_a_time(folder: Path) -> None:
    pool = Pool(folder, Numbered())
    for number in range(SIZE, 2 * SIZE):
        pool.add(scenario(number), personas(number), CURATED)
    pool.refresh()
    pool.close()
    files = sorted((folder / FOLDER).iterdir())
    assert [path.name.partition("-")[0] for path in files] == ["arrays", "lock", MANIFEST]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (folder / FOLDER).stat().st_mode & 0o777 == 0o700


def flip(share: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = bytearray(arrays_file(folder).read_bytes())
        content[int(share * (len(content) - 1))] ^= 0x10
        arrays_file(folder).write_bytes(content)

    return damage


def cut(share: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = arrays_file(folder).read_bytes()
        arrays_file(folder).write_bytes(content[: int(share * len(content))])

    return damage


def link_away(folder: Path) -> None:
    elsewhere = folder.with_name("elsewhere.npz")
    arrays_file(folder).rename(elsewhere)
    (folder / FOLDER / json.loads(manifest(folder).read_text())["file"]).symlink_to(elsewhere)


def pickled(folder: Path) -> None:
    """A file of pickled objects that the manifest vouches for."""
    path = arrays_file(folder)
    np.savez(path, scenario_ids=np.array([{"a": 1}], dtype=object))
    import hashlib

    content = path.read_bytes()
    edit_manifest(folder, size=len(content), sha256=hashlib.sha256(content).hexdigest())


DAMAGE: dict[str, Callable[[Path], object]] = {
    **{f"cut at {share:.0%}": cut(share) for share in (0, 0.01, 0.5, 0.99)},
    **{f"a bit at {share:.0%}": flip(share) for share in (*np.linspace(0, 1, 20),)},
    "no file": lambda folder: arrays_file(folder).unlink(),
    "a link": link_away,
    "pickled objects": pickled,
    "no manifest": lambda folder: manifest(folder).unlink(),
    "an empty manifest": lambda folder: manifest(folder).write_text(""),
    "a manifest cut short": lambda folder: manifest(folder).write_text(manifest(folder).read_text()[:40]),
    "a manifest that is a list": lambda folder: manifest(folder).write_text("[]"),
    "a manifest nested too deep": lambda folder: manifest(folder).write_text("[" * 100_000),
    "a manifest of bytes": lambda folder: manifest(folder).write_bytes(b"\xff\xfe\x00"),
    "a path upwards": lambda folder: edit_manifest(folder, file="../../arrays-1-00000000.npz"),
    "an absolute path": lambda folder: edit_manifest(folder, file="/etc/passwd"),
    "another format": lambda folder: edit_manifest(folder, format=99),
    "another embedder": lambda folder: edit_manifest(folder, embedder="other"),
    "a wrong size": lambda folder: edit_manifest(folder, size=1),
    "no position": lambda folder: edit_manifest(folder, position={}),
    "a position of words": lambda folder: edit_manifest(folder, position={"change": "x", "note": "y", "link": 1}),
    "another history": lambda folder: edit_manifest(folder, position={"change": 64, "note": 120, "link": "0" * 64}),
    "a position ahead": lambda folder: edit_manifest(folder, position={"change": 999, "note": 9999, "link": "0" * 64}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_no_damage_gives_a_wrong_answer(folder: Path, expected: list[Any], damage: str) -> None:
    DAMAGE[damage](folder)
    assert told(folder) == expected


def test_a_damaged_snapshot_is_told_and_replaced(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    flip(0.5)(folder)
    with caplog.at_level(logging.WARNING):
        told(folder)
    assert "its snapshot cannot be used" in caplog.text
    assert "is not as it was written" in caplog.text
    caplog.clear()
    told(folder)
    assert caplog.text == ""


def test_a_pool_put_back_to_an_earlier_state_is_not_answered_from_its_future(folder: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.db"
    shutil.copy(folder / "pool.db", earlier)
    pool = Pool(folder, Numbered(), threshold=-1.0)
    for number in range(SIZE, 2 * SIZE):
        pool.add(scenario(number), personas(number), CURATED)
    pool.refresh()  # a snapshot of the future
    pool.close()
    for leftover in folder.glob("pool.db*"):
        leftover.unlink()
    shutil.copy(earlier, folder / "pool.db")
    pool = Pool(folder, Numbered(), threshold=-1.0)
    for number in range(3 * SIZE, 4 * SIZE):  # other content under the same numbers
        pool.add(scenario(number), personas(number), CURATED)
    pool.close()
    assert told(folder) == from_sql(folder)


def test_who_finds_another_writing_goes_on_without(folder: Path) -> None:
    snapshots = Snapshots(folder, "embedder")
    with FileLock(folder / FOLDER / "lock"):
        assert not snapshots.save(Position(1, 1, "x"), {"a": np.zeros(1)})
    assert snapshots.save(Position(1, 1, "x"), {"a": np.zeros(1)})
    found = snapshots.load()
    assert found is not None
    assert (found[0], found[1]["a"].tolist()) == (Position(1, 1, "x"), [0.0])


@pytest.fixture(autouse=True)
def no_copy_left(tmp_path: Path) -> Iterator[None]:
    yield
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
