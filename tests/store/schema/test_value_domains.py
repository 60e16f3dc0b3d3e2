"""Domains by hand, for every kind of array: what would index out of its axis is refused, the rest passes."""

import numpy as np
import pytest

from qloc.errors import SchemaError
from qloc.store.schema.layout import Layout
from qloc.store.schema.phase_variables import PHASES
from qloc.store.schema.value_domains import check_own_queries, check_values, domain
from qloc.store.schema.variables import FACTS, Variable


@pytest.fixture(scope="module")
def layout(study):
    """Return the layout of 10 facts with at most 3 queries, 16 queries, 3 layers of 40 neurons."""
    return Layout.of(study.outline(), tier="panel", floor=0.05, capacity=99, store_dtype="float32")


@pytest.fixture(scope="module")
def by_path(layout):
    return {variable.path: variable for variable in (*FACTS, *layout.variables())}


@pytest.mark.parametrize(
    ("path", "limits"),
    [
        ("queries/fact", (0, 9)),
        ("signals/fact", (0, 9)),
        ("facts/first_query", (-1, 15)),
        ("facts/n_queries", (0, 3)),
        ("signals/panel_neuron", (-1, 119)),
        ("signals/count_above_floor", (-1, 40)),
        ("queries/known", (-1, 1)),
        ("statistics/n_queries", (0, 16)),
        ("neurons/promoted_token_id", (-1, 59)),
        ("neurons/suppressed_token_id", (-1, 59)),
        ("queries/rank", (-1, 2**31 - 1)),
        ("queries/log_probability", None),
        ("facts/id", None),
    ],
)
def test_domains(by_path, layout, path, limits):
    assert domain(by_path[path], layout) == limits


def test_viewed_neurons_are_of_the_network_and_ascend(layout):
    (viewed,) = (v for v in PHASES["interventions"] if v.path == "synapse_views/viewed_neuron")
    assert domain(viewed, layout) == (-1, 119)
    check_values(np.array([[3, 119, -1, -1], [-1, -1, -1, -1]]), viewed, layout, "s.zarr")
    for wrong in ([[3, 120, -1]], [[4, 3, -1]], [[-1, 3, 4]]):
        with pytest.raises(SchemaError, match="synapse_views/viewed_neuron"):
            check_values(np.array(wrong), viewed, layout, "s.zarr")
    (synapse,) = (v for v in PHASES["interventions"] if v.path == "synapse_views/synapse")
    assert domain(synapse, layout) == (-1, 1)


def refused(by_path, layout, path, values):
    with pytest.raises(SchemaError) as caught:
        check_values(np.asarray(values), by_path[path], layout, "s.zarr")
    return str(caught.value)


def test_what_is_out_of_its_domain_is_told_by_name(by_path, layout):
    assert refused(by_path, layout, "queries/known", np.array([1, 7, 0], dtype=np.int8)) == (
        "value of queries/known is 7; expected from -1 to 1. At s.zarr. "
        "Do not use this store; take it from its source again."
    )
    for path, value in (("signals/panel_neuron", 120), ("facts/n_queries", 2**30), ("queries/fact", -1)):
        assert f"value of {path} is {value}; expected from" in refused(by_path, layout, path, [[value]])


def test_further_answers_have_a_log_probability_or_none(layout):
    by_path = {variable.path: variable for variable in (*PHASES["interventions"], *PHASES["edits"])}
    path = "edits/base_word_log_probability"
    check_values(np.array([0.0, -3.0, np.nan], dtype=np.float32), by_path[path], layout, "s.zarr")
    assert refused(by_path, layout, path, [0.5]).startswith(
        f"value of {path} is 0.5; expected a log-probability, 0 at the most, or NaN. At s.zarr."
    )
    assert "is inf; expected" in refused(by_path, layout, "interventions/bad_log_probability", [np.inf])


@pytest.mark.parametrize("row", [[3, 3], [5, 4], [-1, 4], [2, -1, 3]])
def test_panels_ascend_with_empty_slots_behind(by_path, layout, row):
    text = refused(by_path, layout, "signals/panel_neuron", [row])
    assert "expected ascending, and -1 only behind the last neuron" in text


def test_panels_as_they_are_pass(by_path, layout):
    panels = np.array([[0, 1, 119], [5, -1, -1], [-1, -1, -1]], dtype=np.int32)
    check_values(panels, by_path["signals/panel_neuron"], layout, "s.zarr")
    check_values(panels[:, :0], by_path["signals/panel_neuron"], layout, "s.zarr")
    check_values(panels[:, 1], by_path["signals/panel_neuron"], layout, "s.zarr")  # one slot of each


@pytest.mark.parametrize("row", [[np.inf, 1.0], [np.nan, 1.0], [1.0, -np.inf, np.nan]])
def test_attributions_are_finite_but_for_empty_slots(by_path, layout, row):
    assert "value of signals/attribution is" in refused(by_path, layout, "signals/attribution", [[row]])
    check_values(np.array([[[1.0, -2.0, np.nan]]]), by_path["signals/attribution"], layout, "s.zarr")


def of_edits(name, *dims):
    return Variable(group="edits", name=name, dims=dims, dtype="int32", meaning="made up")


def test_edits_name_queries_of_their_own_fact(layout):
    """Facts with 2, 0 and 3 queries: rows 0 and 1, none, rows 2 to 4."""
    n_queries = np.array([2, 0, 3])
    held, edited = of_edits("held_out", "fact", "query_of_fact"), of_edits("edited_query", "fact")

    def check(values, variable, *part):
        check_own_queries(np.array(values), part, variable, layout, n_queries, "s.zarr")

    check([[0, 1, -1], [-1, -1, -1], [1, 1, 0]], held, slice(0, 3), slice(0, 3))
    check([[-1], [0]], held, slice(1, 3), slice(2, 3))
    check([1, -1, 4], edited, slice(0, 3))
    check([4], edited, slice(2, 3))
    check([7], of_edits("probe_query", "fact", "probe"), slice(0, 1))
    for values, part in (
        ([[0, 1, 0], [-1, -1, -1]], (slice(0, 2), slice(0, 3))),
        ([[0]], (slice(1, 2), slice(0, 1))),
        ([[1]], (slice(0, 1), slice(2, 3))),
    ):
        with pytest.raises(SchemaError, match=r"expected -1 behind the fact's last query\. At s\.zarr"):
            check(values, held, *part)
    for query, fact in ((2, 0), (0, 1), (1, 2), (5, 2)):
        with pytest.raises(SchemaError, match="expected a query of its own fact"):
            check([query], edited, slice(fact, fact + 1))
