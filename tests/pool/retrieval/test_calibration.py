"""The gate's demand: what is promised of it holds on data whose truth is known, and the gate keeps to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from ethos.cli import main
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import InputError
from ethos.persona import OriginKind, Persona
from ethos.pool.pool import Pool
from ethos.pool.retrieval.calibration import NEVER, Calibration, Target, Trial, calibration, interval, required_coverage
from ethos.pool.retrieval.gate import admit
from ethos.pool.retrieval.selection import Chosen
from ethos.pool.starter import install
from ethos.pool.storage.values import Origin, Placed
from ethos.scenario import Scenario

CURATED = Origin(OriginKind.CURATED)
VACCINE = Scenario("Getting a flu vaccine every winter")
ASKED = Scenario("Having the yearly flu shot")
NURSE = Persona("Ward Nurse", "Compassion", "Care ethics", "Duty to protect the frail", "Concern", "Nurse")
RANCHER = Persona("Free Rancher", "Liberty", "Libertarianism", "Right to refuse", "Distrust", "Rancher")
STEWARD = Persona("Health Steward", "Collective wellbeing", "Utilitarianism", "Duty to reduce harm", "Hope", "Official")
THREE = (NURSE, RANCHER, STEWARD)
FOUND = Calibration(
    Target(), 0.25, 400, 200, 10, (0.0242, 0.0900), 6, 0.45, "encoder", 100, "2026-01-01T00:00:00+00:00"
)

Array = NDArray[np.float64]
Numbers = Callable[[Array], Array]
# 200 trials of which the 100 with the higher estimates are good.
UPPER_HALF = [Trial(number / 200, float(number >= 100)) for number in range(200)]


# The least demand.


def test_nothing_is_demanded_where_all_panels_reach_the_floor_and_everything_where_none_does() -> None:
    assert required_coverage([Trial(number / 200, 0.5) for number in range(200)], Target(floor=0.5)) == 0.0
    assert required_coverage([Trial(number / 200, 0.4999) for number in range(200)], Target(floor=0.5)) == NEVER


def test_too_few_panels_prove_nothing_however_good_they_are() -> None:
    # 29 is the fewest of which none is poor with a probability under 5% (0.9^29); three times as many are asked for.
    assert required_coverage([Trial(0.5, 1.0)] * 87, Target()) == 0.0
    assert required_coverage([*[Trial(0.5, 1.0)] * 86, *[Trial(None, 1.0)] * 50], Target()) == NEVER
    assert required_coverage([], Target()) == NEVER


def test_the_bound_is_the_exact_binomial_tail() -> None:
    # Of 100 at 10%, up to 4 are poor with a probability of 0.024, up to 5 with 0.058.
    assert required_coverage([Trial(0.4, 1.0)] * 96 + [Trial(0.4, 0.0)] * 4, Target()) == 0.0
    assert required_coverage([Trial(0.4, 1.0)] * 95 + [Trial(0.4, 0.0)] * 5, Target()) == NEVER


def test_the_demand_is_the_least_that_keeps_the_bound() -> None:
    # Every fourth size is tried: 4 poor ones of 104 pass, 8 of 108 do not.
    assert required_coverage(UPPER_HALF, Target()) == 0.48
    # One poor panel at the top does not end the search.
    assert required_coverage([Trial(0.9, 0.0), *[Trial(0.5, 1.0)] * 299], Target()) == 0.0


def test_the_more_may_be_poor_the_less_is_demanded() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        estimates = rng.random(400)
        drawn = [Trial(e, float(rng.random() < 0.7 + 0.3 * e)) for e in estimates.tolist()]
        demands = [required_coverage(drawn, Target(delta)) for delta in (0.05, 0.1, 0.2, 0.3)]
        assert demands == sorted(demands, reverse=True)


# How likely a panel is poor by its estimate, and with that the true risk of a hit by the demand: estimates are uniform.
WORLDS: dict[str, tuple[Numbers, Callable[[float], float], bool]] = {
    "estimates tell": (lambda e: 0.4 * (1 - e), lambda d: 0.2 * (1 - d), True),
    "estimates tell nothing, and no demand will do": (lambda e: np.full_like(e, 0.11), lambda _: 0.11, False),
    "estimates mislead": (lambda e: 0.06 + 0.08 * e, lambda d: 0.10 + 0.04 * d, False),
    "a cliff": (lambda e: (e < 0.5).astype(float), lambda d: max(0.0, (0.5 - d) / (1 - d)), True),
}


@pytest.mark.parametrize("world", WORLDS)
def test_the_promise_is_broken_no_more_often_than_its_confidence_allows(world: str) -> None:
    poor, true_risk, can_be_kept = WORLDS[world]
    demands = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        estimates = rng.random(600)
        achieved = (rng.random(600) >= poor(estimates)).astype(float)
        demands.append(required_coverage(list(map(Trial, estimates.tolist(), achieved.tolist())), Target()))
    kept = [demand for demand in demands if demand <= 1.0]
    # At most 15 are expected, where each breaks it at 5%; more than 28 come by chance once in two thousand times.
    assert sum(true_risk(demand) > 0.1 for demand in kept) <= 28
    assert len(kept) >= 200 or not can_be_kept


# Its record.


@pytest.mark.parametrize(
    ("failures", "hits", "low", "high"),
    [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)],
)
def test_intervals_are_those_of_newcombe_s_table(failures: int, hits: int, low: float, high: float) -> None:
    # Statistics in Medicine 17 (1998), table I, method 5.
    assert interval(failures, hits, 0.95) == pytest.approx((low, high), abs=5e-5)


def test_a_calibration_counts_what_its_demand_lets_through() -> None:
    seen = [*UPPER_HALF, *[Trial(None, 0.0)] * 50]
    found = calibration(seen, Target(), k=6, threshold=0.45, embedder="encoder", neighbours=100, created_at="now")
    assert (found.required, found.trials, found.hits, found.failures, found.hit_rate) == (0.48, 250, 104, 4, 0.416)
    assert found.interval == interval(4, 104, 0.95)
    hopeless = calibration(
        seen, Target(0.01), k=6, threshold=0.45, embedder="encoder", neighbours=100, created_at="now"
    )
    assert (hopeless.required, hopeless.hits, hopeless.interval) == (NEVER, 0, (0.0, 1.0))


def test_a_calibration_survives_json_and_says_what_it_promises() -> None:
    assert Calibration.of(json.loads(json.dumps(FOUND.as_dict()))) == FOUND
    assert FOUND.sentence == (
        "The gate is calibrated: at most 10% of hits cover less than 50% of their own values, with 95% confidence, for "
        "panels of 6 at threshold 0.45. Seen on 400 held-out scenarios: 10 of 200 hits (2.4% to 9.0%); expected hit "
        "rate 50%."
    )


# The gate.


@pytest.mark.parametrize(
    ("gains", "coverage", "required", "stay"),
    [
        ((0.5, 0.2, 0.1), 0.8, 0.8, 3),
        ((0.5, 0.2, 0.1), 0.8, 0.81, 1),  # 0.27 is a third of what is demanded
        ((0.4, 0.3, 0.3), 1.0, NEVER, 1),
        ((0.3, 0.3, 0.3), 0.89, 0.9, 2),  # all pull their weight, and still the last makes room
        ((0.2, 0.1, 0.1), 0.4, 0.9, 0),
        ((0.2, 0.1), 0.3, 0.9, 2),  # not full anyway
    ],
)
def test_a_full_panel_under_the_demand_makes_room(
    gains: tuple[float, ...], coverage: float, required: float, stay: int
) -> None:
    chosen = [Chosen(number, gain) for number, gain in enumerate(gains)]
    assert admit(chosen, coverage, required, 3) == chosen[:stay]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def pool(tmp_path: Path, embedder: Embedder) -> Iterator[Pool]:
    opened = Pool(tmp_path / "pool", embedder)
    yield opened
    opened.close()


def test_the_pool_demands_what_it_is_calibrated_to_for_what_that_holds_for(pool: Pool, embedder: Embedder) -> None:
    pool.add(VACCINE, THREE, CURATED, [Placed(persona, 1.0) for persona in THREE])
    other = Pool(pool.database.folder, embedder)  # what one calibrates, all open pools of the folder demand at once
    whole = other.retrieve(ASKED, 2)
    assert (whole.gate.decision, whole.gate.required) == ("hit", 0.0)
    assert whole.gate.coverage
    found = replace(FOUND, k=2, embedder=embedder.identity.id)
    for required, decision in ((whole.gate.coverage - 0.01, "hit"), (whole.gate.coverage + 0.01, "partial")):
        pool.calibrate(replace(found, required=required))
        asked = other.retrieve(ASKED, 2)
        assert (asked.gate.decision, asked.gate.required) == (decision, pytest.approx(required, abs=1e-6))
        assert asked.gate.coverage == whole.gate.coverage
        assert asked.members == whole.members[: len(asked.members)]
    assert other.retrieve(VACCINE, 3).gate.decision == "hit"  # made for exactly this scenario
    strict = replace(found, required=NEVER)
    for elsewhere in (replace(strict, k=3), replace(strict, threshold=0.5), replace(strict, embedder="another")):
        pool.calibrate(elsewhere)
        assert other.retrieve(ASKED, 2).gate == whole.gate
    other.close()


def test_a_pool_that_outgrew_its_calibration_demands_nothing(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, embedder: Embedder
) -> None:
    pool.add(VACCINE, THREE, CURATED, [Placed(persona, 1.0) for persona in THREE])
    strict = replace(FOUND, k=2, required=NEVER, embedder=embedder.identity.id)
    pool.calibrate(strict)
    assert pool.holds(strict)
    assert pool.retrieve(ASKED, 2).gate.required == NEVER
    monkeypatch.setattr("ethos.pool.retrieval.index.DENSE", 1)  # from which size on fewer neighbours are looked at
    assert not pool.holds(strict)
    assert pool.retrieve(ASKED, 2).gate.required == 0.0
    shown = CliRunner().invoke(main, ["pool", "stats", "--pool", str(pool.database.folder)])
    assert "It does not hold for this pool as it is now" in " ".join(shown.stdout.split())


def test_a_trial_asks_as_if_the_pool_did_not_have_the_scenario(pool: Pool) -> None:
    again = replace(RANCHER, core_value=NURSE.core_value)
    with pytest.raises(InputError, match="0 scenarios, which is too few to hold any out"):
        pool.trials(1, print)
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(Scenario(VACCINE.situation, ("Yes", "No")), [NURSE], CURATED)  # the same situation
    pool.add(ASKED, [again], CURATED)
    pool.add(Scenario("Donating a kidney to a stranger"), [STEWARD], CURATED)
    found = pool.trials(1, lambda done, total: None)
    # Of the two near ones each has one value that the other's persona holds; nothing is near the third.
    assert sorted((trial.achieved, trial.estimate is None) for trial in found) == [
        (0, True),
        (0.5, False),
        (0.5, False),
    ]


# The command.


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Pool]:
    opened = Pool(tmp_path_factory.mktemp("starter") / "pool", embedder)
    install(opened)
    yield opened
    opened.close()


@pytest.fixture
def run(starter: Pool) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(main, ["pool", *arguments, "--pool", str(starter.database.folder)])


def test_a_bound_that_no_demand_keeps_is_not_stored(starter: Pool, run: Callable[..., Result]) -> None:
    result = run("calibrate")
    assert (result.exit_code, starter.calibrated()) == (4, None)
    assert "112 held-out scenarios, panels of 6, 95% confidence" in result.stdout
    assert "No demand keeps the bound 0.1, so nothing was stored" in result.stderr
    assert "The gate is not calibrated: see `ethos pool calibrate --help`." in run("stats").stdout
    starter.calibrate(FOUND)
    result = run("calibrate", "--json")
    assert (result.exit_code, json.loads(result.stdout)["stored"]) == (4, None)
    assert [row["target"]["delta"] for row in json.loads(result.stdout)["table"]] == [0.05, 0.1, 0.2]
    assert starter.calibrated() == FOUND
    starter.calibrate(None)


def test_a_bound_that_is_kept_is_stored_shown_and_taken_back(starter: Pool, run: Callable[..., Result]) -> None:
    result = run("calibrate", "--delta", "0.3", "--floor", "0.1", "--json")
    assert result.exit_code == 0, result.output
    found = starter.calibrated()
    assert found
    assert json.loads(result.stdout)["stored"] == found.as_dict()
    assert (found.target, found.trials, found.k) == (Target(0.3, 0.1), 112, 6)
    assert 0.0 < found.required < 1.0
    assert json.loads(run("stats", "--json").stdout)["calibration"] == found.as_dict()
    assert found.sentence in " ".join(run("stats").stdout.split())
    gates = {k: starter.retrieve(Scenario("Getting vaccinated against measles"), k).gate for k in (5, 6)}
    assert (gates[5].required, gates[6].required) == (0.0, round(found.required, 6))
    assert run("calibrate", "--clear").stdout == "The gate looks at relevance alone again.\n"
    assert starter.calibrated() is None
