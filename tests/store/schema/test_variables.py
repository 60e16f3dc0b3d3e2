"""The schema of signals: what its tables say of themselves, and how values are stored."""

import numpy as np
import pytest

from qloc.store.schema.phase_variables import PHASES, STATISTICS
from qloc.store.schema.variables import (
    ATTENTION,
    CELLS,
    COORDINATES,
    FACTS,
    GRAMS,
    QUERIES,
    SIGNALS,
    Variable,
    as_stored,
    fact_column,
    missing,
    variables,
)

EVERY = (
    *QUERIES,
    *FACTS,
    *SIGNALS["panel"],
    *ATTENTION,
    *GRAMS,
    *STATISTICS,
    *PHASES["interventions"],
    *PHASES["edits"],
)


def test_paths_are_each_one_variables():
    paths = [variable.path for variable in EVERY]
    assert len(set(paths)) == len(paths)
    assert all(variable.meaning for variable in EVERY)


def test_axes_have_a_name_each():
    for variable in EVERY:
        assert len(set(variable.dims)) == len(variable.dims), variable.path


def test_rows_are_queries_or_else_facts():
    def row(*dims):
        return Variable(group="g", name="n", dims=dims, dtype="int8").row

    assert row("attribution_method", "query", "layer") == 1
    assert row("fact", "slot") == 0
    assert row("fact", "query") == 1
    assert row("relation", "layer") is None


def test_tiers_differ_in_the_cells_of_the_three_signals_only():
    panel, dense = ({v.name: v for v in SIGNALS[tier]} for tier in ("panel", "dense"))
    assert list(panel) == list(dense)
    differ = [name for name in panel if panel[name] != dense[name]]
    assert differ == ["attribution", "activation", "gradient"]
    for name in differ:
        rows = panel[name].dims[:-1]
        assert panel[name].dims == (*rows, *CELLS["panel"])
        assert dense[name].dims == (*rows, *CELLS["dense"])


def test_coordinates_are_variables_of_their_group():
    groups = {"signals": SIGNALS["panel"], "grams": GRAMS}
    for group, names in COORDINATES.items():
        assert set(names) <= {variable.name for variable in groups[group]}


def test_table_becomes_variables():
    made = variables("g", {"a": (("query",), "int8", "first"), "b": ((), "string", "second")})
    assert made == (
        Variable(group="g", name="a", dims=("query",), dtype="int8", meaning="first"),
        Variable(group="g", name="b", dims=(), dtype="string", meaning="second"),
    )
    assert made[0].path == "g/a"


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", np.nan), ("float64", np.nan), ("int8", -1), ("int64", -1), ("string", "")],
)
def test_missing_values(dtype, expected):
    np.testing.assert_equal(missing(dtype), expected)


def test_strings_are_stored_as_objects_of_their_shape():
    texts = np.array([["a", None, 1], ["Çity", "", "b"]], dtype=object)
    stored = as_stored(texts, "string")
    assert stored.dtype == object
    assert stored.tolist() == [["a", "", "1"], ["Çity", "", "b"]]
    assert as_stored(np.array(["ab", "c"]), "string").tolist() == ["ab", "c"]
    assert as_stored(np.empty((0,), dtype=object), "string").shape == (0,)
    assert as_stored(np.empty((2, 0), dtype=object), "string").shape == (2, 0)


def test_numbers_are_stored_contiguous():
    stored = as_stored(np.arange(6.0).reshape(2, 3).T, "float32")
    assert (stored.dtype, stored.flags.c_contiguous, stored.tolist()) == (
        np.dtype("float32"), True, [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "column", "dtype"),
    [
        ("subject", np.array(["a"]), "string"),
        ("first_query", np.array([1.5]), "int32"),  # what a known column is does not depend on what was given
        ("colour", np.array(["a"]), "string"),
        ("colour", np.array(["a"], dtype=object), "string"),
        ("count", np.array([1.5], dtype=np.float32), "float64"),
        ("count", np.array([1], dtype=np.int8), "int64"),
        ("flag", np.array([True]), "int64"),
    ],
)
def test_columns_of_facts(name, column, dtype):
    made = fact_column(name, column)
    assert (made.path, made.dims, made.dtype) == (f"facts/{name}", ("fact",), dtype)
