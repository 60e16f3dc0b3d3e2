"""H11, whether syntax localizes as facts do: consistency, localization level and layers of both kinds.

A fact of the study is a triple and its paraphrases; a unit of syntax is a group of minimal pairs, a paradigm
× feature and its sentences (docs/methods.md#minimal-pairs). Both have neuron sets, κ, R₁² and layer profiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from qloc.analysis.hypothesis_test import Interval, TestResult
from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.least_p import least_permutation_p
from qloc.analysis.inference.means import mean_by
from qloc.analysis.inference.two_groups import TwoGroups, compare_groups, labellings
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency, relation_codes
from qloc.analysis.localization.layer_profile import layer_shares
from qloc.analysis.localization.localization_level import levels_by_fact
from qloc.analysis.verdicts import judged
from qloc.arrays import Array, Floats
from qloc.hypothesis_registry import REGISTRY, hypothesis_of
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream
from qloc.text.rounding import counted
from qloc.vocabulary import DEFAULT_THRESHOLD

SyntaxOutcome = Literal["kappa", "level"]

SYNTAX_MARGIN: Final = 0.1
"""Difference in κ, or in R₁² beyond its null, that counts as none."""

_WORDS: Final[Mapping[SyntaxOutcome, str]] = {"kappa": "κ", "level": "R₁² beyond that of different facts"}


@dataclass(frozen=True, kw_only=True)
class BothKinds:
    """The sets of facts and of minimal pairs of one study, known queries only unless all are asked for.

    Attributes
    ----------
    sets : NeuronSets
        Of all queries.
    is_pair : bool ndarray, shape (fact,)
        Whether a row of /facts is a minimal pair or a group of pairs.
    facts, pairs : NeuronSets
        Sets of the queries used of each kind, without those of facts that leak.
    """

    sets: NeuronSets
    is_pair: Array
    facts: NeuronSets
    pairs: NeuronSets

    @classmethod
    def of(cls, sets: NeuronSets, known: bool = True) -> BothKinds:
        """Divide sets by the kind of their fact.

        Parameters
        ----------
        sets : NeuronSets
            Of all queries.
        known : bool, default True
            Whether to keep known queries only.

        Returns
        -------
        BothKinds
            Both kinds; either may be empty.
        """
        queries, leaks = sets.queries, sets.facts["leaks"][sets.queries["fact"]]
        used = ~leaks & (queries["known"] if known else True)
        pair = queries["kind"] != "fact"
        is_pair = np.zeros(sets.n_facts, dtype=bool)
        is_pair[queries["fact"][pair]] = True
        return cls(
            sets=sets, is_pair=is_pair, facts=sets.select(used & ~pair), pairs=sets.select(used & pair)
        )

    def kappa(self) -> Floats:
        """Return κ of every fact and group.

        Returns
        -------
        float64 ndarray, shape (fact,)
            NaN where it is not defined.
        """
        parts = [consistency(part, known=False)["kappa"].values for part in (self.facts, self.pairs)]
        return np.asarray(np.where(self.is_pair, parts[1], parts[0]))

    def layers(self) -> Floats:
        """Return the layer profile of every fact, group and single pair.

        Returns
        -------
        float64 ndarray, shape (fact, layer)
            Shares of each layer; NaN where there is no set.
        """
        parts = [layer_shares(part) for part in (self.facts, self.pairs)]
        return np.asarray(np.where(self.is_pair[:, None], parts[1], parts[0]))


def syntax_against_facts(
    study: Study,
    *,
    outcome: SyntaxOutcome = "kappa",
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    margin: float = SYNTAX_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether syntax localizes more or less than facts do (H11a, H11b).

    Kind varies by relation, so the unit is the relation or paradigm: the mean over its facts or groups. The
    labels of relations and paradigms are permuted, with Welch's t as statistic.

    Parameters
    ----------
    study : Study
        With facts and minimal pairs; a study of one kind alone is not identified.
    outcome : {"kappa", "level"}
        κ (H11a), or R₁² less that of rows from different facts, paradigms or features (H11b).
    method : str
        Attribution method.
    threshold : float
        Of the neuron sets.
    known : bool, default True
        Whether to count known queries only (κ).
    margin : float
        Difference of interest; fix it before looking.
    draws : Draws
        Number of permutations, level of the interval, α and seed.

    Returns
    -------
    TestResult
        ``H11a`` or ``H11b``, two-sided.

    References
    ----------
    docs/statistics.md#h11-does-syntax-localize-as-facts-do
    """
    both = BothKinds.of(study.neurons(method, threshold), known)
    values = both.kappa() if outcome == "kappa" else levels_by_fact(study, both.sets, method)["beyond"]
    return kinds_compared(both, values, outcome, margin=margin, draws=draws, store=study.fingerprint)


def kinds_compared(
    both: BothKinds, values: Floats, outcome: SyntaxOutcome, *, margin: float, draws: Draws, store: str = ""
) -> TestResult:
    """Compare values of facts and groups by the means of relations and paradigms.

    Parameters
    ----------
    both : BothKinds
        Facts and minimal pairs.
    values : float64 ndarray, shape (fact,)
        One value a fact or group; NaN is left out.
    outcome : {"kappa", "level"}
        What the values are.
    margin : float
        Difference of interest.
    draws : Draws
        Number of permutations, level of the interval, α and seed.
    store : str, default ""
        Fingerprint of the store.

    Returns
    -------
    TestResult
        ``H11a`` or ``H11b``.
    """
    entry = hypothesis_of("syntax_against_facts", outcome=outcome)
    names, code = relation_codes(both.sets)
    defined = ~np.isnan(values)
    means = [
        mean_by(values[here], code[here], len(names))
        for here in (defined & both.is_pair, defined & ~both.is_pair)
    ]
    syntax, facts = (mean[~np.isnan(mean)] for mean in means)
    found = compare_groups(
        syntax,
        facts,
        margin=margin,
        confidence=draws.confidence,
        n_permutations=draws.n_permutations,
        rng=Stream.SYNTAX.generator(draws.seed, int(outcome == "level")),
    )
    tested = not np.isnan(found.p)
    return judged(
        TestResult(
            name=entry.name,
            question=entry.question,
            estimand=f"mean {_WORDS[outcome]} of paradigms less that of relations",
            unit="relation or paradigm",
            n={
                "relations": len(facts),
                "paradigms": len(syntax),
                "facts": int(np.sum(defined & ~both.is_pair)),
                "features": int(np.sum(defined & both.is_pair)),
            },
            estimate=found.difference,
            interval=_interval(found, draws) if tested else None,
            effect=None,
            method=_method(found),
            p=found.p if tested else None,
            role="exploratory",
            alpha=draws.alpha,
            margin=margin,
            margin_unit="in κ" if outcome == "kappa" else "in R₁²",
            p_equivalence=None if np.isnan(found.p_equivalence) else found.p_equivalence,
            least_p=found.least_p if tested else None,
            least_by=_both(len(facts), len(syntax)),
            checks=("Relations and paradigms differ in more than their kind: wording, length and answers.",),
            seed=draws.seed,
            store=store,
        )
    )


def _interval(found: TwoGroups, draws: Draws) -> Interval:
    return Interval(
        low=found.low,
        high=found.high,
        confidence=draws.confidence,
        method="t over means of relations and paradigms, the widest of Welch's, Hall's and Student's",
        freedom=found.freedom,
    )


def _method(found: TwoGroups) -> str:
    how = "all" if found.enumerated else "drawn"
    return (
        f"labels permuted over relations and paradigms, Welch's t, two-sided, {found.n_permutations} "
        f"labellings ({how}), and Welch's t itself, Hall's for skewness: the larger p"
    )


def layers_of_syntax(
    study: Study,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether the knowledge neurons of syntax lie in other layers than those of facts (H11c).

    The estimate is the distance of the two mean profiles, ½ Σ_l |mean share of facts in l − that of syntax|,
    means over relations and paradigms, whose labels are permuted. The statistic is the distance divided by
    its standard error, since a few paradigms that differ among themselves are far from any mean. Permuting
    kinds over facts and pairs, as is common, rejects in 46% of planted studies without a difference:
    relations have layers of their own.

    Parameters
    ----------
    study : Study
        With facts and minimal pairs; a study of one kind alone is not identified.
    method : str
        Attribution method.
    threshold : float
        Of the neuron sets.
    known : bool, default True
        Whether to count known queries only.
    draws : Draws
        Number of permutations, α and seed.

    Returns
    -------
    TestResult
        ``H11c``, one-sided.

    References
    ----------
    docs/statistics.md#h11-does-syntax-localize-as-facts-do
    """
    both = BothKinds.of(study.neurons(method, threshold), known)
    return profiles_compared(both, draws=draws, store=study.fingerprint)


def profiles_compared(both: BothKinds, *, draws: Draws, store: str = "") -> TestResult:
    """Compare the layer profiles of facts and of minimal pairs by permutation.

    Parameters
    ----------
    both : BothKinds
        Facts and minimal pairs.
    draws : Draws
        Number of permutations, α and seed.
    store : str, default ""
        Fingerprint of the store.

    Returns
    -------
    TestResult
        ``H11c``, one-sided.
    """
    return distance_test(*profiles_by_relation(both), draws=draws, store=store)


def distance_test(shares: Floats, pair: Array, *, draws: Draws, store: str = "") -> TestResult:
    """Run H11c on layer profiles that are already computed.

    Parameters
    ----------
    shares : float64 ndarray, shape (relation, layer)
        Mean layer profile of each relation and paradigm.
    pair : bool ndarray, shape (relation,)
        Whether it is a paradigm.
    draws : Draws
        Number of permutations, α and seed.
    store : str, default ""
        Fingerprint of the store.

    Returns
    -------
    TestResult
        ``H11c``, one-sided; "not identified" with fewer than two relations or two paradigms.
    """
    n_pairs, n = int(pair.sum()), len(pair)
    tested = 1 < n_pairs < n - 1
    own, distances, every, extreme = np.nan, np.zeros(0), False, 0
    if 0 < n_pairs < n:
        own = float(_distance(shares, pair[None].astype(np.float64))[0][0])
    if tested:
        rng = Stream.SYNTAX.generator(draws.seed, 2)
        labels, every = labellings(n, n_pairs, draws.n_permutations, rng)
        rows = np.zeros((len(labels), n))
        np.put_along_axis(rows, labels, 1.0, axis=1)
        distances, permuted = _distance(shares, rows)
        here = _distance(shares, pair[None].astype(np.float64))[1][0]
        extreme = int(np.sum(permuted >= here * (1 - 1e-9)))
    p = (extreme + (not every)) / (len(distances) + (not every)) if tested else None
    least = (1 + (2 * n_pairs == n)) / len(distances) if every else least_permutation_p(len(distances))
    return judged(
        TestResult(
            name="H11c",
            question=REGISTRY["H11c"].question,
            estimand="distance of the layer profiles of facts and syntax, 0 to 1",
            unit="relation or paradigm",
            n={"relations": n - n_pairs, "paradigms": n_pairs},
            estimate=own,
            interval=None,
            effect=None,
            method="labels permuted over relations and paradigms, distance by its standard error, one-sided, "
            f"{len(distances)} labellings",
            p=p,
            role="exploratory",
            alpha=draws.alpha,
            least_p=least if tested else None,
            least_by=_both(n - n_pairs, n_pairs),
            checks=(f"Permuted labels are {distances.mean():.3g} apart in the mean.",) if tested else (),
            seed=draws.seed,
            store=store,
        )
    )


def profiles_by_relation(both: BothKinds) -> tuple[Floats, Array]:
    """Return the mean layer profile of each relation and paradigm.

    Parameters
    ----------
    both : BothKinds
        Facts and minimal pairs.

    Returns
    -------
    shares : float64 ndarray, shape (relation, layer)
        Means over facts, groups or single pairs; those without a set are left out.
    is_pair : bool ndarray, shape (relation,)
        Whether it is a paradigm.
    """
    shares, code = both.layers(), relation_codes(both.sets)[1]
    defined = ~np.isnan(shares).any(axis=1)
    cell = 2 * code[defined] + both.is_pair[defined]
    cells = np.unique(cell)
    means = [shares[defined][cell == one].mean(axis=0) for one in cells]
    return np.array(means).reshape(len(cells), shares.shape[1]), cells % 2 == 1


def _distance(shares: Floats, pair: Floats) -> tuple[Floats, Floats]:
    """Return ½ Σ |difference of mean profiles| of each labelling, a row of ``pair``, and it by its error.

    The error is √Σ_l (v₁/a + v₂/b), v the variance of a layer's share over the a or b members of a kind.
    """
    means, errors = [], np.zeros(len(pair))
    for of in (pair, 1 - pair):
        n = of.sum(axis=1, keepdims=True)
        means.append(of @ shares / n)
        squares = (of @ shares**2 / n - means[-1] ** 2).sum(axis=1)
        errors += np.maximum(squares, 0.0) / np.maximum(n[:, 0] - 1, 1)
    distance = np.abs(means[0] - means[1]).sum(axis=1) / 2
    with np.errstate(divide="ignore"):
        return distance, np.where(distance > 0, distance / np.sqrt(errors), 0.0)


def _both(n_relations: int, n_paradigms: int) -> str:
    return f"{counted(n_relations, 'relation')} and {counted(n_paradigms, 'paradigm')}"
