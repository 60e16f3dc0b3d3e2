"""Total and indirect effects of causal tracing, by corruption, part, token role and layer.

See docs/methods.md#tracing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import rankdata

from qloc.analysis.inference.means import mean_by
from qloc.arrays import Floats, Ints
from qloc.phase_plan import NOISE, OTHER_SUBJECT

Measure = Literal["log_odds", "probability"]
Corruption = Literal["noise", "other_subject"]

CORRUPTIONS: Final[tuple[Corruption, ...]] = ("noise", "other_subject")


@dataclass(frozen=True, kw_only=True)
class RestoringEffects:
    """Effects of one kind of corruption, by query: means over its samples.

    Attributes
    ----------
    parts : tuple of str
        The restored parts.
    roles : tuple of str
        The restored tokens.
    fact : int64 ndarray, shape (query,)
        The fact of each query.
    total : float64 ndarray, shape (query,)
        Clean less corrupted; NaN where a query was not traced.
    indirect : float64 ndarray, shape (part, role, layer, query)
        Restored less corrupted; NaN where a query has no token of the role.
    used : bool ndarray, shape (query,)
        Queries whose total effect in log-odds is above 0: corrupting them loses the answer.
    """

    parts: tuple[str, ...]
    roles: tuple[str, ...]
    fact: Ints
    total: Floats
    indirect: Floats
    used: NDArray[np.bool_]

    @classmethod
    def of(
        cls, tracing: xr.Dataset, corruption: Corruption = "noise", measure: Measure = "log_odds"
    ) -> RestoringEffects:
        """Read the effects of one kind of corruption.

        Parameters
        ----------
        tracing : xarray.Dataset
            Group /tracing.
        corruption : {"noise", "other_subject"}
            How the subject was corrupted.
        measure : {"log_odds", "probability"}
            What effects are differences of.

        Returns
        -------
        RestoringEffects
            Of every query.
        """
        labels = np.asarray(tracing["corruption"].values).astype(str)
        chosen = np.flatnonzero(
            labels == OTHER_SUBJECT if corruption == "other_subject" else np.char.startswith(labels, NOISE)
        )
        here = tracing.isel(corruption=chosen)

        def values(name: str) -> Floats:
            return here[name].to_numpy().astype(np.float64)

        base = values(f"corrupted_{measure}")
        odds = values("clean_log_odds") - values("corrupted_log_odds").mean(0)
        restored = values(measure)  # part, role, layer, corruption, query
        return cls(
            parts=tuple(np.asarray(tracing["tracing_part"].values).astype(str).tolist()),
            roles=tuple(np.asarray(tracing["token_role"].values).astype(str).tolist()),
            fact=here["fact"].to_numpy().astype(np.int64),
            total=values(f"clean_{measure}") - base.mean(0),
            indirect=(restored - base).mean(3),
            used=np.nan_to_num(odds, nan=-1.0) > 0,
        )

    def only(self, queries: NDArray[np.bool_]) -> RestoringEffects:
        """Return the effects with some queries used alone.

        Parameters
        ----------
        queries : bool ndarray, shape (query,)
            Those that may be used.

        Returns
        -------
        RestoringEffects
            The same effects.
        """
        return replace(self, used=self.used & queries)

    def has(self, part: str, *roles: str) -> bool:
        """Return whether a part was restored at tokens of some roles.

        Parameters
        ----------
        part : str
            A part.
        *roles : str
            Roles of tokens.

        Returns
        -------
        bool
            True where all were.
        """
        return part in self.parts and set(roles) <= set(self.roles)

    def of_facts(self, values: Floats, n_facts: int) -> Floats:
        """Average values over each fact's used queries.

        Parameters
        ----------
        values : float64 ndarray, shape (…, query)
            NaN is left out.
        n_facts : int
            Number of facts.

        Returns
        -------
        float64 ndarray, shape (fact, …)
            NaN for a fact without a value.
        """
        flat = values.reshape(-1, values.shape[-1])
        columns = []
        for row in flat:
            keep = self.used & ~np.isnan(row)
            columns.append(mean_by(row[keep], self.fact[keep], n_facts))
        return np.stack(columns, 1).reshape(n_facts, *values.shape[:-1])

    def at(self, part: str, role: str) -> Floats:
        """Return indirect effects at one kind of place, (layer, query).

        Parameters
        ----------
        part : str
            A restored part.
        role : str
            A restored token.

        Returns
        -------
        float64 ndarray, shape (layer, query)
            In the measure's unit.
        """
        found: Floats = self.indirect[self.parts.index(part), self.roles.index(role)]
        return found


def profile_correlation(first: Floats, second: Floats) -> Floats:
    """Return Spearman's correlation of two layer profiles, fact by fact.

    Parameters
    ----------
    first, second : float64 ndarray, shape (fact, layer)
        Profiles.

    Returns
    -------
    float64 ndarray, shape (fact,)
        NaN where a profile is missing or the same in all layers.

    Examples
    --------
    >>> profile_correlation(np.array([[1.0, 2.0, 9.0]]), np.array([[0.0, 5.0, 6.0]])).tolist()
    [1.0]
    """
    ranks = [rankdata(values, axis=1, nan_policy="propagate") for values in (first, second)]
    centered = [values - values.mean(1, keepdims=True) for values in ranks]
    norm = np.sqrt((centered[0] ** 2).sum(1) * (centered[1] ** 2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(norm > 0, (centered[0] * centered[1]).sum(1) / norm, np.nan)
    return np.round(found, 12)
