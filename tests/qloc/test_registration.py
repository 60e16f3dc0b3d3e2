"""Registrations: dated, whole, never replaced, and refused where they were changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from qloc.canonical_json import digest
from qloc.errors import InputError
from qloc.plan import Plan
from qloc.registration import Registration, registration_from


@pytest.fixture
def locked() -> Registration:
    return Registration(
        locked="2026-01-02T03:04:05+00:00",
        plan=Plan.model_validate({"analysis": {"confirmatory": ["H1a"], "threshold": 0.3}}),
        versions={"qloc": "0.1"},
        extracted={"a.zarr": {"signals": "abc"}},
    )


def test_a_registration_comes_back_as_it_was(locked: Registration, tmp_path: Path) -> None:
    path = locked.save(tmp_path / "plan.lock.json")
    again = registration_from(path)
    assert again is not None
    assert (again.plan, again.content()) == (locked.plan, locked.content())
    assert again.sha256 == json.loads(path.read_text())["sha256"]
    assert again.plan.analysis.confirmatory == ("H1a",)


def test_a_registration_is_never_replaced(locked: Registration, tmp_path: Path) -> None:
    path = locked.save(tmp_path / "plan.lock.json")
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        locked.save(path)
    assert str(caught.value) == (
        f"registration is '{path}'; expected a new file: a registration is never replaced. At {path}. "
        "Choose another --out."
    )
    assert path.read_bytes() == before


def test_what_was_changed_after_locking_is_refused(locked: Registration, tmp_path: Path) -> None:
    path = locked.save(tmp_path / "plan.lock.json")
    path.write_text(path.read_text().replace('"threshold": 0.3', '"threshold": 0.2', 1))
    with pytest.raises(
        InputError, match=r"^sha256 is '[0-9a-f]{64}'; expected [0-9a-f]{64}, the digest of its"
    ):
        registration_from(path)


def test_other_files_are_no_registrations(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("analysis: {k0: 4}\n")
    assert registration_from(path) is None
    assert registration_from(tmp_path / "nothing") is None
    path.write_text('{"locked": "2026", "format": 9}')
    with pytest.raises(InputError, match=r"^format of registration is 9; expected 1\."):
        registration_from(path)


def test_what_no_plan_lock_wrote_is_refused_or_no_registration(locked: Registration, tmp_path: Path) -> None:
    """Sealed as anybody can; brackets that nest deeply, and pipes, are no registrations."""
    path = tmp_path / "r.json"
    changes: list[dict[str, object]] = [{"versions": []}, {"extracted": {"a": 1}}, {"locked": 3}, {"more": 1}]
    for change in changes:
        content = {**locked.content(), **change}
        path.write_text(json.dumps({**content, "sha256": digest(content)}))
        with pytest.raises(InputError) as caught:
            registration_from(path)
        assert str(caught.value) == (
            "registration is 'of another form'; expected date, plan, versions and stores as `qloc plan lock` "
            f"writes them. At {path}. Lock the plan again."
        )
    path.write_text("[" * 100_000)
    assert registration_from(path) is None
    path.unlink()
    os.mkfifo(path)
    assert registration_from(path) is None
