"""How much text the record keeps: all, salted digests, or none.

Knows texts only. A digest is salted, so that nobody can find a text by trying, and two equal texts look different; who
has the text can show that it was this one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from enum import StrEnum

_DIGEST = re.compile(r"\[withheld: hmac-sha256 ([0-9a-f]{32}):([0-9a-f]{64})\]")
_NOTHING = "[withheld]"


class Content(StrEnum):
    """How much of prompts, completions and scenarios the record keeps."""

    FULL = "full"
    HASH = "hash"
    NONE = "none"


def withheld(text: str, content: Content) -> str:
    """What the record keeps in place of a text; an empty text is kept as it is."""
    if content is Content.FULL or not text:
        return text
    if content is Content.NONE:
        return _NOTHING
    salt = secrets.token_bytes(16)
    return f"[withheld: hmac-sha256 {salt.hex()}:{_mac(salt, text)}]"


def is_withheld(kept: str) -> bool:
    """Whether a text of the record stands for another one."""
    return kept == _NOTHING or _DIGEST.fullmatch(kept) is not None


def is_of(kept: str, text: str) -> bool:
    """Whether what is kept is the digest of this text."""
    match = _DIGEST.fullmatch(kept)
    return match is not None and hmac.compare_digest(match[2], _mac(bytes.fromhex(match[1]), text))


def _mac(salt: bytes, text: str) -> str:
    return hmac.new(salt, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
