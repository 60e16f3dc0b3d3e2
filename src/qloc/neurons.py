"""Neuron sets: which neurons an attribution names for each query (docs/methods.md#neuron-sets).

A set is a row of a sparse query × neuron matrix; a neuron's number is ``layer · n_neurons + index``. Counts
over queries, facts, templates and answers are then sparse products, for one fact or for a quarter of a
million queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.accuracy.path_accuracy import GUIDE, UNKNOWN
from qloc.errors import FloorError, InputError, message
from qloc.text.rounding import counted, no_less, number

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class NeuronSets:
    """The knowledge neurons N_i of every query, by one method and one rule.

    Attributes
    ----------
    member : bool csr_array, shape (query, layer · neuron)
        Row i is N_i.
    n_layers : int
        Of the network.
    n_neurons : int
        Of each layer.
    method : str
        Attribution method.
    rule : str
        How the sets were made, in words, such as ``threshold 0.2``.
    queries : dict of str to ndarray
        Columns with leading axis query: ``fact`` (int, row of ``facts``), ``template, relation,
        answer`` (str), ``known`` (bool), ``log_probability`` (float32); from a store also ``own_first``
        (bool: the attributed object ranks first), ``uncertain`` and ``converged``, as the properties give
        them.
    facts : dict of str to ndarray
        Columns with leading axis fact: ``id, subject, relation, object`` (str), ``leaks`` (bool),
        attributes.
    """

    member: sparse.csr_array
    n_layers: int
    n_neurons: int
    method: str
    rule: str
    queries: Mapping[str, NDArray[Any]]
    facts: Mapping[str, NDArray[Any]]

    @property
    def n_queries(self) -> int:
        """Number of queries, one row of ``member`` each."""
        return int(self.member.shape[0])

    @property
    def n_facts(self) -> int:
        """Number of facts, those without a query here among them."""
        return len(self.facts["id"])

    @property
    def uncertain(self) -> NDArray[np.int64]:
        """Neurons of each query that are within its error of the threshold: int64 ndarray, shape (query,).

        :func:`~qloc.accuracy.undecided_band.undecided_band` has the formula. Members and others are counted
        alike: so many neurons the error of integration could move into the set or out of it. It is -1 where
        that is unknown: the quadrature gave no error bound, the set is of a budget, or the band reaches below
        the floor from which neurons are kept.
        """
        return self._column_of_paths("uncertain")

    @property
    def converged(self) -> NDArray[np.int64]:
        """Whether all paths of each query are as exact as was asked: int64 ndarray, shape (query,).

        1 if they are, 0 if some are not, -1 where there is no path or the quadrature does not say.
        """
        return self._column_of_paths("converged")

    def _column_of_paths(self, name: str) -> NDArray[np.int64]:
        unknown = np.full(self.n_queries, UNKNOWN, dtype=np.int64)
        return np.asarray(self.queries.get(name, unknown), dtype=np.int64)

    def __repr__(self) -> str:
        return f"<NeuronSets: {self}>"

    def to_frame(self) -> pd.DataFrame:
        """Return the sets as a table.

        Returns
        -------
        pandas.DataFrame
            One row a query: ``id, subject, relation, object`` of its fact, ``template, known,
            log_probability``, ``n_neurons`` (|N_i|) and ``neurons``, such as ``["L3.N118"]``.
        """
        import pandas as pd

        fact = self.queries["fact"]
        names = ("id", "subject", "relation", "object")
        columns = {name: self.facts[name][fact] for name in names if name in self.facts}
        asked = ("template", "known", "log_probability")
        columns |= {name: self.queries[name] for name in asked if name in self.queries}
        numbers = [divmod(self.of(query), self.n_neurons) for query in range(self.n_queries)]
        spelled = [[f"L{a}.N{b}" for a, b in zip(*parts, strict=True)] for parts in numbers]
        return pd.DataFrame({**columns, "n_neurons": self.sizes(), "neurons": spelled})

    def __str__(self) -> str:
        size = number(float(self.sizes().mean())) if self.n_queries else "no"
        return (
            f"Neuron sets of {counted(self.n_queries, 'query')} by {self.method}, {self.rule}: "
            f"{size} neurons a query. {self.certainty()}"
        )

    def certainty(self) -> str:
        """Return in words how many neurons are within the error of the threshold, and what did not converge.

        Returns
        -------
        str
            One or two sentences.

        Examples
        --------
        >>> sets = NeuronSets(
        ...     member=sparse.csr_array(np.eye(3, dtype=bool)), n_layers=1, n_neurons=3, method="ig",
        ...     rule="threshold 0.2", facts={"id": np.array(["a"])},
        ...     queries={"uncertain": np.array([0, 3, -1]), "converged": np.array([1, 1, 0])},
        ... )
        >>> print(sets)
        Neuron sets of 3 queries by ig, threshold 0.2: 1 neurons a query. Within the error of the threshold: 3
        neurons in 1 of 2 queries, unknown in 1. Of 1 query paths did not converge: its set may be wrong
        (docs/extraction.md#quadrature).
        """
        told = self.uncertain[self.uncertain != UNKNOWN]
        unknown, failed = self.n_queries - len(told), int(np.sum(self.converged == 0))
        within = "Within the error of the threshold: "
        if len(told):
            within += f"{counted(int(told.sum()), 'neuron')} in {np.sum(told > 0):,} of {len(told):,} queries"
            within += f", unknown in {unknown:,}." if unknown else "."
        else:
            within += "unknown."
        if failed:
            own = "its set" if failed == 1 else "their sets"
            within += f" Of {counted(failed, 'query')} paths did not converge: {own} may be wrong ({GUIDE})."
        return within

    def sizes(self) -> NDArray[np.int64]:
        """Return |N_i|.

        Returns
        -------
        int64 ndarray, shape (query,)
            Number of neurons of each query.
        """
        return np.diff(self.member.indptr).astype(np.int64)

    def of(self, query: int) -> NDArray[np.int64]:
        """Return the neurons of one query.

        Parameters
        ----------
        query : int
            Its row.

        Returns
        -------
        int64 ndarray, shape (neuron,)
            Numbers layer · n_neurons + index, ascending.
        """
        row = self.member.indices[self.member.indptr[query] : self.member.indptr[query + 1]]
        return np.sort(row.astype(np.int64))

    def select(self, keep: NDArray[np.bool_]) -> NeuronSets:
        """Keep the sets of some queries; all facts stay.

        Parameters
        ----------
        keep : bool ndarray, shape (query,)
            Whether a query stays.

        Returns
        -------
        NeuronSets
            The sets of the queries that stay.
        """
        return replace(
            self,
            member=sparse.csr_array(self.member[keep]),
            queries={name: column[keep] for name, column in self.queries.items()},
        )

    def of_facts(self) -> NDArray[np.bool_]:
        """Return which queries are facts', or, where there are no facts, minimal pairs'.

        Figures are of facts or of syntax, never of a mixture. To have those of minimal pairs, select them.

        Returns
        -------
        bool ndarray, shape (query,)
            All queries where they are of one kind, or where their kind is not told.
        """
        kind = self.queries.get("kind", np.full(self.n_queries, "fact"))
        fact: NDArray[np.bool_] = np.asarray(kind) == "fact"
        return fact if fact.any() else np.ones(self.n_queries, dtype=bool)

    def known(self) -> NeuronSets:
        """Keep the sets of known queries of facts that do not leak: what headline figures are computed over.

        Where there are facts, minimal pairs are left out (:meth:`of_facts`).

        Returns
        -------
        NeuronSets
            Those sets.
        """
        leaks = self.facts["leaks"][self.queries["fact"]]
        return self.select(self.queries["known"] & ~leaks & self.of_facts())


def threshold_rows(
    values: NDArray[Any], panel: NDArray[np.integer[Any]], maximum: NDArray[Any], t: float
) -> NDArray[np.bool_]:
    """Which slots hold a neuron whose attribution is > 0 and > t · max, compared in float64.

    Parameters
    ----------
    values : float ndarray, shape (query, slot)
        Attribution at the panel's neurons; NaN where a slot is empty.
    panel : int ndarray, shape (query, slot)
        Neuron numbers; -1 where a slot is empty.
    maximum : float ndarray, shape (query,)
        The query's largest attribution over the whole network.
    t : float
        The threshold, in [0, 1).

    Returns
    -------
    bool ndarray, shape (query, slot)
        As above.

    References
    ----------
    Dai et al. 2022 (arXiv 2104.08696), §3.2; signed: a negative attribution is never a member.

    Examples
    --------
    >>> threshold_rows(np.array([[1.0, 0.3, 0.2, -2.0]]), np.array([[5, 6, 7, 8]]), np.array([1.0]), 0.2)
    array([[ True,  True, False, False]])
    """
    return (panel >= 0) & exceeds(values, maximum, t)


def require_threshold(t: Any) -> None:
    """Refuse what is no threshold.

    Parameters
    ----------
    t : object
        A share of the maximum.

    Raises
    ------
    InputError
        It is not a number in [0, 1).
    """
    if isinstance(t, bool) or not isinstance(t, int | float | np.number) or not 0 <= t < 1:
        raise InputError(
            message("threshold", t, "a number in [0, 1)", "neuron sets", "Give a share of the maximum")
        )


def require_budget(b: Any) -> None:
    """Refuse what is no budget of neurons.

    Parameters
    ----------
    b : object
        A number of neurons.

    Raises
    ------
    InputError
        It is not a whole number of at least 1.
    """
    if isinstance(b, bool) or not isinstance(b, int | np.integer) or b < 1:
        raise InputError(message("top", b, "a whole number ≥ 1", "neuron sets", "Give a budget of neurons"))


def exceeds(values: NDArray[Any], maximum: NDArray[Any], t: float) -> NDArray[np.bool_]:
    """Which values are > 0 and > t · max, compared in float64 without a copy of them in float64.

    A value of a narrower type exceeds a float64 bar where it exceeds the largest number of its own type that
    is not above the bar.

    Parameters
    ----------
    values : ndarray
        Float, (query, …); NaN exceeds nothing.
    maximum, t : ndarray or float
        As for :func:`threshold_rows`.

    Returns
    -------
    bool ndarray, shape (query, …)
        Whether each value exceeds both.

    Raises
    ------
    InputError
        ``t`` is not within [0, 1).

    Examples
    --------
    >>> exceeds(np.array([[0.3, 0.2, np.nan]], dtype=np.float32), np.array([1.0]), 0.2).tolist()
    [[True, True, False]]
    """
    require_threshold(t)
    return above(values, np.maximum(t * np.asarray(maximum, dtype=np.float64), 0.0))


def above(values: NDArray[Any], bars: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values are greater than their query's bar, compared as :func:`exceeds` does.

    Parameters
    ----------
    values : ndarray
        Float, (query, …); NaN is above nothing.
    bars : float64 ndarray, shape (query,), or float
        Finite or -inf.

    Returns
    -------
    bool ndarray, shape (query, …)
        Whether each value is above its bar.

    Examples
    --------
    >>> above(np.array([[0.3, 0.2]], dtype=np.float32), np.array([0.2])).tolist()
    [[True, True]]
    """
    exact, value = np.asarray(bars, dtype=np.float64), np.asarray(values)
    value = value if value.dtype.kind == "f" else value.astype(np.float64)
    bar = np.minimum(exact, np.finfo(value.dtype).max).astype(value.dtype)
    bar = np.where(bar.astype(np.float64) > exact, np.nextafter(bar, value.dtype.type(-np.inf)), bar)
    return np.asarray(value > bar.reshape(-1, *[1] * (value.ndim - 1)), dtype=bool)


def top_rows(values: NDArray[Any], panel: NDArray[np.integer[Any]], b: int) -> NDArray[np.bool_]:
    """Which slots hold one of a query's ``b`` largest positive attributions.

    Ties go to the smaller neuron number.

    Parameters
    ----------
    values, panel : ndarray or integer ndarray
        As for :func:`threshold_rows`.
    b : int
        The budget, at least 1.

    Returns
    -------
    bool ndarray, shape (query, slot)
        Whether the slot's neuron is one of them.

    Raises
    ------
    InputError
        ``b`` is less than 1.

    Examples
    --------
    >>> top_rows(np.array([[0.5, 0.9, 0.5, -1.0]]), np.array([[7, 3, 2, 1]]), 2)
    array([[False,  True,  True, False]])
    """
    require_budget(b)
    value = np.where(panel >= 0, np.nan_to_num(np.asarray(values, dtype=np.float64), nan=-np.inf), -np.inf)
    order = np.lexsort((panel, -value), axis=1)[:, :b]
    chosen = np.zeros(value.shape, dtype=bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen & (value > 0)


def check_floor(t: float, floors: NDArray[np.float64], ids: NDArray[Any]) -> None:
    """Refuse a threshold below what a panel keeps: exact at t ≥ floor, never approximated below.

    Parameters
    ----------
    t : float
        The threshold asked for.
    floors : float64 ndarray, shape (fact,)
        Effective floor of each fact's panel; NaN where it has no query.
    ids : str ndarray, shape (fact,)
        Str, (fact,).

    Raises
    ------
    FloorError
        Naming the first fact whose floor is above ``t``, and how many there are.
    """
    with np.errstate(invalid="ignore"):
        above = np.flatnonzero(floors > t)
    if len(above):
        worst = above[np.argmax(floors[above])]
        raise FloorError(
            message(
                "threshold",
                t,
                f"a number ≥ {no_less(floors[worst])}, the largest floor of the panels asked for",
                f"fact {str(ids[worst])!r} (and {len(above) - 1} more)",
                "Ask at or above the floor, or extract with a lower --floor or --tier dense",
            )
        )
