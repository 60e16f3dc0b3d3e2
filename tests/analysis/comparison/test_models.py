"""Models compared: planted differences, none where there is none, and what the result says."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.comparison.models import ID, compare_models
from qloc.analysis.comparison.studies import Studies
from qloc.analysis.inputs.study import Study
from qloc.analysis.results import StudyResult
from qloc.plan import AnalysisPlan

PLAN = AnalysisPlan(n_permutations=199, n_bootstrap=99)


@pytest.fixture(scope="module")
def result(studies: Studies) -> StudyResult:
    return compare_models(studies, PLAN)


def test_planted_difference_is_found_and_none_where_there_is_none(
    studies: Studies, result: StudyResult, pair: tuple[Study, Study]
) -> None:
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


def test_comparison_says_what_few_models_do_not_show(result: StudyResult) -> None:
    caveat = "2 models support no claim about larger models, or about models in general."
    assert result.notes[0] == caveat
    question = result.question("models")
    assert question is not None
    assert question.answer.endswith(caveat)
    assert question.answer.startswith("κ is higher in strong than in weak (0.")
    assert result.summary[0].startswith("On the same facts, weak: κ 0.")
    assert len(result.summary) == 5
    table = question.table("models")
    assert table is not None
    assert "otsu" not in str(table.columns).lower()


def test_other_settings_are_told(pair: tuple[Study, Study]) -> None:
    coarse = replace(pair[0], attrs={**pair[0].attrs, "steps": 5})
    fine = replace(pair[0], attrs={**pair[0].attrs, "steps": 20})
    notes = compare_models(Studies({"a": coarse, "b": fine}), PLAN).notes
    assert notes[1:] == ("The stores were extracted with different steps: 5 (a), 20 (b).",)


def test_tables_hold_every_model_relation_and_difference(result: StudyResult, studies: Studies) -> None:
    question = result.question(ID)
    assert question is not None
    models, differences, relations, shares = (table.to_frame() for table in question.tables)
    assert shares[shares["threshold"] == 0.2]["ki"].tolist() == models["ki"].tolist()
    assert models["model"].tolist() == ["weak", "strong"]
    assert differences["measure"].tolist() == ["κ", "D", "K_I(k₀)", "share known"]
    assert differences["difference"].tolist() == [test.estimate for test in question.tests]
    assert differences["p_adjusted"].tolist() == [test.p_adjusted for test in question.tests]
    assert len(relations) == 2 * len(set(studies.facts["relation"].values))
    weighted = relations.groupby("model").apply(lambda t: np.average(t["kappa"], weights=t["facts"]))
    for model, kappa in zip(models["model"], models["kappa"], strict=True):
        assert weighted[model] == pytest.approx(kappa)
    assert {test.family for test in question.tests} == {"models compared (Holm, 4 tests)"}


def test_counts_and_provenance_name_each_model(result: StudyResult, studies: Studies) -> None:
    n = studies.queries.sizes["query"]
    assert result.counts == {
        "common facts": studies.facts.sizes["fact"],
        "common queries": n,
        "queries known by all": int(studies.known_by_all.sum()),
        **{f"queries of {m} only": studies[m].queries.sizes["query"] - n for m in studies.models},
    }
    assert result.provenance["store fingerprint, weak"] == studies["weak"].fingerprint
    assert result.provenance["knowledge neurons"] == "ig, threshold 0.2"
    assert result.model == "2 models: weak, strong"
    assert f"{n:,} queries that all models were asked" in result.facts


def test_minimal_pairs_are_counted_apart_and_have_no_row(with_pairs) -> None:
    studies = with_pairs(("R01", "R04"))
    result = compare_models(studies, PLAN)
    relation = studies.queries["relation"].values
    pair = np.isin(relation, ("R01", "R04"))
    assert result.counts["common queries"] == np.sum(~pair)
    assert result.counts["common minimal pairs"] == np.sum(pair)
    assert result.counts["queries of a only"] == 0
    n_facts = len(np.unique(studies.queries["fact"].values[~pair]))
    assert f"({n_facts} facts and {np.sum(~pair)} queries that all models were asked)" in result.facts
    question = result.question(ID)
    assert question is not None
    relations = question.tables[2].to_frame()
    assert set(relations["relation"]) == set(relation[~pair])
