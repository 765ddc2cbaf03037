"""The starter pool: its promises, and what a new pool can do with it before any language model has run."""

from __future__ import annotations

import pytest

from ethos.encoders.embedder import open_embedder
from ethos.persona import clashes
from ethos.pool.curation.statistics import statistics
from ethos.pool.pool import Pool
from ethos.pool.starter import install, starter_panels
from ethos.scenario import Scenario

ASKED = (
    "Should parents be allowed to refuse a vaccine for their child?",
    "Is it right to turn off life support for a patient who will not wake up?",
    "Getting an abortion at nine weeks",
    "Should I tell my doctor that I drink too much?",
    "Refusing a blood transfusion because of my faith",
    "Forcing a patient with anorexia to eat",
    "Donating a kidney to a stranger",
    "Should a doctor tell a patient that he has cancer when the family objects?",
    "Sharing patient records with a company that builds AI",
    "Helping a terminally ill friend to die",
    "Giving clean needles to people who inject drugs",
    "Should a teenager get birth control without her parents knowing?",
    "Wearing a mask in public during a pandemic",
    "Putting my mother with dementia into a nursing home",
    "Taking antidepressants",
    "Editing the genes of an embryo to prevent disease",
    "Smoking near my children",
    "Going to work with the flu",
    "Who should get the last ventilator?",
    "Testing a new drug in a poor country",
)
UNRELATED = (
    "How do I sharpen a chisel?",
    "Which chess opening should a beginner learn?",
    "What is the capital of Mongolia?",
    "My printer does not print in colour",
    "How long should spaghetti boil?",
    "Translate this sentence into Latin",
    "Who won the football cup in 1998?",
    "How do I reverse a linked list in C?",
    "Choosing curtains for a north-facing room",
    "Tuning a guitar by ear",
    "Is it going to rain on Sunday?",
    "How far away is the moon?",
    "Painting a fence before winter",
    "What does this parking sign mean?",
    "How to fold a paper crane",
    "The best route from Lyon to Turin by train",
    "Changing the chain of a bicycle",
    "Growing tomatoes on a balcony",
    "How are diamonds formed?",
    "Writing a limerick about a goat",
)


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    pool = Pool(tmp_path_factory.mktemp("starter") / "pool", open_embedder())
    assert install(pool) == 672
    return pool


def test_every_panel_differs_in_every_attribute() -> None:
    panels = starter_panels()
    assert len(panels) == 112
    for panel in panels:
        assert len(panel.personas) == 6
        for i, persona in enumerate(panel.personas):
            assert clashes(persona, list(panel.personas[:i])) == []
            assert persona.right_duty.startswith(("Right to ", "Duty to "))


def test_no_persona_and_no_scenario_comes_twice() -> None:
    panels = starter_panels()
    assert len({persona.id for panel in panels for persona in panel.personas}) == 672
    assert len({panel.scenario.key for panel in panels}) == 112


def test_installing_again_changes_nothing(starter: Pool) -> None:
    assert install(starter) == 0
    assert statistics(starter.database)["origins"] == 672


@pytest.mark.parametrize("question", ASKED)
def test_a_common_health_question_is_a_hit(starter: Pool, question: str) -> None:
    found = starter.retrieve(Scenario.of(question), 6)
    assert (found.gate.decision, len(found.members)) == ("hit", 6)


@pytest.mark.parametrize("question", UNRELATED)
def test_a_question_from_elsewhere_is_a_miss(starter: Pool, question: str) -> None:
    assert starter.retrieve(Scenario.of(question), 6).gate.decision == "miss"
