"""Prompting: the question after a sentence that asks for what the mode wants (Modular Pluralism's released code)."""

from __future__ import annotations

from ethos.evaluation.methods import Method, Workshop
from ethos.evaluation.methods.asking import worded
from ethos.evaluation.methods.prompted import Prompted
from ethos.prompts import baseline_prompts


def prompting(workshop: Workshop) -> Method:
    """The main model, told to be plural."""
    table = baseline_prompts().prompting
    return Prompted("prompting", workshop.open(workshop.model), lambda scenario, mode: worded(table, scenario, mode))
