"""Why a panel is what it is: what each member adds, who stood back for it, and what nobody speaks for.

The vectors are such that every share can be computed by hand.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from ethos import Ethos, Scenario
from ethos.answer import Displaced, Member
from ethos.audit import reading as audit
from ethos.cli import main
from ethos.encoders.embedder import Vectors
from ethos.encoders.identity import EmbedderIdentity
from ethos.llm import Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.persona import OriginKind, Persona
from ethos.pipeline.settings import Settings
from ethos.pool.pool import Pool
from ethos.pool.retrieval.calibration import Calibration, Target
from ethos.pool.retrieval.selection import COVERED
from ethos.pool.storage.values import Origin

CURATED = Origin(OriginKind.CURATED)
ASKED = Scenario("Asked")
NEAR = Scenario("Near")  # cosine 0.8
FAR = Scenario("Far")  # cosine 0.6, at a right angle to Near
TWICE, HALF_MORE = math.log(2) / 2, math.log(1.5) / 2  # cosine to the question: it multiplies a stake by e^(2 cosine)

NURSE = Persona("Young Nurse", "Care", "Care ethics", "Duty to heal", "Calm", "Nurse")
ECHO = Persona("Echo", "Kindness", "Virtue ethics", "Duty to soothe", "Joy", "Neighbour")
CALM = Persona("Calm Monk", "Peace", "Buddhist ethics", "Right to silence", "Calm", "Monk")
RANCHER = Persona("Free Rancher", "Freedom", "Libertarianism", "Right to refuse", "Anger", "Rancher")
HERMIT = Persona("Old Hermit", "Solitude", "Stoicism", "Right to be alone", "Fear", "Hermit")

# By axes. Care is near enough to Kindness and to the duty to soothe (0.8), which are unlike each other (0.28).
VECTORS: dict[str, dict[int, float]] = {
    "Asked": {0: 1.0},
    "Near": {0: 0.8, 1: 0.6},
    "Far": {0: 0.6, 1: -0.8},
    "Care": {2: 1.0},
    "Kindness": {2: 0.8, 3: 0.6},
    "Duty to soothe": {2: 0.8, 3: -0.6},
    "Duty to heal": {4: 1.0},
    "Freedom": {0: TWICE, 5: math.sqrt(1 - TWICE**2)},
    "Right to refuse": {0: HALF_MORE, 6: math.sqrt(1 - HALF_MORE**2)},
    "Solitude": {7: 1.0},
    "Right to be alone": {8: 1.0},
    "Peace": {9: 1.0},
    "Right to silence": {10: 1.0},
}
# Solved for two neighbours, a value found near has (1 + D) / 2 at stake and one found far (1 - D) / 2, before they are
# raised by their cosine to the question and made to sum to 1.
D = (math.exp(-0.4) - math.exp(-0.8)) / (2 - math.exp(-2))
HERE, THERE = (1 + D) / 2, (1 - D) / 2


class ByHand:
    """The vectors above; every other text lies on an axis that no value uses."""

    identity = EmbedderIdentity("by hand", "1")

    def __init__(self, more: dict[str, dict[int, float]] | None = None) -> None:
        self._vectors = VECTORS | (more or {})

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), 24), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for axis, number in self._vectors.get(text, {23: 1.0}).items():
                row[axis] = number
        return rows


@pytest.fixture
def open_pool(tmp_path: Path) -> Iterator[Callable[..., Pool]]:
    opened: list[Pool] = []

    def make(*placed: tuple[Scenario, Sequence[Persona]], embedder: ByHand | None = None, **settings: Any) -> Pool:
        opened.append(Pool(tmp_path / "pool", embedder or ByHand(), **settings))
        for scenario, personas in placed:
            opened[-1].add(scenario, personas, CURATED)
        return opened[-1]

    yield make
    for pool in opened:
        pool.close()


def adds(member: Member) -> dict[str, float]:
    return {added.value: added.share for added in member.adds}


# Holds for pairs.
DEMANDING = Calibration(
    Target(), 0.9, 400, 200, 10, (0.02, 0.09), 2, 0.45, ByHand.identity.id, 100, "2026-01-01T00:00:00Z"
)


def test_a_member_says_which_values_it_adds_and_who_would_have_added_less(open_pool: Callable[..., Pool]) -> None:
    assert NURSE.id < ECHO.id
    found = open_pool((NEAR, [NURSE, ECHO]), (FAR, [RANCHER])).retrieve(ASKED, 2)
    near, far = HERE / (4 * HERE + 3.5 * THERE), THERE / (4 * HERE + 3.5 * THERE)
    assert (near, far) == pytest.approx((0.147967, 0.116610), abs=2e-6)
    of_nurse, of_rancher = (adds(member) for member in found.members)
    assert of_nurse.keys() < {"Care", "Kindness", "Duty to soothe", "Duty to heal"}  # three of four alike
    assert list(of_nurse.values()) == pytest.approx(3 * [near], abs=2e-6)
    assert of_rancher == pytest.approx({"Freedom": 2 * far, "Right to refuse": 1.5 * far}, abs=2e-6)
    assert list(of_rancher) == ["Freedom", "Right to refuse"]  # the greatest first
    less = Displaced(ECHO.id, "Echo", 0.8, "would have added less of the values at stake")
    assert [member.displaced for member in found.members] == [None, less]
    assert found.members[1].reason.startswith("covers 41% of the values at stake (Freedom; Right to refuse)")
    assert (found.gate.coverage, found.uncovered) == (1.0, ())


def test_nobody_equally_relevant_is_said_to_stand_back(open_pool: Callable[..., Pool]) -> None:
    later = replace(NURSE, name="Ward Nurse")
    assert ECHO.id < later.id
    [member] = open_pool((NEAR, [later, ECHO])).retrieve(ASKED, 1).members
    assert (member.persona, member.displaced) == (later, None)


def test_a_member_says_who_repeats_whom(open_pool: Callable[..., Pool]) -> None:
    found = open_pool((NEAR, [NURSE]), (NEAR, [CALM]), (FAR, [HERMIT])).retrieve(ASKED, 2)
    first, second = sorted((NURSE, CALM), key=lambda persona: persona.id)
    # Both have two values at stake alike, so the smaller id is chosen; the other has the emotion of the first.
    assert [member.persona for member in found.members] == [first, HERMIT]
    repeated = Displaced(second.id, second.name, 0.8, "repeats the emotion of one chosen before: Calm")
    assert [member.displaced for member in found.members] == [None, repeated]
    assert found.gate.coverage == pytest.approx((2 * HERE + 2 * THERE) / (4 * HERE + 2 * THERE), abs=2e-6)


def test_what_one_before_it_covers_is_not_added_again(open_pool: Callable[..., Pool]) -> None:
    found = open_pool((NEAR, [NURSE, ECHO])).retrieve(ASKED, 2)
    assert [len(member.adds) for member in found.members] == [3, 0]
    assert found.members[1].reason.startswith("covers 0% of the values at stake")


def test_a_member_shows_its_greatest_values_only(open_pool: Callable[..., Pool]) -> None:
    # All alike Care, and the later the nearer to the question.
    alike = {f"Care {n}": {0: n / 10, 2: 0.75, 10 + n: math.sqrt(1 - 0.75**2 - n**2 / 100)} for n in range(1, 7)}
    crowd = [Persona(f"N{n}", f"Care {n}", f"F{n}", f"Care {n + 1}", f"E{n}", f"R{n}") for n in (1, 3, 5)]
    found = open_pool((NEAR, [NURSE, *crowd]), embedder=ByHand(alike)).retrieve(ASKED, 1)
    [member] = found.members
    assert list(adds(member)) == ["Care 6", "Care 5", "Care 4"]
    total = 2 + sum(math.exp(0.2 * n) for n in range(1, 7))  # with one neighbour nothing but the cosine weighs
    assert member.adds[0].share == pytest.approx(math.exp(1.2) / total, abs=2e-6)


# What nobody speaks for.


def test_a_panel_under_the_demand_keeps_who_pulls_weight_and_names_what_the_others_are_to_say(
    open_pool: Callable[..., Pool],
) -> None:
    pool = open_pool((NEAR, [NURSE, ECHO]), (FAR, [RANCHER, HERMIT]))
    pool.calibrate(DEMANDING)
    found = pool.retrieve(ASKED, 2)
    # A member must bring half of 0.9; the nurse brings 0.48, the rancher 0.33.
    assert [member.persona for member in found.members] == [NURSE]
    assert (found.gate.decision, found.gate.score, found.gate.required) == ("partial", 0.8, 0.9)
    assert found.gate.coverage == pytest.approx((4 * HERE + 3.5 * THERE) / (4 * HERE + 5.5 * THERE), abs=2e-6)
    # Two for each place, those most at stake.
    assert found.uncovered == ("Freedom", "Right to refuse")


def test_uncovered_values_are_unlike_those_of_the_kept_and_each_other(open_pool: Callable[..., Pool]) -> None:
    alike = {"Liberty": {0: 0.3, 5: 0.8, 11: math.sqrt(1 - 0.3**2 - 0.8**2)}}
    free = Persona("Free Spirit", "Liberty", "Existentialism", "Right to soothe", "Awe", "Poet")
    embedder = ByHand(alike | {"Right to soothe": VECTORS["Duty to soothe"]})
    # Only those near enough are kept, but what is further away says too what is at stake.
    pool = open_pool((NEAR, [NURSE]), (FAR, [RANCHER, free, HERMIT]), embedder=embedder, threshold=0.7)
    found = pool.retrieve(ASKED, 4)
    assert [member.persona for member in found.members] == [NURSE]
    assert found.uncovered[:2] == ("Freedom", "Right to refuse")
    assert set(found.uncovered[2:]) == {"Solitude", "Right to be alone"}
    kept = embedder.encode(["Care", "Duty to heal"])
    named = embedder.encode(found.uncovered)
    assert (named @ kept.T < COVERED).all()
    assert (named @ named.T < COVERED).sum() == 4 * 3
    assert pool.retrieve(Scenario("Elsewhere"), 4).uncovered == ()  # a miss: the whole panel is invented


# What a reader is told.


@pytest.fixture
def ethos(open_pool: Callable[..., Pool]) -> Iterator[Ethos]:
    """Over the pool of `open_pool`, panels of two, with scripted models."""
    roles = {
        "model": ScriptedModel(lambda _: "Both agree.", name="main"),
        "comment_model": ScriptedModel(lambda _: "It should be so.", name="comments"),
        "persona_model": ScriptedModel(persona_reply, name="personas"),
    }
    folder = open_pool((NEAR, [NURSE, ECHO]), (FAR, [RANCHER, HERMIT])).database.folder
    with Ethos(folder, embedder=ByHand(), settings=Settings(k=2), **roles) as opened:
        yield opened


def persona_reply(request: Request) -> str:
    """A valid persona within the request's schema."""
    assert request.schema
    properties = json.loads(request.schema)["properties"]
    drawn = {name: properties[name]["enum"][0] for name in ("ethical_framework", "emotion")}
    return json.dumps(
        {"name": "New", "core_value": "Trust", "right_duty": "Duty to tell", "stakeholder_role": "Clerk"} | drawn
    )


COVERS = pytest.approx(0.810885, abs=2e-6)  # as above


def test_an_answer_and_its_audit_carry_the_explanation(ethos: Ethos) -> None:
    answer = ethos.answer(ASKED)
    told = json.loads(json.dumps(answer.as_dict()))
    assert told["gate"] == {"decision": "hit", "score": 0.8, "threshold": 0.45, "coverage": COVERS, "required": 0.0}
    assert [member["name"] for member in told["panel"]] == ["Young Nurse", "Free Rancher"]
    assert told["panel"][0]["displaced"] is None
    assert told["panel"][1]["adds"] == [
        {"value": "Freedom", "share": pytest.approx(0.189115, abs=2e-6)},
        {"value": "Right to refuse", "share": pytest.approx(0.141836, abs=2e-6)},
    ]
    cause = "would have added less of the values at stake"
    assert told["panel"][1]["displaced"] == {"persona_id": ECHO.id, "name": "Echo", "relevance": 0.8, "cause": cause}
    assert ethos.record.answer(answer.answer_id) == answer
    command = ["audit", "show", answer.answer_id, "--json", "--pool", str(ethos.settings.pool)]
    audited = json.loads(CliRunner().invoke(main, command).stdout)
    assert (audited["gate"], audited["panel"]) == (told["gate"], told["panel"])


def test_a_partial_answer_asks_for_what_is_uncovered_and_tells_the_demand(ethos: Ethos) -> None:
    ethos.pool.calibrate(DEMANDING)
    answer = ethos.answer(ASKED)
    writer: Any = ethos.model("persona_model")
    [[request]] = writer.batches
    asked = re.sub("</?data-[0-9a-f]{6}>", "", request.messages[-1].content)
    assert "Freedom and Right to refuse" in asked
    gate = {"decision": "partial", "score": 0.8, "threshold": 0.45, "coverage": COVERS, "required": 0.9}
    assert answer.as_dict()["gate"] == audit.show_answer(ethos.record, answer.answer_id)["gate"] == gate
    kept, new = answer.as_dict()["panel"]
    assert (kept["name"], len(kept["adds"])) == ("Young Nurse", 3)
    assert (new["source"], new["adds"], new["displaced"]) == ("fresh", [], None)
    again = ethos.answer(ASKED).as_dict()  # from the panel stored for exactly this question
    assert again["gate"] == {"decision": "hit", "score": 1.0, "threshold": 0.45, "coverage": None, "required": 0.0}
    assert [(member["adds"], member["displaced"]) for member in again["panel"]] == [([], None)] * 2
