"""Which pass each token of a further answer is read from; that the numbers are right, test_neurons.py shows."""

from __future__ import annotations

from qloc.extract.passes.further_answers import FurtherAnswers
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery, Tokens
from qloc.facts import Query

QUERY = Query(template="t", text="A cat [Y]")


def _asked(*tokens: int) -> TokenizedQuery:
    """Ask one prompt of two tokens with an answer of these tokens, teacher-forced."""
    targets = [Target(ids=(1, 2, *tokens[:n]), position=1 + n, token=token) for n, token in enumerate(tokens)]
    return TokenizedQuery(query=QUERY, answer="a", targets=tuple(targets))


def test_tokens_share_the_passes_of_their_own_query() -> None:
    answers = [_asked(7, 8), _asked(9)]
    further = FurtherAnswers.of(Tokens.of(answers), [[_asked(5), _asked(7, 6)], [None, _asked(5, 6)]], 2)
    assert further.shape == (2, 2)
    assert further.n_own == 3
    assert further.other.tolist() == [3]  # the second query's second token, behind another word
    assert (further.targets[3].ids, further.query.tolist()) == ((1, 2, 5), [0, 0, 1, 1])
    assert further.count.tolist() == [2, 1, 1, 1]
    assert further.first.tolist() == [0, 2, 3, 4]
    assert further.token.tolist() == [5, 7, 6, 5, 6]
    assert further.place.tolist() == [0, 1, 1, 1, 1]


def test_a_unit_without_queries_has_no_passes() -> None:
    none = FurtherAnswers.of(Tokens.of([]), [], 3)
    assert (none.shape, none.other.tolist(), none.count.tolist()) == ((0, 3), [], [])
