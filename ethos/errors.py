"""Every error that Ethos raises on purpose.

    EthosError
    ├── InputError            a scenario, option, persona or file that cannot be used as given
    ├── ConfigurationError    a model, endpoint, prompt set or setting that cannot work
    ├── ModelError            a model that cannot be reached, or answered outside its contract
    │   └── UnreadableReply   a reply in which the asked-for choice cannot be read
    ├── GenerationError       too few valid personas after the bounded attempts
    └── PoolError             a pool folder that cannot be opened or written
        ├── PoolDamaged       the database fails SQLite's own checks
        ├── PoolTooNew        the database was made by a newer Ethos
        └── PoolEmpty         the pool was asked for personas it does not have

Knows nothing of models, databases or the command line. Foreign exceptions are mapped to these once, where the
foreign library is called, with the original as cause.
"""

from __future__ import annotations


class EthosError(Exception):
    """An error with its cause and its fix.

    Args:
        message: Names the input and the cause.
        hint: The next step, as an instruction; empty when there is none.
    """

    retryable = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(EthosError):
    """The caller's input cannot be used as given."""


class ConfigurationError(EthosError):
    """A model, endpoint or setting cannot work as configured."""


class ModelError(EthosError):
    """A model could not be reached, or its reply breaks the contract.

    Args:
        message: Names the model and the cause.
        hint: The next step.
        reply: The text that caused the error, when there was one; it is recorded, never used.
        retryable: Whether the same call may succeed later.
    """

    def __init__(self, message: str, hint: str = "", *, reply: str = "", retryable: bool = False) -> None:
        super().__init__(message, hint)
        self.reply = reply
        self.retryable = retryable


class UnreadableReply(ModelError):
    """A reply arrived, but the choice it was asked for cannot be read in it."""


class GenerationError(EthosError):
    """Fewer valid personas than asked for, after the bounded number of attempts."""


class PoolError(EthosError):
    """The pool folder cannot be opened, read or written."""


class PoolDamaged(PoolError):
    """The database is not, or is no longer, a sound SQLite file."""


class PoolTooNew(PoolError):
    """The database has a schema that this version does not know."""


class PoolEmpty(PoolError):
    """The pool holds too few personas for what was asked, and generation is off."""
