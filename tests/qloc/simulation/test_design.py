"""The design of a planted study: labels agree with each other, answers are shared as asked."""

from typing import Any

import numpy as np
import pytest

from qloc.errors import InputError
from qloc.simulation.planted import plant

PLANTING: dict[str, Any] = {
    "facts": 30,
    "relations": 3,
    "templates": 4,
    "one_to_one": 1,
    "n_neurons": 32,
    "pairs": 5,
}


def test_columns_agree_with_each_other():
    planted = plant(**PLANTING, seed=1)
    facts = planted.outline.facts
    for block in planted.blocks():
        q = block.queries
        assert (q["relation"] == facts["relation"][q["fact"]]).all()
        assert (q["answer"] == facts["object"][q["fact"]]).all()
        assert ((q["rank"] == 1) == (q["known"] == 1)).all()
        assert np.isnan(q["bad_log_probability"][q["kind"] == "fact"]).all()
    leaks = [o.casefold() in s.casefold() for o, s in zip(facts["object"], facts["subject"], strict=True)]
    assert leaks == (facts["leaks"] == 1).tolist()
    counted = np.bincount(np.concatenate([b.queries["fact"] for b in planted.blocks()]), minlength=35)
    assert facts["n_queries"].tolist() == counted.tolist()


def test_answers_are_shared_as_asked():
    facts = plant(
        facts=100, relations=4, answers_per_relation=3, one_to_one=2, shared_answers=0.67, seed=1
    ).outline.facts
    answers = {r: set(facts["object"][facts["relation"] == r]) for r in np.unique(facts["relation"])}
    assert [len(found) for found in answers.values()] == [3, 3, 25, 25]
    assert {"common-0", "common-1"} <= answers["R01"] & answers["R02"]


def test_every_problem_is_named_at_once():
    with pytest.raises(InputError) as caught:
        plant(facts=10, fact_strength=1.5, templates=0)
    assert str(caught.value) == (
        "fact_strength is 1.5; expected a share in [0, 1]. At planting. Correct it.\n"
        "templates is 0; expected a whole number ≥ 1. At planting. Correct it."
    )
    with pytest.raises(InputError, match="unexpected keyword argument 'fact'"):
        plant(fact=10)


def test_values_of_another_type_are_named_too():
    with pytest.raises(InputError) as caught:
        plant(facts="a", relations=2.5, noise=None, one_to_one="b")
    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "noise is None", "facts is 'a'", "relations is 2.5", "one_to_one is 'b'",
    ]  # fmt: skip
    with pytest.raises(InputError, match="facts is 0; expected at least one fact or pair"):
        plant(facts=0)
