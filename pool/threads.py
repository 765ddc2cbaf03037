"""Keeps small matrix products on one thread: waking others costs more than they help, above all on a busy machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController  # late: it looks at every library loaded so far

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """A context in which numpy's linear algebra uses one thread."""
    limit: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limit
