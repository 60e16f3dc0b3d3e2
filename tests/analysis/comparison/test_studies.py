"""Several studies on what all were asked: by brute force over keys, and models that are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import qloc
from qloc.analysis.comparison.models import compare_models
from qloc.analysis.comparison.studies import Studies, named
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.one_fact import find, one_facts
from qloc.errors import InputError, SchemaError
from qloc.plan import AnalysisPlan
from qloc.simulation.simulate import simulate
from qloc.workflows.analyze import open_study

PLAN = AnalysisPlan(n_permutations=199, n_bootstrap=99)
SIZE = {"facts": 48, "relations": 6, "templates": 4, "n_neurons": 64}


def of_facts(study: Study, keep: np.ndarray, shuffle: int | None = None) -> Study:
    """The study of some of its facts, in another order if ``shuffle``: an independent re-indexing."""
    rows = np.flatnonzero(keep)
    if shuffle is not None:
        rows = np.random.default_rng(shuffle).permutation(rows)
    fact = study.column("queries", "fact")
    queries = np.concatenate([np.flatnonzero(fact == row) for row in rows])
    place = {row: n for n, row in enumerate(rows)}
    groups = {}
    for name in ("queries", "facts", "signals"):
        group = study.datasets[name]
        taken = {dim: index for dim, index in (("query", queries), ("fact", rows)) if dim in group.dims}
        groups[name] = group.isel(taken)
    new = np.array([place[row] for row in fact[queries]], dtype=np.int32)
    groups["queries"] = groups["queries"].assign(fact=("query", new))
    if "fact" in groups["signals"].coords:
        groups["signals"] = groups["signals"].assign_coords(fact=("query", new))
    return replace(study, datasets=groups)


@pytest.fixture(scope="module")
def pair() -> tuple[Study, Study]:
    one = simulate(**SIZE, fact_strength=0.1, seed=3)
    two = simulate(**SIZE, fact_strength=0.6, seed=3)
    known = two.column("queries", "known")
    known[::9] = 1 - known[::9]  # drawn with the same seed, they would know the same
    queries = two.queries.assign(known=("query", known))
    return one, replace(two, datasets={**two.datasets, "queries": queries})


@pytest.fixture(scope="module")
def studies(pair: tuple[Study, Study]) -> Studies:
    first, second = np.arange(48) % 7 != 0, np.arange(48) % 5 != 0
    return Studies({"weak": of_facts(pair[0], first), "strong": of_facts(pair[1], second, shuffle=1)})


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


def test_planted_difference_is_found_and_none_where_there_is_none(
    studies: Studies, pair: tuple[Study, Study]
) -> None:
    result = compare_models(studies, PLAN)
    tests = {test.name: test for test in result.tests()}
    found = tests["κ, strong − weak"]
    assert found.verdict == "holds"
    assert found.estimate > 0.1
    assert found.interval is not None
    assert found.interval.low > 0
    scores = studies.consistency()["kappa"].values
    assert found.estimate == pytest.approx(np.nanmean(scores[1] - scores[0]), abs=1e-14)
    assert {test.role for test in result.tests()} == {"exploratory"}
    # Six relations: 2 · 1/2⁶ · 4 tests > 5%, so answers within them are flipped, for these relations only.
    assert found.estimand.endswith("in these relations")
    assert "whole answers within relations flipped" in found.method
    assert found.n["relations"] == 6
    assert tests["K_I(k₀), strong − weak"].estimate < 0
    same = compare_models(Studies({"a": pair[0], "b": pair[0]}), PLAN)
    assert {test.verdict for test in same.tests()} == {"undecided"}
    assert {test.estimate for test in same.tests()} == {0.0}


def test_comparison_says_what_few_models_do_not_show(studies: Studies) -> None:
    result = compare_models(studies, PLAN)
    said = "2 models support no claim about larger models, or about models in general."
    assert result.notes[0] == said
    assert result.question("models").answer.endswith(said)
    assert "otsu" not in str(result.question("models").table("models").columns).lower()


def test_other_settings_are_told(pair: tuple[Study, Study]) -> None:
    coarse = replace(pair[0], attrs={**pair[0].attrs, "steps": 5})
    fine = replace(pair[0], attrs={**pair[0].attrs, "steps": 20})
    notes = compare_models(Studies({"a": coarse, "b": fine}), PLAN).notes
    assert notes[1:] == ("The stores were extracted with different steps: 5 (a), 20 (b).",)


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
    for name in ("step1", "step2"):
        simulate(tmp_path / f"{name}.zarr", facts=8, relations=2, templates=3, seed=1)
    both = qloc.open([tmp_path / "step1.zarr", tmp_path / "step2.zarr"])
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
