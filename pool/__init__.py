"""The pool: personas with their origins in SQL, which is the truth, and an index derived from it.

`Pool` is the door. It is loaded at its first use, so that commands which only read tables load no FAISS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethos.pool.pool import Pool

__all__ = ["Pool"]


def __getattr__(name: str) -> Any:
    if name == "Pool":
        from ethos.pool.pool import Pool  # late: FAISS and NumPy

        return Pool
    raise AttributeError(f"module 'ethos.pool' has no attribute {name!r}")
