"""What scripted models reply in tests of several modules."""

from __future__ import annotations

import json

from ethos.llm import Request


def persona_reply(request: Request) -> str:
    """A valid persona within the request's schema; another seed gives another persona."""
    assert request.schema
    properties, seed = json.loads(request.schema)["properties"], request.seed
    drawn = {name: properties[name]["enum"][0] for name in ("ethical_framework", "emotion")}
    named = {"name": f"Person {seed}", "core_value": f"Value {seed}", "right_duty": f"Duty {seed}"}
    return json.dumps({**named, **drawn, "stakeholder_role": f"Role {seed}"})
