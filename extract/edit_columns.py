"""The arrays of ``/edits`` for one unit, filled fact by fact and edit by edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from qloc.arms import EditArms
from qloc.block import Array
from qloc.phase_plan import EditPlan
from qloc.vocabulary import NO_INDEX

_OF_QUERIES: Final = ("log_probability", "rank", "argmax", "new_log_probability", "new_rank")
_OF_PROBES: Final = ("probe_log_probability", "probe_argmax")


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What one edit does: columns of a fact's queries, of its probes, and the rest."""

    queries: Mapping[str, Array]
    probes: Mapping[str, Array]
    kl: Array | None = None
    nats: float = np.nan
    greedy: Array | None = None


@dataclass(frozen=True, kw_only=True)
class EditColumns:
    """Every array of the group, under its name in the store."""

    arrays: dict[str, Array]

    @classmethod
    def empty(cls, part: EditPlan, arms: EditArms, n_queries: int) -> EditColumns:
        """Arrays of what was chosen, and of outcomes still missing.

        Parameters
        ----------
        n_queries : length of the axis ``query_of_fact``.
        """
        n = len(arms.edited_query)
        edits = (len(part.operations), len(part.sets), n)
        held_out = np.full((n, n_queries), NO_INDEX, dtype=np.int8)
        most = min(n_queries, arms.held_out.shape[1])
        held_out[:, :most] = arms.held_out[:, :most]
        arrays: dict[str, Array] = {
            "edited_query": arms.edited_query.astype(np.int32),
            "new_object": np.array([*arms.new_object, None], dtype=object)[:-1],
            "held_out": held_out,
            "n_slots": np.zeros((len(part.sets), n), dtype=np.int32),
            "probe_query": arms.probe_query.astype(np.int32),
            "probe_kind": arms.probe_kind,
            "text_nats": _missing("text_nats", *edits),
            "base_text_nats": _missing("text_nats", n),
            "greedy_token_id": _missing("greedy_argmax", *edits, part.greedy_tokens),
            "probe_kl": _missing("probe_kl", *edits, part.n_probes),
        }
        for names, size in ((_OF_QUERIES, n_queries), (_OF_PROBES, part.n_probes)):
            for name in names:
                arrays[name] = _missing(name, *edits, size)
                arrays[f"base_{name}"] = _missing(name, n, size)
        return cls(arrays=arrays)

    def base(self, fact: int, found: Tested) -> None:
        """Keep what holds with nothing edited."""
        for name, values in {**found.queries, **found.probes}.items():
            self.arrays[f"base_{name}"][fact, : len(values)] = values
        self.arrays["base_text_nats"][fact] = found.nats

    def keep(self, operation: int, name: int, fact: int, found: Tested) -> None:
        """Keep what one edit does; nats are after less before."""
        place = operation, name, fact
        for column, values in {**found.queries, **found.probes}.items():
            self.arrays[column][(*place, slice(len(values)))] = values
        if found.kl is not None:
            self.arrays["probe_kl"][place] = found.kl
        self.arrays["text_nats"][place] = found.nats - self.arrays["base_text_nats"][fact]
        if found.greedy is not None:
            self.arrays["greedy_token_id"][place] = found.greedy


def _missing(name: str, *shape: int) -> Array:
    """An array without a value: int32 -1 of ranks and tokens, else float32 NaN."""
    if name.endswith(("rank", "argmax")):
        return np.full(shape, NO_INDEX, dtype=np.int32)
    return np.full(shape, np.nan, dtype=np.float32)
