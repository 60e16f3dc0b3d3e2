"""One fact of a store as a page of text: its queries, its neurons, its scores, and what changing them did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from qloc.errors import InputError, message
from qloc.text.rounding import counted, fixed, number
from qloc.text.tables import cut, paragraph, table

if TYPE_CHECKING:
    from qloc.analysis.inputs.study import Study
    from qloc.analysis.one_fact import OneFact

MOST_FACTS: Final = 5
"""Facts that are shown whole; of more, a list."""

MOST_NEURONS: Final = 12
"""Neurons of a list that are named."""

_WIDEST: Final = 52
"""Letters of a prompt that are shown."""


def show(store: str | Path | Study, fact: str, *, method: str = "ig", threshold: float | None = None) -> str:
    """Write facts of a store by a part of their name, as ``qloc show`` prints them.

    Parameters
    ----------
    store : str, Path or Study
        A store, packed or not, or a URL; or one that is opened.
    fact : str
        A subject, an id, or a part of one.
    method : str, default "ig"
        Attribution method of the knowledge neurons.
    threshold : float or None
        Attribution > threshold · maximum; 0.2 where it is None.

    Returns
    -------
    str
        A page for each fact; of more than :data:`MOST_FACTS`, a list of them.

    Raises
    ------
    SchemaError
        The path is not a store.
    InputError
        No fact of that name, or a method that the store lacks.
    """
    from qloc.workflows.analyze import open_study

    study = open_study(store) if isinstance(store, str | Path) else store
    return fact_text(study, fact, method=method, threshold=threshold)[0]


def fact_text(
    study: Study, fact: str, *, method: str = "ig", threshold: float | None = None
) -> tuple[str, bool]:
    """Write facts by a part of their name.

    Parameters
    ----------
    study : Study
        An opened store.
    fact : str
        A subject, an id, or a part of one.
    method : str, default "ig"
        Attribution method of the knowledge neurons.
    threshold : float or None
        Attribution > threshold · maximum; 0.2 where it is None.

    Returns
    -------
    text : str
        A page for each fact; of more than :data:`MOST_FACTS`, a list of them.
    whole : bool
        Whether they are pages.

    Raises
    ------
    InputError
        No fact of that name, or a method that the store lacks.
    """
    from qloc.analysis.one_fact import find, one_facts

    rows = find(study, fact)
    if len(rows) > MOST_FACTS:
        heads = ["id", "subject", "relation", "object"]
        columns = [study.column("facts", name)[rows] for name in heads]
        listed = table(heads, [*zip(*columns, strict=True)])
        return f"{counted(len(rows), 'fact')} with {fact!r} in id or subject:\n{listed}", False
    pages = ["\n".join(_page(one)) for one in one_facts(study, rows, method=method, threshold=threshold)]
    return "\n\n\n".join(pages) + "\n", True


def _page(fact: OneFact) -> Iterator[str]:
    yield f"{fact.subject} – {fact.relation} – {fact.object}   ({fact.id})"
    if fact.attributes:
        yield paragraph(", ".join(f"{name}: {value}" for name, value in fact.attributes.items()))
    if fact.leaks:
        yield paragraph("The answer is contained in the subject: left out of every score.")
    yield ""
    if not fact.queries:
        yield paragraph("The model cannot be asked any of its queries.")
        return
    yield "Queries"
    yield table(
        ["prompt", "known", "log P", "rank", "|N|"],
        [[cut(q.prompt, _WIDEST), q.known, q.log_probability, q.rank, len(q.neurons)] for q in fact.queries],
    )
    yield f"\nKnowledge neurons ({fact.rule})"
    yield from _neurons(fact)
    yield paragraph(fact.certainty)
    yield from _promoted(fact)
    yield "\nScores over known queries"
    yield paragraph(_scores(fact))
    yield from _changed(fact)


def _neurons(fact: OneFact) -> Iterator[str]:
    if not fact.k:
        yield paragraph("No known query has any.")
        return
    yield paragraph(
        f"In any of the {counted(fact.k, 'known query')} that have some: {len(fact.count):,}. "
        f"In all of them: {len(fact.intersection):,}. In more than one: "
        f"{sum(c > 1 for c in fact.count.values()):,}."
    )
    named = [f"{_name(fact, n)} in {c:,}" for n, c in list(fact.count.items())[:MOST_NEURONS]]
    more = len(fact.count) - len(named)
    yield paragraph(f"Neuron in c_n queries: {', '.join(named)}{f' and {more:,} more' if more > 0 else ''}")


def _promoted(fact: OneFact) -> Iterator[str]:
    """Show the tokens whose logits the most frequent neurons raise and lower most."""
    shown = [neuron for neuron in list(fact.count)[:MOST_NEURONS] if neuron in fact.tokens]
    if not shown:
        return
    yield "\nTokens that they promote and suppress (row of the down-projection · output embedding)"
    for neuron in shown:
        most, least = _quoted(fact.tokens[neuron].promoted), _quoted(fact.tokens[neuron].suppressed)
        yield paragraph(f"{_name(fact, neuron)} promotes {most}; suppresses {least}")


def _quoted(tokens: tuple[str, ...]) -> str:
    return " ".join(f"“{token}”" for token in tokens)


def _name(fact: OneFact, neuron: int) -> str:
    return f"L{neuron // fact.n_neurons}.N{neuron % fact.n_neurons}"


def _scores(fact: OneFact) -> str:
    if fact.k < 2:
        return f"Not defined: {counted(fact.k, 'known query')} with knowledge neurons; two are needed."
    names = {"kappa": "κ", "kappa_same_answer": "κ (same answer)"}
    each = [f"{names.get(name, name)} {number(value)}" for name, value in fact.scores.items()]
    return f"{', '.join(each)}   (k = {fact.k})"


def _chosen_at(fact: OneFact) -> str:
    """Say by which rule neurons were changed, where it is another than the page's."""
    return (
        "" if fact.changed_by in ("", fact.rule) else f" (of neurons by {fact.changed_by}, not {fact.rule})"
    )


def relations_text(study: Study) -> tuple[str, str]:
    """List the relations of a study.

    Parameters
    ----------
    study : Study
        An opened store.

    Returns
    -------
    text : str
        A table, one line a relation.
    first : str
        The first relation.
    """
    relation = study.column("facts", "relation")
    queries, known = (_by_fact(study, known=which) for which in (False, True))
    names = list(dict.fromkeys(relation.tolist()))
    rows = [
        [
            name,
            int((relation == name).sum()),
            int(queries[relation == name].sum()),
            int(known[relation == name].sum()),
            int((known[relation == name] >= 2).sum()),
        ]
        for name in names
    ]
    heads = ["relation", "facts", "queries", "known", "facts with k ≥ 2"]
    return (
        f"{counted(len(relation), 'fact')} of {counted(len(names), 'relation')}\n{table(heads, rows)}",
        names[0],
    )


def facts_text(study: Study, relation: str) -> tuple[str, str]:
    """List the facts of a relation.

    Parameters
    ----------
    study : Study
        An opened store.
    relation : str
        Its name.

    Returns
    -------
    text : str
        A table, one line a fact.
    first : str
        The id of the first fact.

    Raises
    ------
    InputError
        The study has no such relation; names those that it has.
    """
    of = study.column("facts", "relation")
    rows = np.flatnonzero(of == relation)
    if not len(rows):
        rule = f"one of {', '.join(dict.fromkeys(of.tolist()))}"
        raise InputError(message("relation", relation, rule, "qloc facts list", "Choose one"))
    queries, known = (_by_fact(study, known=which)[rows] for which in (False, True))
    columns = [study.column("facts", name)[rows].tolist() for name in ("id", "subject", "object")]
    lines = [[*line] for line in zip(*columns, queries.tolist(), known.tolist(), strict=True)]
    return table(["id", "subject", "object", "queries", "known"], lines), str(columns[0][0])


def _by_fact(study: Study, *, known: bool) -> NDArray[np.int64]:
    fact = study.column("queries", "fact").astype(np.int64)
    counts = study.column("queries", "known") == 1 if known else np.ones(len(fact), dtype=bool)
    return np.bincount(fact[counts], minlength=study.facts.sizes["fact"]).astype(np.int64)


def _change(value: float) -> str:
    return f"+{fixed(value, 2)}" if value > 0 else fixed(value, 2)


def _changed(fact: OneFact) -> Iterator[str]:
    if fact.effects:
        yield f"\nInterventions{_chosen_at(fact)}: mean Δ log P of the answer, all queries"
        for operation, effects in fact.effects.items():
            each = ", ".join(f"{name.replace('_', ' ')} {_change(value)}" for name, value in effects.items())
            yield paragraph(f"{operation}: {each}")
    if fact.edited:
        of = f"rank of {fact.new_object!r} after an update"
        yield f"\nEdits{_chosen_at(fact)}: {of}, for the query that was edited"
        before = next(iter(fact.edited.values()))[0]
        after = ", ".join(f"{name.replace('_', ' ')} {rank:,}" for name, (_, rank) in fact.edited.items())
        yield paragraph(f"before {before:,}; {after}")
