"""OpenTelemetry spans around stages and model calls, for programs that collect such.

Follows the conventions for generative AI (``gen_ai.…``). What was asked and said is in no span, nor are the messages of
errors, which may quote it, unless ``ETHOS_OTEL_CONTENT=1``. Knows the API of OpenTelemetry only, and does not even
import that: whoever configured an exporter has.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

from ethos.llm import Completion, Message, ModelIdentity, OptionReading, Request

CONTENT = "ETHOS_OTEL_CONTENT"
P = ParamSpec("P")
R = TypeVar("R")
Reply = Completion | OptionReading


class Asked(Protocol):
    """Something a model is asked."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The chat so far."""


def spanned(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function one span."""

    def decorate(work: Callable[P, R]) -> Callable[P, R]:
        @wraps(work)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            tracer = _tracer()
            if tracer is None:
                return work(*args, **kwargs)
            with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
                try:
                    return work(*args, **kwargs)
                except Exception as error:
                    _fail(span, error)
                    raise

        return inside

    return decorate


def note(name: str, **attributes: str) -> None:
    """An event of the present span, such as which answer was recorded."""
    if _tracer() is not None:
        event = {f"ethos.{key}": value for key, value in attributes.items()}
        sys.modules["opentelemetry.trace"].get_current_span().add_event(name, event)


@contextmanager
def calling(stage: str, identity: ModelIdentity, asked: Sequence[Asked]) -> Iterator[list[Reply]]:
    """One span for each of a batch of calls; they begin and end together.

    Yields:
        A list for the replies, in order; what stays unanswered failed.
    """
    replies: list[Reply] = []
    tracer = _tracer()
    if tracer is None:
        yield replies
        return
    began = time.time_ns()
    failed: Exception | None = None
    try:
        yield replies
    except Exception as error:
        failed = error
        raise
    finally:
        ended = time.time_ns()
        for place, query in enumerate(asked):
            attributes = _asked(stage, identity, query)
            if place < len(replies):
                attributes |= _replied(replies[place])
            kind = sys.modules["opentelemetry.trace"].SpanKind.CLIENT
            span = tracer.start_span(
                f"chat {attributes['gen_ai.request.model']}", kind=kind, attributes=attributes, start_time=began
            )
            if failed is not None:
                _fail(span, failed)
            span.end(ended)


def _tracer() -> Any:
    """The tracer of whoever configured one; None if nobody did."""
    trace = sys.modules.get("opentelemetry.trace")
    return None if trace is None else trace.get_tracer("ethos")


def _fail(span: Any, error: Exception) -> None:
    """Say of an error only what it is."""
    trace = sys.modules["opentelemetry.trace"]
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(trace.Status(trace.StatusCode.ERROR))


def _asked(stage: str, identity: ModelIdentity, query: Asked) -> dict[str, Any]:
    provider, _, model = identity.name.partition(":")
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model or provider,
        "ethos.stage": stage,
    }
    if isinstance(query, Request):
        attributes |= {
            "gen_ai.request.max_tokens": query.max_tokens,
            "gen_ai.request.temperature": query.temperature,
            "gen_ai.request.seed": query.seed,
            "gen_ai.output.type": "json" if query.schema else "text",
        }
    if identity.revision:
        attributes["ethos.model.revision"] = identity.revision
    if _with_content():
        attributes["gen_ai.input.messages"] = json.dumps(
            [_message(turn.role, turn.content) for turn in query.messages], ensure_ascii=False
        )
    return attributes


def _replied(reply: Reply) -> dict[str, Any]:
    attributes: dict[str, Any] = {"gen_ai.usage.input_tokens": reply.prompt_tokens}
    if isinstance(reply, OptionReading):
        return {**attributes, "ethos.label_mass": reply.mass}
    attributes |= {
        "gen_ai.usage.output_tokens": reply.completion_tokens,
        "gen_ai.response.finish_reasons": (reply.finish_reason,),
    }
    if _with_content():
        said = {**_message("assistant", reply.text), "finish_reason": reply.finish_reason}
        attributes["gen_ai.output.messages"] = json.dumps([said], ensure_ascii=False)
    return attributes


def _message(role: str, content: str) -> dict[str, Any]:
    """A message in the form of the conventions."""
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def _with_content() -> bool:
    return os.environ.get(CONTENT) == "1"
