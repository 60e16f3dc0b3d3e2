"""Every error that qloc raises on purpose, and the exit code it ends a command with.

    QlocError                       1  the work failed
    ├── InputError (ValueError)     2  bad input or usage; carries every problem found
    │   ├── FingerprintError        2  a store holds another extraction
    │   ├── FloorError              2  asked below what a panel keeps
    │   └── SchemaError             2  not a store, or of a schema this version does not read
    ├── LockedError (RuntimeError)  2  another process writes this store
    ├── MissingDependencyError (ImportError)  2  an extra is not installed
    ├── ModelError (RuntimeError)   1  the model gave something no study can use
    ├── StorageError (OSError)      1  the disk refused
    ├── RemoteError (OSError)       1  a remote service refused, or was not there
    ├── WorkerError (RuntimeError)  1  worker processes died, or their scheduler did
    └── VerificationError (ValueError)  3  a store is not what its manifest says

A message reads ``<what> is <got>; expected <rule>. At <place>. <one action>.``
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self


class QlocError(Exception):
    """Base of all errors raised on purpose; the command line prints them without a traceback."""

    exit_code: ClassVar[int] = 1


class InputError(QlocError, ValueError):
    """Bad input: every problem found, one message each, in ``problems``."""

    exit_code: ClassVar[int] = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[str, ...]]]:
        """Keep the problems apart when a worker hands the error over."""
        return type(self), (self.problems,)


class FingerprintError(InputError):
    """A store holds the outcome of another model, facts or parameters than those asked for."""


class FloorError(InputError):
    """A neuron set was asked for below what the store's panel keeps."""


class SchemaError(InputError):
    """A path is not a qloc store, or a store of a schema that this version does not read."""


class LockedError(QlocError, RuntimeError):
    """Another process is writing this store."""

    exit_code: ClassVar[int] = 2


class MissingDependencyError(QlocError, ImportError):
    """A part of qloc needs a package that is not installed."""

    exit_code: ClassVar[int] = 2


class ModelError(QlocError, RuntimeError):
    """The model gave something that no study can use, such as NaN."""


class StorageError(QlocError, OSError):
    """The disk refused to keep what was to be written."""


class RemoteError(QlocError, OSError):
    """A service that keeps a store refused, or could not be reached."""


class WorkerError(QlocError, RuntimeError):
    """Worker processes died, or the scheduler that they belong to did."""


class VerificationError(QlocError, ValueError):
    """A store is not what its manifest says; every problem in ``problems``."""

    exit_code: ClassVar[int] = 3

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[str, ...]]]:
        """Keep the problems apart when a worker hands the error over."""
        return type(self), (self.problems,)


def message(what: str, got: object, expected: str, at: str, action: str) -> str:
    """One problem in the house form.

    Parameters
    ----------
    what : str
        The thing that is wrong.
    got : object
        What it is; texts are quoted.
    expected : str
        The rule.
    at : str
        File, fact, flag or coordinate.
    action : str
        One thing to do.

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> message("threshold", 0.01, "a number ≥ 0.05", "qloc analyze --threshold", "Ask at or above the floor")
    'threshold is 0.01; expected a number ≥ 0.05. At qloc analyze --threshold. Ask at or above the floor.'
    """
    return f"{what} is {got!r}; expected {expected}. At {at}. {action}."
