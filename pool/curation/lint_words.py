"""Rules of `ethos pool lint` that go by the words of one persona and its scenario.

One function a rule, with the lists of pool/data/lint.toml; each yields what is wrong, with the texts. Precision comes
first: a rule skips what it cannot decide reliably. Knows links and words; knows neither vectors nor other personas,
nor what a kind of failure is called.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from itertools import combinations, pairwise, permutations
from typing import Any

from ethos.persona import LABELS, Persona
from ethos.pool.storage.values import Link
from ethos.prompts import PromptSetName, prompt_set
from ethos.text.cleaning import fold

LONGEST_NAME = 6  # words
COPIED = 5  # words in a row, of which three carry meaning
SAME = 4  # words with meaning that two attributes share when one repeats the other


@cache
def _lexicon() -> dict[str, Any]:
    return tomllib.loads((files("ethos.pool.data") / "lint.toml").read_text(encoding="utf-8"))


@lru_cache(maxsize=100_000)
def _words(text: str) -> tuple[str, ...]:
    """The words of a text, case-folded; a hyphen parts two, an apostrophe does not."""
    return tuple(re.findall(r"[^\W_]+(?:'[^\W_]+)*", fold(text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")))


def _plain(text: str) -> str:
    """The words of a text, parted by single blanks."""
    return " ".join(_words(text))


def _find(pattern: str, text: str) -> list[re.Match[str]]:
    """Where whole words of the plain text match a pattern."""
    return list(re.finditer(rf"\b(?:{pattern})\b", _plain(text)))


def _content(text: str) -> list[str]:
    """The words that carry meaning, in order, without a possessive ending."""
    function = _lexicon()["faults"]["function"]
    return [word.removesuffix("'s") for word in _words(text) if word not in function]


def _akin(one: str, other: str) -> bool:
    """Whether two words look like forms of one: vaccine and vaccination, child and children."""
    shorter = min(len(one), len(other))
    return one == other or (shorter >= 5 and one[: max(5, shorter - 1)] == other[: max(5, shorter - 1)])


def _head(text: str) -> str:
    """The noun that a phrase is about: the last word before the first preposition or clause; else empty."""
    function = _lexicon()["faults"]["function"]
    words = _words(text)
    start = next((i for i, word in enumerate(words) if word not in function), len(words))
    end = next((i for i in range(start, len(words)) if words[i] in function), len(words))
    return words[end - 1] if end > start else ""


def _signs(pattern: str, text: str, plain: int = 1) -> set[int]:
    """How a text stands to what a pattern names: `plain`, its opposite where negated, 0 where it is undecided."""
    negation = _lexicon()["negation"]
    signs = set()
    for match in _find(pattern, text):
        before = match.string[: match.start()].split()
        reach = before[-negation["reach"] :]
        broken = max((i + 1 for i, word in enumerate(reach) if word in negation["breaks"]), default=0)
        if any(word in negation["words"] for word in reach[broken:]):
            signs.add(-plain)
        else:
            signs.add(0 if any(word in negation["words"] for word in before) else plain)
    return signs


def is_claim(text: str) -> bool:
    """Whether a text says that it is a right or a duty."""
    return bool(_find(_lexicon()["faults"]["claims"], text))


# Contradictions within a persona


def opposed_concepts(link: Link) -> Iterator[str]:
    """The core value stands for what the right/duty stands against, or an emotion goes against both."""
    persona = link.persona
    for concept in _lexicon()["concepts"]:
        value, right = (_stance(concept, text) for text in (persona.core_value, persona.right_duty))
        if value * right == -1:
            yield _against(persona, "core_value", "right_duty", concept["name"])
        if "feels" in concept and value == 1 and _signs(concept["feels"], persona.emotion) == {1}:
            yield _against(persona, "core_value", "emotion", concept["name"])


def _stance(concept: Mapping[str, str], text: str) -> int:
    """1 for a concept, -1 against it, 0 for neither or for a text that says both."""
    rest = re.sub(rf"\b(?:{concept['for']})\b", " ", _plain(text))
    signs = _signs(concept["for"], text) | _signs(concept["against"], rest, -1)
    return signs.pop() if len(signs) == 1 else 0


def negating_prefixes(link: Link) -> Iterator[str]:
    """One text names a thing, the other the same with un-, in-, dis- or non- before it."""
    prefixes = _lexicon()["prefixes"]
    for one, other in permutations((link.persona.core_value, link.persona.right_duty)):
        for word in _content(one):
            bare = re.sub(f"^(?:{prefixes['negating']})(?=.{{5}})", "", word)
            if bare == word or bare in prefixes["not_opposites"] or bare not in _content(other):
                continue
            if _signs(word, one) == _signs(bare, other) == {1}:
                yield _against(link.persona, "core_value", "right_duty", bare)


def opposed_verbs(link: Link) -> Iterator[str]:
    """One attribute refuses, destroys or hides what another accepts, protects or tells."""
    for one, other in permutations(("stakeholder_role", "core_value", "right_duty"), 2):
        for pair in _lexicon()["verbs"]:
            against = _objects(pair["against"], getattr(link.persona, one))
            favoured = _objects(pair["for"], getattr(link.persona, other))
            shared = sorted(a for a in against if any(_akin(a, f) for f in favoured))
            if shared:
                yield _against(link.persona, one, other, shared[0])


def _objects(verbs: str, text: str) -> set[str]:
    """The content words among the four after a verb that is not negated, as far as the next preposition."""
    ends, objects = _lexicon()["faults"]["after_object"], set()
    for match in _find(verbs, text):
        if _signs(verbs, match.string[: match.end()]) != {1}:
            continue
        after = match.string[match.end() :].split()[:4]
        stop = next((i for i, word in enumerate(after) if word in ends), len(after))
        objects.update(_content(" ".join(after[:stop])))
    return objects


def excluded_by_framework(link: Link) -> Iterator[str]:
    """The core value or right/duty is what the framework's own textbook rules out."""
    for framework in _lexicon()["frameworks"]:
        if _find(framework["name"], link.persona.ethical_framework):
            for attribute in ("core_value", "right_duty"):
                if _signs(framework["excludes"], getattr(link.persona, attribute)) == {1}:
                    yield _against(link.persona, "ethical_framework", attribute)


def rival_schools(link: Link) -> Iterator[str]:
    """Another attribute names a school that the framework's school excludes."""
    for row in _lexicon()["rivals"]:
        held = [school for school in row["schools"] if _find(school, link.persona.ethical_framework)]
        if len(held) != 1:  # none, or a hybrid such as libertarian paternalism
            continue
        for attribute in ("name", "core_value", "right_duty", "stakeholder_role"):
            text = getattr(link.persona, attribute)
            named = [school for school in row["schools"] if _find(school, text)]
            if named and held[0] not in named and not set(_words(text)) & set(_lexicon()["left_behind"]["words"]):
                yield _against(link.persona, "ethical_framework", attribute)


def _against(persona: Persona, one: str, other: str, about: str = "") -> str:
    texts = f"{LABELS[one]} “{getattr(persona, one)}” against {LABELS[other]} “{getattr(persona, other)}”"
    return f"{texts} ({about})" if about else texts


# Stakeholders and values without content


def abstract_role(link: Link) -> Iterator[str]:
    """Nobody stands in the role: no work, no place, no relation."""
    stakeholders, role = _lexicon()["stakeholders"], link.persona.stakeholder_role
    rest = " ".join(word for word in _words(role) if word not in stakeholders["filler"])
    if not rest or rest in stakeholders["abstract"] or rest.removesuffix("s") in stakeholders["abstract"]:
        yield f"stakeholder role “{role}” does not say who, where or in what relation"
    elif _head(role) in stakeholders["nobody"] or re.match(stakeholders["deed"], _plain(role)):
        yield f"stakeholder role “{role}” is nobody"


def empty_value(link: Link) -> Iterator[str]:
    """A value that fits every scenario, or a right or duty with nothing after its verb."""
    empty, value, right = _lexicon()["empty"], link.persona.core_value, link.persona.right_duty
    if _plain(value) in empty["values"]:
        yield f"core value “{value}” fits every scenario"
    claim = re.fullmatch(r"(?:the )?(?:right|duty) (?:to|of) (\w+)(?: (.+))?", _plain(right))
    if claim and claim[1] in empty["verbs"]:
        if claim[2] is None:
            yield f"right/duty “{right}” does not say what or whom"
        elif claim[2] in empty["objects"]:
            yield f"right/duty “{right}” fits every scenario"


def groundless_entitlement(link: Link) -> Iterator[str]:
    """A right to a basic good where nothing says that it is wanting."""
    around = " ".join((link.situation, link.persona.stakeholder_role, link.persona.name))
    for entitlement in _lexicon()["entitlements"]:
        if _find(entitlement["right"], link.persona.right_duty) and not _find(entitlement["grounds"], around):
            yield f"right/duty “{link.persona.right_duty}” claims a want that the scenario does not have"


# Faults of the text


def misfiled_text(link: Link) -> Iterator[str]:
    """What stands in one attribute is of the kind of another."""
    faults, value, right = _lexicon()["faults"], link.persona.core_value, link.persona.right_duty
    if not is_claim(right):
        yield f"right/duty “{right}” names neither a right nor a duty"
    words = _plain(value)
    if re.match(r"(?:the )?(?:right|duty) to ", words):
        yield f"core value “{value}” is a right or duty"
    elif re.fullmatch(faults["frameworks"], words):
        yield f"core value “{value}” is a framework"
    elif re.fullmatch(faults["people"], _head(value)):
        yield f"core value “{value}” is a role"


def sentence(link: Link) -> Iterator[str]:
    """A sentence where a name or a noun is wanted."""
    persona, faults = link.persona, _lexicon()["faults"]
    if len(_words(persona.name)) > LONGEST_NAME:
        yield f"name “{persona.name}” is too long for a name"
    if _find(faults["finite"], persona.core_value):
        yield f"core value “{persona.core_value}” is a sentence"
    for attribute, text in persona.as_dict().items():
        if re.search(r"[a-z]{3}[.!?]$", text):
            yield f"{LABELS[attribute]} “{text}” ends like a sentence"


def cut_off(link: Link) -> Iterator[str]:
    """The text stops in the middle, as when a model runs into its limit; a name may end on a preposition."""
    faults = _lexicon()["faults"]
    for attribute, text in link.persona.as_dict().items():
        last = re.split(r"[\s-]", text)[-1]
        letter = len(last) == 1 and last.islower() and last not in faults["letters"]
        if attribute != "name" and (letter or last in faults["dangling"]):
            yield f"{LABELS[attribute]} “{text}” is cut off"


def repeated_words(link: Link) -> Iterator[str]:
    """The same word twice, with nothing in between that carries meaning; names may play with words."""
    for attribute, text in link.persona.as_dict().items():
        words = _words(text) if attribute == "name" else _content(text)
        if doubled := [one for one, other in pairwise(words) if one == other]:
            yield f"{LABELS[attribute]} “{text}” repeats “{doubled[0]}”"


def repeated_attribute(link: Link) -> Iterator[str]:
    """Two attributes say the same in nearly the same words; a right may well name the core value."""
    for one, other in combinations(link.persona.as_dict(), 2):
        first, second = (set(_content(getattr(link.persona, attribute))) for attribute in (one, other))
        if (one, other) != ("core_value", "right_duty") and len(first & second) >= min(
            max(len(first), SAME), max(len(second), SAME)
        ):
            yield f"{LABELS[one]} “{getattr(link.persona, one)}” comes again as {LABELS[other]}"


def copied_scenario(link: Link) -> Iterator[str]:
    """An attribute holds the scenario's own words in a row."""
    scenario = _words(link.situation)
    runs = {scenario[i : i + COPIED] for i in range(len(scenario) - COPIED + 1)}
    for attribute, text in link.persona.as_dict().items():
        words = _words(text)
        own = (words[i : i + COPIED] for i in range(len(words) - COPIED + 1))
        if words == scenario or any(run in runs and len(_content(" ".join(run))) > 2 for run in own):
            yield f"{LABELS[attribute]} “{text}” copies the scenario"


def worked_example(link: Link) -> Iterator[str]:
    """A name or role begins like one that the prompts show, though made for another scenario."""
    for subject, shown in _examples():
        for attribute in ("name", "stakeholder_role"):
            text = getattr(link.persona, attribute)
            if f"{_plain(text)} ".startswith(f"{shown} ") and _plain(link.situation) != subject:
                yield f"{LABELS[attribute]} “{text}” is copied from an example in the prompt"


@cache
def _examples() -> list[tuple[str, str]]:
    """The scenarios of the worked examples with their names, and with their roles."""
    shown = prompt_set(PromptSetName.STRUCTURED).personas["examples"]
    return [(_plain(e["subject"]), _plain(e[attribute])) for e in shown for attribute in ("name", "stakeholder_role")]
