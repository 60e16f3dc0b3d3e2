"""H10: the slope against ordinary least squares, a planted slope, and what cannot be identified."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from qloc.analysis.inference.draws import Draws
from qloc.analysis.localization.behaviour import (
    OUTCOMES,
    BehaviourOutcome,
    behaviour_test,
    predicts_behaviour,
)
from qloc.analysis.localization.fact_columns import fact_columns
from qloc.simulation.simulate import simulate
from qloc.text.rounding import number, p_value

DRAWS = Draws(n_permutations=99, n_bootstrap=99)


def test_behaviour_is_least_squares_with_relation_dummies(study):
    frame = fact_columns(study, known=False).rename(columns={"class": "kind"})
    result = behaviour_test(frame, "agreement", draws=DRAWS)
    rows = frame.dropna(subset=["kappa", "agreement"])
    held = ["log_probability", "log_mean_size", "log_answer_count", "template_kappa", "template_agreement"]
    formula = f"agreement ~ kappa + {' + '.join(held)} + C(relation)"
    fit = smf.ols(formula, rows).fit()
    assert result.estimate == pytest.approx(fit.params["kappa"], rel=1e-8)
    assert result.checks[0] == f"Covariates, within relations: {', '.join(held)}."
    assert result.checks[1] == "Left out, constant within relations: n_tokens."


def test_the_second_opinion_is_a_mixed_model(rng):
    relation = np.repeat(np.arange(6), 10)
    frame = pd.DataFrame({"relation": relation, "kappa": rng.normal(size=60)})
    slope = 0.5 + 0.3 * rng.normal(size=6)[relation]
    frame["agreement"] = slope * frame["kappa"] + rng.normal(size=6)[relation] + 0.1 * rng.normal(size=60)
    result = behaviour_test(frame, "agreement", draws=DRAWS)
    frame["centred"] = frame["kappa"] - frame["kappa"].mean()
    model = smf.mixedlm("agreement ~ kappa", frame, groups=frame["relation"], re_formula="~centred")
    fit = model.fit(reml=True)
    assert (
        fit.bse["kappa"] > 0.05
    )  # with one slope for all relations, 0.02: it would count facts, not relations
    assert result.checks == (
        "Covariates, within relations: none.",
        "Second opinion, a mixed model with an intercept and a slope for each relation: "
        f"slope {number(fit.params['kappa'])}; p-value: {p_value(fit.pvalues['kappa'])}.",
        result.checks[2],
        "Smallest effect of interest: ±0.1 standard deviations.",
    )
    assert result.checks[2].startswith("Without any one of the 6 relations: ")
    alone = behaviour_test(frame, "agreement", draws=DRAWS, second_opinion=False)
    assert alone.checks == (result.checks[0], *result.checks[2:])
    assert alone.estimate == result.estimate


def test_a_study_and_its_table_give_the_same(study):
    result = predicts_behaviour(study, outcome="log_probability", draws=DRAWS)
    frame = fact_columns(study, known=False)
    assert result == behaviour_test(frame, "log_probability", draws=DRAWS, store=study.fingerprint)
    assert result.name == "H10c"


def test_behaviour_finds_a_planted_slope():
    study = simulate(facts=150, relations=10, templates=4, n_neurons=64, n_heads=0, seed=1)
    frame = fact_columns(study, known=False)
    frame["agreement"] += 2 * frame["kappa"]
    result = behaviour_test(frame, "agreement", draws=DRAWS)
    assert (result.name, result.verdict) == ("H10a", "holds")
    assert result.interval is not None
    assert result.interval.low < 2 < result.interval.high
    assert result.effect is not None
    assert result.effect.interval is not None
    assert result.effect.interval.low > 0


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_behaviour_needs_three_relations_and_variation(outcome: BehaviourOutcome):
    frame = pd.DataFrame({"relation": ["a", "a", "b"], "kappa": [0.1, 0.2, 0.3], outcome: [1.0, 2.0, 3.0]})
    result = behaviour_test(frame, outcome)
    assert (result.verdict, result.p) == ("not identified", None)


def of_true_kappa(seed, slope, errors):
    """Facts whose κ has errors of these variances, and an outcome that goes with κ as it is without."""
    rng = np.random.default_rng(seed)
    true, other = rng.normal(size=(2, len(errors)))
    return pd.DataFrame(
        {
            "relation": np.arange(len(errors)) % 8,
            "kappa": true + other + np.sqrt(errors) * rng.normal(size=len(errors)),
            "template_kappa": other,
            "kappa_error": errors,
            "agreement": slope * true + other + rng.normal(size=len(errors)),
        }
    )


def net_slope(frame):
    """What the check says: the slope net of error, and the ends of its interval; and the slope itself."""
    result = behaviour_test(frame, "agreement", draws=DRAWS, second_opinion=False)
    (said,) = (check for check in result.checks if check.startswith("Reliability of κ"))
    told = said.replace("−", "-").removesuffix("], as if this were known.").split("the slope is ")[1]
    slope, ends = told.split(" [")
    return float(slope), *map(float, ends.split(", ")), result.estimate


@pytest.mark.parametrize("slope", [2.0, -2.0])
def test_the_slope_is_told_net_of_the_error_of_kappa(slope):
    """κ has an error as large as itself: the slope is halved, and told whole (a ratio, hence the median)."""
    errors = np.tile([0.5, 1.5], 100)
    net, low, high, estimate = np.transpose(
        [net_slope(of_true_kappa(seed, slope, errors)) for seed in range(40)]
    )
    assert estimate.mean() == pytest.approx(slope / 2, abs=0.05)
    assert np.median(net) == pytest.approx(slope, abs=0.15)
    assert np.mean((low < slope) & (slope < high)) >= 0.85  # of 40: 95% less three standard errors


def test_kappa_that_is_nearly_all_error_or_of_unknown_error_is_not_corrected(rng):
    frame = pd.DataFrame({"relation": np.repeat(np.arange(5), 20), "kappa": rng.normal(size=100)})
    frame["agreement"] = frame["kappa"] + rng.normal(size=100)
    few = np.where(np.arange(100) < 80, 0.1, np.nan)  # the others have fewer queries, and larger errors
    for errors, said in ((0.97, ["too little to tell the slope net of error"]), (np.nan, []), (few, [])):
        checks = behaviour_test(frame.assign(kappa_error=errors), "agreement", draws=DRAWS).checks
        found = [check for check in checks if check.startswith("Reliability of κ")]
        assert [words in check for words, check in zip(said, found, strict=True)] == [True] * len(said)
