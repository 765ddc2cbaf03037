"""Who misses on one scenario at the same time, in processes or threads, generates it once between them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from replies import persona_reply

from ethos.answer import Sourcing
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import ModelError
from ethos.llm import Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.pipeline.panel import Assembly, PanelRequest, assemble
from ethos.pool.pool import Pool
from ethos.pool.storage.database import Database
from ethos.pool.storage.leases import Leases, panel_key
from ethos.pool.storage.record import Record
from ethos.prompts import PromptSetName, prompt_set
from ethos.scenario import Scenario

SHOT = Scenario("Getting a flu vaccine every winter")
PROCESSES, SCENARIOS = 8, 40

# Told a folder and what to do, waits for a line, and notes every scenario that it asks its model for in a file.
_WORKER = """
import json, sys, time
from pathlib import Path
from ethos.answer import Sourcing
from ethos.encoders.embedder import open_embedder
from ethos.llm.backends.scripted import ScriptedModel
from ethos.pipeline.panel import PanelRequest, assemble
from ethos.pool.build import build
from ethos.pool.storage.record import Record
from ethos.pool.pool import Pool
from ethos.prompts import PromptSetName, prompt_set
from ethos.scenario import Scenario

folder, task, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
scenarios = [Scenario(f"Case {number} of the clinic") for number in range(count)]
prompts = prompt_set(PromptSetName.STRUCTURED)

def reply(request):
    properties, seed = json.loads(request.schema)["properties"], request.seed
    with (folder / "asked").open("a") as file:
        file.write(request.messages[-1].content.partition("Case ")[2].partition(" ")[0] + "\\n")
    time.sleep(0.01)
    drawn = {name: properties[name]["enum"][0] for name in ("ethical_framework", "emotion")}
    named = {"name": f"Person {seed}", "core_value": f"Value {seed}", "right_duty": f"Duty {seed}"}
    return json.dumps({**named, **drawn, "stakeholder_role": f"Role {seed}"})

# From cosine 1 on: no scenario is near enough to another to share its personas.
pool, model = Pool(folder, open_embedder(), threshold=1.0), ScriptedModel(reply)
record = Record(pool.database)
print("ready", flush=True)
sys.stdin.readline()
if task == "build":
    report = build(pool, record, scenarios, lambda: model, prompts, 2, 0, lambda _: None)
    print(report.done, report.skipped, len(report.failed))
else:
    panels = [
        assemble(pool, record, [scenario], PanelRequest(2, Sourcing.AUTO, prompts, 0), lambda: model)[0].panel
        for scenario in scenarios
    ]
    print(json.dumps([[member.persona.id for member in panel.members] for panel in panels]))
pool.close()
"""

# Takes a lease that others would get a second after its death, and keeps it.
_KEEPER = """
import sys, time
from pathlib import Path
from ethos.pool.storage.database import Database
from ethos.pool.storage.leases import Leases

def work(keys):
    print("taken", flush=True)
    time.sleep(600)

Leases(Database(Path(sys.argv[1])), seconds=1.0).each_once(["a key"], lambda key: False, work)
"""


def started_together(folder: Path, processes: int, *task: str) -> list[str]:
    """The last line that each of so many workers prints."""
    command = [sys.executable, "-c", _WORKER, str(folder), *task]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    printed = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * processes
    return printed


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "pool")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def pool(tmp_path: Path, embedder: Embedder) -> Iterator[Pool]:
    opened = Pool(tmp_path / "pool", embedder)
    yield opened
    opened.close()


def panel(pool: Pool, reply: Callable[[Request], str], sourcing: Sourcing = Sourcing.AUTO, seed: int = 0) -> object:
    request = PanelRequest(2, sourcing, prompt_set(PromptSetName.STRUCTURED), seed)
    [found] = assemble(pool, Record(pool.database), [SHOT], request, lambda: ScriptedModel(reply))
    return found


def test_eight_processes_that_miss_on_the_same_scenarios_generate_each_once(tmp_path: Path) -> None:
    printed = started_together(tmp_path, PROCESSES, "answer", str(SCENARIOS))
    asked = Counter((tmp_path / "asked").read_text().split())
    assert asked == {str(number): 2 for number in range(SCENARIOS)}
    assert len(set(printed)) == 1, "all get the same panels"
    database = Database(tmp_path)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM leases").scalar() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM personas").scalar() == 2 * SCENARIOS
    database.close()


def test_two_builds_of_the_same_scenarios_share_the_work(tmp_path: Path) -> None:
    printed = started_together(tmp_path, 2, "build", "30")
    asked = Counter((tmp_path / "asked").read_text().split())
    assert asked == {str(number): 2 for number in range(30)}
    done = [tuple(map(int, line.split())) for line in printed]
    assert sum(built for built, _, _ in done) == 30
    assert [sum(counts) for counts in done] == [30, 30], "each reports all"


def test_a_living_owner_keeps_its_lease_and_a_killed_one_loses_it(tmp_path: Path, database: Database) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-c", _KEEPER, str(tmp_path / "pool")], stdout=subprocess.PIPE, text=True
    )
    leases, worked = Leases(database, seconds=1.0), []
    try:
        assert keeper.stdout
        assert keeper.stdout.readline() == "taken\n"
        time.sleep(1.5)  # longer than a lease that is not renewed
        with leases.holding() as held:
            assert held.take(["a key"]) == []
    finally:
        keeper.kill()
        keeper.communicate()
    leases.each_once(["a key", "another"], lambda _: False, worked.extend)
    assert sorted(worked) == ["a key", "another"]


def test_threads_share_the_work_as_well(database: Database) -> None:
    done: set[str] = set()
    worked: list[str] = []

    def work(keys: list[str]) -> None:
        time.sleep(0.002)
        worked.extend(keys)
        done.update(keys)

    def ask() -> None:
        for number in range(20):
            Leases(database).each_once([f"key {number}"], done.__contains__, work)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(worked) == {f"key {number}": 1 for number in range(20)}


def test_work_that_fails_frees_its_key_for_the_next(database: Database) -> None:
    leases = Leases(database)

    def fails(keys: list[str]) -> None:
        raise ModelError(f"cannot work on {keys}")

    with pytest.raises(ModelError):
        leases.each_once(["a key"], lambda _: False, fails)
    worked: list[str] = []
    leases.each_once(["a key"], lambda _: False, worked.extend)
    assert worked == ["a key"]


def test_who_waited_in_vain_generates_by_itself(pool: Pool) -> None:
    began, waiting = threading.Event(), threading.Event()

    def fails(_: Request) -> str:
        began.set()
        waiting.wait(60)
        raise ModelError("the endpoint cannot be reached")

    first: list[object] = []
    thread = threading.Thread(target=lambda: first.append(panel(pool, fails)))
    thread.start()
    assert began.wait(60)
    threading.Timer(0.2, waiting.set).start()
    second = panel(pool, persona_reply)
    thread.join()
    assert [str(error) for error in first] == ["the endpoint cannot be reached"]
    assert isinstance(second, Assembly)
    assert len(second.calls) == 2


def test_who_waited_gets_the_panel_from_the_pool_whatever_seed_it_has(pool: Pool) -> None:
    began, waiting = threading.Event(), threading.Event()

    def slow(request: Request) -> str:
        began.set()
        waiting.wait(60)
        return persona_reply(request)

    first: list[object] = []
    thread = threading.Thread(target=lambda: first.append(panel(pool, slow)))
    thread.start()
    assert began.wait(60)
    threading.Timer(0.2, waiting.set).start()
    second = panel(pool, persona_reply, seed=1)
    thread.join()
    assert isinstance(second, Assembly)
    assert isinstance(first[0], Assembly)
    assert (second.calls, second.panel.gate.decision) == ((), "hit")
    assert [m.persona for m in second.panel.members] == [m.persona for m in first[0].panel.members]
    assert second.seconds["persona"] > 0


def test_fresh_personas_are_generated_whatever_others_are_generating(pool: Pool) -> None:
    found: list[object] = []
    Leases(pool.database).each_once(
        [panel_key(SHOT, 2)], lambda _: False, lambda _: found.append(panel(pool, persona_reply, Sourcing.FRESH))
    )
    [assembly] = found
    assert isinstance(assembly, Assembly)
    assert len(assembly.calls) == 2
