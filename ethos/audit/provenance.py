"""Answers as W3C provenance (PROV-DM): what was made of what, by which model, on whose behalf.

Entities are scenarios, personas, prompts, completions (comments among them) and answers; activities are model calls and
the answering itself; agents are models and this software. Knows recorded answers and the `prov` library.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

from ethos.answer import Answer
from ethos.errors import ConfigurationError
from ethos.persona import ATTRIBUTES
from ethos.pool.storage.record import Record
from ethos.text.cleaning import digest

if TYPE_CHECKING:
    from prov.model import ProvDocument

NAMESPACE = "urn:ethos:"


def document(record: Record, answer_ids: Iterable[str]) -> ProvDocument:
    """The provenance of answers; what several share is there once.

    Args:
        record: The pool's.
        answer_ids: Full ids.

    Raises:
        ConfigurationError: `prov` is not installed.
        InputError: There is no such answer.
    """
    try:
        from prov.model import ProvDocument  # late: an extra
    except ImportError as error:
        raise ConfigurationError(
            "W3C provenance needs the library prov", "install it: pip install 'ethos-pool[prov]'"
        ) from error
    made = ProvDocument()
    made.add_namespace("ethos", NAMESPACE)
    document = _Document(made)
    for answer_id in answer_ids:
        document.answer(record.answer(answer_id), record.circumstances(answer_id)["version"], record.calls(answer_id))
    return made


def write(found: ProvDocument, file: TextIO, as_json: bool) -> None:
    """Write a document as PROV-JSON or PROV-N."""
    text = found.serialize(format="json", indent=1) if as_json else found.get_provn()
    file.write(f"{text}\n")


class _Document:
    """Puts answers into a document, each thing once."""

    def __init__(self, made: ProvDocument) -> None:
        self._made = made
        self._told: set[str] = set()

    def answer(self, answer: Answer, version: str, calls: Iterable[dict[str, Any]]) -> None:
        """One answer with all that it rests on."""
        made, name = self._made, f"ethos:answer-{answer.answer_id}"
        answering = f"ethos:answering-{answer.answer_id}"
        software = self._software(version)
        attribute = str(answer.scenario.attribute) if answer.scenario.attribute else None
        made.activity(
            answering,
            None,
            answer.created_at,
            {"prov:type": made.valid_qualified_name("ethos:Answering")}
            | _values(mode=str(answer.mode), attribute=attribute, seed=answer.seed, prompt_set=answer.prompt_set),
        )
        made.wasAssociatedWith(answering, software)
        self._entity(name, "Answer", {"prov:value": answer.output} | _values(choice=answer.outcome.choice))
        made.wasGeneratedBy(name, answering, answer.created_at)
        scenario = f"ethos:scenario-{answer.scenario.key}"
        self._entity(scenario, "Scenario", {"prov:value": answer.scenario.subject})
        made.used(answering, scenario)
        for call in calls:
            made.wasInformedBy(answering, self._call(call, software), other_attributes=_values(reused=call["reused"]))
        self._members(answer, answering, name, scenario)

    def _members(self, answer: Answer, answering: str, name: str, scenario: str) -> None:
        made, out = self._made, answer.outcome
        for place, (member, comment) in enumerate(zip(answer.panel.members, answer.comments, strict=True)):
            persona = f"ethos:persona-{member.persona.id}"
            texts = {f"ethos:{attribute}": getattr(member.persona, attribute) for attribute in ATTRIBUTES}
            self._entity(persona, "Persona", texts)
            seat = _values(
                rank=member.rank, source=str(member.source), relevance=member.relevance, reason=member.reason
            )
            made.used(answering, persona, other_attributes=seat)
            said = f"ethos:completion-{comment.call_id}"
            for origin in (persona, scenario):
                self._derived(said, origin)
            attributes = _values(
                influence=out.influences[place], influence_method=out.influence_method, weight=out.weights[place]
            )
            made.wasDerivedFrom(name, said, answering, other_attributes=attributes)

    def _call(self, call: dict[str, Any], software: str) -> str:
        name = f"ethos:call-{call['id']}"
        if name in self._told:
            return name
        self._told.add(name)
        made = self._made
        counts = ("stage", "finish_reason", "prompt_tokens", "completion_tokens", "seconds")
        kind = {"prov:type": made.valid_qualified_name("ethos:Call")}
        made.activity(name, None, call["created_at"], kind | _values(**{key: call[key] for key in counts}))
        agent = f"{call['model']} {call['model_revision']}".strip()
        model = self._agent(f"ethos:model-{digest(agent)[:12]}", agent, call["model"], call["model_revision"])
        made.wasAssociatedWith(name, model)
        self._once(f"{model} for {software}", lambda: made.actedOnBehalfOf(model, software))
        prompt = f"ethos:prompt-{call['prompt_id']}"
        self._entity(prompt, "Prompt", {"prov:value": call["prompt"]})
        made.used(name, prompt)
        completion = f"ethos:completion-{call['id']}"
        kind_of = "Comment" if call["stage"] == "comment" else "Completion"
        read = call["completion"] if call["completion"] is not None else str(call["reading"])
        self._entity(completion, kind_of, {"prov:value": read})
        made.wasGeneratedBy(completion, name, call["created_at"])
        return name

    def _software(self, version: str) -> str:
        name = f"ethos:software-{digest(version)[:12]}"
        kind = self._made.valid_qualified_name("prov:SoftwareAgent")
        attributes = {"prov:type": kind, "prov:label": f"Ethos {version}"} | _values(version=version)
        self._once(name, lambda: self._made.agent(name, attributes))
        return name

    def _agent(self, name: str, label: str, model: str, revision: str) -> str:
        kind = self._made.valid_qualified_name("prov:SoftwareAgent")
        attributes = {"prov:type": kind, "prov:label": label} | _values(model=model, revision=revision)
        self._once(name, lambda: self._made.agent(name, attributes))
        return name

    def _entity(self, name: str, kind: str, attributes: dict[str, Any]) -> None:
        typed = {"prov:type": self._made.valid_qualified_name(f"ethos:{kind}"), **attributes}
        self._once(name, lambda: self._made.entity(name, typed))

    def _derived(self, name: str, origin: str) -> None:
        self._once(f"{name} of {origin}", lambda: self._made.wasDerivedFrom(name, origin))

    def _once(self, what: str, make: Any) -> None:
        if what not in self._told:
            self._told.add(what)
            make()


def _values(**attributes: Any) -> dict[str, Any]:
    """Attributes of ours; PROV has no value for what is not there."""
    return {f"ethos:{name}": value for name, value in attributes.items() if value is not None}
