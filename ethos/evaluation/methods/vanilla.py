"""Vanilla: the bare question (paper section 4.4). Neither group nor country is named, as in the released code."""

from __future__ import annotations

from ethos.evaluation.methods import Method, Workshop
from ethos.evaluation.methods.asking import question_of
from ethos.evaluation.methods.prompted import Prompted


def vanilla(workshop: Workshop) -> Method:
    """The main model as it is."""
    return Prompted("vanilla", workshop.open(workshop.model), question_of)
