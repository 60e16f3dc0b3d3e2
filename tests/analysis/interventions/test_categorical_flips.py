"""H14: decisions turned round, by brute force, and against planted controls."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.hypotheses import flips_beyond_matched
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.categorical_flips import Flips
from qloc.errors import InputError
from qloc.vocabulary import NEURON_SET, OPERATION, QUERY

DRAWS = Draws(n_permutations=99)
ARMS = (OPERATION, NEURON_SET, QUERY)


def with_pairs(study: Study, lost: float = 4.0) -> Study:
    """The last two relations pass for paradigms; N_i takes ``lost`` from what good forms are ahead, once in two."""
    group, rng = study.interventions.load(), np.random.default_rng(3)
    relation = study.column("queries", "relation").astype(str)
    kind = np.where(np.isin(relation, np.unique(relation)[-2:]), "minimal_pair", "fact")
    ahead = rng.choice([-1.0, 1.0, 3.0], size=len(kind))
    gone = lost * (group[NEURON_SET].values == "own")[None, :, None] * (rng.random(len(kind)) < 0.5)
    after = group["log_probability"].values - ahead + gone
    further = {
        "bad_log_probability": (ARMS, np.where(kind == "minimal_pair", after, np.nan)),
        "base_bad_log_probability": (
            (QUERY,),
            np.where(kind == "minimal_pair", group["base_log_probability"].values - ahead, np.nan),
        ),
    }
    groups = {"interventions": group.assign(further), "queries": study.queries.assign(kind=(QUERY, kind))}
    return replace(study, datasets={**study.datasets, **groups})


@pytest.fixture(scope="module")
def paired(changed_study: Study) -> Study:
    return with_pairs(changed_study)


@pytest.mark.parametrize("decision", ["first", "preferred"])
def test_flips_by_brute_force(paired, decision):
    found, flips = paired.interventions, Flips.of(paired, decision)
    at = {OPERATION: "suppress", NEURON_SET: "own"}
    values = {name: found[name].sel(at).values for name in ("log_probability", "rank", "bad_log_probability")}
    leaks, kind = paired.column("facts", "leaks"), paired.column("queries", "kind")
    fact = paired.column("queries", "fact")
    expected: dict[int, list[float]] = {}
    for query in range(len(kind)):
        if leaks[fact[query]] == 1 or np.isnan(values["log_probability"][query]):
            continue
        base = {name: found[f"base_{name}"].values[query] for name in values}
        if decision == "first" and kind[query] == "fact" and base["rank"] == 1:
            expected.setdefault(fact[query], []).append(values["rank"][query] > 1)
        if decision == "preferred" and kind[query] == "minimal_pair":
            if base["log_probability"] > base["bad_log_probability"]:
                turned = values["log_probability"][query] < values["bad_log_probability"][query]
                expected.setdefault(fact[query], []).append(turned)
    shares = flips.shares("suppress", "own")
    assert np.flatnonzero(~np.isnan(shares)).tolist() == sorted(expected)
    for number, turned in expected.items():
        assert shares[number] == pytest.approx(np.mean(turned))
    test = flips_beyond_matched(paired, decision=decision, draws=DRAWS)
    assert test.estimate == pytest.approx(np.nanmean(flips.beyond("suppress", "own", "matched")))
    assert test.name == {"first": "H14a", "preferred": "H14b"}[decision]
    assert (test.estimate > 0.2, test.margin) == (True, 0.05)


def test_pairs_that_stay_are_no_flips(changed_study):
    """N_i takes nothing from what good forms are ahead: no share, under N_i or its control, is above 0."""
    still = Flips.of(with_pairs(changed_study, lost=0.0), "preferred")
    for arm in ("own", "matched"):
        shares = still.shares("suppress", arm)
        assert np.nansum(shares) == 0
        assert not np.isnan(shares).all()


def test_what_a_store_does_not_tell(changed_study):
    untold = flips_beyond_matched(changed_study, decision="preferred", draws=DRAWS)
    assert untold.verdict == "not identified"
    assert any("extract minimal pairs with --probes" in check for check in untold.checks)
    with pytest.raises(InputError, match=r"^decision is 'all'; expected first or preferred\."):
        flips_beyond_matched(changed_study, decision="all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected arms own and matched under nothing"):
        flips_beyond_matched(changed_study, operation="nothing")
