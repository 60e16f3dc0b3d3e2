"""Deviations: where an analysis differs from what was registered before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from qloc.analysis.inputs.study import Study
from qloc.canonical_json import differences
from qloc.plan import AnalysisPlan
from qloc.registration import Registration
from qloc.version import __version__

_OF_STORE: Final = (
    "model",
    "facts",
    "methods",
    "steps",
    "quadrature",
    "quadrature_error",
    "quadrature_thresholds",
    "site",
    "answer_tokens",
    "tier",
    "floor",
    "relations",
    "max_facts",
    "seed",
    "dtype",
    "store_dtype",
)
"""Fields of a plan that a store's attributes have under the same names."""


def deviations(registration: Registration, plan: AnalysisPlan, study: Study) -> tuple[str, ...]:
    """Return every deviation of an analysis from its registration.

    Parameters
    ----------
    registration : Registration
        What was locked.
    plan : AnalysisPlan
        What the analysis is by.
    study : Study
        What is analyzed.

    Returns
    -------
    tuple of str
        One sentence each: fields of the analysis and of the extraction that differ, another version of qloc,
        and a store that was there when the plan was locked.
    """
    registered = registration.plan.model_dump(mode="json")
    lines = differences(registered["analysis"], plan.model_dump(mode="json"), "analysis.")
    lines += differences(*_extraction(registered, study.attrs))
    lines += differences({"qloc": registration.versions.get("qloc")}, {"qloc": __version__})
    told = [f"Deviation from the registration: {line}." for line in lines]
    if study.fingerprint in {phases.get("signals") for phases in registration.extracted.values()}:
        told.append("The store had been extracted when the plan was locked: its data could have been seen.")
    return tuple(told)


def registration_notes(
    registration: Registration | None, plan: AnalysisPlan, study: Study
) -> tuple[str, ...]:
    """Return what a report says of how a plan was fixed.

    Parameters
    ----------
    registration : Registration or None
        What was locked; None where nothing was.
    plan : AnalysisPlan
        What the analysis is by.
    study : Study
        What is analyzed.

    Returns
    -------
    tuple of str
        Sentences; none where nothing is confirmatory and nothing was registered.
    """
    if registration is None:
        if not plan.confirmatory:
            return ()
        return (
            "The plan was not registered: nothing shows that it was fixed before looking "
            "(`qloc plan lock` does).",
        )
    head = f"Registered {registration.locked}, sha256 {registration.sha256[:12]}"
    found = deviations(registration, plan, study)
    return (f"{head}, no deviation.",) if not found else (f"{head}.", *found)


def _extraction(
    registered: Mapping[str, Any], attrs: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what was registered and what a store has, of the fields that both have."""
    names = [name for name in _OF_STORE if name in attrs and registered.get(name) is not None]
    names = [name for name in names if registered[name] not in ("auto", [])]
    return {name: registered[name] for name in names}, {name: _plain(attrs[name]) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return next((value[name] for name in ("id", "name", "source") if name in value), dict(value))
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
