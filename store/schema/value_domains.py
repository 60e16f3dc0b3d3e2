"""The values that an array of a store may have; what becomes an index is within the axis that it indexes.

A store may come from a stranger, whose manifest fits whatever is in it, and compiled code does not check the
indices that it is given. So values are compared with the layout whenever they are read.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Array
from qloc.errors import SchemaError, message
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import Variable
from qloc.vocabulary import FACT, NEURON, NO_INDEX, QUERY, QUERY_OF_FACT, SLOT

_ACTION: Final = "Do not use this store; take it from its source again"
_FLAGS: Final = frozenset({"known", "leaks", "converged", "held_out", "synapse"})
_OF_QUERIES: Final = frozenset({"first_query", "neighbor", "other_fact", "edited_query", "probe_query"})
_OF_VOCABULARY: Final = frozenset({"neurons/promoted_token_id", "neurons/suppressed_token_id"})
_PANEL: Final = "signals/panel_neuron"
_VIEWED: Final = "synapse_views/viewed_neuron"
_ATTRIBUTION: Final = "signals/attribution"
_EDITED: Final = "edits/edited_query"
_HELD_OUT: Final = "edits/held_out"
_FURTHER: Final = ("bad_log_probability", "word_log_probability")


def domain(variable: Variable, layout: Layout) -> tuple[int, int] | None:
    """Return the least and the largest value of an array of whole numbers.

    Parameters
    ----------
    variable : Variable
        A variable of the schema.
    layout : Layout
        The layout of the store.

    Returns
    -------
    tuple of int, or None
        Both ends belong to the domain; the missing value, -1, does where there may be one. None for floats
        and texts.
    """
    if not variable.dtype.startswith("int"):
        return None
    sizes, most = layout.sizes, int(np.iinfo(variable.dtype).max)
    if variable.path == "entailments/partner":
        return NO_INDEX, sizes[FACT] - 1
    if variable.name == FACT:
        return 0, sizes[FACT] - 1
    if variable.path == "tracing/other_subject":
        return NO_INDEX, sizes[FACT] - 1
    if variable.path in _OF_VOCABULARY:
        return NO_INDEX, layout.vocabulary - 1
    if variable.path in (_PANEL, _VIEWED):
        return NO_INDEX, layout.n_network - 1
    if variable.name in _OF_QUERIES:
        return NO_INDEX, sizes[QUERY] - 1
    if variable.name in _FLAGS:
        return NO_INDEX, 1
    if variable.path == "facts/n_queries":
        return 0, sizes[QUERY_OF_FACT]
    if variable.path == "statistics/n_queries":
        return 0, sizes[QUERY]
    if variable.name == "count_above_floor":
        return NO_INDEX, sizes[NEURON]
    if variable.name in ("n_neurons", "n_shared"):
        return NO_INDEX, layout.n_network
    return NO_INDEX, most


def check_values(values: Array, variable: Variable, layout: Layout, at: str) -> None:
    """Refuse values that no array of a store has.

    Whole numbers must be in their domain, the neurons of a panel ascending with the empty slots behind them,
    and attributions finite; in a panel, NaN stands in empty slots only, at the end. The log P of bad
    continuations and of probe words is at most 0, or NaN.

    Parameters
    ----------
    values : ndarray
        Values of the array, or of a region of it.
    variable : Variable
        The variable.
    layout : Layout
        The layout of the store.
    at : str
        Where they were read, for the message.

    Raises
    ------
    SchemaError
        A value is out of its domain; names the first.
    """
    limits = domain(variable, layout)
    if limits is not None and values.size:
        wrong = (values < limits[0]) | (values > limits[1])
        if wrong.any():
            _refuse(values[wrong].flat[0], variable, f"from {limits[0]} to {limits[1]}", at)
    ends_in_slots = variable.dims[-1:] == (SLOT,) and values.ndim == len(variable.dims)
    of_views = variable.path == _VIEWED and values.ndim == len(variable.dims)
    if of_views or (variable.path == _PANEL and ends_in_slots):
        _check_panel(values, variable, at)
    if variable.name.endswith(_FURTHER):
        wrong = ~((values <= 0) | np.isnan(values))
        if wrong.any():
            _refuse(values[wrong].flat[0], variable, "a log-probability, 0 at the most, or NaN", at)
    if variable.path == _ATTRIBUTION and values.size:
        finite = np.isfinite(values)
        if ends_in_slots:
            finite |= np.isnan(values) & ~np.logical_or.accumulate(finite[..., ::-1], axis=-1)[..., ::-1]
        if not finite.all():
            _refuse(
                values[~finite].flat[0], variable, "a finite number, or NaN in the empty slots behind", at
            )


def check_own_queries(
    values: Array,
    part: tuple[slice, ...],
    variable: Variable,
    layout: Layout,
    n_queries: NDArray[np.int64],
    at: str,
) -> None:
    """Refuse rows of edits that name queries which their fact does not have.

    ``edited_query`` must be a query of its own fact, and ``held_out`` tell nothing of queries past its last.

    Parameters
    ----------
    values : ndarray
        Values of the array, or of a region of it with all its axes.
    part : tuple of slice
        The region.
    variable : Variable
        The variable; others than these two are let through.
    layout : Layout
        The layout of the store.
    n_queries : int64 ndarray, shape (fact,)
        How many queries each fact has.
    at : str
        Where they were read, for the message.

    Raises
    ------
    SchemaError
        A value is that of a query which the fact does not have; names the first.
    """
    if variable.path == _EDITED:
        first = (np.cumsum(n_queries) - n_queries)[part[0]]
        wrong = (values != NO_INDEX) & ((values < first) | (values >= first + n_queries[part[0]]))
        rule = "a query of its own fact"
    elif variable.path == _HELD_OUT:
        query_of_fact = np.arange(layout.sizes[QUERY_OF_FACT])[part[1]]
        wrong = (values != NO_INDEX) & (query_of_fact >= n_queries[part[0], None])
        rule = "-1 behind the fact's last query"
    else:
        return
    if wrong.any():
        _refuse(values[wrong].flat[0], variable, rule, at)


def _check_panel(values: Array, variable: Variable, at: str) -> None:
    before, after = values[..., :-1], values[..., 1:]
    wrong = (after != NO_INDEX) & (after <= before) | (before == NO_INDEX) & (after != NO_INDEX)
    if wrong.any():
        _refuse(after[wrong].flat[0], variable, "ascending, and -1 only behind the last neuron", at)


def _refuse(value: Any, variable: Variable, rule: str, at: str) -> None:
    raise SchemaError(message(f"value of {variable.path}", value.item(), rule, at, _ACTION))
