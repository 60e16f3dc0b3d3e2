"""Several studies on the queries that all were asked: by brute force over keys."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from qloc.analysis.comparison.studies import Studies, named
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.one_fact import find, one_facts
from qloc.errors import InputError, SchemaError
from qloc.simulation.simulate import simulate
from qloc.workflows.analyze import open_study


def key_of(study: Study, query: int) -> tuple[str, ...]:
    fact = study.column("queries", "fact")[query]
    own = [study.column("facts", name)[fact] for name in ("relation", "subject", "object")]
    return (*map(str, own), *(str(study.column("queries", n)[query]) for n in ("template", "prompt")))


def test_common_queries_are_those_with_one_key(studies: Studies) -> None:
    one, two = studies
    keys = [[key_of(s, q) for q in range(s.queries.sizes["query"])] for s in (one, two)]
    expected = [key for key in keys[0] if key in set(keys[1])]
    assert 0 < len(expected) < len(keys[0])
    for rows, of_study in zip(studies.rows, keys, strict=True):
        assert [of_study[row] for row in rows] == expected


def test_columns_lie_along_the_model(studies: Studies) -> None:
    for place, (study, rows) in enumerate(zip(studies, studies.rows, strict=True)):
        for name in ("log_probability", "rank"):
            np.testing.assert_array_equal(studies.queries[name][place], study.column("queries", name)[rows])
    known = np.stack(
        [s.column("queries", "known")[r] == 1 for s, r in zip(studies, studies.rows, strict=True)]
    )
    assert 0 < known.all(axis=0).sum() < known.any(axis=0).sum()
    np.testing.assert_array_equal(studies.known_by_all, known.all(axis=0))
    n = studies.facts.sizes["fact"]
    for fact in range(n):
        here = studies.queries["fact"].values == fact
        assert studies.facts["n_queries"][fact] == here.sum()
        assert studies.facts["n_known"][:, fact].values.tolist() == known[:, here].sum(axis=1).tolist()
        assert studies.facts["n_known_by_all"][fact] == known[:, here].all(axis=0).sum()
        subjects = {
            studies[m].column("facts", "subject")[r[fact]]
            for m, r in zip(studies.models, studies.fact_rows, strict=True)
        }
        assert subjects == {studies.facts["subject"].values[fact]}


def test_every_common_query_counts_where_it_is_asked(studies: Studies) -> None:
    every = replace(studies, every_query=True)
    assert every.known_by_all.all()
    assert not studies.known_by_all.all()
    sets = every.neurons("ig", 0.2)
    assert all(one.queries["known"].all() for one in sets.values())
    assert every.queries.identical(studies.queries)


def test_scores_are_those_of_each_study_by_itself(studies: Studies) -> None:
    """Consistency of the common queries, fact by fact, from sets found by key in the whole study."""
    scores = studies.consistency()
    assert scores["kappa"].dims == ("model", "fact")
    for model, rows in zip(studies.models, studies.rows, strict=True):
        whole = studies[model].neurons()
        keep = np.zeros(whole.n_queries, dtype=bool)
        keep[rows[studies.known_by_all]] = True
        alone = consistency(whole.select(keep), known=False)
        order = [list(alone["id"].values).index(id) for id in studies.facts["id"].values]
        for name in ("CS1", "CS2", "D", "kappa", "k"):
            np.testing.assert_allclose(scores[name].sel(model=model), alone[name][order], atol=1e-14)


def test_models_are_named_apart(pair: tuple[Study, Study]) -> None:
    revisions = [replace(pair[0], attrs={**pair[0].attrs, "revision": r}) for r in ("step1", "step2")]
    assert named(revisions, ["x", "y"]).models == ("planted@step1", "planted@step2")
    assert named(pair, ["x", "y"]).models == ("x", "y")
    assert named(pair, ["x", "x"]).models == ("x (1)", "x (2)")


def test_one_study_or_nothing_in_common_is_refused(pair: tuple[Study, Study]) -> None:
    with pytest.raises(InputError, match="studies is 1; expected two at least"):
        Studies({"a": pair[0]})
    other = simulate(facts=6, relations=2, templates=2, seed=9)
    renamed = other.facts.assign(subject=("fact", np.array([f"other {n}" for n in range(6)])))
    apart = replace(other, datasets={**other.datasets, "facts": renamed})
    with pytest.raises(InputError, match="common queries is 0; expected at least one query that all models"):
        Studies({"a": pair[0], "b": apart})


def test_open_takes_several(tmp_path: Path) -> None:
    simulate(tmp_path / "step1.zarr", facts=8, relations=2, templates=3, n_neurons=16, seed=1)
    shutil.copytree(tmp_path / "step1.zarr", tmp_path / "step2.zarr")
    both = open_study([tmp_path / "step1.zarr", tmp_path / "step2.zarr"])
    assert isinstance(both, Studies)
    assert both.models == ("step1", "step2")
    assert isinstance(both.consistency(), xr.Dataset)
    with pytest.raises(SchemaError) as caught:
        open_study([tmp_path / "no.zarr", tmp_path / "step1.zarr", tmp_path / "nor.zarr"])
    assert len(caught.value.problems) == 2


def test_one_fact_is_what_the_sets_say(pair: tuple[Study, Study]) -> None:
    study = pair[1]
    sets = study.neurons()
    scores = consistency(sets)
    fact = next(n for n in range(48) if scores["k"].values[n] >= 3)
    (one,) = one_facts(study, np.array([fact]))
    mine = [set(q.neurons.tolist()) for q in one.queries if q.known and len(q.neurons)]
    assert one.k == len(mine) == scores["k"].values[fact]
    for neuron, c in one.count.items():
        assert c == sum(neuron in members for members in mine)
    assert set(one.count) == set.union(*mine)
    assert set(one.intersection) == set.intersection(*mine)
    assert one.scores["CS1"] == pytest.approx(len(set.intersection(*mine)) / len(set.union(*mine)))
    assert list(one.count.values()) == sorted(one.count.values(), reverse=True)
    assert (one.effects, one.edited) == ({}, {})


def test_find_by_subject_id_or_part(pair: tuple[Study, Study]) -> None:
    study = pair[0]
    subject, id = str(study.column("facts", "subject")[7]), str(study.column("facts", "id")[7])
    assert find(study, id.lower()).tolist() == [7]
    assert 7 in find(study, subject.upper())
    assert 7 in find(study, id[1:])
    with pytest.raises(InputError, match=f"Perhaps .*{subject}"):
        find(study, subject[:-1] + "§")


def test_studies_show_themselves_in_a_line(studies: Studies) -> None:
    n = len(studies.rows[0])
    assert repr(studies).startswith(f"<Studies of {', '.join(studies.models)}: ")
    assert repr(studies).endswith(f" facts, {n:,} queries in common>")
