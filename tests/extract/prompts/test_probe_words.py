"""What is asked of a query beside its answer, and under which names it is kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from qloc.extract.models.loading import source
from qloc.extract.prompts.probe_words import ProbeWords
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.facts import Fact, Query
from qloc.phase_plan import ProbePlan

QUERY = Query(template="t", text="A cat [Y]")
PAIR = Fact(
    id="p",
    relation="agreement",
    subject="",
    object="is",
    bad="has been",
    kind="minimal_pair",
    queries=(QUERY,),
)
FACT = Fact(id="f", relation="capital", subject="Kenya", object="Nairobi", queries=(QUERY,))


def test_a_query_is_asked_the_bad_continuation_then_the_words_of_its_relation(tiny: Any) -> None:
    encoder = source(str(tiny("gpt2").folder)).encoder()
    plan = ProbePlan(of_relations={"agreement": ("are", "was")})
    probes = ProbeWords.of(plan, [PAIR, FACT], encoder)
    assert (probes.n_words, probes.sizes) == (2, {"word": 2})
    assert probes.attrs == {"probes": {"agreement": ["are", "was"], "capital": ["Nairobi"]}}
    assert probes.names == ("bad_log_probability", "word_log_probability")
    for fact, expected in ((PAIR, ["has been", "are", "was"]), (FACT, [None, "Nairobi", None])):
        query = encoder.ask(QUERY, fact.object)
        assert isinstance(query, TokenizedQuery)
        assert [answer and answer.answer for answer in probes.ask(query, fact)] == expected
    values = np.arange(6.0).reshape(2, 3)
    stored = probes.stored(values)
    assert stored["bad_log_probability"].tolist() == [0.0, 3.0]
    assert stored["word_log_probability"].tolist() == [[1.0, 2.0], [4.0, 5.0]]


def test_nothing_is_asked_unless_probes_are(tiny: Any) -> None:
    encoder = source(str(tiny("gpt2").folder)).encoder()
    query = encoder.ask(QUERY, "is")
    assert isinstance(query, TokenizedQuery)
    for none in (
        ProbeWords.of(None, [PAIR, FACT], encoder),
        ProbeWords.of(ProbePlan(most=0), [FACT], encoder),
    ):
        assert (none.width, none.sizes, none.attrs, none.added("edits")) == (0, {}, {}, ())
        assert none.ask(query, FACT) == []
        assert none.stored(np.zeros((2, 0))) == {}
    bad_alone = ProbeWords.of(ProbePlan(most=0), [PAIR], encoder)
    assert bad_alone.added("edits") == ("edits/bad_log_probability", "edits/base_bad_log_probability")
