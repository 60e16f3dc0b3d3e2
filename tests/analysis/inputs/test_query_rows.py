"""Which queries are averaged, by brute force over the columns of a study."""

import numpy as np
import pytest

from qloc.analysis.inference.label_codes import n_codes
from qloc.analysis.inputs.query_rows import QueryRows, rows_of


@pytest.mark.parametrize("known", [True, False])
def test_rows_by_brute_force(study, known):
    queries, facts = study.queries, study.facts
    used, n_unknown = [], 0
    for row in range(queries.sizes["query"]):
        fact = int(queries["fact"].values[row])
        considered = queries["kind"].values[row] == "fact" and not facts["leaks"].values[fact]
        is_known = queries["known"].values[row] == 1
        used.append(bool(considered and (is_known or not known)))
        n_unknown += bool(considered and not is_known)
    rows = rows_of(study, known)
    assert rows.used.tolist() == used
    assert 0 < sum(used) < len(used)
    assert rows.n_left_out == (n_unknown if known else 0)
    assert rows.fact.tolist() == queries["fact"].values.tolist()


def test_clusters_are_relations_and_answers_across_them(study):
    relation, answer = rows_of(study).clusters
    names, objects = study.column("facts", "relation"), study.column("facts", "object")
    assert n_codes(relation) == len(set(names.tolist()))
    assert n_codes(answer) == len(set(objects.tolist()))
    for code, labels in ((relation, names), (answer, objects)):
        assert ((code[:, None] == code) == (labels[:, None] == labels)).all()


def test_means_are_over_used_queries_with_a_value():
    rows = QueryRows(
        fact=np.array([0, 0, 1, 1, 2]),
        used=np.array([True, True, True, False, False]),
        relation=np.zeros(4, dtype=np.int64),
        answer=np.arange(4),
    )
    found = rows.mean(np.array([1.0, 4.0, np.nan, 2.0, 3.0]))
    np.testing.assert_array_equal(found, [2.5, np.nan, np.nan, np.nan])
    assert rows.n_left_out == 0
