"""Formulas against statsmodels; problems of a formula, all at once."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import qloc
from qloc.analysis import formula as formula_module
from qloc.analysis.formula import fit_frame
from qloc.analysis.inference.slope_test import slope_test
from qloc.errors import InputError

QUICK = qloc.Draws(n_bootstrap=99)


@pytest.fixture
def frame(rng):
    g = rng.integers(15, size=200)
    x = rng.normal(size=200) + rng.normal(size=15)[g]
    y = 0.3 * x + rng.normal(size=15)[g] + rng.normal(size=200)
    return pd.DataFrame({"y": y, "x": x, "z": rng.normal(size=200), "g": g, "w": rng.choice(["a", "b"], 200)})


def test_formulas_are_those_of_statsmodels(frame):
    frame.loc[3, "x"] = np.nan
    ours = fit_frame(frame, "y ~ x + z + C(w)", "g", draws=QUICK)
    kept = frame.dropna()
    theirs = smf.ols("y ~ x + z + C(w)", kept).fit(
        cov_type="cluster", cov_kwds={"groups": kept["g"]}, use_t=True
    )
    assert [test.name for test in ours.tests] == list(theirs.params.index)
    assert [test.estimate for test in ours.tests] == pytest.approx(theirs.params.tolist())
    assert ours.r_squared == pytest.approx(theirs.rsquared)
    assert (ours.n, ours.left_out) == (199, 1)
    interval = ours["x"].interval
    assert interval is not None
    assert interval.method.startswith("least squares, cluster-robust over 15 clusters, t(")
    assert interval.method.endswith("and wild cluster bootstrap, 99 resamples: the wider of both")
    assert str(ours).startswith(
        "y ~ x + z + C(w), 199 facts (1 without a value left out), clustered by g, R² "
    )
    assert len(ours.to_frame()) == 4


def test_the_bootstrap_has_no_last_cluster(rng):
    """With 41 clusters, too, p is no less than the bootstrap's: a multiple of 1/100, if that is larger."""
    x, g = rng.normal(size=205), np.repeat(np.arange(41), 5)
    frame = pd.DataFrame({"y": x + rng.normal(size=205), "x": x, "g": g})
    ours = fit_frame(frame, "y ~ x", "g", draws=QUICK)["x"]
    assert ours.p == pytest.approx(0.01)
    assert ours.method.endswith("and wild cluster bootstrap, 99 resamples: the wider of both")


def test_standardized_slope_of_one_regressor_is_the_correlation(frame):
    effect = fit_frame(frame, "y ~ x", "g", draws=QUICK)["x"].effect
    assert effect is not None
    assert effect.value == pytest.approx(np.corrcoef(frame.x, frame.y)[0, 1])


def test_standardized_slopes_are_within_the_groups_that_slopes_are_within(frame):
    """As H10 has them: groups that lie far apart are no spread of what is compared within them."""
    far = frame.assign(y=frame["y"] + 100 * (frame["g"] % 3), x=frame["x"] + 10 * frame["g"])
    group = frame["g"].to_numpy()
    for table in (frame, far):
        ours = fit_frame(table, "y ~ x", "g", within="g", draws=QUICK)["x"]
        theirs = slope_test(
            table["y"].to_numpy(), {"x": table["x"].to_numpy()}, (group, np.arange(200)), draws=QUICK,
            name="x", question="?", estimand="e",
        )  # fmt: skip
        assert ours.effect is not None
        assert theirs.effect is not None
        assert ours.effect.value == pytest.approx(theirs.effect.value)
        assert ours.p_equivalence == pytest.approx(theirs.p_equivalence)


@pytest.mark.parametrize("formula", ["y ~ np.log(n)", "np.log(n) ~ x"])
@pytest.mark.parametrize("within", ["g", None])
def test_infinite_values_are_left_out_and_counted(frame, rng, formula, within):
    frame["n"] = rng.integers(1, 9, size=200)
    frame.loc[[3, 8], "n"] = 0
    with np.errstate(divide="ignore"):
        ours = fit_frame(frame, formula, "g", within=within, draws=QUICK)
    theirs = fit_frame(frame.drop(index=[3, 8]), formula, "g", within=within, draws=QUICK)
    assert (ours.n, ours.left_out) == (198, 2)
    assert ours.tests == theirs.tests


def test_formula_problems_are_told_all_at_once(frame):
    with pytest.raises(InputError) as caught:
        fit_frame(frame, "y ~ q + np.log(r)", "nope")
    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "column is 'q'", "column is 'r'", "column is 'nope'",
    ]  # fmt: skip
    assert caught.value.problems[0] == (
        "column is 'q'; expected one of y, x, z, g, w. At qloc.fit. Correct the name."
    )
    with pytest.raises(InputError, match=r"formula is 'y ~ \(x'; expected a formula over y, x, z, g, w"):
        fit_frame(frame, "y ~ (x", "g")


def test_collinear_terms_are_left_out_and_said_so(frame):
    frame["double"] = 2 * frame.x
    found = fit_frame(frame, "y ~ x + double", "g", draws=QUICK)
    assert [test.name for test in found.tests] == ["Intercept", "x"]
    assert found.tests[0].checks == ("A combination of other terms, left out: double.",)
    with pytest.raises(InputError, match="term is 'double'; expected one of Intercept, x"):
        found["double"]


@pytest.fixture(scope="module")
def planted():
    return qloc.simulate(facts=60, relations=6, templates=4, n_neurons=64, n_heads=0, seed=1)


def test_public_fit_of_a_study(planted):
    found = qloc.fit(planted, "kappa ~ log_frequency + class", cluster="object", draws=QUICK)
    assert found.tests[0].store == planted.fingerprint
    assert found["log_frequency"].n["clusters"] == 6
    assert "within relation, clustered by relation," in str(found)  # in which its objects lie


def test_answers_that_relations_share_are_a_way_of_clustering():
    """As in H10: what facts of one answer have in common is no evidence of its own."""
    study = qloc.simulate(
        facts=60, relations=6, templates=4, n_neurons=64, n_heads=0, seed=1, shared_answers=0.8
    )
    found = qloc.fit(study, "kappa ~ log_frequency", draws=QUICK)
    assert found.cluster in ("relation and object", "object and relation")
    assert qloc.fit(study, "kappa ~ log_frequency", "object", draws=QUICK).cluster == found.cluster


def _of_answers(rng, n_answers):
    """Each answer moves regressor and outcome, each by a draw of its own: no slope, however many facts."""
    relation, answer = np.repeat(np.arange(10), 20), np.tile(np.arange(20) % n_answers, 10)
    x, kappa = (rng.normal(size=n_answers)[answer] + 0.3 * rng.normal(size=200) for _ in range(2))
    subject = np.concatenate([rng.permutation(20) for _ in range(10)])  # each in every relation
    return pd.DataFrame({"kappa": kappa, "x": x, "relation": relation, "object": answer, "subject": subject})


def test_of_three_ways_that_cross_none_is_lost(rng, monkeypatch, planted):
    few = []
    for _ in range(60):
        frame = _of_answers(rng, 8)
        monkeypatch.setattr(formula_module, "fact_columns", lambda *_, of=frame, **__: of)
        found = qloc.fit(planted, "kappa ~ x", "subject", draws=QUICK)
        few.append((found["x"].p if found["x"].p is not None else 1.0) <= 0.05)
    assert sorted(found.cluster.split(" and ")) == ["object", "relation", "subject"]
    assert np.mean(few) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_two_answers_of_all_relations_are_two_draws(rng, monkeypatch, planted):
    """Clustered by relation alone, most such worlds would have a slope."""
    frame = _of_answers(rng, 2)
    monkeypatch.setattr(formula_module, "fact_columns", lambda *_, **__: frame)
    with pytest.raises(InputError, match=r"column 'object' is 'of 2 values, which cross .* Add C\(object\)"):
        qloc.fit(planted, "kappa ~ x", draws=QUICK)
    held = qloc.fit(planted, "kappa ~ x + C(object)", draws=QUICK)
    assert held.cluster == "relation"


def test_slopes_that_differ_over_relations_are_clustered_by_them(rng):
    """However fine the column that was asked for: a slope in each of 8 relations, on average 0."""
    few = []
    for _ in range(60):
        relation = np.repeat(np.arange(8), 20)
        x = rng.normal(size=160)
        y = rng.normal(size=8)[relation] * x + 0.5 * rng.normal(size=160)
        frame = pd.DataFrame({"y": y, "x": x, "relation": relation, "object": np.arange(160) // 2})
        found = fit_frame(frame, "y ~ x", "object", within="relation", draws=QUICK)
        few.append((found["x"].p or 0) <= 0.05)
    assert found.cluster == "relation"
    assert np.mean(few) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)  # clustered by object: over a quarter


def test_a_column_may_have_the_name_of_a_keyword(frame):
    keyword, plain = frame.rename(columns={"w": "class"}), fit_frame(frame, "y ~ x + w", "g", draws=QUICK)
    for formula in ("y ~ x + class", "y ~ x + C(class)", "y ~ x + Q('class')"):
        found = fit_frame(keyword, formula, "g", draws=QUICK)
        assert [test.estimate for test in found.tests] == [test.estimate for test in plain.tests]
        assert {test.name for test in found.tests} in (
            {"Intercept", "x", "class[T.b]"}, {"Intercept", "x", "C(class)[T.b]"},
        )  # fmt: skip


def test_slopes_are_within_relations_unless_told_otherwise(planted):
    """The effects of relations are those of C(relation); what differs between relations only is no slope."""
    ours = qloc.fit(planted, "kappa ~ log_frequency", draws=QUICK)
    theirs = qloc.fit(planted, "kappa ~ log_frequency + C(relation)", cluster="object", draws=QUICK)
    assert ours["log_frequency"].estimate == pytest.approx(theirs["log_frequency"].estimate)
    assert ours.r_squared == pytest.approx(theirs.r_squared)
    assert (ours.within, theirs.within) == ("relation", "")
    assert ours["log_frequency"].estimand.endswith("other terms of the formula held, within relation")
    assert "Within relation: each has an effect of its own." in ours["log_frequency"].checks
    with pytest.raises(InputError) as caught:
        qloc.fit(planted, "kappa ~ 1", draws=QUICK)
    assert str(caught.value) == (
        "formula is 'kappa ~ 1'; expected a term that differs between facts of one relation. "
        "At qloc.fit. Give within=None to compare between them."
    )


def test_an_intercept_gets_no_verdict(frame):
    intercept = fit_frame(frame, "y ~ x", "g", draws=QUICK)["Intercept"]
    assert (intercept.verdict, intercept.role, intercept.p) == ("descriptive", "descriptive", None)
    assert intercept.interval is not None


def test_what_is_not_identified_is_refused(frame, planted):
    frame["many"] = [f"v{row % 14}" for row in range(len(frame))]
    with pytest.raises(InputError) as caught:
        fit_frame(frame, "y ~ x + many", "g", draws=QUICK)
    assert str(caught.value) == (
        "formula 'y ~ x + many' is '15 columns for 15 clusters (g), 15 in all for 200 facts'; expected fewer "
        "columns than clusters and facts. At qloc.fit. Leave terms out, or cluster by a column of more values."
    )
    few = frame.head(16).assign(row=[f"r{row}" for row in range(16)])
    with pytest.raises(InputError, match="16 columns for 16 clusters"):
        fit_frame(few, "y ~ row", "row", draws=QUICK)
    with pytest.raises(InputError, match=r"formula 'kappa ~ subject' is '.* columns for 6 clusters"):
        qloc.fit(planted, "kappa ~ subject", draws=QUICK)


def test_a_model_near_what_clusters_can_tell_says_so(frame):
    near = fit_frame(
        frame.assign(many=[f"v{row % 8}" for row in range(200)]), "y ~ x + many", "g", draws=QUICK
    )
    assert near.tests[0].checks == (
        "Few clusters or facts (15, 200) for 9 columns: p and interval are rough.",
    )
    assert fit_frame(frame, "y ~ x + z", "g", draws=QUICK).tests[0].checks == ()


def test_effects_of_groups_that_lie_in_a_cluster_cost_none(frame):
    """15 clusters: their own effects are nested in them; 14 groups across them are clusters, too."""
    assert fit_frame(frame, "y ~ x", "g", within="g", draws=QUICK)["x"].n["clusters"] == 15
    across = frame.assign(h=np.arange(200) % 14)
    crossing = fit_frame(across, "y ~ x", "g", within="h", draws=QUICK)
    assert (crossing.cluster, crossing["x"].n["clusters"]) == ("h and g", 14)


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ("w ~ x", "outcome is 'w[a], w[b]'; expected one column of numbers as outcome. At w ~ x. Give one; "
         "a class as 0 and 1."),
        ("y ~ nothing", "number of facts is 0; expected facts with a value in every column of the formula. "
         "At y ~ nothing. Leave out a column."),
        ("same ~ x", "formula is 'same ~ x'; expected an outcome that differs between facts. At qloc.fit. "
         "Choose another outcome."),
        ("total ~ x + z", "formula is 'total ~ x + z'; expected an outcome that the terms do not determine by "
         "themselves. At qloc.fit. Leave out what it is made of."),
    ],
)  # fmt: skip
def test_an_outcome_that_says_nothing_is_refused(frame, formula, told):
    frame = frame.assign(nothing=np.nan, same=3.0, total=2 * frame.x - frame.z + 1)
    with pytest.raises(InputError) as caught:
        fit_frame(frame, formula, "g", draws=QUICK)
    assert str(caught.value) == told


def test_an_outcome_that_only_differs_between_groups_is_refused_within_them(frame):
    with pytest.raises(InputError, match="expected an outcome that differs between facts of one g"):
        fit_frame(frame.assign(of_group=frame.g * 2.0), "of_group ~ x", "g", within="g", draws=QUICK)


def test_facts_without_a_cluster_or_group_are_left_out_and_counted(frame):
    frame["h"] = frame.g.astype(str)
    frame.loc[:2, "h"] = None
    for cluster, within in (("h", None), ("g", "h")):
        found = fit_frame(frame, "y ~ x", cluster, within=within, draws=QUICK)
        rest = fit_frame(frame[3:], "y ~ x", cluster, within=within, draws=QUICK)
        assert (found.n, found.left_out) == (197, 3)
        assert found["x"].estimate == pytest.approx(rest["x"].estimate)
        assert str(found).startswith("y ~ x, 197 facts (3 without a value left out), ")


def test_units_of_a_column_do_not_matter(frame):
    plain = fit_frame(frame, "y ~ x + z", "g", draws=QUICK)["x"]
    for unit in (1e-15, 1e12):
        found = fit_frame(frame.assign(x=frame.x * unit), "y ~ x + z", "g", draws=QUICK)["x"]
        assert found.estimate * unit == pytest.approx(plain.estimate)
        assert (found.p, found.p_equivalence) == pytest.approx((plain.p, plain.p_equivalence))
        assert found.interval is not None
        assert plain.interval is not None
        assert found.interval.low * unit == pytest.approx(plain.interval.low)


def test_an_intercept_within_groups_has_no_error_of_its_own(frame):
    """Residuals add to 0 in each group, so that the interval would have no width."""
    intercept = fit_frame(frame, "y ~ z", "g", within="g", draws=QUICK)["Intercept"]
    assert intercept.interval is None
    assert intercept.estimate == pytest.approx(frame.y.mean(), abs=0.2)


def test_a_model_that_nearly_fits_clusters_shows_no_equality():
    """10 clusters, 9 columns: errors are far too small, and t-tests alone find slopes within the margin."""
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        g = np.repeat(np.arange(10), 6)
        columns = {f"x{place}": rng.normal(size=10)[g] for place in range(8)}
        frame = pd.DataFrame({"y": rng.normal(size=10)[g] + rng.normal(size=60), "g": g, **columns})
        slope = fit_frame(frame, "y ~ " + " + ".join(columns), "g", margin=0.3, draws=QUICK)["x0"]
        found += slope.verdict == "no relevant difference"
    assert found <= 2


def test_a_column_of_few_values_cannot_cluster(frame):
    with pytest.raises(InputError, match="cluster is 'w'; expected a column with at least three values"):
        fit_frame(frame, "y ~ x", "w")


def test_a_fit_prints_rounded_numbers(frame):
    """With hardly any noise: R² is 1, and three significant digits of everything else."""
    frame["y"] = 1234.5678 * frame.x - 0.00321 + 1e-4 * (np.arange(200) % 2 - 0.5)
    head, intercept, slope = str(fit_frame(frame, "y ~ x", "g", draws=QUICK)).split("\n")
    assert head == "y ~ x, 200 facts, clustered by g, R² 1"
    assert intercept.startswith("Intercept: y where all other terms are 0 is −0.0032")
    assert slope.startswith(
        "x: slope of y on x, other terms of the formula held is 1,235 (95% interval 1,235 to"
    )
