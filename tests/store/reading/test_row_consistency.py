"""Facts and queries index each other as the layout says, or the store is refused before it is read."""

import numpy as np
import pytest
import xarray as xr

from qloc.errors import SchemaError
from qloc.store.reading.row_consistency import require_rows
from qloc.store.schema.layout import Layout


@pytest.fixture(scope="module")
def layout(study):
    return Layout.of(study.outline(), tier="panel", floor=0.05, capacity=99, store_dtype="float32")


def groups(study, **changes):
    n = study.n_queries
    columns = {
        "n_queries": n,
        "first_query": np.where(n > 0, np.cumsum(n) - n, -1),
        "fact": np.repeat(np.arange(len(n)), n),
    } | changes
    facts = xr.Dataset({name: ("fact", columns[name]) for name in ("n_queries", "first_query")})
    return facts, xr.Dataset({"fact": ("query", columns["fact"])})


def test_rows_as_they_are_pass(study, layout):
    facts, queries = groups(study)
    require_rows(layout, facts, "s.zarr", queries)


def shifted(values):
    changed = values.copy()
    changed[0], changed[1] = changed[1], changed[0]
    return changed


@pytest.mark.parametrize(
    ("name", "change", "got"),
    [
        ("n_queries", lambda n: n + 2**30, "facts/n_queries is"),
        ("n_queries", lambda n: -n, "facts/n_queries is"),
        ("n_queries", lambda n: np.where(np.arange(len(n)) == 9, n + 1, n), "facts/n_queries is '17 in all'"),
        ("first_query", shifted, "facts/first_query is 'another'"),
        ("fact", shifted, "queries/fact is 'another'"),
    ],
)
def test_others_are_refused(study, layout, name, change, got):
    facts, queries = groups(study)
    held = (queries if name == "fact" else facts)[name].to_numpy()
    facts, queries = groups(study, **{name: change(held.astype(np.int64))})
    with pytest.raises(SchemaError, match=got):
        require_rows(layout, facts, "s.zarr", queries)
