"""The record of a shard: which part of a plan's units a store is for, and what ran them.

``ledger/shard.json`` is written with the store's first lock and stands beside the records of its units. A
store with such a record stays unfinished: only merging makes a complete store of all shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from qloc.block import Shard
from qloc.canonical_json import canonical, digest
from qloc.errors import InputError, message
from qloc.store.files.durable import write_bytes
from qloc.store.names import LEDGER, SHARD
from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of

_OWN: Final = "sha256"


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What a store says of the shard that it is for.

    Attributes
    ----------
    shard : Shard
        The part of the plan's units.
    runs : mapping of str to mapping
        Of each phase whose units of this shard are all there: versions, device and times.
    """

    shard: Shard
    runs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, store: Path) -> Self | None:
        """Read the record of a store.

        Parameters
        ----------
        store : Path
            The store.

        Returns
        -------
        ShardRecord or None
            None where there is none, or where it is damaged.
        """
        try:
            content = json_of(read_ordinary(store / LEDGER / SHARD, links=False))
            own = content.pop(_OWN)
            shard, runs = Shard.read(content["shard"]), content["runs"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None
        return cls(shard=shard, runs=runs) if own == digest(content) else None

    def write(self, store: Path) -> None:
        """Write the record durably.

        Parameters
        ----------
        store : Path
            The store, with its ledger's folder; its lock is held.

        Raises
        ------
        StorageError
            The disk refused.
        """
        content = {"shard": str(self.shard), "runs": {name: dict(run) for name, run in self.runs.items()}}
        write_bytes(store / LEDGER / SHARD, canonical({**content, _OWN: digest(content)}))


def settle_shard(store: Path, shard: Shard | None, recorded: Iterable[int]) -> None:
    """Make a store that of a shard, or refuse it where it is for something else; its lock is held.

    Parameters
    ----------
    store : Path
        An unfinished store.
    shard : Shard or None
        The shard that is extracted into it; None for a whole extraction.
    recorded : iterable of int
        Numbers of the units that it has.

    Raises
    ------
    InputError
        The store is for another shard, or for a whole extraction.
    StorageError
        The disk refused.
    """
    record = ShardRecord.read(store)
    if shard is None:
        if record is not None:
            action = f"Add --shard {record.shard}, or give another --out"
            got, rule = f"for shard {record.shard}", "for a whole extraction"
            raise InputError(message("store", got, rule, str(store), action))
        return
    got = "for a whole extraction" if record is None else f"for shard {record.shard}"
    others = any(number % shard.of != shard.number - 1 for number in recorded)
    if others if record is None else record.shard != shard:
        action = "Give every shard a store of its own"
        raise InputError(message("store", got, f"for shard {shard}", str(store), action))
    if record is None:
        ShardRecord(shard=shard).write(store)


def note_run(store: Path, phase: str, run: Mapping[str, Any]) -> None:
    """Note what ran a shard's units of a phase, once all of them are there; the lock is held.

    Parameters
    ----------
    store : Path
        The shard's store.
    phase : str
        Name of the phase.
    run : mapping
        Versions, device and times, JSON only.

    Raises
    ------
    StorageError
        The disk refused.
    """
    record = ShardRecord.read(store)
    if record is not None:
        replace(record, runs={**record.runs, phase: run}).write(store)
