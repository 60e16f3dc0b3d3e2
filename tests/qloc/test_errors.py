"""The errors that all rooms raise, and what ends a command with which code."""

from __future__ import annotations

import pytest

from qloc import errors

CODES = {
    errors.QlocError: 1,
    errors.InputError: 2,
    errors.FingerprintError: 2,
    errors.FloorError: 2,
    errors.SchemaError: 2,
    errors.LockedError: 2,
    errors.MissingDependencyError: 2,
    errors.ModelError: 1,
    errors.StorageError: 1,
    errors.RemoteError: 1,
    errors.WorkerError: 1,
    errors.VerificationError: 3,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=lambda value: getattr(value, "__name__", value))
def test_every_error_has_its_exit_code_and_its_builtin(kind: type[errors.QlocError], code: int) -> None:
    assert kind.exit_code == code
    builtin = [base for base in kind.__mro__ if base.__module__ == "builtins"][:1]
    assert kind is errors.QlocError or builtin != [Exception]
    assert str(kind("what is wrong")) == "what is wrong"


def test_no_error_is_forgotten() -> None:
    found = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert found == set(CODES)


def test_problems_are_kept_apart() -> None:
    error = errors.InputError(line for line in ("one", "two"))
    assert (error.problems, str(error)) == (("one", "two"), "one\ntwo")
