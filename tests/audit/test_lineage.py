"""The lineage of an answer: all that the record holds of it, as text, JSON and one page that needs nothing else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from replies import persona_reply

from ethos import Ethos, Scenario
from ethos.answer import Answer
from ethos.audit.influence.methods import Method, find_influence
from ethos.audit.lineage import MARK, lineage, lineage_page, save_page
from ethos.cli import main as command_line
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import InputError
from ethos.llm.backends.scripted import ScriptedModel
from ethos.persona import OriginKind, Persona
from ethos.pipeline.settings import Settings
from ethos.pool.curation.duplicates import Pair, merge
from ethos.pool.curation.lifecycle import Status, mark
from ethos.pool.storage.values import Origin
from ethos.text.withholding import Content

SHOT = "Getting a <b>flu</b> vaccine & every winter"
SCRIPT = "<script>alert('x')</script> It should be so."


class Page(HTMLParser):
    """What a browser would see: text, tags and addresses."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.addresses = "", set[str](), list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"href", "src", "action", "data"}]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def ethos(tmp_path: Path, embedder: Embedder) -> Iterator[Ethos]:
    roles = {
        "model": ScriptedModel(lambda _: "All agree. Bread is dear.", lambda _: {"A": 0.7, "B": 0.3, "1": 1}, "main"),
        "comment_model": ScriptedModel(lambda r: f"{SCRIPT} Number {r.seed}." + " word" * 250, name="comments"),
        "persona_model": ScriptedModel(persona_reply, name="personas"),
    }
    with Ethos(tmp_path / "pool", embedder=embedder, **roles) as opened:
        yield opened


def run(pool: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command_line, [*arguments, "--pool", str(pool)])


def page_of(ethos: Ethos, answer: Answer) -> Page:
    return Page(lineage_page(lineage(ethos.record, answer.answer_id)))


def test_it_holds_the_answer_and_all_that_made_it(ethos: Ethos) -> None:
    answer = ethos.answer(SHOT, seed=3)
    found = lineage(ethos.record, answer.answer_id[:12])
    assert answer.as_dict().items() <= found.items()
    assert json.loads(json.dumps(found)) == found
    assert re.fullmatch(r"\d+\.\d+.*", found["version"])
    assert len(found["request"]) == 32
    assert [call["stage"] for call in found["model_calls"]] == ["persona"] * 6 + ["comment"] * 6 + ["main"]
    assert found["cut"] == [call["id"] for call in found["model_calls"][6:12]]
    assert {"prompt", "completion", "parameters", "created_at", "finish_reason"} <= found["model_calls"][-1].keys()
    assert [one["method"] for one in found["attributions"]] == ["answer"]
    assert found["agreement"] == []


def test_it_says_who_was_looked_at_for_the_panel_and_what_became_of_them(ethos: Ethos) -> None:
    near = [Persona(f"N{i}", f"V{i}", f"F{i}", f"R{i}", f"E{i}", f"S{i}") for i in range(7)]
    double = Persona("N0", "Another value", "F9", "R9", "E9", "S9")
    far = Persona("Far", "Speed", "Thrift", "Right to drive", "Bored", "Driver")
    ethos.pool.add(Scenario("Having a flu vaccine every winter"), [*near, double], Origin(OriginKind.CURATED))
    ethos.pool.add(Scenario("Driving a truck at night"), [far], Origin(OriginKind.CURATED))
    answer = ethos.answer("Getting a flu vaccine every winter")
    found = lineage(ethos.record, answer.answer_id)
    fates = {one["name"] + one["persona_id"][:4]: one["fate"] for one in found["candidates"]}
    chosen = {member.persona.name + member.persona.id[:4]: member.rank for member in answer.panel.members}
    assert {name: fate for name, fate in fates.items() if "chosen, rank" in fate} == {
        name: f"chosen, rank {rank}" for name, rank in chosen.items()
    }
    assert fates["Far" + far.id[:4]] == "below the threshold of 0.45"
    rejected = [fate for name, fate in fates.items() if name not in chosen and not name.startswith("Far")]
    assert sorted(rejected) == [
        "repeats the name of one that was chosen",
        "would have added less of the values at stake",
    ]
    assert found["embedder"]["name"] == ethos.embedder.identity.name
    assert "below the threshold of 0.45" in page_of(ethos, answer).text
    assert ethos.record.answer(answer.answer_id) == answer


def test_an_answer_warns_of_views_it_leaves_out_and_of_one_that_prevails(tmp_path: Path, embedder: Embedder) -> None:
    said = iter(["Vaccines protect the whole community.", "A parent's love knows no law."])
    roles = {
        "model": ScriptedModel(lambda _: "Vaccines protect the whole community.", name="main"),
        "comment_model": ScriptedModel(lambda _: next(said), name="comments"),
        "persona_model": ScriptedModel(persona_reply, name="personas"),
    }
    with Ethos(tmp_path / "pool", embedder=embedder, settings=Settings(k=2), **roles) as ethos:
        answer = ethos.answer("Getting a flu vaccine every winter")
    first, second = (member.persona.name for member in answer.panel.members)
    assert answer.outcome.unheard == (1,)
    assert answer.warnings == (
        f"no sentence of the answer matches, by embedding, the comments of: {second}",
        f"100% of the answer's sentences are nearest to what {first} alone said",
    )


def test_it_tells_models_with_precision_and_labels_with_their_own_logarithms(
    tmp_path: Path, embedder: Embedder
) -> None:
    roles = {
        "model": ScriptedModel(lambda _: "", lambda _: {"A": 0.4, "B": 0.1, "1": 1}, "main"),
        "comment_model": ScriptedModel(lambda _: "It should be so.", name="comments"),
        "persona_model": ScriptedModel(persona_reply, name="personas"),
    }
    with Ethos(tmp_path / "pool", embedder=embedder, **roles) as ethos:
        answer = ethos.answer(SHOT, "steerable", attribute="POLPARTY_Democrat", options=("Yes", "No"))
        *_, selecting, choosing = lineage(ethos.record, answer.answer_id)["model_calls"]
        page = page_of(ethos, answer)
    assert (selecting["model"], selecting["model_revision"], selecting["model_precision"]) == ("scripted:main", "", "")
    assert selecting["reading"]["log_probabilities"] == [0.0, None, None, None, None, None]
    assert choosing["reading"]["probabilities"] == pytest.approx([0.8, 0.2])
    assert choosing["reading"]["log_probabilities"] == pytest.approx([math.log(0.4), math.log(0.1)])
    assert "A  probability 0.800000  logarithm of its own -0.9163" in page.text


def test_it_says_what_became_of_a_member_since(ethos: Ethos, tmp_path: Path) -> None:
    answer = ethos.answer(SHOT)
    retired, merged, back, *_ = (member.persona for member in answer.panel.members)
    kept = Persona("Ann", "Honesty", "Kantian ethics of truth", "Right to know", "Calm", "Librarian")
    ethos.pool.add(Scenario("Telling a lie to a friend"), [kept], Origin(OriginKind.CURATED))
    database = ethos.pool.database
    mark(database, [retired.id, back.id], Status.RETIRED, "too harsh")
    mark(database, [back.id], Status.ACTIVE, "not so harsh")
    merge(database, [Pair(kept, merged, 0.99, 0.9)])
    found = lineage(ethos.record, answer.answer_id)
    assert answer.as_dict().items() <= found.items(), "the answer itself is as it was"
    assert found["since"].keys() == {retired.id, merged.id}
    assert (found["since"][retired.id]["status"], found["since"][retired.id]["reason"]) == ("retired", "too harsh")
    shown = " ".join(run(tmp_path / "pool", "audit", "show", answer.answer_id).stdout.split())
    assert f"Note: {retired.name} is retired since" in shown
    assert page_of(ethos, answer).text.count("retired since") == 2


@pytest.mark.parametrize("content", [Content.HASH, Content.NONE])
def test_where_texts_are_withheld_the_page_is_partial_and_says_so_and_nothing_is_computed(
    tmp_path: Path, embedder: Embedder, content: Content
) -> None:
    roles = {
        "model": ScriptedModel(lambda _: "All agree.", lambda _: {"A": 0.7, "B": 0.3}, "main"),
        "comment_model": ScriptedModel(lambda _: "It should be so.", name="comments"),
        "persona_model": ScriptedModel(persona_reply, name="personas"),
    }
    settings = Settings(k=3, audit_content=content)
    with Ethos(tmp_path / "pool", embedder=embedder, settings=settings, **roles) as ethos:
        answers = [ethos.answer(SHOT), ethos.answer(SHOT, "distributional", options=("Yes", "No"))]
        assert "This record withholds" in page_of(ethos, answers[0]).text
    for answer, method in zip(answers, ("textual", "shapley"), strict=True):
        shown = run(tmp_path / "pool", "audit", "show", answer.answer_id)
        assert (shown.exit_code, "this record withholds" in shown.stdout) == (0, True)
        for command in (("influence", answer.answer_id, "--method", method), ("replay", answer.answer_id)):
            refused = run(tmp_path / "pool", "audit", *command)
            assert refused.exit_code == 1
            assert "was withheld from the record" in refused.stderr


@pytest.mark.parametrize(
    "command", [("show",), ("influence", "--method", "textual"), ("replay",), ("diff", "0" * 32), ("persona",)]
)
def test_an_unknown_id_is_told_with_where_to_find_one(ethos: Ethos, tmp_path: Path, command: tuple[str, ...]) -> None:
    ethos.answer(SHOT)
    for unknown in ("f" * 32, "zz", ""):
        refused = run(tmp_path / "pool", "audit", command[0], unknown, *command[1:])
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr.count("Error: ") == refused.stderr.count("Fix: ") == 1


def test_influences_that_were_found_later_are_part_of_it(ethos: Ethos) -> None:
    answer = ethos.answer(SHOT)
    find_influence(ethos, answer.answer_id, Method.TEXTUAL)
    found = lineage(ethos.record, answer.answer_id)
    assert [one["method"] for one in found["attributions"]] == ["answer", "textual"]
    assert found["agreement"][0]["methods"] == ["answer", "textual"]
    page = page_of(ethos, answer)
    assert "Bread is dear. (unsupported)" in page.text
    assert "In no sentence:" in page.text


def test_what_the_order_changes_is_told_of_comments_and_of_options(ethos: Ethos, tmp_path: Path) -> None:
    answer = ethos.answer(SHOT, "steerable", attribute="Autonomy", options=("Yes", "No"))
    find_influence(ethos, answer.answer_id, Method.ORDER)
    shown = " ".join(run(tmp_path / "pool", "audit", "show", answer.answer_id).stdout.split())
    page = " ".join(page_of(ethos, answer).text.split())
    for text in (shown, page.replace("\xa0", "").replace(" %", "%")):
        assert "The selected comment is the same in 17% of the rotations" in text
        assert "The chosen option is the same in 50% of the rotations" in text


@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        ("overton", {}),
        ("overton", {"options": ("Yes", "No")}),
        ("steerable", {"attribute": "Autonomy"}),
        ("steerable", {"attribute": "POLPARTY_Democrat", "options": ("Yes", "No")}),
        ("distributional", {"options": ("Yes", "No")}),
    ],
)
def test_the_page_shows_every_prompt_and_reply_and_runs_nothing(ethos: Ethos, mode: str, asked: dict[str, Any]) -> None:
    answer = ethos.answer(SHOT, mode, **asked)
    page = page_of(ethos, answer)
    for call in lineage(ethos.record, answer.answer_id)["model_calls"]:
        assert all(message["content"] in page.text for message in call["prompt"])
        assert call["completion"] is None or call["completion"] in page.text
    assert not page.tags & {"script", "b", "img", "link", "iframe", "object", "form"}
    assert all(address.startswith("#") for address in page.addresses)
    assert SHOT in page.text
    assert SCRIPT in page.text


def test_every_address_of_the_page_is_on_it(ethos: Ethos) -> None:
    answer = ethos.answer(SHOT)
    html = lineage_page(lineage(ethos.record, answer.answer_id))
    assert {address[1:] for address in Page(html).addresses} <= set(re.findall(r'id="(\w+)"', html))
    assert "http" not in html.replace("http-equiv", "")


def test_a_page_replaces_an_older_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "lineage.html"
    for html in (f"<html>{MARK} 1", f"<html>{MARK} 2"):
        save_page(html, path)
        assert path.read_text(encoding="utf-8") == html
    path.write_text("my thesis", encoding="utf-8")
    with pytest.raises(InputError, match="exists and is no lineage of an answer"):
        save_page(f"<html>{MARK}", path)
    with pytest.raises(InputError, match="cannot be written"):
        save_page("", tmp_path / "no" / "folder.html")
    assert path.read_text(encoding="utf-8") == "my thesis"


def test_the_command_shows_it_as_text_json_and_page(ethos: Ethos, tmp_path: Path) -> None:
    answer = ethos.answer(SHOT)
    pool, out = tmp_path / "pool", tmp_path / "lineage.html"
    shown = run(pool, "audit", "show", answer.answer_id[:12])
    assert shown.exit_code == 0, shown.output
    assert "All agree." in shown.stdout
    assert "Model calls" in shown.stdout
    assert json.loads(run(pool, "audit", "show", answer.answer_id, "--json").stdout)["seed"] == 0
    written = run(pool, "audit", "show", answer.answer_id, "--html", str(out))
    assert written.stdout == f"Lineage of answer {answer.answer_id[:12]} written to {out}.\n"
    assert Page(out.read_text(encoding="utf-8")).text.count(answer.answer_id) == 1
    assert run(pool, "audit", "show", "f" * 32).exit_code == 1


def test_the_command_finds_influences_and_shows_what_they_agree_on(ethos: Ethos, tmp_path: Path) -> None:
    answer = ethos.answer(SHOT)
    shown = run(tmp_path / "pool", "audit", "influence", answer.answer_id[:12], "--method", "textual")
    assert shown.exit_code == 0, shown.output
    assert "Bread is dear. (unsupported)" in shown.stdout
    assert "answer and textual" in shown.stdout
    found = json.loads(run(tmp_path / "pool", "audit", "influence", answer.answer_id, "--method", "textual",
                           "--threshold", "1", "--json").stdout)  # fmt: skip
    assert found["details"]["unsupported"] == [0, 1]
    assert found["influences"] == {member.persona.id: 0.0 for member in answer.panel.members}
    refused = run(tmp_path / "pool", "audit", "influence", answer.answer_id, "--method", "runner-up")
    assert refused.exit_code == 1
    assert "use --method textual or leave-one-out or shapley or order" in refused.stderr


def test_the_command_says_which_calls_cannot_be_replayed(ethos: Ethos, tmp_path: Path) -> None:
    answer = ethos.answer(SHOT)
    refused = run(tmp_path / "pool", "audit", "replay", answer.answer_id)
    assert refused.exit_code == 1
    assert "unknown model backend 'scripted'" in refused.stderr
    usage = run(tmp_path / "pool", "audit", "replay", answer.answer_id, "--record")
    assert usage.exit_code == 2
