"""What examples/ and the docs show is what qloc reads."""

from __future__ import annotations

from pathlib import Path

from qloc.extract.datasets import read_facts
from qloc.plan import plan_from

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_example_facts_are_read() -> None:
    facts = read_facts(str(EXAMPLES / "facts.jsonl"))
    assert facts.relations() == ["capital", "language", "determiner-noun"]
    swiss = [fact for fact in facts.facts if fact.subject == "Switzerland"]
    assert [set(fact.objects) for fact in swiss] == [{"German", "French"}] * 2
    assert facts.facts[0].queries[2].template == "capital-seat"
    assert (facts.facts[-1].object, facts.facts[-1].bad, facts.facts[-1].feature) == ("cats", "cat", "plural")


def test_example_plan_is_read_and_says_what_the_defaults_are() -> None:
    plan = plan_from(EXAMPLES / "plan.yaml")
    assert plan.methods == ("ig", "grad_x_act")
    assert plan.analysis == type(plan.analysis)(confirmatory=("H1a", "H1b"))
