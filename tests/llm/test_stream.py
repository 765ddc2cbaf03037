"""An answer told while it is written: by the API and the command line, the same text as unstreamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ethos import Ethos
from ethos.cli import main
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.llm.backends.scripted import ScriptedModel
from ethos.persona import OriginKind
from ethos.pipeline.settings import Settings
from ethos.pool.starter import starter_panels
from ethos.pool.storage.values import Origin

PANEL = starter_panels()[0]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def filled(tmp_path: Path, embedder: Embedder) -> Path:
    with Ethos(tmp_path / "pool", embedder=embedder) as ethos:
        ethos.pool.add(PANEL.scenario, PANEL.personas, Origin(OriginKind.CURATED))
    return tmp_path / "pool"


@pytest.fixture
def scripted(filled: Path, embedder: Embedder) -> Iterator[Ethos]:
    model = ScriptedModel(lambda _: "They all see it in their way.", lambda _: {"A": 0.6, "B": 0.3})
    with Ethos(filled, model=model, embedder=embedder) as ethos:
        yield ethos


def test_the_pieces_are_the_answer_and_only_the_answer(scripted: Ethos) -> None:
    pieces: list[str] = []
    answer = scripted.answer(PANEL.scenario, on_text=pieces.append)
    assert len(pieces) == 7
    assert "".join(pieces) == answer.outcome.output


def test_an_answer_that_is_looked_up_is_told_at_once(scripted: Ethos) -> None:
    scripted.answer(PANEL.scenario, reuse=True)
    pieces: list[str] = []
    answer = scripted.answer(PANEL.scenario, reuse=True, on_text=pieces.append)
    assert pieces == [answer.outcome.output]


def test_an_answer_put_together_from_probabilities_is_told_at_once(scripted: Ethos) -> None:
    pieces: list[str] = []
    answer = scripted.answer(PANEL.scenario.situation, "distributional", options=("Yes", "No"), on_text=pieces.append)
    assert pieces == [answer.outcome.output]


def test_the_real_model_streams_what_it_writes_unstreamed(filled: Path, embedder: Embedder) -> None:
    settings = Settings(k=2, precision="float32")
    with Ethos(filled, settings=settings, embedder=embedder) as ethos:
        pieces: list[str] = []
        streamed = ethos.answer(PANEL.scenario, on_text=pieces.append)
        assert len(pieces) > 5
        assert "".join(pieces) == streamed.outcome.output
        assert ethos.answer(PANEL.scenario).outcome.output == streamed.outcome.output


def test_the_command_prints_the_text_alone_and_says_where_it_is_recorded(filled: Path) -> None:
    arguments = ["answer", PANEL.scenario.situation, "--pool", str(filled), "--k", "2"]
    plain = CliRunner().invoke(main, [*arguments, "--json"])
    assert plain.exit_code == 0, plain.output
    streamed = CliRunner().invoke(main, [*arguments, "--stream"])
    assert streamed.exit_code == 0, streamed.output
    assert streamed.stdout == json.loads(plain.stdout)["output"] + "\n"
    assert "Recorded: ethos audit show" in streamed.stderr
    assert CliRunner().invoke(main, [*arguments, "--stream", "--json"]).exit_code == 2
