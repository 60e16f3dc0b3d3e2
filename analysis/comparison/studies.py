"""Several studies on what all of them were asked: the facts and queries that models can be compared on.

Neurons of different networks have nothing in common but their number, so neuron sets stay apart, one
:class:`~qloc.neurons.NeuronSets` a model; what is per fact or per query goes along a dimension ``model``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency
from qloc.arrays import Ints
from qloc.errors import InputError, message
from qloc.neurons import NeuronSets
from qloc.vocabulary import FACT, QUERY

MODEL = "model"
"""The dimension along which studies lie."""

FactKey = tuple[str, ...]

_OF_FACT = ("relation", "subject", "object", "feature")
_OF_QUERY = ("template", "prompt")


@dataclass(frozen=True)
class Studies:
    """Several extractions, and the facts and queries that all of their models were asked.

    A query is the same in two studies where relation, subject, object, template and prompt are. Facts keep
    the order of the first study; those without a common query are left out.

    Attributes
    ----------
    studies : name of the model → Study, two at least.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> one = simulate(facts=12, relations=2, templates=3, seed=1)
    >>> both = Studies({"early": one, "late": one})
    >>> both.queries.sizes["model"], both.queries.sizes["query"] == one.queries.sizes["query"]
    (2, True)
    """

    studies: Mapping[str, Study] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.studies) < 2:
            rule, action = "two at least", "Give another store, or open the one by itself"
            raise InputError(message("studies", len(self.studies), rule, "a comparison", action))
        if not len(self.rows[0]):
            rule = "at least one query that all models were asked (same relation, subject, object and prompt)"
            action = "Extract the same facts from each model"
            raise InputError(message("common queries", 0, rule, ", ".join(self.models), action))

    def __iter__(self) -> Iterator[Study]:
        return iter(self.studies.values())

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, model: str) -> Study:
        return self.studies[model]

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order given."""
        return tuple(self.studies)

    @cached_property
    def rows(self) -> tuple[Ints, ...]:
        """Of each study, where the common queries are: int64, (query,), in the first study's order."""
        keys = [_keys(study) for study in self]
        places = [{key: row for row, key in enumerate(of_study)} for of_study in keys]
        common = [key for key in keys[0] if all(key in place for place in places[1:])]
        return tuple(np.array([place[key] for key in common], dtype=np.int64) for place in places)

    @cached_property
    def fact_rows(self) -> tuple[Ints, ...]:
        """Of each study, where the common facts are: int64, (fact,)."""
        first = np.unique(self.fact_of_query, return_index=True)[1]
        return tuple(
            study.column("queries", "fact").astype(np.int64)[rows][first]
            for study, rows in zip(self, self.rows, strict=True)
        )

    @cached_property
    def fact_of_query(self) -> Ints:
        """The common fact that each common query asks for: int64, (query,)."""
        fact = next(iter(self)).column("queries", "fact").astype(np.int64)[self.rows[0]]
        return np.unique(fact, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def queries(self) -> xr.Dataset:
        """The common queries.

        Returns
        -------
        xarray.Dataset
            ``log_probability`` (float32), ``rank`` (int32), ``known`` (bool), along (model, query).
            Coordinates ``model``; ``fact`` (row of :attr:`facts`), ``relation, template, prompt, answer``.
        """
        first = next(iter(self))
        known = self._stacked("known") == 1
        names = ("relation", "template", "prompt", "answer")
        coords: dict[str, Any] = {n: (QUERY, first.column("queries", n)[self.rows[0]]) for n in names}
        return xr.Dataset(
            {
                "log_probability": ((MODEL, QUERY), self._stacked("log_probability")),
                "rank": ((MODEL, QUERY), self._stacked("rank")),
                "known": ((MODEL, QUERY), known),
            },
            coords={**coords, FACT: (QUERY, self.fact_of_query), MODEL: list(self.models)},
        )

    @cached_property
    def facts(self) -> xr.Dataset:
        """The common facts.

        Returns
        -------
        xarray.Dataset
            ``n_queries`` (common ones, along fact), ``n_known`` (model, fact), ``n_known_by_all`` (fact).
            Coordinates ``model``; ``id, subject, relation, object, leaks`` of the first study.
        """
        n = len(self.fact_rows[0])
        first = next(iter(self))
        names = ("id", "subject", "relation", "object", "leaks")
        columns = {name: first.column("facts", name)[self.fact_rows[0]] for name in names}
        columns["leaks"] = columns["leaks"] > 0
        return xr.Dataset(
            {
                "n_queries": (FACT, np.bincount(self.fact_of_query, minlength=n)),
                "n_known": (
                    (MODEL, FACT),
                    np.stack([self._counted(known) for known in self.queries["known"].values]),
                ),
                "n_known_by_all": (FACT, self._counted(self.known_by_all)),
            },
            coords={**{x: (FACT, column) for x, column in columns.items()}, MODEL: list(self.models)},
        )

    @property
    def known_by_all(self) -> NDArray[np.bool_]:
        """Which common queries every model knows: bool, (query,)."""
        return np.asarray(self.queries["known"].values.all(axis=0))

    def neurons(self, method: str = "ig", threshold: float | None = None) -> dict[str, NeuronSets]:
        """Each model's knowledge neurons of the common queries; ``known`` is known by every model.

        Raises
        ------
        InputError : a store without the method. FloorError : a threshold below a store's floor.
        """
        found = {}
        for (model, study), rows, facts in zip(self.studies.items(), self.rows, self.fact_rows, strict=True):
            sets = study.neurons(method, threshold)
            columns = {name: column[rows] for name, column in sets.queries.items()}
            columns |= {"fact": self.fact_of_query, "known": self.known_by_all}
            found[model] = replace(
                sets,
                member=sparse.csr_array(sets.member[rows]),
                queries=columns,
                facts={name: column[facts] for name, column in sets.facts.items()},
            )
        return found

    def consistency(
        self, method: str = "ig", threshold: float | None = None, *, known: bool = True
    ) -> xr.Dataset:
        """:func:`qloc.consistency` of each model over the common queries, along ``model``.

        Parameters
        ----------
        known : over the queries that every model knows (headline); else over all common ones.
        """
        sets = self.neurons(method, threshold)
        scores = [consistency(of_model, known=known).drop_attrs() for of_model in sets.values()]
        queries = "known by all models" if known else "all that every model was asked"
        attrs = {"attribution_method": method, "rule": next(iter(sets.values())).rule, "queries": queries}
        return xr.concat(scores, xr.DataArray(list(self.models), dims=MODEL, name=MODEL)).assign_attrs(attrs)

    def _stacked(self, name: str) -> NDArray[Any]:
        return np.stack([s.column("queries", name)[rows] for s, rows in zip(self, self.rows, strict=True)])

    def _counted(self, chosen: NDArray[np.bool_]) -> Ints:
        return np.bincount(self.fact_of_query[chosen], minlength=len(self.fact_rows[0])).astype(np.int64)


def _keys(study: Study) -> list[FactKey]:
    """What makes each query the same one in another study; a key that repeats gets its number."""
    fact = study.column("queries", "fact")
    of_fact = [study.column("facts", name)[fact] for name in _OF_FACT if name in study.facts]
    of_query = [study.column("queries", name) for name in _OF_QUERY]
    seen: dict[FactKey, int] = {}
    found = []
    for key in zip(*(map(str, column) for column in (*of_fact, *of_query)), strict=True):
        seen[key] = seen.get(key, 0) + 1
        found.append((*key, str(seen[key])))
    return found


def named(studies: Sequence[Study], places: Sequence[str]) -> Studies:
    """Studies under their models' names; under their stores' where those are not distinct.

    Parameters
    ----------
    places : what each store is called, such as ``step1000``.
    """
    names = [model_name(study) for study in studies]
    if len(set(names)) < len(names):
        names = list(places)
    if len(set(names)) < len(names):
        names = [f"{name} ({place})" for place, name in enumerate(names, start=1)]
    return Studies(dict(zip(names, studies, strict=True)))


def model_name(study: Study) -> str:
    """The model with its revision, such as ``EleutherAI/pythia-70m@step1000``."""
    name, revision = str(study.attrs.get("model", "model")), str(study.attrs.get("revision") or "")
    return f"{name}@{revision}" if revision else name
