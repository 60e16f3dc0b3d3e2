"""What paraphrases share beyond what the sizes of their sets and the popularity of their neurons predict.

Facts whose sets are all large, or that use generic hub neurons more than others, have sets that overlap more
with each other than with those of other facts, whichever neurons they are. So the overlap of two queries is
compared with the overlap that is expected when every set of a stratum (relation × template, or × answer)
keeps its number of neurons in each class, and every neuron its number of sets. Classes are those of
:mod:`qloc.analysis.localization.overlap.neuron_classes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import sparse, stats

from qloc.analysis.inference.cluster_error import mean_error
from qloc.analysis.inference.label_codes import codes, n_codes, sizes_of
from qloc.analysis.localization.consistency import answer_codes, query_answers, subject_codes
from qloc.analysis.localization.overlap.most_entropy import MarginBlocks, most_entropy
from qloc.analysis.localization.overlap.neuron_classes import (
    StudyClasses,
    classes_of_relation,
    frequent_apart,
)
from qloc.analysis.localization.overlap.query_pairs import Level, QueryPairs, design_of, pairs_of
from qloc.arrays import Floats, Ints
from qloc.neurons import NeuronSets

PREDICTION_ERROR: Final[Mapping[Level, float]] = {"template": 0.0012, "answer": 0.0007}
"""Mean overlap, in Dice, by which the prediction may be too small: about so much in the worst of trials in
which facts use hubs unequally and have no neurons of their own. The smallest excess of interest is 0.01."""

_ROUNDING: Final = 1e-9
"""Neurons below which what two sets share beyond margins is none: margins hold to rounding."""

_PIECE: Final = 2**22
"""Cells of memberships in memory at a time."""


def net_excess(sets: NeuronSets, level: Level, *, hubs_of_relations: bool = True) -> Floats:
    """Return each fact's within-fact overlap beyond what set sizes and popularity predict.

    Mean over the fact's identified pairs of queries of 2(c_ij − e_ij)/(|N_i| + |N_j|) · n_1 n_2/(n_1 n_2 −
    M), with c_ij = Σ_n (x_in − m_sn)(x_jn − m_tn), x the memberships and m their means in the two strata,
    e_ij of :func:`expected_together`, and n_1, n_2 and M as in
    :class:`~qloc.analysis.localization.overlap.query_pairs.Design`. Around the means of strata, what a set
    shares with every other fact's cancels fact by fact, as it does in the sum. Expectation and means count
    the fact itself among those of its stratum, which the factor makes up for.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets of the queries considered.
    level : {"template", "answer"}
        Whether strata are relation × template or relation × template × answer.
    hubs_of_relations : bool, default True
        Whether classes are of each relation's sets, too
        (:func:`~qloc.analysis.localization.overlap.neuron_classes.classes_of_relation`), not of the study's
        alone: then hubs that one relation's facts use unequally are held, and with them part of what facts
        have of their own in neurons that other facts have, too.

    Returns
    -------
    float64 ndarray, shape (fact,)
        NaN where no pair of the fact is identified. Its mean is 0 where sets are drawn neuron by neuron, with
        odds that are the product of one factor for each query and class of neurons and one for each neuron
        and stratum.
    """
    pairs, value = net_pairs(sets, level, hubs_of_relations=hubs_of_relations)
    used = np.flatnonzero(~np.isnan(value))
    total = np.bincount(pairs.fact[used], weights=value[used], minlength=sets.n_facts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / np.bincount(pairs.fact[used], minlength=sets.n_facts))


def net_pairs(sets: NeuronSets, level: Level, *, hubs_of_relations: bool = True) -> tuple[QueryPairs, Floats]:
    """Return each pair of a fact's queries with what it shares beyond set sizes and popularity.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets of the queries considered.
    level : {"template", "answer"}
        As for :func:`net_excess`.
    hubs_of_relations : bool, default True
        As for :func:`net_excess`.

    Returns
    -------
    pairs : QueryPairs
        Pairs of queries of one fact.
    value : float64 ndarray, shape (pair,)
        The terms whose mean over a fact's pairs is :func:`net_excess`; NaN where no fact of another subject
        was asked with the pair's templates.
    """
    every = pairs_of(sets, subject_codes(sets))
    design, inside = design_of(sets, every, level), np.flatnonzero(every.fact >= 0)
    pairs = replace(every, **{name: getattr(every, name)[inside] for name in ("first", "second", "fact")})
    used = np.flatnonzero(design.weight[inside] > 0)
    n_within, n_between = sizes_of(design.cell)[inside], design.n_between[inside]
    value = np.full(len(inside), np.nan)
    member, size = sparse.csr_array(sets.member.astype(np.float64)), sets.sizes()
    answer = codes(query_answers(sets))
    cell = codes(pairs.template, _shared_answer(pairs.relation, answer, sets.queries["fact"]))
    of_study = StudyClasses.of(member, cell)
    for relation in np.unique(pairs.relation[pairs.first[used]]) if len(used) else ():
        rows = np.flatnonzero(pairs.relation == relation)
        here = used[pairs.relation[pairs.first[used]] == relation]
        place = np.full(len(size), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        first, second = place[pairs.first[here]], place[pairs.second[here]]
        stratum = codes(design.stratum[rows])
        groups = [pairs.template[rows], *([answer[rows]] if level == "answer" else [])]
        alike = (
            classes_of_relation(of_study, member[rows], cell[rows], sets.queries["fact"][rows])
            if hubs_of_relations
            else of_study.both
        )
        classes = frequent_apart(member[rows], stratum, groups, alike)
        beyond = _beyond(member[rows], stratum, classes, first, second)
        beyond[np.abs(beyond) < _ROUNDING] = 0.0
        scale = 2 * (1 + n_within[here] / n_between[here])
        value[here] = scale * beyond / (size[pairs.first[here]] + size[pairs.second[here]])
    return pairs, value


def _shared_answer(relation: Ints, answer: Ints, fact: Ints) -> Ints:
    """Return the answer of each query, by relation, that several facts have; one code for all others."""
    both = codes(relation, answer)
    n_facts = np.bincount(both[np.unique(fact, return_index=True)[1]], minlength=n_codes(both))
    return np.where(n_facts[both] > 1, both + 1, 0)


def net_p(sets: NeuronSets, net: Floats, level: Level) -> tuple[float, float, float]:
    """Return p of a mean net excess above what the prediction may be off by, of one below, and t's freedom.

    A t-test over facts, clustered by answer within relation, whose facts share strata, against
    :data:`PREDICTION_ERROR` in place of 0.

    Parameters
    ----------
    sets : NeuronSets
        The sets that ``net`` was computed from.
    net : float64 ndarray, shape (fact,)
        As of :func:`net_excess`.
    level : {"template", "answer"}
        What ``net`` is net of, which tells what the prediction may be off by.

    Returns
    -------
    p : float
        One-sided, of a mean above :data:`PREDICTION_ERROR`; NaN with fewer than two facts. Where nothing
        differs, 2⁻ᴳ of G answers within relations, as of flips of signs.
    p_opposite : float
        Two-sided (twice one side's), of a mean below minus as much; at most 1.
    freedom : float
        Degrees of freedom of t.
    """
    facts = np.flatnonzero(~np.isnan(net))
    if len(facts) < 2:
        return (float("nan"),) * 3
    cluster = codes(np.asarray(sets.facts["relation"])[facts], answer_codes(sets)[facts])
    x = net[facts]
    error, freedom = mean_error(x, (cluster if n_codes(cluster) > 1 else np.arange(len(x)),))
    above, below = x.mean() - PREDICTION_ERROR[level], -x.mean() - PREDICTION_ERROR[level]
    if not error > 0:  # all alike: no scale for t
        least = 2.0 ** -n_codes(cluster)
        return (least if above > 0 else 1.0), (2 * least if below > 0 else 1.0), freedom
    p, opposite = stats.t.sf(np.array([above, below]) / error, freedom).tolist()
    return p, min(1.0, 2 * opposite), freedom


@dataclass(frozen=True)
class Margins:
    """The strata of one relation, as what a fit needs of them.

    Neurons of a stratum that are in as many of its sets, and of one class of popularity, are of one *kind*:
    their odds are the same. A *cell* is one set and one kind of its stratum, kind by kind.

    Attributes
    ----------
    kind : int64 ndarray, shape (stratum, neuron)
        Kind of each neuron, -1 where no set of the stratum has it.
    first : int64 ndarray, shape (kind,)
        First cell of each kind.
    n_neurons, n_sets : float64 ndarray, shape (kind,)
        Neurons of a kind, and sets that have each of them.
    of_kind, of_row : int64 ndarray, shape (cell,)
        Kind of each cell; and its set and class of popularity, as one number.
    block : int64 ndarray, shape (set · class,)
        Stratum × class of each set and class, from 0.
    size : float64 ndarray, shape (set · class,)
        Neurons of each set in each class of popularity.
    """

    kind: Ints
    first: Ints
    n_neurons: Floats
    n_sets: Floats
    of_kind: Ints
    of_row: Ints
    block: Ints
    size: Floats


def _margins(member: sparse.csr_array, stratum: Ints, popularity: Ints) -> Margins:
    n_strata, n_classes = n_codes(stratum), int(popularity.max(initial=0)) + 1
    rows_of = [np.flatnonzero(stratum == s) for s in range(n_strata)]
    ones = (np.ones(len(stratum)), (stratum, np.arange(len(stratum))))
    count = (sparse.csr_array(ones, shape=(n_strata, len(stratum))) @ member).toarray().astype(np.int64)
    s, neuron = np.nonzero(count)
    key = (s * n_classes + popularity[s, neuron]) * (int(count.max()) + 1) + count[s, neuron]
    levels, inverse, n_neurons = np.unique(key, return_inverse=True, return_counts=True)
    kind = np.full(count.shape, -1, dtype=np.int64)
    kind[s, neuron] = inverse
    of_stratum, rest = np.divmod(levels, n_classes * (int(count.max()) + 1))
    class_, n_sets = np.divmod(rest, int(count.max()) + 1)
    length = np.bincount(stratum)[of_stratum]
    rows = np.concatenate([rows_of[place] for place in of_stratum])
    of_kind = np.repeat(np.arange(len(levels)), length)
    entry = member.tocoo()
    size = np.bincount(entry.coords[0] * n_classes + popularity[stratum[entry.coords[0]], entry.coords[1]],
                       minlength=len(stratum) * n_classes)  # fmt: skip
    return Margins(
        kind=kind,
        first=np.cumsum(length) - length,
        n_neurons=n_neurons.astype(np.float64),
        n_sets=n_sets.astype(np.float64),
        of_kind=of_kind,
        of_row=rows * n_classes + class_[of_kind],
        block=(stratum[:, None] * n_classes + np.arange(n_classes)).ravel(),
        size=size.astype(np.float64),
    )


def _memberships(margins: Margins) -> Floats:
    """Return the probability of each cell: of the distribution of most entropy with these margins.

    It differs little from the mean over all memberships that have them. Blocks are strata × classes.
    """
    width = int(margins.size.max(initial=0)) + 1
    block_of_kind = np.zeros(len(margins.first), dtype=np.int64)
    block_of_kind[margins.of_kind] = margins.block[margins.of_row]
    # Falling in a block: sets by their number of neurons, kinds by their number of sets.
    present = np.zeros(len(margins.size), dtype=bool)
    present[margins.of_row] = True  # no sort of many cells
    of_rows = np.flatnonzero(present)
    row_key = margins.block[of_rows] * width + (width - 1 - margins.size[of_rows].astype(np.int64))
    rows, row_of, n_rows = np.unique(row_key, return_inverse=True, return_counts=True)
    most = int(margins.n_sets.max(initial=0)) + 1
    column_key = block_of_kind * most + (most - 1 - margins.n_sets.astype(np.int64))
    columns, column_of = np.unique(column_key, return_inverse=True)
    cells, first = most_entropy(
        MarginBlocks(
            row_block=rows // width,
            row_sum=(width - 1 - rows % width).astype(np.float64),
            n_rows=n_rows.astype(np.float64),
            column_block=columns // most,
            column_sum=(most - 1 - columns % most).astype(np.float64),
            n_columns=np.bincount(column_of, weights=margins.n_neurons).astype(np.float64),
        )
    )
    begins = np.searchsorted(columns // most, columns // most)
    place = np.zeros(len(margins.size), dtype=np.int64)
    place[of_rows] = first[row_of]
    return np.asarray(cells[place[margins.of_row] + (column_of - begins[column_of])[margins.of_kind]])


def _beyond(member: sparse.csr_array, stratum: Ints, popularity: Ints, first: Ints, second: Ints) -> Floats:
    """Return what pairs of one relation's queries share beyond margins, around strata's means: (pair,)."""
    there = np.flatnonzero(np.bincount(member.indices, minlength=member.shape[1]) > 0)
    member, popularity = sparse.csr_array(member[:, there]), popularity[:, there]
    margins = _margins(member, stratum, popularity)
    expected = expected_together(margins, _memberships(margins), stratum, first, second)
    size = np.bincount(stratum).astype(np.float64)
    places = (1 / size[stratum], (stratum, np.arange(len(stratum))))
    means = sparse.csr_array(places, shape=(len(size), len(stratum))) @ member
    s, t = stratum[first], stratum[second]
    together = np.asarray(member[first].multiply(member[second]).sum(axis=1), dtype=np.float64).ravel()
    together -= _products(member, means, first, t) + _products(member, means, second, s)
    return together + _products(means, means, s, t) - expected


def _products(a: sparse.csr_array, b: sparse.csr_array, rows: Ints, columns: Ints) -> Floats:
    """Return Σ_n a[row, n] b[column, n] of each pair of rows, many of which have one column."""
    found, order = np.empty(len(rows)), np.argsort(columns, kind="stable")
    step = max(1, _PIECE // max(1, a.shape[0]))
    cuts = np.searchsorted(columns[order], np.arange(step, b.shape[0], step))
    for part, here in enumerate(np.split(order, cuts)):
        if len(here):
            low = part * step
            product = (a @ b[low : low + step].T).toarray()
            found[here] = product[rows[here], columns[here] - low]
    return found


def expected_together(
    margins: Margins, probability: Floats, stratum: Ints, first: Ints, second: Ints
) -> Floats:
    """Return e_ij = Σ_n (p_in − m_sn)(p_jn − m_tn), m the means of the two sets' strata.

    Parameters
    ----------
    margins : Margins
        Of one relation.
    probability : float64 ndarray, shape (cell,)
        Of each set having a neuron of each kind.
    stratum : int64 ndarray, shape (set,)
        Stratum of each set.
    first, second : int64 ndarray, shape (pair,)
        Sets of each pair, of different strata.

    Returns
    -------
    float64 ndarray, shape (pair,)
        Numbers of neurons.
    """
    length = np.bincount(stratum)
    order = np.argsort(stratum, kind="stable")
    position = np.empty(len(stratum), dtype=np.int64)
    position[order] = np.arange(len(stratum)) - (np.cumsum(length) - length)[stratum[order]]
    expected = np.zeros(len(first))
    step = max(1, _PIECE // max(1, len(stratum) + 2 * len(first)))
    for low in range(0, margins.kind.shape[1], step):
        kind = margins.kind[stratum, low : low + step]
        cell = np.where(kind >= 0, margins.first[kind] + position[:, None], 0)
        beyond = probability[cell] - margins.n_sets[kind] / length[stratum][:, None]
        p = np.where(kind >= 0, beyond, 0.0)
        expected += np.einsum("ij,ij->i", p[first], p[second])
    return expected
