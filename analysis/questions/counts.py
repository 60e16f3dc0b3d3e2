"""The question "What was asked, and what does the model know?"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import percent
from qloc.text.rounding import counted
from qloc.vocabulary import PAIR

PAIRS: Final = "minimal pairs"
"""Name of the number of minimal pairs that were asked."""

GROUPS: Final = "groups of minimal pairs"
"""Name of the number of groups that they make up."""


def counts_question(context: AnalysisContext) -> Question:
    """Count what is askable, known, leaking and excluded, in all and by relation.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    counts = study_counts(context)
    return Question(
        id="counts",
        title="What was asked, and what does the model know?",
        answer=(_answer_of_pairs if context.pairs_alone else _answer)(counts),
        tables=(counts_by_relation(context), left_out(context)),
        method=(
            "A query is known where a right answer ranks first. Facts whose answer is contained in their "
            "subject (case folded) leak it and are excluded from every score. A minimal pair is known where "
            "its good form is likelier; a group of pairs is what a fact is. Scores run over known "
            "queries with a non-empty set of knowledge neurons; a fact needs two of them."
        ),
    )


def _answer(counts: Mapping[str, int]) -> str:
    n_facts, n_queries, pairs = counts["facts"], counts["queries"], counts[PAIRS]
    share = counts["queries known"] / n_queries if n_queries else float("nan")
    answer = (
        f"Asked: {counted(n_facts, 'fact')} with {counted(n_queries, 'query')}; a right answer ranked "
        f"first for {percent(share)} of the queries. Left out for having the answer in the subject: "
        f"{counted(counts['facts leaking'], 'fact')}. With at least two known queries that have knowledge "
        f"neurons, {counted(counts['facts compared'], 'fact')} can be compared."
    )
    if pairs:
        answer += f" Besides, {pairs_in_words(counts)} {'was' if pairs == 1 else 'were'} asked."
    return answer


def _answer_of_pairs(counts: Mapping[str, int]) -> str:
    share, groups = counts["queries known"] / counts["queries"], counted(counts["facts compared"], "group")
    return (
        f"Asked: {pairs_in_words(counts)}; the good form is likelier in {percent(share)} of them. With at "
        f"least two known pairs that have knowledge neurons, {groups} can be compared."
    )


def pairs_in_words(counts: Mapping[str, int]) -> str:
    """Return how many minimal pairs were asked, and in how many groups.

    Parameters
    ----------
    counts : mapping of str to int
        Of :func:`study_counts`.

    Returns
    -------
    str
        Without groups where each pair stands alone.

    Examples
    --------
    >>> pairs_in_words({"minimal pairs": 60, "groups of minimal pairs": 4})
    '60 minimal pairs in 4 groups'
    >>> pairs_in_words({"minimal pairs": 6, "groups of minimal pairs": 6})
    '6 minimal pairs'
    """
    n_pairs, n_groups = counts[PAIRS], counts[GROUPS]
    told = counted(n_pairs, "minimal pair")
    return told if n_groups == n_pairs else f"{told} in {counted(n_groups, 'group')}"


def study_counts(context: AnalysisContext) -> dict[str, int]:
    """Count what entered and what was left out, by reason.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    dict of str to int
        Reason, in words → number. Facts are groups of minimal pairs, and queries are pairs, where the study
        has nothing else.
    """
    sets, here, of_query = context.sets, context.of_headline, context.sets.of_facts()
    leaking = sets.facts["leaks"][sets.queries["fact"]]
    queried = np.bincount(sets.queries["fact"], minlength=sets.n_facts) > 0
    counts = {
        "facts": int(np.sum(here)),
        "facts without a query": int(np.sum(here & ~queried)),
        "facts leaking": int(np.sum(sets.facts["leaks"] & here)),
        "facts compared": int(np.sum(context.scores["k"].values >= 2)),
        "queries": int(np.sum(of_query)),
        "queries known": int(np.sum(sets.queries["known"] & of_query)),
        "queries of leaking facts": int(np.sum(leaking & of_query)),
        "known queries without knowledge neurons": int(context.scores["n_empty"].values.sum()),
        PAIRS: context.pairs.n_queries,
        GROUPS: len(np.unique(context.pairs.queries["fact"])),
    }
    return counts | {f"not asked: {reason}": count for reason, count in excluded(context.study.attrs).items()}


def excluded(attrs: Mapping[str, Any]) -> dict[str, int]:
    """Return the queries that could not be asked, by reason, as the store counted them.

    Parameters
    ----------
    attrs : mapping
        Attributes of the store.

    Returns
    -------
    dict of str to int
        Empty where the store does not say.
    """
    by_reason = attrs.get("excluded", {})
    if not isinstance(by_reason, Mapping):
        return {}
    return {str(reason): int(count) for reason, count in by_reason.items() if isinstance(count, int | float)}


def left_out(context: AnalysisContext) -> Table:
    """Return table ``left_out``.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Table
        ``reason``, ``number``.
    """
    keep = ("facts without a query", "facts leaking", "queries of leaking facts", "known queries without")
    counts = {k: n for k, n in study_counts(context).items() if k.startswith((*keep, "not asked"))}
    frame = pd.DataFrame({"reason": list(counts), "number": list(counts.values())})
    return Table.from_frame(frame, name="left_out", title="What was left out, by reason")


def counts_by_relation(context: AnalysisContext) -> Table:
    """Return table ``counts_by_relation``.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Table
        One row for each relation.
    """
    sets, (names, code) = context.sets, context.relations
    n, q, leaks = len(names), sets.queries, sets.facts["leaks"]
    of_query = code[q["fact"]]
    known = q["known"] & ~leaks[q["fact"]]

    def facts_where(mask: Any) -> Any:
        return np.bincount(code[mask], minlength=n)

    queries = np.bincount(of_query, minlength=n)
    n_known = np.bincount(of_query[known], minlength=n)
    n_asked = np.bincount(of_query[~leaks[q["fact"]]], minlength=n)
    answers = pd.Series(sets.facts["object"]).groupby(code).nunique().reindex(range(n), fill_value=0)
    templates = pd.Series(q["template"]).groupby(of_query).nunique().reindex(range(n), fill_value=0)
    n_facts = facts_where(np.ones(len(code), dtype=bool))
    frame = pd.DataFrame(
        {
            "relation": names,
            "kind": [_kind(context, code == r) for r in range(n)],
            "facts": n_facts,
            "leaking": facts_where(leaks),
            "answers": answers.to_numpy(),
            "templates": templates.to_numpy(),
            "queries": queries,
            "known": n_known,
            "known_share": np.divide(n_known, n_asked, out=np.full(n, np.nan), where=n_asked > 0),
            "compared": [_compared(context, code == r) for r in range(n)],
            "one_to_one": answers.to_numpy() == n_facts,
        }
    )
    labels = {
        "leaking": "facts with the answer in the subject",
        "known": "known queries (leaking facts aside)",
        "known_share": "share known (leaking facts aside)",
        "compared": "facts with two known, non-empty queries",
        "one_to_one": "every fact has an answer of its own",
    }
    return Table.from_frame(
        frame, name="counts_by_relation", title="What was asked, by relation", labels=labels
    )


def _compared(context: AnalysisContext, here: Any) -> int:
    return int(np.sum(context.scores_of(here)["k"].values[here] >= 2))


def _kind(context: AnalysisContext, here: Any) -> str:
    return PAIR if np.any(context.kind_of_fact[here] == PAIR) else "fact"
