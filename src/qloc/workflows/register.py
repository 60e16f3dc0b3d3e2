"""Locking a plan: a registration of it, with what had been extracted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from qloc.plan import plan_from
from qloc.registration import Registration


def lock_plan(plan: Path, out: Path | None = None, stores: Sequence[str | Path] = ()) -> Path:
    """Write a dated, hashed registration of a plan.

    Parameters
    ----------
    plan : Path
        The plan, YAML.
    out : Path or None, default None
        The registration; beside the plan, ending in ``.lock.json``, where it is None.
    stores : sequence of str or Path, optional
        Stores that are there already, complete or not.

    Returns
    -------
    Path
        The registration.

    Raises
    ------
    InputError
        The plan is wrong, or there is a registration of this name.
    SchemaError
        A path is not a store.
    StorageError
        The disk refused.
    """
    from qloc.analysis.analyze import versions
    from qloc.workflows.analyze import open_study

    studies = {str(store): open_study(store) for store in stores}
    made = Registration(
        locked=datetime.now(UTC).isoformat(timespec="seconds"),
        plan=plan_from(plan),
        versions=versions(),
        extracted={name: dict(study.attrs["fingerprint"]) for name, study in studies.items()},
    )
    return made.save(out or plan.with_suffix(".lock.json"))
