"""The report's part on judges: who prefers whose answers, and how far judges agree (section 6.1, Figure 5).

Knows judgements; asks no judge.
"""

from __future__ import annotations

from collections import defaultdict

from ethos.errors import InputError
from ethos.evaluation.analyses.paper_figures import paper
from ethos.evaluation.judging.agreement import agreement
from ethos.evaluation.judging.judge import Judgement, Tally, Verdict, tally
from ethos.evaluation.judging.pairwise import HUMAN, Comparison
from ethos.evaluation.report.data import Run, short_model
from ethos.evaluation.report.parts import NOTHING, Kind, Row, Section, Table


def judge_section(run: Run) -> Section:
    """Win rates by judge, and Fleiss' kappa by comparison."""
    tallied = [(comparison, tally(judgements)) for comparison, judgements in run.judged]
    rows = tuple(_row(comparison, found) for comparison, found in tallied)
    win_rates = Table(
        "Wins, ties and losses (Figure 5)",
        (
            "comparison",
            "judge",
            "wins %",
            "ties %",
            "losses %",
            "p",
            "swayed",
            "first shown",
            "unreadable",
            "pairs",
        ),
        rows,
        "Told of the first method. A model judges each pair in both orders, and a verdict counts only where both say "
        "the same, else it is a tie. Wins with their 95% Wilson interval; p of wins against losses by the sign test. "
        "Swayed: ties in which the order changed the verdict; first shown: how often the one shown first was chosen.",
        tuple(paper().judging["notes"]),
        texts=frozenset({1}),
    )
    printed = paper().judging
    agreed = [*_agreements(run.judged)]
    agreed.append(
        Row(
            (
                f"Figure 5, {printed['items']} scenarios",
                f"{printed['annotators']} people",
                f"{printed['kappa']:.3f}",
                NOTHING,
                NOTHING,
            ),
            Kind.PAPER,
        )
    )
    kappas = Table(
        "Agreement of judges",
        ("comparison", "judges", "Fleiss' kappa", "they agree on %", "items"),
        tuple(agreed),
        "1 is perfect agreement, 0 what chance gives; 95% bootstrap intervals over items. Unreadable ones are out.",
        texts=frozenset({1}),
    )
    missing = (
        ()
        if run.judged
        else (
            "Nothing was judged: “ethos eval judge” asks a model, “ethos eval annotate out” makes a sheet for people.",
        )
    )
    return Section("judges", "What judges prefer", (), missing, (win_rates, kappas))


def _row(comparison: Comparison, found: Tally) -> Row:
    readable = found.wins + found.ties + found.losses
    rate = NOTHING
    if found.win_rate is not None and found.low is not None and found.high is not None:
        rate = f"{100 * found.win_rate:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    first = NOTHING if found.first_shown is None else f"{100 * found.first_shown:.0f}%"
    return Row(
        (
            _named(comparison),
            comparison.judge,
            rate,
            *(f"{100 * count / readable:.1f}" if readable else NOTHING for count in (found.ties, found.losses)),
            f"{found.p_value:.3f}",
            NOTHING if comparison.judge.startswith(HUMAN) else str(found.swayed),
            first,
            str(found.unreadable),
            str(readable),
        )
    )


def _named(comparison: Comparison) -> str:
    return f"{comparison.first} against {comparison.second}, {short_model(comparison.model)}, {comparison.task}"


def _agreements(judged: tuple[tuple[Comparison, list[Judgement]], ...]) -> list[Row]:
    """One row a comparison that two judges or more have made."""
    by: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for comparison, judgements in judged:
        by[_named(comparison)][comparison.judge] = {
            one.item: str(one.verdict) for one in judgements if one.verdict is not Verdict.UNREADABLE
        }
    rows = []
    for name, verdicts in by.items():
        if len(verdicts) < 2:
            continue
        try:
            found = agreement(verdicts)
        except InputError as error:
            rows.append(Row((name, ", ".join(verdicts), f"none: {error.message}", NOTHING, NOTHING)))
            continue
        kappa = "not defined: all verdicts are the same"
        if found.kappa is not None and found.low is not None and found.high is not None:
            kappa = f"{found.kappa:.3f} [{found.low:.3f}, {found.high:.3f}]"
        rows.append(Row((name, ", ".join(found.judges), kappa, f"{100 * found.observed:.1f}", str(found.items))))
    return rows
