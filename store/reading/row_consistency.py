"""Check that facts and queries index each other as the layout says, before anything is indexed by them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from qloc.errors import SchemaError, message
from qloc.store.schema.layout import Layout
from qloc.vocabulary import FACT, NO_INDEX, QUERY

_ACTION = "Do not use this store; take it from its source again"


def require_rows(layout: Layout, facts: xr.Dataset, at: str, queries: xr.Dataset | None = None) -> None:
    """Refuse a store whose facts have other queries than the layout's units say.

    Queries stand in the order of their facts, without gaps: a fact's first row is how many queries there are
    before it.

    Parameters
    ----------
    layout : Layout
        The layout of the store.
    facts : xarray.Dataset
        The group /facts.
    at : str
        The store, for the message.
    queries : xarray.Dataset, optional
        The group /queries, with every query of the layout.

    Raises
    ------
    SchemaError
        ``n_queries``, ``first_query`` or the queries' ``fact`` is not what it should be; each.
    """
    n_queries = facts["n_queries"].to_numpy().astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(n_queries)])
    problems = []
    if (n_queries < 0).any() or any(
        int(ends[unit.last_fact] - ends[unit.first_fact]) != unit.n_queries for unit in layout.units
    ):
        rule = f"those of the layout's units, {layout.sizes[QUERY]} in all"
        got = f"{int(ends[-1])} in all"
        problems.append(message("facts/n_queries", got, rule, at, _ACTION))
    else:
        first = np.where(n_queries > 0, ends[:-1], NO_INDEX)
        if not np.array_equal(facts["first_query"].to_numpy(), first):
            rule = "the number of queries before each fact, -1 where it has none"
            problems.append(message("facts/first_query", "another", rule, at, _ACTION))
        fact = np.repeat(np.arange(layout.sizes[FACT]), n_queries)
        if queries is not None and not np.array_equal(queries["fact"].to_numpy(), fact):
            rule = "each fact as often as it has queries, in order"
            problems.append(message("queries/fact", "another", rule, at, _ACTION))
    if problems:
        raise SchemaError(problems)
