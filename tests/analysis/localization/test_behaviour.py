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


def test_the_slope_is_told_net_of_the_error_of_kappa():
    """κ is measured with an error as large as itself: the slope is halved, and told whole."""
    rng, slopes = np.random.default_rng(0), []
    for _ in range(40):
        relation = np.repeat(np.arange(8), 25)
        true, other = rng.normal(size=(2, 200))
        frame = pd.DataFrame(
            {
                "relation": relation,
                "kappa": true + other + rng.normal(size=200),
                "template_kappa": other,
                "kappa_error": 1.0,
                "agreement": 2 * true + other + rng.normal(size=200),
            }
        )
        result = behaviour_test(frame, "agreement", draws=DRAWS, second_opinion=False)
        (said,) = (check for check in result.checks if check.startswith("Reliability of κ"))
        told, reach = said.removesuffix("].").split("the slope is up to ")[1].split(" [")
        low, high = map(float, reach.split(", "))
        slopes.append((result.estimate, float(told.replace("−", "-")), low < 2 < high))
    estimate, net, held = np.mean(slopes, axis=0)
    assert estimate == pytest.approx(1, abs=0.05)
    assert net == pytest.approx(2, abs=0.1)
    assert held >= 0.85  # of 40: 95% less three standard errors


def test_kappa_that_is_nearly_all_error_is_not_corrected(rng):
    frame = pd.DataFrame({"relation": np.repeat(np.arange(5), 20), "kappa": rng.normal(size=100)})
    frame["agreement"] = frame["kappa"] + rng.normal(size=100)
    for error, said in ((0.97, "too little to tell the slope net of error"), (np.nan, "")):
        checks = behaviour_test(frame.assign(kappa_error=error), "agreement", draws=DRAWS).checks
        found = [check for check in checks if check.startswith("Reliability of κ")]
        assert len(found) == bool(said)
        assert all(said in check for check in found)
