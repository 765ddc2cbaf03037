"""What a user passes to `Ethos` in place of a built-in part is used, and never mixed up with the built-in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ethos import Ethos, ScriptedModel
from ethos.answer import Outcome
from ethos.errors import InputError
from ethos.pool.retrieval.selection import choose
from ethos.pool.starter import install

QUESTION = "Should a hospital tell a dying patient the truth?"


def first_comment(task, embedder):  # type: ignore[no-untyped-def]
    return Outcome(task.comments[0].text, (1.0,) * len(task.comments), "equal", task.weights)
    yield


def reversed_choice(candidates, vectors, stakes, k):  # type: ignore[no-untyped-def]
    return choose(candidates, vectors, stakes, k)[::-1]


def scripted() -> ScriptedModel:
    return ScriptedModel(lambda _: "It should be so.")


def test_an_answer_of_another_aggregator_is_not_reused(tmp_path: Path) -> None:
    with Ethos(tmp_path, model=scripted(), aggregators={"overton": first_comment}) as own:
        install(own.pool)
        made = own.answer(QUESTION)
        assert own.answer(QUESTION, reuse=True).answer_id == made.answer_id
    with Ethos(tmp_path, model=scripted()) as built_in:
        assert built_in.answer(QUESTION, reuse=True).answer_id != made.answer_id


def test_another_selector_chooses_the_panel(tmp_path: Path) -> None:
    unseen = f"{QUESTION} And its family?"
    panels = []
    for selector in (choose, reversed_choice):
        with Ethos(tmp_path, model=scripted(), selector=selector) as ethos:
            install(ethos.pool)
            panels.append([member.persona.id for member in ethos.answer(unseen).panel.members])
    assert panels[0] == panels[1][::-1]


def test_a_mode_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown mode 'oveton'"):
        Ethos(tmp_path, model=scripted(), aggregators={"oveton": first_comment})


def test_an_endpoint_is_named_by_plain_keywords(tmp_path: Path) -> None:
    with Ethos(tmp_path, model="openai:m", base_url="http://127.0.0.1:9/v1", api_key="sk-canary") as ethos:
        assert ethos.settings.endpoint.base_url == "http://127.0.0.1:9/v1"
        assert "sk-canary" not in repr(ethos.settings)


def test_an_answer_shows_itself_as_html_and_as_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    with Ethos(tmp_path, model=ScriptedModel(lambda _: "Less < more & <b>so</b>.")) as ethos:
        install(ethos.pool)
        answer = ethos.answer(QUESTION)
    html = answer._repr_html_()
    assert "Less &lt; more &amp; &lt;b&gt;so&lt;/b&gt;." in html
    assert "<b>so" not in html
    table = answer.to_pandas()
    assert list(table["name"]) == [member.persona.name for member in answer.panel.members]
    assert set(table["source"]) == {"pool"}
