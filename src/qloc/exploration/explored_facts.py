"""Facts and queries of an exploration, and the lists that stand for them in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ExploredQuery:
    """A query as it was asked and answered, and its knowledge neurons.

    Attributes
    ----------
    prompt : str
        As it was asked.
    template : int
        Place among ``Exploration.templates``.
    known : bool
        Whether a right answer ranks first.
    log_probability : float or None
        log P(answer), nats.
    rank : int
        Of the answer; 1 is first.
    neurons : tuple of int
        N_i: layer · n_neurons + neuron, strongest first.
    strengths : tuple of int
        Attribution of each of them, percent of the query's maximum.
    candidates : tuple of (str, int)
        The relation's likeliest answers for this prompt and their probability, per mille.
    tokens : tuple of str
        The prompt's tokens; empty where attention is not shown.
    attention : tuple of (int, int, tuple of int, tuple of int)
        Of heads that have synapses of the query: layer, head, attention from the target to each token, per
        mille, and the places of tokens whose columns are knowledge synapses.
    """

    prompt: str
    template: int
    known: bool
    log_probability: float | None
    rank: int
    neurons: tuple[int, ...] = ()
    strengths: tuple[int, ...] = ()
    candidates: tuple[tuple[str, int], ...] = ()
    tokens: tuple[str, ...] = ()
    attention: tuple[tuple[int, int, tuple[int, ...], tuple[int, ...]], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExploredFact:
    """A fact, its scores, its queries, and what changing neurons did.

    Attributes
    ----------
    id, subject, relation, object : str
        As in the study.
    inconsistent : bool or None
        Whether CS2 is below the plan's cut; None where there is no score.
    scores : tuple of float or None
        One of each name in ``Exploration.scores``.
    queries : tuple of ExploredQuery
        In the study's order.
    columns : tuple of int
        Neurons of the heatmap, ascending.
    attribution : tuple of (tuple of int, ...)
        Of each query at each column, percent of the query's maximum.
    activation : tuple of (tuple of float or None, ...)
        Of each query at each column; empty where it was not kept.
    arms : tuple of ((float or None, float or None), ...)
        Change of log-odds (nats) and of probability (percentage points) of the answer under each of
        ``Exploration.arms``, mean over known queries; empty where there are none.
    edits : tuple of ((float or None, int, int), ...)
        Under each of ``Exploration.edits``: change of log P of the old answer at the edited prompt, nats,
        and the rank of the new answer before and after (−1 where it was not edited); empty without edits.
    new_object : str
        What updates wrote in place of the object.
    activation_after : tuple of (tuple of float or None, ...)
        Of each query at each column with its knowledge synapses suppressed; empty where it was not kept.
    product, product_after : tuple of (tuple of int or None, ...)
        Gradient × activation before and after, percent of the query's largest before; empty where it was not
        kept.
    """

    id: str
    subject: str
    relation: str
    object: str
    inconsistent: bool | None
    scores: tuple[float | None, ...]
    queries: tuple[ExploredQuery, ...] = ()
    columns: tuple[int, ...] = ()
    attribution: tuple[tuple[int, ...], ...] = ()
    activation: tuple[tuple[float | None, ...], ...] = ()
    arms: tuple[tuple[float | None, float | None], ...] = ()
    edits: tuple[tuple[float | None, int, int], ...] = ()
    new_object: str = ""
    activation_after: tuple[tuple[float | None, ...], ...] = ()
    product: tuple[tuple[int | None, ...], ...] = ()
    product_after: tuple[tuple[int | None, ...], ...] = ()


def names_of(kind: type[ExploredFact] | type[ExploredQuery]) -> list[str]:
    """Return the names of what a row holds, in order.

    Parameters
    ----------
    kind : type
        What the row is of.

    Returns
    -------
    list of str
        Attributes.
    """
    return [field.name for field in fields(kind)]


def row_of(fact: ExploredFact) -> list[Any]:
    """Return a fact as a list, its queries as lists in it.

    Parameters
    ----------
    fact : ExploredFact
        The fact.

    Returns
    -------
    list
        In the order of :func:`names_of`.
    """
    cells = {name: getattr(fact, name) for name in names_of(ExploredFact)}
    cells["queries"] = [[getattr(query, name) for name in names_of(ExploredQuery)] for query in fact.queries]
    return list(cells.values())


def fact_of_row(
    row: Sequence[Any], of_fact: Sequence[str] | None = None, of_query: Sequence[str] | None = None
) -> ExploredFact:
    """Return the fact that :func:`row_of` made a list of.

    Parameters
    ----------
    row : sequence
        From JSON: with lists in place of tuples.
    of_fact, of_query : sequence of str, optional
        Names of what the lists of facts and of queries hold, in order; by default those of this version.
        Older files have fewer.

    Returns
    -------
    ExploredFact
        Equal to what it was.

    Raises
    ------
    ValueError
        The row has another length.
    TypeError
        The row, or its queries, are no lists.
    """
    given = dict(zip(of_fact or names_of(ExploredFact), row, strict=True))
    names = of_query or names_of(ExploredQuery)
    queries = tuple(_query(names, query) for query in given.pop("queries"))
    return ExploredFact(queries=queries, **as_tuples(given))


def _query(names: Sequence[str], row: Sequence[Any]) -> ExploredQuery:
    return ExploredQuery(**as_tuples(dict(zip(names, row, strict=True))))


def as_tuples(value: Any) -> Any:
    """Return JSON with tuples in place of lists, to any depth; of a mapping, in its values.

    Parameters
    ----------
    value : object
        From JSON.

    Returns
    -------
    object
        Frozen, but for mappings.
    """
    if isinstance(value, dict):
        return {name: as_tuples(part) for name, part in value.items()}
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value
