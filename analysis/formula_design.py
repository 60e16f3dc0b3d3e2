"""The design matrix of a formula: keywords as names, effects of relations, and what is identified."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import patsy

from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.analysis.inference.regression import few_answers_in_words, independent, within
from qloc.arrays import Floats, Ints
from qloc.errors import InputError, message

INTERCEPT = "Intercept"
"""Name of the term that is 1 everywhere."""

_ROUNDING = 1e-8
"""Share of a column's size that is rounding alone: it has no spread within groups."""

_LEAST_CLUSTERS: Final = 3
"""Clusters that a way of clustering needs."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """Outcome and columns of a regression that is identified.

    Attributes
    ----------
    outcome : str
        Name of the outcome.
    y : float64 ndarray, shape (fact,)
        The outcome.
    x : float64 ndarray, shape (fact, column)
        Terms first, then the effects of groups; of full rank.
    names : tuple of str
        Names of the terms, one for each of the first columns of ``x``.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Clusters of the facts, counted from 0, in one to three ways that cross.
    cluster : str
        Columns that they are of, joined by "and".
    group : int64 ndarray, shape (fact,), or None
        Group of each fact, where groups have an effect of their own each.
    within : str
        Column whose groups have an effect of their own each; empty where there is none.
    checks : tuple of str
        What a reader must know: terms left out, and how near the model is to what the facts cannot tell.
    """

    outcome: str
    y: Floats
    x: Floats
    names: tuple[str, ...]
    clusters: tuple[Ints, ...]
    cluster: str
    group: Ints | None
    within: str
    checks: tuple[str, ...]


def design_of(
    frame: pd.DataFrame, formula: str, cluster: str, inside: str | None, others: Sequence[str] = ()
) -> Design:
    """Return the design of a formula over a table, and refuse what the table cannot identify.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row for each fact.
    formula : str
        As in R; a column whose name is a keyword of Python may stand as it is.
    cluster : str
        Column by which errors are clustered.
    inside : str or None
        Column whose groups get an effect of their own each; left out where the formula has it.
    others : sequence of str
        Columns by which errors are clustered, too, where they cross the others.

    Returns
    -------
    Design
        Of rows that have a finite value in every column of the formula.

    Raises
    ------
    InputError
        The formula cannot be read, has no term but effects of groups, or has as many columns as there are
        clusters or facts; there are fewer than three clusters; or the outcome is no column of numbers, does
        not vary, or is what the terms make it.
    """
    named = set(words_of(formula))
    groups = inside if inside is not None and inside not in named else ""
    y, x = _matrices(frame, formula)
    finite: Any = np.isfinite(np.column_stack([y, x]).astype(np.float64)).all(axis=1)
    y, x = y[finite], x[finite]
    for name in filter(None, (cluster, groups)):
        there = frame[name].notna().to_numpy()[x.index]
        y, x = y[there], x[there]
    outcome = _outcome(y, formula)
    ways, told = _ways(frame.iloc[x.index], formula, cluster, [*filter(None, [inside]), *others])
    least = min(map(n_codes, ways.values()))
    group = codes(frame[groups].astype(str).to_numpy()[x.index]) if groups else np.zeros(len(x), np.int64)
    values, terms = x.to_numpy(dtype=np.float64), [_plain_name(str(name)) for name in x.columns]
    if len(terms) >= 2 * least:  # without a search for those that are combinations
        _identified(formula, len(terms), values.shape, ways)
    effects = _effects(group, centered=INTERCEPT in terms)
    kept = _kept(values, group, terms, formula, groups)
    names = tuple(terms[place] for place in kept)
    whole = np.column_stack([values[:, kept], effects])
    dropped = sorted({*terms} - {*names})
    checks = [f"A combination of other terms, left out: {', '.join(dropped)}."] if dropped else []
    if groups:
        checks.append(f"Within {groups}: each has an effect of its own.")
    checks += told
    spent = len(kept)  # columns that cost a cluster: effects of whole clusters do not, terms or not
    if not any(_nested(group, code) for code in ways.values()):
        spent += effects.shape[1]
    if inside in ways and not groups:
        spent -= _all_effects(values[:, kept], ways[inside])
    checks += _identified(formula, spent, whole.shape, ways)
    checks += few_answers_in_words(ways)
    _not_determined(outcome, whole, group, formula, groups)
    return Design(
        outcome=_plain_name(str(y.columns[0])),
        y=outcome,
        x=whole,
        names=names,
        clusters=tuple(ways.values()),
        cluster=" and ".join(ways),
        group=group if groups else None,
        within=groups,
        checks=tuple(checks),
    )


def words_of(formula: str) -> list[str]:
    """Return the names in a formula that are no functions, each once, in order.

    Parameters
    ----------
    formula : str
        As in R.

    Returns
    -------
    list of str
        Names of columns, and what is mistaken for one.

    Examples
    --------
    >>> words_of("kappa ~ np.log(count) + C(relation) + class + Q('a b')")
    ['kappa', 'count', 'relation', 'class']
    """
    bare = re.sub(r"(['\"]).*?\1", "", formula)
    return list(dict.fromkeys(re.findall(r"(?<![\w.])[A-Za-z_]\w*(?!\w|\s*[.(])", bare)))


def _matrices(frame: pd.DataFrame, formula: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    quoted = formula
    for word in words_of(formula):
        if keyword.iskeyword(word):
            quoted = re.sub(rf"(?<![\w.'\"]){word}(?![\w'\"])", f"Q('{word}')", quoted)
    try:
        y, x = patsy.dmatrices(quoted, frame.reset_index(drop=True), return_type="dataframe")
    except (patsy.PatsyError, SyntaxError, TypeError, ValueError, ArithmeticError) as error:
        reason = " ".join(str(error).split())
        rule = f"a formula over {', '.join(map(str, frame))}"
        raise InputError(message("formula", formula, rule, f"qloc.fit ({reason})", "Correct it")) from None
    return y, x


def _outcome(y: pd.DataFrame, formula: str) -> Floats:
    """Return the outcome, and refuse classes, several outcomes, and one without a value."""
    if y.shape[1] != 1:
        got, rule = ", ".join(map(str, y.columns)), "one column of numbers as outcome"
        raise InputError(message("outcome", got, rule, formula, "Give one; a class as 0 and 1"))
    if not len(y):
        rule = "facts with a value in every column of the formula"
        raise InputError(message("number of facts", 0, rule, formula, "Leave out a column"))
    return y.to_numpy(dtype=np.float64)[:, 0]


def _not_determined(y: Floats, x: Floats, group: Ints, formula: str, groups: str) -> None:
    """Refuse an outcome without spread, and one that is a sum of terms: that is arithmetic, no finding."""
    spread = within(y[:, None], group)[:, 0]
    size = float(np.linalg.norm(y))
    action = "Choose another outcome"
    if not np.linalg.norm(spread) > _ROUNDING * size:
        rule = f"an outcome that differs between facts{f' of one {groups}' if groups else ''}"
        raise InputError(message("formula", formula, rule, "qloc.fit", action))
    scaled = x / np.linalg.norm(x, axis=0)
    left = y - scaled @ np.linalg.lstsq(scaled, y)[0]
    if not np.linalg.norm(left) > _ROUNDING * np.linalg.norm(spread):
        rule = "an outcome that the terms do not determine by themselves"
        raise InputError(message("formula", formula, rule, "qloc.fit", "Leave out what it is made of"))


def _plain_name(term: str) -> str:
    """Return a term as it was written, where a keyword was quoted for patsy."""
    return re.sub(r"Q\('(\w+)'\)", lambda found: found[1] if keyword.iskeyword(found[1]) else found[0], term)


def _effects(group: Ints, *, centered: bool) -> Floats:
    """Return columns of groups: centered and without the first where the formula has an intercept."""
    dummies: Floats = (group[:, None] == np.arange(n_codes(group))[None, :]).astype(np.float64)
    if n_codes(group) == 1:
        return np.zeros((len(group), 0))
    return np.asarray(dummies[:, 1:] - dummies[:, 1:].mean(axis=0)) if centered else dummies


def _kept(values: Floats, group: Ints, terms: list[str], formula: str, groups: str) -> list[int]:
    """Return the terms that are no combination of the effects of groups and of the terms before them."""
    if not groups:
        return independent(values)
    inside = within(values, group)
    size = np.linalg.norm(values, axis=0)
    inside[:, np.linalg.norm(inside, axis=0) <= _ROUNDING * size] = 0
    kept = independent(inside)
    if not kept:
        rule = f"a term that differs between facts of one {groups}"
        action = "Give within=None to compare between them"
        raise InputError(message("formula", formula, rule, "qloc.fit", action))
    return sorted({*kept, *(place for place, term in enumerate(terms) if term == INTERCEPT)})


def _nested(group: Ints, cluster: Ints) -> bool:
    """Whether each group lies in one cluster, so that its effect costs no cluster."""
    return n_codes(codes(group, cluster)) == n_codes(group)


def _all_effects(values: Floats, group: Ints) -> int:
    """Return how many of the columns are effects of groups, where they leave no difference between groups."""
    spread = np.linalg.norm(within(values, group), axis=0)
    constant = int(np.sum(spread <= _ROUNDING * np.linalg.norm(values, axis=0)))
    return constant - 1 if constant == n_codes(group) else 0


def _identified(formula: str, n_columns: int, shape: tuple[int, ...], ways: Mapping[str, Ints]) -> list[str]:
    """Refuse as many columns as clusters or facts; tell where there are more than half as many."""
    n_facts, n_whole = shape
    name, n = min(((name, n_codes(code)) for name, code in ways.items()), key=lambda way: way[1])
    if n_columns >= n or n_whole >= n_facts:
        rule = "fewer columns than clusters and facts"
        got = f"{n_columns:,} columns for {n:,} clusters ({name}), {n_whole:,} in all for {n_facts:,} facts"
        action = "Leave terms out, or cluster by a column of more values"
        raise InputError(message(f"formula {formula!r}", got, rule, "qloc.fit", action))
    if 2 * n_columns > n or 2 * n_whole > n_facts:
        return [
            f"Few clusters or facts ({n:,}, {n_facts:,}) for {n_whole:,} columns: p and interval are rough."
        ]
    return []


def _ways(
    frame: pd.DataFrame, formula: str, cluster: str, others: Sequence[str]
) -> tuple[dict[str, Ints], list[str]]:
    """Return the ways of clustering, and what is to be said of those that are left out.

    Where clusters lie within those of another column, errors are clustered by that: slopes may differ over
    them. The column that was asked for needs three values. Another of one or two is left out where clusters
    lie within it, since so few tell nothing of how slopes differ over them; where it crosses them, all that
    facts of one value have in common is two draws, unless the formula holds it.
    """
    names = tuple(dict.fromkeys((*others, cluster)))
    found = {name: codes(frame[name].map(str).to_numpy()) for name in names}
    if n_codes(found[cluster]) < _LEAST_CLUSTERS:
        rule = "a column with at least three values"
        raise InputError(message("cluster", cluster, rule, formula, "Cluster by another column"))
    told = []
    for name in others:
        if name == cluster or name not in found or (n := n_codes(found[name])) >= _LEAST_CLUSTERS:
            continue
        if any(_nested(code, found[name]) for other, code in found.items() if other != name):
            told.append(f"Errors are not clustered by {name}, of which there are {n}: p is for these alone.")
            del found[name]
        elif name in words_of(formula):  # held, as C(object)
            del found[name]
        else:
            got, rule = f"of {n} values, which cross {cluster}", "three values at least, or held"
            raise InputError(message(f"column {name!r}", got, rule, formula, f"Add C({name}) to the formula"))
    kept: dict[str, Ints] = {}
    for name, code in found.items():
        coarser = [other for other in found if other != name and _nested(code, found[other])]
        if not any(n_codes(found[other]) < n_codes(code) or other in kept for other in coarser):
            kept[name] = code
    return kept, told
