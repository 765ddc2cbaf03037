"""The tables of a pool database. Every change of a table goes through a migration in `ethos.migrations`.

Knows SQLAlchemy only. Content addresses (32 hexadecimal digits) are primary keys wherever the same content must be
the same row.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Key = String(32)


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can drop what they made."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class PoolFact(Base):
    """One fact about the pool itself: its identifier, what made it."""

    __tablename__ = "pool_facts"
    name: Mapped[str] = mapped_column(String, primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class ScenarioRow(Base):
    """A topic: what personas were invented for or answers given to; addressed by situation and options."""

    __tablename__ = "scenarios"
    id: Mapped[str] = mapped_column(Key, primary_key=True)
    situation: Mapped[str] = mapped_column(Text)
    options: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[str] = mapped_column(String)


class PersonaRow(Base):
    """Six texts, addressed by their content; never changed after it is written, but for its status."""

    __tablename__ = "personas"
    __table_args__ = (CheckConstraint("status IN ('active', 'quarantined', 'retired')", name="status"),)
    id: Mapped[str] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    core_value: Mapped[str] = mapped_column(Text)
    ethical_framework: Mapped[str] = mapped_column(Text)
    right_duty: Mapped[str] = mapped_column(Text)
    emotion: Mapped[str] = mapped_column(Text)
    stakeholder_role: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String, server_default="active")
    created_at: Mapped[str] = mapped_column(String)


class OriginRow(Base):
    """How a persona came to be: one row for each time it was made, so for each scenario it was made for."""

    __tablename__ = "origins"
    __table_args__ = (CheckConstraint("kind IN ('curated', 'generated', 'imported')", name="kind"),)
    id: Mapped[str] = mapped_column(Key, primary_key=True)
    persona_id: Mapped[str] = mapped_column(ForeignKey("personas.id"), index=True)
    scenario_id: Mapped[str] = mapped_column(ForeignKey("scenarios.id"), index=True)
    kind: Mapped[str] = mapped_column(String)
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    prompt_set: Mapped[str | None] = mapped_column(String)
    seed: Mapped[int | None] = mapped_column(Integer)
    source: Mapped[str | None] = mapped_column(Text)
    licence: Mapped[str | None] = mapped_column(String)
    created_at: Mapped[str] = mapped_column(String)


class StatusChangeRow(Base):
    """A persona's new status, and why somebody gave it."""

    __tablename__ = "status_changes"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    persona_id: Mapped[str] = mapped_column(ForeignKey("personas.id"), index=True)
    status: Mapped[str] = mapped_column(String)
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[str] = mapped_column(String)


class MergeRow(Base):
    """A near duplicate and the persona that stands for it; taking the row away undoes the merge."""

    __tablename__ = "merges"
    duplicate_id: Mapped[str] = mapped_column(ForeignKey("personas.id"), primary_key=True)
    kept_id: Mapped[str] = mapped_column(ForeignKey("personas.id"), index=True)
    cosine: Mapped[float] = mapped_column(Float)
    overlap: Mapped[float] = mapped_column(Float)  # Jaccard index of the two lines' words
    created_at: Mapped[str] = mapped_column(String)


class ChangeRow(Base):
    """What happened to the retrievable content, in commit order: an index catches up by reading rows above its mark.

    The operation is ``add`` or ``remove``, of the link between a persona and a scenario.
    """

    __tablename__ = "changes"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  (SQLAlchemy's own form): a number is never reused
    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    operation: Mapped[str] = mapped_column(String)
    persona_id: Mapped[str] = mapped_column(ForeignKey("personas.id"), index=True)
    scenario_id: Mapped[str] = mapped_column(ForeignKey("scenarios.id"), index=True)


class PanelRow(Base):
    """The persona at one place of the panel that was generated for a scenario; written last, so it marks it done."""

    __tablename__ = "panels"
    scenario_id: Mapped[str] = mapped_column(ForeignKey("scenarios.id"), primary_key=True)
    k: Mapped[int] = mapped_column(Integer, primary_key=True)
    rank: Mapped[int] = mapped_column(Integer, primary_key=True)
    persona_id: Mapped[str] = mapped_column(ForeignKey("personas.id"), index=True)
    relevance: Mapped[float] = mapped_column(Float)


class EmbedderRow(Base):
    """Which encoder made a vector; vectors of two encoders never meet."""

    __tablename__ = "embedders"
    id: Mapped[str] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String)
    revision: Mapped[str] = mapped_column(String)
    dimensions: Mapped[int] = mapped_column(Integer)


class EmbeddingRow(Base):
    """One unit vector, little-endian float32, addressed by encoder and text."""

    __tablename__ = "embeddings"
    embedder_id: Mapped[str] = mapped_column(ForeignKey("embedders.id"), primary_key=True)
    text_id: Mapped[str] = mapped_column(Key, primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class ModelRow(Base):
    """Which weights answered."""

    __tablename__ = "models"
    id: Mapped[str] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String)
    revision: Mapped[str] = mapped_column(String)
    precision: Mapped[str] = mapped_column(String)


class TextRow(Base):
    """A prompt or completion, stored once."""

    __tablename__ = "texts"
    id: Mapped[str] = mapped_column(Key, primary_key=True)
    content: Mapped[str] = mapped_column(Text)


class CallRow(Base):
    """One model call: what was asked, with which parameters, and what came back."""

    __tablename__ = "calls"
    id: Mapped[str] = mapped_column(Key, primary_key=True)
    key: Mapped[str] = mapped_column(Key, index=True)  # equal keys: the same request to the same weights
    stage: Mapped[str] = mapped_column(String)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    prompt_id: Mapped[str] = mapped_column(ForeignKey("texts.id"), index=True)
    parameters: Mapped[dict[str, object]] = mapped_column(JSON)
    completion_id: Mapped[str | None] = mapped_column(ForeignKey("texts.id"), index=True)
    reading: Mapped[dict[str, object] | None] = mapped_column(JSON)
    finish_reason: Mapped[str | None] = mapped_column(String)
    prompt_tokens: Mapped[int] = mapped_column(Integer)
    completion_tokens: Mapped[int] = mapped_column(Integer)
    seconds: Mapped[float] = mapped_column(Float)
    created_at: Mapped[str] = mapped_column(String)


class AnswerRow(Base):
    """One answered request. `record` holds what has no column: timings, warnings, the mode's numbers."""

    __tablename__ = "answers"
    id: Mapped[str] = mapped_column(Key, primary_key=True)
    created_at: Mapped[str] = mapped_column(String, index=True)
    mode: Mapped[str] = mapped_column(String)
    scenario_id: Mapped[str] = mapped_column(ForeignKey("scenarios.id"), index=True)
    attribute: Mapped[dict[str, str] | None] = mapped_column(JSON)
    options: Mapped[list[str]] = mapped_column(JSON)
    wording: Mapped[str] = mapped_column(Text)
    output: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(Integer)
    prompt_set: Mapped[str] = mapped_column(String)
    version: Mapped[str] = mapped_column(String)
    record: Mapped[dict[str, object]] = mapped_column(JSON)
    request: Mapped[str | None] = mapped_column(Key, index=True)  # equal: the same request; unknown before schema 0003


class MemberRow(Base):
    """One persona's part in one answer."""

    __tablename__ = "members"
    __table_args__ = (Index("ix_members_persona_id", "persona_id"),)
    answer_id: Mapped[str] = mapped_column(ForeignKey("answers.id"), primary_key=True)
    rank: Mapped[int] = mapped_column(Integer, primary_key=True)
    persona_id: Mapped[str] = mapped_column(ForeignKey("personas.id"))
    source: Mapped[str] = mapped_column(String)
    relevance: Mapped[float] = mapped_column(Float)
    reason: Mapped[str] = mapped_column(Text)
    comment_call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), index=True)
    weight: Mapped[float] = mapped_column(Float)
    influence: Mapped[float | None] = mapped_column(Float)
    record: Mapped[dict[str, object]] = mapped_column(JSON)


class AnswerCallRow(Base):
    """Which calls one answer rests on, in order, and whether each was made for it or reused."""

    __tablename__ = "answer_calls"
    answer_id: Mapped[str] = mapped_column(ForeignKey("answers.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), index=True)
    reused: Mapped[bool] = mapped_column()


class AttributionRow(Base):
    """How an answer's influences were found by one method; `record` holds what only that method has."""

    __tablename__ = "attributions"
    answer_id: Mapped[str] = mapped_column(ForeignKey("answers.id"), primary_key=True)
    method: Mapped[str] = mapped_column(String, primary_key=True)
    meaning: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(String)
    created_at: Mapped[str] = mapped_column(String)
    record: Mapped[dict[str, object]] = mapped_column(JSON)


class InfluenceRow(Base):
    """How much one persona moved an answer by one method; no value where that is undefined."""

    __tablename__ = "influences"
    __table_args__ = (
        ForeignKeyConstraint(["answer_id", "method"], ["attributions.answer_id", "attributions.method"]),
        Index("ix_influences_persona_id", "persona_id"),
    )
    answer_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    method: Mapped[str] = mapped_column(String, primary_key=True)
    persona_id: Mapped[str] = mapped_column(ForeignKey("personas.id"), primary_key=True)
    value: Mapped[float | None] = mapped_column(Float)


class FailureRow(Base):
    """An attempt that could not be used, with its reason and the text that caused it."""

    __tablename__ = "failures"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    stage: Mapped[str] = mapped_column(String)
    scenario_id: Mapped[str | None] = mapped_column(ForeignKey("scenarios.id"), index=True)
    attempt: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(Text)
    reply: Mapped[str] = mapped_column(Text)
    created_at: Mapped[str] = mapped_column(String)


class LeaseRow(Base):
    """Work that one process or thread does for all: whose it is, and until when (Unix time, seconds)."""

    __tablename__ = "leases"
    key: Mapped[str] = mapped_column(Key, primary_key=True)
    owner: Mapped[str] = mapped_column(Key)
    expires_at: Mapped[float] = mapped_column(Float)


class LedgerRow(Base):
    """What happened to one row of another table (`ethos.pool.storage.ledger`); sealed before its transaction commits.

    A row that was forgotten has neither key nor salt: what is left says nothing of it.
    """

    __tablename__ = "ledger"
    __table_args__ = (Index("ix_ledger_table_name", "table_name", "row_key"), {"sqlite_autoincrement": True})
    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    table_name: Mapped[str] = mapped_column(String)
    row_key: Mapped[str | None] = mapped_column(String)  # the primary key's values as JSON
    operation: Mapped[str] = mapped_column(String)
    salt: Mapped[str | None] = mapped_column(String)
    content: Mapped[str | None] = mapped_column(String)  # HMAC of table, key and row, by the salt
    link: Mapped[str | None] = mapped_column(String)  # SHA-256 of the link before, number, table, operation, content
