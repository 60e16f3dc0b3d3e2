"""Which passes are attributed: of an answer, of one continuation, or of the contrast of two."""

from __future__ import annotations

from typing import Any

import pytest

from qloc.errors import InputError
from qloc.extract.prompts.minimal_pairs import attributed, refuse_contrast_of_facts
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery
from qloc.facts import Fact, FactSet, Query
from qloc.plan import Plan

QUERY = Query(template="t", text="a [Y]")
FACT = Fact(id="f", relation="r", subject="s", object="g", queries=(QUERY,))
PAIR = Fact(id="p", relation="r", subject="s", object="g", bad="b", kind="minimal_pair", queries=(QUERY,))


def continuation(*tokens: int) -> TokenizedQuery:
    """A causal query: the prompt is token 0, each pass reads the continuation up to its token."""
    targets = tuple(Target(ids=(0, *tokens[:n]), position=n, token=token) for n, token in enumerate(tokens))
    return TokenizedQuery(query=QUERY, answer="g", targets=targets)


class Encoded:
    """An encoder to which the bad continuation is these tokens, or cannot be asked."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = tokens

    def ask(self, query: Query, answer: str, *, ignore_tail: bool) -> TokenizedQuery | str:
        assert (query, answer, ignore_tail) == (QUERY, "b", True)
        return continuation(*self.tokens) if self.tokens else "no token for the answer"


def passes(good: tuple[int, ...], bad: tuple[int, ...], target: Any, tokens: Any = "all") -> list[Any]:
    """(last token read, token, token subtracted, number, weight, share) of each pass."""
    encoder: Any = Encoded(*bad)
    return [
        (one.target.ids[-1], one.target.token, one.target.against, one.number, one.weight, one.share)
        for one in attributed([continuation(*good)], [PAIR], encoder, tokens, target)
    ]


def test_a_fact_keeps_its_answer_whatever_the_target() -> None:
    encoder: Any = None  # never asked
    for target in ("good", "bad", "contrast"):
        found = attributed([continuation(7), continuation(1, 2)], [FACT, FACT], encoder, "all", target)
        assert [(p.query, p.target.token, p.number, p.weight, p.share) for p in found] == [
            (0, 7, 0, 1.0, 1.0),
            (1, 1, 0, 0.5, 0.5),
            (1, 2, 1, 0.5, 0.5),
        ]


def test_one_continuation() -> None:
    assert passes((1, 2), (3,), "good") == [(0, 1, None, 0, 0.5, 0.5), (1, 2, None, 1, 0.5, 0.5)]
    assert passes((1, 2), (1, 4), "bad") == [(0, 1, None, 0, 0.5, 0.5), (1, 4, None, 1, 0.5, 0.5)]
    assert passes((1,), (3, 4), "bad") == [(0, 3, None, 0, 0.5, 0.5), (3, 4, None, -1, 0.5, 0.5)]
    assert passes((1, 2), (3, 4), "good", "first") == [(0, 1, None, 0, 1.0, 1.0)]


def test_a_contrast_shares_passes_up_to_where_the_continuations_part() -> None:
    assert passes((1,), (3,), "contrast") == [(0, 1, 3, 0, 1.0, 1.0)]
    assert passes((1, 2), (1, 4), "contrast") == [(0, 1, 1, 0, 0.5, 0.5), (1, 2, 4, 1, 0.5, 0.5)]
    assert passes((1, 2), (3, 4), "contrast") == [
        (0, 1, 3, 0, 0.5, 0.5),
        (1, 2, None, 1, 0.5, 0.25),
        (3, 4, None, -1, -0.5, 0.25),
    ]


def test_a_contrast_of_other_lengths_shares_no_pass() -> None:
    assert passes((1, 2), (3,), "contrast") == [
        (0, 1, None, 0, 0.5, 0.25),
        (1, 2, None, 1, 0.5, 0.25),
        (0, 3, None, 0, -1.0, 0.5),
    ]


@pytest.mark.parametrize("good", [(1,), (1, 2), (1, 2, 5)])
@pytest.mark.parametrize("bad", [(3,), (1, 4), (3, 4, 5), ()])
@pytest.mark.parametrize("target", ["good", "bad", "contrast"])
def test_shares_sum_to_one_and_weights_to_the_target(
    good: tuple[int, ...], bad: tuple[int, ...], target: str
) -> None:
    found = passes(good, bad, target)
    assert sum(share for *_, share in found) == pytest.approx(1)
    paired = sum(weight for *_, against, _, weight, _ in found if against is not None)
    total = sum(weight for *_, weight, _ in found)
    expected = 0.0 if target == "contrast" and bad else 1.0  # one P, or the difference of two
    assert total - paired == pytest.approx(expected)


def test_a_target_of_pairs_is_refused_where_there_are_none() -> None:
    facts = FactSet(facts=(FACT,), source="f.jsonl", merged=0, skipped={})
    for target in ("bad", "contrast"):
        with pytest.raises(InputError) as caught:
            refuse_contrast_of_facts(Plan(model="m", facts="f.jsonl", target=target), facts)
        assert str(caught.value) == (
            f"target is '{target}'; expected 'good' where f.jsonl holds no minimal pair, the only facts with a bad "
            "continuation. At qloc extract --target. Leave it out."
        )
    refuse_contrast_of_facts(Plan(model="m", facts="f.jsonl"), facts)
    pairs = FactSet(facts=(FACT, PAIR), source="f.jsonl", merged=0, skipped={})
    refuse_contrast_of_facts(Plan(model="m", facts="f.jsonl", target="contrast"), pairs)
