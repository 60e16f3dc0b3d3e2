"""Put the shards of one plan together: check that none is missing, and gather what they have of each phase.

A shard's store has the units of its part of ``signals`` and, under ``appending/``, those of its part of each
later phase. What was chosen for these came from the signals of all shards.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qloc.canonical_json import canonical, differences
from qloc.errors import FingerprintError, InputError, VerificationError, message
from qloc.store.integrity.check import layout_of
from qloc.store.names import UNITS
from qloc.store.schema.layout import Layout
from qloc.store.schema.phase_layout import PhaseLayout
from qloc.store.schema.phase_variables import PHASES
from qloc.store.units import ledger
from qloc.store.units.shard_record import ShardRecord
from qloc.store.writing import append

_AGAIN: Final = "Run the qloc extract command of that shard"


@dataclass(frozen=True, kw_only=True)
class PhaseParts:
    """What stores have of a phase: how it was begun, and the units that verify.

    Attributes
    ----------
    phase : str
        Its name.
    description : mapping
        The content of ``phase.json``, equal in all.
    units : mapping of int to tuple of (Path, UnitRecord)
        By number, with the folder that has the unit.
    """

    phase: str
    description: Mapping[str, Any]
    units: Mapping[int, tuple[Path, ledger.UnitRecord]]


def shard_problems(paths: Sequence[Path]) -> Iterator[str]:
    """Say what keeps stores from being all shards of one plan; nothing where none of them is a shard.

    Parameters
    ----------
    paths : sequence of Path
        Unfinished stores.

    Yields
    ------
    str
        One problem: a store of no shard, of another division, a shard that is there twice, or not at all.
    """
    records = [(path, ShardRecord.read(path)) for path in paths]
    of = next((record.shard.of for _, record in records if record is not None), None)
    if of is None:
        return
    seen: dict[int, Path] = {}
    for path, record in records:
        if record is None or record.shard.of != of:
            got = "of no shard" if record is None else f"shard {record.shard}"
            yield message("store", got, f"a shard of {of}, as others are", str(path), "Leave it out")
        elif record.shard.number in seen:
            where = f"{seen[record.shard.number]} and {path}"
            yield message("shard", f"{record.shard}, twice", "each once", where, "Leave one of them out")
        else:
            seen[record.shard.number] = path
    if missing := [number for number in range(1, of + 1) if number not in seen]:
        names = ", ".join(f"{number}/{of}" for number in missing)
        yield message("shard", f"{names}, missing", f"all {of}", "qloc store merge", "Give its store too")


def phase_parts(paths: Sequence[Path]) -> list[PhaseParts]:
    """Gather what stores have begun of the phases after ``signals``.

    Parameters
    ----------
    paths : sequence of Path
        Unfinished stores, locked.

    Returns
    -------
    list of PhaseParts
        In the order in which phases are run.

    Raises
    ------
    FingerprintError
        A phase was begun with other parameters in another store; shows the differences.
    InputError
        A unit has other contents in another store; each.
    """
    begun = {path: append.under_way(path) for path in paths}
    parts = []
    for phase in PHASES:
        descriptions = {path: told[phase] for path, told in begun.items() if phase in told}
        if not descriptions:
            continue
        first = next(iter(descriptions))
        for path, description in descriptions.items():
            if lines := differences(descriptions[first], description):
                action = "Merge shards that one plan was extracted into"
                got, rule = "; ".join(lines), "the same in every store"
                text = message(f"fingerprint of {phase}", got, rule, f"{first} and {path}", action)
                raise FingerprintError(text)
        units = verified_units([append.folder_of(path, phase) for path in descriptions])
        parts.append(PhaseParts(phase=phase, description=descriptions[first], units=units))
    return parts


def verified_units(folders: Sequence[Path]) -> dict[int, tuple[Path, ledger.UnitRecord]]:
    """Return the units that verify, by number, with the folder that each is in.

    Parameters
    ----------
    folders : sequence of Path
        Folders that have ``units/`` and ``ledger/``.

    Returns
    -------
    dict of int to tuple of (Path, UnitRecord)
        The first folder of those that have the unit.

    Raises
    ------
    InputError
        A unit has other contents in another folder; each.
    """
    units: dict[int, tuple[Path, ledger.UnitRecord]] = {}
    problems = []
    for path in folders:
        for unit in ledger.records(path):
            where, record = units.setdefault(unit.number, (path, unit))
            if record.sha256 != unit.sha256:
                got = f"different in both, sha256 {record.sha256[:12]} and {unit.sha256[:12]}"
                rule, action = "in one store, or the same in both", "Remove its record from one ledger"
                problems.append(message(f"unit {unit.number}", got, rule, f"{where} and {path}", action))
    if problems:
        raise InputError(problems)
    return units


def copy_units(units: Mapping[int, tuple[Path, ledger.UnitRecord]], target: Path) -> None:
    """Copy the files of units, and record them.

    Parameters
    ----------
    units : mapping of int to tuple of (Path, UnitRecord)
        The result of :func:`verified_units`.
    target : Path
        A folder with ``units/`` and ``ledger/``.

    Raises
    ------
    VerificationError
        A file changed while it was copied.
    """
    for path, unit in units.values():
        shutil.copyfile(path / UNITS / unit.file, target / UNITS / unit.file)
        if not ledger.verifies(target, unit):
            where, action = str(path / UNITS), "Run the command again"
            text = message("unit file", unit.file, f"sha256 {unit.sha256}", where, action)
            raise VerificationError(text)
        ledger.record(target, unit)


def add_phase(store: Path, part: PhaseParts, run: Mapping[str, Any]) -> int:
    """Put what shards have of a phase into the complete store of their signals.

    Parameters
    ----------
    store : Path
        The store, which nobody else knows of yet.
    part : PhaseParts
        The phase and its units.
    run : mapping
        What the manifest shall say of this run.

    Returns
    -------
    int
        Number of units that are still missing: with none, the phase is in the store; else it is being
        appended.
    """
    begun, phase = part.description, PhaseLayout.read(part.phase, part.description["layout"])
    layout: Layout = append.with_phase(layout_of(store), phase)
    lock = append.hold_store(store)
    try:
        description = append.begin(store, phase, begun["fingerprint"], begun["attrs"])
        copy_units(part.units, append.folder_of(store, part.phase))
        n_missing = len(layout.units) - len(part.units) if phase.groups else 0
        if not n_missing:
            records = {number: unit for number, (_, unit) in part.units.items()}
            append.finalize_phase(store, layout, part.phase, records, run, description)
        return n_missing
    finally:
        append.give_back(store, lock)


def refuse_phases_without_signals(parts: Sequence[PhaseParts], n_missing: int) -> None:
    """Refuse shards that have units of later phases, but not all signals between them.

    Parameters
    ----------
    parts : sequence of PhaseParts
        What the shards have of later phases.
    n_missing : int
        Units of ``signals`` that all shards lack.

    Raises
    ------
    InputError
        There are both.
    """
    if parts and n_missing:
        got, rule = f"{n_missing:,}", "0 where shards have later phases already"
        text = message("number of missing units", got, rule, "signals of these shards", _AGAIN)
        raise InputError(text)


def run_of_all(paths: Sequence[Path], phase: str) -> dict[str, Any]:
    """Return what a manifest says of a phase that several stores have a part of.

    Parameters
    ----------
    paths : sequence of Path
        The stores.
    phase : str
        Name of the phase.

    Returns
    -------
    dict of str to Any
        ``merged stores``, their number. Of shards also version, plan, first start and last end, and the
        environment: where shards differ in it, every value, parted by ``|``.
    """
    records = (ShardRecord.read(path) for path in paths)
    runs = [record.runs[phase] for record in records if record is not None and phase in record.runs]
    merged: dict[str, Any] = {"merged stores": len(paths)}
    if not runs:
        return merged
    environments = [run.get("environment", {}) for run in runs]
    names = dict.fromkeys(name for environment in environments for name in environment)
    return {
        **json.loads(canonical(runs[0])),
        "environment": {name: _values(environments, name) for name in names},
        "started": min(str(run.get("started", "")) for run in runs),
        "ended": max(str(run.get("ended", "")) for run in runs),
        **merged,
    }


def _values(environments: Sequence[Mapping[str, Any]], name: str) -> str:
    return " | ".join(dict.fromkeys(str(environment.get(name, "none")) for environment in environments))
