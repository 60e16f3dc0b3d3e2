"""Phase ``signals`` of an extraction: the store that it is written to, and its units, run and written."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qloc.errors import InputError, message

if TYPE_CHECKING:
    from qloc.block import Outline, Shard, Unit
    from qloc.extract.signals.extraction import Extraction
    from qloc.store.units.ledger import UnitRecord
    from qloc.store.writing.writer import Writer


def opened(extraction: Extraction, outline: Outline, out: Path, shard: Shard | None = None) -> Writer:
    """Open the store of an extraction to write its signals.

    Parameters
    ----------
    extraction : Extraction
        Plan and fingerprint.
    outline : Outline
        What is known before the model has run.
    out : Path
        The store.
    shard : Shard or None
        The part of the units that is written; None for all.

    Returns
    -------
    Writer
        The hold on the store; raises what :meth:`Writer.open` raises.
    """
    from qloc.store.writing.writer import Writer

    kept = extraction.plan.model_dump(include={"tier", "floor", "capacity", "store_dtype"})
    return Writer.open(out, outline, extraction.fingerprint, **kept, shard=shard)


@dataclass(frozen=True)
class SignalUnits:
    """Runs units of phase ``signals`` and writes their files; called wherever units are run.

    Attributes
    ----------
    extraction : Extraction
        Model and plan; the weights may not be read yet.
    store : Path
        The store that units are written to.
    """

    extraction: Extraction
    store: Path

    def __call__(self, unit: Unit) -> UnitRecord:
        """Run a unit and write its file; it does not count until recorded."""
        from qloc.store.integrity.check import is_store
        from qloc.store.writing.writer import write_unit

        if not is_store(self.store):
            place, action = platform.node(), "Put --out on a file system that all workers share"
            rule = "a folder that every worker sees, at one path"
            raise InputError(message("store", str(self.store), rule, place, action))
        return write_unit(self.store, self.extraction.extract(unit))
