"""Answers as rows of the record, and back.

Knows the tables and what an answer is; reads and writes nothing itself.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from ethos.answer import Added, Answer, Candidate, Comment, Decision, Displaced, Gate, Member, Outcome, Panel, Source
from ethos.encoders.identity import EmbedderIdentity
from ethos.persona import ATTRIBUTES, Persona
from ethos.pool.storage import schema
from ethos.scenario import Attribute, AttributeKind, Mode, Scenario


def answer_row(answer: Answer, version: str, embedder: EmbedderIdentity) -> dict[str, Any]:
    """The row of an answer.

    Args:
        answer: It, without its panel, which has rows of its own.
        version: Ethos's.
        embedder: What the panel was found with.
    """
    out, attribute = answer.outcome, answer.scenario.attribute
    return {
        "id": answer.answer_id,
        "created_at": answer.created_at,
        "mode": str(answer.mode),
        "scenario_id": answer.scenario.key,
        "attribute": asdict(attribute) if attribute else None,
        "options": list(answer.scenario.options),
        "wording": answer.scenario.wording,
        "output": out.output,
        "seed": answer.seed,
        "prompt_set": answer.prompt_set,
        "version": version,
        "record": {
            "choice": out.choice,
            "distribution": out.distribution,
            "influence_method": out.influence_method,
            "label_mass": out.label_mass,
            "finish_reason": out.finish_reason,
            "unheard": list(out.unheard),
            "gate": asdict(answer.panel.gate),
            "candidates": [asdict(candidate) for candidate in answer.panel.candidates],
            "embedder": asdict(embedder),
            "calls": dict(answer.calls),
            "tokens": dict(answer.tokens),
            "timings": dict(answer.timings),
            "models": dict(answer.models),
            "warnings": list(answer.warnings),
        },
    }


def member_rows(answer: Answer) -> list[dict[str, Any]]:
    """The rows of its panel."""
    out = answer.outcome
    return [
        {
            "answer_id": answer.answer_id,
            "rank": member.rank,
            "persona_id": member.persona.id,
            "source": str(member.source),
            "relevance": member.relevance,
            "reason": member.reason,
            "comment_call_id": answer.comments[i].call_id,
            "weight": out.weights[i],
            "influence": out.influences[i],
            "record": {
                "distribution": out.distributions[i] if out.distributions else None,
                "selection": out.selection[i] if out.selection else None,
                "adds": [asdict(added) for added in member.adds],
                "displaced": asdict(member.displaced) if member.displaced else None,
            },
        }
        for i, member in enumerate(answer.panel.members)
    ]


def members_query(answer_id: str) -> Any:
    """Asks for the rows of an answer's panel, by rank, with the personas and their comments."""
    return (
        select(schema.MemberRow, schema.PersonaRow, schema.CallRow.finish_reason, schema.TextRow.content)
        .with_only_columns(
            schema.MemberRow.__table__,
            *(getattr(schema.PersonaRow, attribute) for attribute in ATTRIBUTES),
            schema.CallRow.finish_reason,
            schema.TextRow.content,
        )
        .join(schema.PersonaRow, schema.PersonaRow.id == schema.MemberRow.persona_id)
        .join(schema.CallRow, schema.CallRow.id == schema.MemberRow.comment_call_id)
        .join(schema.TextRow, schema.TextRow.id == schema.CallRow.completion_id)
        .where(schema.MemberRow.answer_id == answer_id)
        .order_by(schema.MemberRow.rank)
    )


def _member(row: dict[str, Any]) -> Member:
    record = row["record"]  # answers of schema 0001 have no explanation
    return Member(
        Persona(*(row[a] for a in ATTRIBUTES)),
        Source(row["source"]),
        row["rank"],
        row["relevance"],
        row["reason"],
        tuple(Added(**added) for added in record.get("adds", ())),
        Displaced(**record["displaced"]) if record.get("displaced") else None,
    )


def answer_of(row: dict[str, Any], members: list[dict[str, Any]]) -> Answer:
    """The answer of a row.

    Args:
        row: It, with its scenario's situation.
        members: What `members_query` found.
    """
    record, attribute = row["record"], row["attribute"]
    scenario = Scenario(
        row["situation"],
        tuple(row["options"]),
        Attribute(AttributeKind(attribute["kind"]), attribute["name"], attribute["category"]) if attribute else None,
        row["wording"],
    )
    panel = Panel(
        tuple(_member(m) for m in members),
        Gate(**{**record["gate"], "decision": Decision(record["gate"]["decision"])}),
        tuple(Candidate(**candidate) for candidate in record.get("candidates", ())),
    )
    distributions = tuple(tuple(m["record"]["distribution"]) for m in members if m["record"]["distribution"])
    outcome = Outcome(
        output=row["output"],
        influences=tuple(m["influence"] for m in members),
        influence_method=record["influence_method"],
        weights=tuple(m["weight"] for m in members),
        choice=record["choice"],
        distribution=tuple(record["distribution"]) if record["distribution"] else None,
        distributions=distributions,
        selection=tuple(m["record"]["selection"] for m in members if m["record"]["selection"] is not None),
        label_mass=record["label_mass"],
        finish_reason=record["finish_reason"],
        unheard=tuple(record.get("unheard", ())),
    )
    return Answer(
        answer_id=row["id"],
        created_at=row["created_at"],
        mode=Mode(row["mode"]),
        scenario=scenario,
        panel=panel,
        comments=tuple(
            Comment(m["persona_id"], m["content"], m["finish_reason"], m["comment_call_id"]) for m in members
        ),
        outcome=outcome,
        calls=record["calls"],
        tokens=record["tokens"],
        timings=record["timings"],
        models=record["models"],
        seed=row["seed"],
        prompt_set=row["prompt_set"],
        warnings=tuple(record["warnings"]),
    )
