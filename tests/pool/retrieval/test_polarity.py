"""A stance flips with the question: two opposite ones may share personas, and never what these said of the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ethos import Ethos, Scenario
from ethos.answer import Member
from ethos.audit import reading as audit
from ethos.encoders.embedder import open_embedder
from ethos.llm import ModelIdentity
from ethos.llm.opening import DEFAULT_MODEL
from ethos.pipeline.comments import comment_requests
from ethos.pipeline.settings import Settings
from ethos.pool.pool import Pool
from ethos.pool.starter import install
from ethos.prompts import PromptSetName, prompt_set
from ethos.scenario import Attribute, Mode

PAIRS = [
    ("Getting vaccinated against measles", "Refusing to get vaccinated against measles"),
    ("Withdrawing life support", "Continuing life support"),
    ("Telling a patient the truth", "Hiding the truth from a patient"),
    ("Donating a kidney to a stranger", "Refusing to donate a kidney to a stranger"),
    ("Allowing abortion at nine weeks", "Forbidding abortion at nine weeks"),
    ("Legalising assisted dying", "Banning assisted dying"),
    ("Wearing a mask in public during a pandemic", "Not wearing a mask in public during a pandemic"),
    ("Sharing patient records with researchers", "Keeping patient records from researchers"),
]
TRUTH = PAIRS[2]
YES_NO, AUTONOMY = ("Yes", "No"), Attribute.parse("Autonomy", Mode.STEERABLE)
THRESHOLD = 0.35  # under the default of 0.45, so that even more is shared: life support is a miss there
MODEL = ModelIdentity(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    opened = Pool(tmp_path_factory.mktemp("starter") / "pool", open_embedder(), THRESHOLD)
    install(opened)
    yield opened
    opened.close()


def panel(pool: Pool, situation: str) -> dict[str, Member]:
    return {member.persona.id: member for member in pool.retrieve(Scenario(situation), 6).members}


@pytest.mark.parametrize(("one", "opposite"), PAIRS)
def test_no_comment_on_a_question_can_be_taken_for_one_on_its_opposite(pool: Pool, one: str, opposite: str) -> None:
    members = list((panel(pool, one) | panel(pool, opposite)).values())
    assert len(members) >= 6
    wordings = [(Scenario(one), Scenario(opposite)), (Scenario(one, YES_NO), Scenario(opposite, YES_NO))]
    wordings += [(asked.steered(AUTONOMY), other.steered(AUTONOMY)) for asked, other in wordings]
    for asked, other in wordings:
        assert asked.key != other.key
        for prompts in map(prompt_set, PromptSetName):
            # Both panels are asked both, as if all personas were shared.
            requests = [*comment_requests(asked, members, prompts, 0), *comment_requests(other, members, prompts, 0)]
            assert len({request.key(MODEL) for request in requests}) == 2 * len(members)


def test_opposites_share_personas(pool: Pool) -> None:
    shared = {one: panel(pool, one).keys() & panel(pool, opposite).keys() for one, opposite in PAIRS}
    assert sum(map(bool, shared.values())) >= 6, shared


def test_opposite_questions_share_their_personas_and_no_call(pool: Pool) -> None:
    settings = Settings(pool=pool.database.folder, k=2)
    with Ethos(settings=settings) as ethos:
        one, opposite = (ethos.answer(question, "distributional", options=YES_NO) for question in TRUTH)
        assert {m.persona.id for m in one.panel.members} & {m.persona.id for m in opposite.panel.members}
        assert one.calls == opposite.calls == {"persona": 0, "comment": 2, "main": 2}
        assert not {comment.call_id for comment in one.comments} & {comment.call_id for comment in opposite.comments}
        lineages = [audit.show_answer(ethos.record, answer.answer_id)["model_calls"] for answer in (one, opposite)]
        for calls, question in zip(lineages, TRUTH, strict=True):
            assert all(question in str(call["prompt"]) and not call["reused"] for call in calls)
        again = ethos.answer(TRUTH[0], "distributional", options=YES_NO)  # finds its own comments
        assert (again.calls["comment"], again.comments) == (0, one.comments)
        assert len({one.answer_id, opposite.answer_id, again.answer_id}) == 3
