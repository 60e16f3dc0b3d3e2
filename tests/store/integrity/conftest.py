"""Fixtures of the tests of integrity."""

import pytest


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take fsync out, which guards against loss of power: these tests do not try that."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
