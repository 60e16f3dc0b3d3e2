"""A store repaired: what the store cannot rebuild alone is extracted again, and no more than that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qloc.errors import InputError, message
from qloc.extracting import prepared
from qloc.plan import Plan, plan_from
from qloc.progress import Progress

if TYPE_CHECKING:
    from qloc.extract.run import Extraction
    from qloc.store.repair import Repair, Repaired

_SIGNALS: Final = "signals"


@dataclass(frozen=True, kw_only=True)
class Mended:
    """What repairing a store did.

    Attributes
    ----------
    completed : the store was unfinished with every unit in it, and is complete now.
    repaired : what was rebuilt; None where it was completed.
    """

    path: Path
    completed: bool = False
    repaired: Repaired | None = None


def repair_store(
    path: str | Path,
    *,
    model: str | None = None,
    facts: str | None = None,
    device: str | None = None,
    accept: bool = False,
    progress: Progress | None = None,
) -> Mended:
    """Make a damaged store again what its manifest says, extracting the units of damaged objects again.

    Parameters
    ----------
    model, facts : where they are now; by default as when the store was made. Needed only where units (for
        facts, columns of /facts) are damaged; their digests must be those of the store.
    device : by default as in the plan.
    accept : take rebuilt objects that have other bytes than the manifest says, as those of another device
        have, and write a manifest that names them.

    Raises
    ------
    SchemaError : the path is no store, or has neither manifest nor ledger.
    InputError : it is packed, units are missing, or model or facts cannot be read.
    FingerprintError : model, facts or parameters are not those of the store; shows where they differ.
    LockedError : another process writes or repairs it.
    VerificationError : the manifest or metadata are lost, or rebuilt objects have other bytes; each.
    ModelError, MissingDependencyError, StorageError : as for an extraction.
    """
    from qloc.store.check import complete
    from qloc.store.completing import roll_forward
    from qloc.store.repair import Repair

    path, progress = Path(path), progress or Progress(quiet=True)
    if not path.is_file() and not complete(path):
        progress.say(f"Assembling {path} …")
        roll_forward(path, _described("completed"))
        return Mended(path=path, completed=True)
    with Repair.open(path) as repair:
        flags = {"model": model, "facts": facts, "device": device}
        environment = _extracted_again(repair, flags, progress) if repair.facts or repair.units else {}
        told = {**_described("repaired"), "environment": environment} if accept else None
        return Mended(path=path, repaired=repair.finish(told))


def _extracted_again(repair: Repair, flags: Mapping[str, Any], progress: Progress) -> Mapping[str, str]:
    """Hand the repair what it lacks; what ran the model."""
    from qloc.store.check import layout_of
    from qloc.store.skeleton import compare

    extraction = prepared(_plan(repair.path, flags))
    compare(repair.path, layout_of(repair.path), extraction.fingerprint)
    if repair.facts:
        repair.put_facts(extraction.asking.fact_columns(extraction.facts))
    if repair.units:
        _units(repair, extraction, progress)
        return extraction.environment
    return {}


def _units(repair: Repair, extraction: Extraction, progress: Progress) -> None:
    units = repair.units
    progress.say(f"Extracting {len(units):,} of {len(repair.layout.units):,} units again …")
    with progress.stage("extract", sum(unit.n_queries for unit in units)) as advance:
        for unit in units:
            repair.put(extraction.extract(unit))
            advance(unit.n_queries)


def _plan(path: Path, flags: Mapping[str, Any]) -> Plan:
    """The plan that a store was extracted by: its parameters are in the fingerprint, the rest in the root."""
    from qloc.store.check import root_attributes

    attributes = root_attributes(path)
    made_from = attributes["fingerprint"].get(_SIGNALS, {}).get("made_from", {})
    if "parameters" not in made_from or "model" not in attributes:
        rule = "an extraction's, which can be repeated"
        action = "Make the store again as it was made"
        raise InputError(message("store", "made without a model", rule, str(path), action))
    told = {"model": attributes["model"], "facts": attributes.get("facts")}
    told |= {"revision": attributes.get("revision") or None, **made_from["parameters"]}
    known = {name: value for name, value in told.items() if name in Plan.model_fields}
    return plan_from(flags=known | {name: value for name, value in flags.items() if value is not None})


def _described(what: str) -> dict[str, Any]:
    """What the manifest says of a run that did not extract the whole store."""
    from qloc import __version__

    return {"qloc": __version__, what: datetime.now(UTC).isoformat(timespec="seconds")}
