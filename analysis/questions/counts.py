"""The question "What was asked, and what does the model know?"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import percent
from qloc.text.rounding import counted
from qloc.vocabulary import PAIR


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
    n_facts, n_queries = counts["facts"], counts["queries"]
    share = counts["queries known"] / n_queries if n_queries else float("nan")
    names = ("facts leaking", "facts compared", "minimal pairs")
    leaking, compared, pairs = (counts[name] for name in names)
    answer = (
        f"Asked: {counted(n_facts, 'fact')} with {counted(n_queries, 'query')}; a right answer ranked "
        f"first for {percent(share)} of the queries. Left out for having the answer in the subject: "
        f"{counted(leaking, 'fact')}. With at least two known queries that have knowledge neurons, "
        f"{counted(compared, 'fact')} can be compared."
    )
    if pairs:
        answer += f" Besides, {counted(pairs, 'minimal pair')} {'was' if pairs == 1 else 'were'} asked."
    return Question(
        id="counts",
        title="What was asked, and what does the model know?",
        answer=answer,
        tables=(counts_by_relation(context), left_out(context)),
        method=(
            "A query is known where a right answer ranks first. Facts whose answer is contained in their "
            "subject (case folded) leak it and are excluded from every score. Scores run over known "
            "queries with a non-empty set of knowledge neurons; a fact needs two of them."
        ),
    )


def study_counts(context: AnalysisContext) -> dict[str, int]:
    """Count what entered and what was left out, by reason.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    dict of str to int
        Reason, in words → number.
    """
    sets, pair = context.sets, context.kind_of_fact == PAIR
    of_pair = sets.queries["kind"] == PAIR
    leaking = sets.facts["leaks"][sets.queries["fact"]]
    queried = np.bincount(sets.queries["fact"], minlength=sets.n_facts) > 0
    counts = {
        "facts": int(np.sum(~pair)),
        "facts without a query": int(np.sum(~pair & ~queried)),
        "facts leaking": int(np.sum(sets.facts["leaks"] & ~pair)),
        "facts compared": int(np.sum(context.scores["k"].values >= 2)),
        "queries": int(np.sum(~of_pair)),
        "queries known": int(np.sum(sets.queries["known"] & ~of_pair)),
        "queries of leaking facts": int(np.sum(leaking)),
        "known queries without knowledge neurons": int(context.scores["n_empty"].values.sum()),
        "minimal pairs": int(np.sum(pair)),
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
            "compared": facts_where(context.scores["k"].values >= 2),
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


def _kind(context: AnalysisContext, here: Any) -> str:
    return PAIR if np.any(context.kind_of_fact[here] == PAIR) else "fact"
