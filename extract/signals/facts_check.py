"""``qloc facts check``: count the queries that a model can be asked, and those that it knows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qloc.extract.models.output_head import Head
from qloc.extract.prompts.tokenizing import Encoder, Target, TokenizedQuery
from qloc.extract.signals.answers import answers_scored, other_right_answers, scored
from qloc.extract.signals.extraction import Extraction
from qloc.extract.signals.query_columns import not_finite
from qloc.facts import ANSWER_MARK, INVERSE, SYNONYMS, Fact, Query, fill

AT_A_TIME = 32
"""Facts whose queries are scored together."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One fact, and how many of its queries the model can be asked and knows.

    Attributes
    ----------
    fact : Fact
        The fact.
    n_askable : int
        Queries that the model can be asked.
    n_known : int
        Queries for which a right answer ranks first, and minimal pairs whose good continuation is likelier
        than the bad one, as in the column ``known`` of a store.
    n_whole : int, default 0
        Pairs that were compared as whole sentences, since the model cannot be asked them.
    n_whole_known : int, default 0
        Those of them whose good sentence is likelier.
    entailed : mapping of str to (int, int), default {}
        By what the fact entails, ``an inverse`` (if its object has one subject) or ``synonyms``: prompts that
        the model can be asked, and those whose answer ranks first before anything is edited.
    """

    fact: Fact
    n_askable: int
    n_known: int
    n_whole: int = 0
    n_whole_known: int = 0
    entailed: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Queries that headline figures use: the known ones, of a fact that does not leak its answer."""
        return 0 if self.fact.leaks else self.n_known


def checked(extraction: Extraction, *, whole_sentences: bool = False) -> Iterator[Checked]:
    """Check every fact, in input order, by plain forward passes without gradients.

    Parameters
    ----------
    extraction : Extraction
        Model and facts.
    whole_sentences : bool, default False
        Whether to compare pairs that a causal model cannot be asked, since what decides them does not stand
        before ``[Y]``, by log P of the whole sentences: Σ log P(token | tokens before), from the second on.

    Yields
    ------
    Checked
        One for each fact.

    Raises
    ------
    InputError
        The model cannot be asked any query.
    ModelError
        A number is not finite; the message names the query.
    """
    facts, asked = extraction.facts.facts, extraction.asking.asked
    for start in range(0, len(facts), AT_A_TIME):
        chosen = range(start, min(start + AT_A_TIME, len(facts)))
        queries = [(fact, query) for fact in chosen for query in asked[fact]]
        known = _known(extraction, [(facts[fact], query) for fact, query in queries])
        n_known = dict.fromkeys(chosen, 0)
        for (fact, _), is_known in zip(queries, known, strict=True):
            n_known[fact] += is_known
        entailed = _entailed(extraction, facts[chosen.start : chosen.stop])
        for fact in chosen:
            whole = _whole(extraction, facts[fact]) if whole_sentences and not asked[fact] else []
            yield Checked(
                fact=facts[fact],
                n_askable=len(asked[fact]),
                n_known=n_known[fact],
                n_whole=len(whole),
                n_whole_known=sum(whole),
                entailed=entailed[fact - start],
            )


def _known(extraction: Extraction, queries: list[tuple[Fact, TokenizedQuery]]) -> list[bool]:
    """Return whether any right answer ranks first; of pairs, whether good is likelier than bad."""
    loaded, encoder = extraction.loaded, extraction.source.encoder()
    head = _head(extraction)

    def score(numbered: list[tuple[int, TokenizedQuery]]) -> list[tuple[int, float, int]]:
        scores = answers_scored(loaded, head, [query for _, query in numbered])
        for (place, query), (log_probability, _) in zip(numbered, scores, strict=True):
            if not math.isfinite(log_probability):
                raise not_finite(query, queries[place][0])
        return [(place, *of) for (place, _), of in zip(numbered, scores, strict=True)]

    own = score([(place, query) for place, (_, query) in enumerate(queries)])
    known = [rank == 1 for _, _, rank in own]
    for place, log_probability, _ in score(_bad_continuations(encoder, queries)):
        known[place] = own[place][1] > log_probability
    for place, _, rank in score(other_right_answers(encoder, queries, known)):
        known[place] |= rank == 1
    return known


def _bad_continuations(
    encoder: Encoder, queries: list[tuple[Fact, TokenizedQuery]]
) -> list[tuple[int, TokenizedQuery]]:
    """Return the pairs among some queries, by place, asked with their bad continuations."""
    every = [(place, fact.bad_of(query.query), query) for place, (fact, query) in enumerate(queries)]
    asked = [
        (n, encoder.ask(query.query, bad, ignore_tail=True)) for n, bad, query in every if bad is not None
    ]
    return [(place, query) for place, query in asked if isinstance(query, TokenizedQuery)]


def _entailed(extraction: Extraction, facts: Sequence[Fact]) -> list[dict[str, tuple[int, int]]]:
    """Count, of each fact, the prompts of what it entails that can be asked, and those that are known."""
    encoder = extraction.source.encoder()
    every = [
        (n, what, query, answer) for n, fact in enumerate(facts) for what, query, answer in _prompts(fact)
    ]
    tokenized = [(n, what, encoder.ask(query, answer)) for n, what, query, answer in every]
    asked = [(n, what, query) for n, what, query in tokenized if isinstance(query, TokenizedQuery)]
    scores = answers_scored(extraction.loaded, _head(extraction), [query for *_, query in asked])
    counts: list[dict[str, tuple[int, int]]] = [{} for _ in facts]
    for (n, what, _), (_, rank) in zip(asked, scores, strict=True):
        n_asked, n_known = counts[n].get(what, (0, 0))
        counts[n][what] = (n_asked + 1, n_known + (rank == 1))
    return counts


def _prompts(fact: Fact) -> Iterator[tuple[str, Query, str]]:
    """Yield the prompts of a fact's inverse, if it is one fact, and of its synonyms, with their answers."""
    entailed = fact.entailed
    if entailed is None:
        return
    if entailed.inverse is not None and entailed.n_subjects == 1:
        for query in entailed.inverse.queries:
            yield INVERSE, replace(query, text=fill(query.text, fact.object)), entailed.inverse.answer
    for group in entailed.synonyms:
        for query in group.queries:
            yield SYNONYMS, query, group.answer


def _whole(extraction: Extraction, fact: Fact) -> list[bool]:
    """Return of each pair of a fact whether the good sentence is likelier than the bad one, as a whole."""
    if extraction.source.family != "causal" or fact.cue_in_prefix:
        return []
    sentences = []
    for query in fact.queries:
        bad = fact.bad_of(query)
        both = (fact.answer_of(query), bad or "")
        sentences.append([query.text.replace(ANSWER_MARK, form) for form in both])
    return [good > bad for good, bad in ([_log_p(extraction, s) for s in pair] for pair in sentences)]


def _log_p(extraction: Extraction, sentence: str) -> float:
    """Return Σ log P(token | tokens before) of a sentence, from its second token on; nats."""
    ids = extraction.source.tokenizer(sentence)["input_ids"]
    targets = [Target(ids=tuple(ids[:n]), position=n - 1, token=ids[n]) for n in range(1, len(ids))]
    return sum(log_p for log_p, _ in scored(extraction.loaded, _head(extraction), targets))


def _head(extraction: Extraction) -> Head:
    loaded = extraction.loaded
    return Head(model=loaded.model, module=loaded.sites.head, chunk_bytes=extraction.plan.memory // 4)
