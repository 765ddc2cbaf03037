"""Make text from outside safe to store, compare and place in a prompt.

Knows Unicode; knows nothing of scenarios or personas. What cannot be repaired without guessing is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata

from ethos.errors import InputError

MAX_SCENARIO_CHARACTERS = 20_000
MAX_ATTRIBUTE_CHARACTERS = 200
MAX_OPTION_CHARACTERS = 1_000

_LINE_ENDS = re.compile("\r\n|[\r\f\v\x85\u2028\u2029]")
_BLANKS = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\s*\n\s*\n\s*")


def clean(text: str, what: str, limit: int) -> str:
    """Normalise a text, or refuse it.

    Applies NFKC; drops control, zero-width and bidirectional characters; folds runs of blanks and of empty lines.

    Args:
        text: The text as it came.
        what: What the text is, for the error message: "scenario", "option B".
        limit: The most characters allowed after cleaning.

    Raises:
        InputError: The text is empty after cleaning, too long, or not valid Unicode.
    """
    if text.isascii() and text.isprintable() and text == text.strip() and "  " not in text and 0 < len(text) <= limit:
        return text  # nearly every text is clean already, above all one that was stored
    # Checked before the work: normalising a megabyte only to refuse it is a gift to an attacker.
    if len(text) > 4 * limit:
        raise InputError(f"the {what} has {len(text):,} characters", f"shorten it to at most {limit:,}")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"the {what} holds bytes that are not valid UTF-8", "save the text as UTF-8")
    text = _LINE_ENDS.sub("\n", unicodedata.normalize("NFKC", text))
    text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf"))
    # Again, since what stood between two characters may have kept them from being composed.
    text = unicodedata.normalize("NFKC", text)
    text = _BLANK_LINES.sub("\n\n", _BLANKS.sub(" ", text)).strip()
    if not text:
        raise InputError(f"the {what} is empty", f"give a {what} with some text")
    if len(text) > limit:
        raise InputError(f"the {what} has {len(text):,} characters", f"shorten it to at most {limit:,}")
    return text


def clean_line(text: str, what: str, limit: int) -> str:
    """Like `clean`, on a single line.

    Raises:
        InputError: As `clean`.
    """
    return " ".join(clean(text, what, limit).split())


def fold(text: str) -> str:
    """The form in which two attribute texts count as the same: case, accents of case and blanks ignored."""
    return " ".join(text.casefold().split())


def short_digest(text: str) -> int:
    """A number of 64 bits for a text, for tables in memory; two texts of a pool never share one in practice."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def digest(*parts: object) -> str:
    """A content address: 32 hexadecimal digits of the SHA-256 of the parts' canonical JSON."""
    canonical = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:32]
