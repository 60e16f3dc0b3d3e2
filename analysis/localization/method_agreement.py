"""H9, whether attribution methods agree more than paraphrases do.

Of one fact, the sets that several methods name for one query are compared with the sets that one method
names for several queries. If methods agree no better than paraphrases, "inconsistent" may be the method's
doing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.means import mean_by
from qloc.analysis.inference.paired import paired_test
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import answer_codes, considered, relation_codes
from qloc.analysis.localization.overlap.pairwise_dice import dice_of_rows
from qloc.analysis.localization.overlap.query_pairs import pairs_of
from qloc.analysis.results import TestResult
from qloc.arrays import Floats
from qloc.hypothesis_registry import REGISTRY
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream
from qloc.text.rounding import number
from qloc.vocabulary import DEFAULT_THRESHOLD

DICE_MARGIN: Final = 0.05
"""Difference in mean Dice that counts as none."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Mean Dice overlaps of each fact, over queries whose set is empty by none of the methods.

    Attributes
    ----------
    between : dict of (str, str) to float64 ndarray, shape (fact,)
        By pair of methods: overlap between the methods' sets for the same query.
    across : dict of str to float64 ndarray, shape (fact,)
        By method: overlap between its sets for the fact's queries, templates differing.
    sets : NeuronSets
        The queries compared, with the first method's sets.
    sizes : dict of str to float
        By method: mean number of neurons of a query.
    """

    between: Mapping[tuple[str, str], Floats]
    across: Mapping[str, Floats]
    sets: NeuronSets
    sizes: Mapping[str, float]

    @property
    def difference(self) -> Floats:
        """Between methods less across paraphrases: float64, (fact,); NaN where either is not defined."""
        between, across = (np.stack([*overlaps.values()]) for overlaps in (self.between, self.across))
        return np.asarray(between.mean(axis=0) - across.mean(axis=0))


def agreement(methods: Sequence[NeuronSets], *, known: bool = True) -> Agreement:
    """Return the overlap between methods and across paraphrases, fact by fact.

    Parameters
    ----------
    methods : sequence of NeuronSets
        One a method, two at least, of the same queries in the same order.
    known : bool
        Known queries only; otherwise all.

    Returns
    -------
    Agreement
        Both overlaps of every fact.
    """
    chosen = [considered(sets, known) for sets in methods]
    keep = np.all([sets.sizes() > 0 for sets in chosen], axis=0)
    used = [sets.select(keep) for sets in chosen]
    n, fact = used[0].n_facts, used[0].queries["fact"].astype(np.int64)
    row = np.arange(len(fact))
    pairs = pairs_of(used[0])
    between = {
        (a.method, b.method): mean_by(dice_of_rows(a.member, b.member, row, row), fact, n)
        for a, b in combinations(used, 2)
    }
    across = {
        sets.method: mean_by(dice_of_rows(sets.member, sets.member, pairs.first, pairs.second), pairs.fact, n)
        for sets in used
    }
    sizes = {sets.method: float(sets.sizes().mean()) if sets.n_queries else np.nan for sets in used}
    return Agreement(between=between, across=across, sets=used[0], sizes=sizes)


def methods_agree(
    study: Study | Sequence[NeuronSets],
    *,
    methods: Sequence[str] | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    top: int | None = None,
    known: bool = True,
    margin: float = DICE_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test H9: attribution methods agree on a query more than paraphrases of its fact agree by one method.

    Estimate, over facts with two queries or more::

        mean over queries and pairs of methods of Dice(N_i by m, N_i by m')
          − mean over methods and pairs of queries of Dice(N_i by m, N_j by m)

    One-sided: signs of whole relations are flipped (:func:`qloc.analysis.inference.paired.paired_p`). Where
    that does not reject, two one-sided tests may show that the difference is within ±``margin`` ("does not
    hold": they agree equally).

    Parameters
    ----------
    study : Study or sequence of NeuronSets
        The sets of each method, of the same queries in the same order, in place of a study.
    methods : sequence of str or None
        Attribution methods; those of the store where None.
    threshold : float
        Attribution threshold of the sets, as a share of a query's largest attribution.
    top : int or None
        In place of a threshold, every method's ``top`` strongest neurons: the same budget for all.
    known : bool
        Known queries only; otherwise all.
    margin : float
        Difference in Dice that counts as none; fix it before looking.
    draws : Draws
        Number of permutations, level of the interval, α and seed.

    Returns
    -------
    TestResult
        ``H9``; "not identified" with fewer than two methods, or without a fact to compare.

    References
    ----------
    docs/statistics.md#h9-do-methods-agree-more-than-paraphrases-methods_agree
    Schuirmann 1987 for equivalence.
    """
    if not isinstance(study, Study):
        return agreement_test(study, known=known, margin=margin, draws=draws)
    names = study.methods if methods is None else tuple(methods)
    share = threshold if top is None else None
    sets = [study.neurons(method=name, threshold=share, top=top) for name in names]
    return agreement_test(sets, known=known, margin=margin, draws=draws, store=study.fingerprint)


def agreement_test(
    methods: Sequence[NeuronSets],
    *,
    known: bool = True,
    margin: float = DICE_MARGIN,
    draws: Draws = DRAWS,
    store: str = "",
) -> TestResult:
    """Test H9 on the sets of several methods; see :func:`methods_agree`.

    Parameters
    ----------
    methods : sequence of NeuronSets
        One a method, of the same queries in the same order.
    known : bool
        Known queries only; otherwise all.
    margin : float
        Difference in Dice that counts as none.
    draws : Draws
        Number of permutations, level of the interval, α and seed.
    store : str
        Fingerprint of the store that the sets are from.

    Returns
    -------
    TestResult
        ``H9``; "not identified" with fewer than two methods, or without a fact to compare.
    """
    if len(methods) < 2:
        only = ("The store has one attribution method.",)
        return _result(np.zeros(0), methods, only, draws, store, margin)
    return agreement_of(agreement(methods, known=known), margin, draws, store)


def agreement_of(overlaps: Agreement, margin: float, draws: Draws, store: str = "") -> TestResult:
    """Test H9 on overlaps that are already computed.

    Parameters
    ----------
    overlaps : Agreement
        Overlaps of every fact (:func:`agreement`).
    margin : float
        Difference in Dice that counts as none.
    draws : Draws
        Number of permutations, level of the interval, α and seed.
    store : str
        Fingerprint of the store that the sets are from.

    Returns
    -------
    TestResult
        ``H9``; "not identified" without a fact to compare.
    """
    sizes = ", ".join(f"{name} {number(size)}" for name, size in overlaps.sizes.items())
    checks = (
        f"Neurons a query: {sizes}. Sets of different sizes cannot overlap fully, which lowers agreement "
        "between methods.",
    )
    return _result(overlaps.difference, [overlaps.sets], checks, draws, store, margin)


def _result(
    x: Floats, methods: Sequence[NeuronSets], checks: tuple[str, ...], draws: Draws, store: str, margin: float
) -> TestResult:
    nobody = np.zeros(len(x), dtype=np.int64)
    clusters = (relation_codes(methods[0])[1], answer_codes(methods[0])) if len(x) else (nobody, nobody)
    return paired_test(
        x,
        clusters,
        name="H9",
        question=REGISTRY["H9"].question,
        estimand="mean Dice overlap of two methods on one query, less that of two paraphrases by one method",
        draws=draws,
        margin=margin,
        margin_unit="in Dice",
        checks=checks,
        store=store,
        stream=Stream.METHOD_AGREEMENT,
    )
