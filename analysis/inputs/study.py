"""Study: the Datasets of one store, lazily opened, and the neuron sets that are selected from them.

The analysis does not depend on Zarr. It takes xarray Datasets, whether from a store, from a test or made by
hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import xarray as xr

from qloc.analysis.inputs.attributions import MethodAttributions, Selection, sets_at, sets_of
from qloc.analysis.inputs.selectable import FACT_LABELS, QUERY_LABELS, selectable
from qloc.arrays import Array
from qloc.errors import InputError, message
from qloc.neurons import NeuronSets, require_budget, require_threshold
from qloc.vocabulary import DEFAULT_THRESHOLD, FACT, METHOD, QUERY, SLOT

CORE_FACTS = (
    "id",
    "subject",
    "relation",
    "object",
    "feature",
    "first_query",
    "n_queries",
    "n_objects",
    "leaks",
    "kind",
)
"""Columns of /facts that are not attributes given by the user."""

_KEPT: Final = ("queries", "facts")
"""Groups whose columns are kept once they are read: short, and asked for by every question."""


@dataclass(frozen=True)
class Study:
    """One extraction, opened for analysis.

    Attributes
    ----------
    datasets : mapping of str to xarray.Dataset
        Groups by name, with the variables and dimensions of docs/store.md: ``queries``, ``facts``,
        ``signals``, and where recorded ``attention``, ``grams``, ``statistics``, ``interventions``,
        ``synapses``, ``reprompts``, ``edits``, ``entailments``, ``tracing``.
    attrs : mapping
        Description of the study: model, site, parameters, fingerprint, excluded queries by reason.
    complete : bool
        Whether every unit is extracted; an unfinished store can be opened, and says so.
    pairs_as_stored : bool
        Whether ``known`` of single minimal pairs is what the store says: the good continuation's rank. What
        phases choose from it must not change. Elsewhere a pair is known if good is likelier than bad.
    every_query : bool
        Whether every query counts as known.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> study = simulate(facts=12, relations=2, templates=3, seed=1)
    >>> study.neurons(method="ig", threshold=0.2).n_facts
    12
    """

    datasets: Mapping[str, xr.Dataset] = field(repr=False)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = True
    pairs_as_stored: bool = False
    every_query: bool = False

    def __repr__(self) -> str:
        model, facts = (str(self.attrs.get(name, "unnamed")) for name in ("model", "facts"))
        n_facts, n_queries = self.facts.sizes.get(FACT, 0), self.queries.sizes.get(QUERY, 0)
        unfinished = "" if self.complete else "; unfinished"
        return (
            f"<Study of {model} on {facts}: {n_facts:,} facts, {n_queries:,} queries; "
            f"methods {', '.join(self.methods)}; groups {', '.join(self.datasets)}{unfinished}>"
        )

    @property
    def queries(self) -> xr.Dataset:
        """The columns of group /queries, one row a query: prompts, and how the model answered."""
        columns = self._labelled("queries")
        if "known" in columns and (self.every_query or self._has_pairs):
            columns = columns.assign(known=columns["known"].copy(data=self._known))
        return columns[[name for name, column in columns.data_vars.items() if column.dims == (QUERY,)]]

    @property
    def answers(self) -> xr.Dataset:
        """What group /queries has along further dimensions: tokens of the answer, candidates, top tokens."""
        columns = self._labelled("queries")
        return columns[[name for name, column in columns.data_vars.items() if column.dims != (QUERY,)]]

    @property
    def facts(self) -> xr.Dataset:
        """Group /facts: id, subject, relation, object, attributes."""
        return self._labelled("facts")

    @property
    def attention(self) -> xr.Dataset:
        """Group /attention; an empty Dataset where the model's attention could not be recorded."""
        return self._optional("attention")

    @property
    def grams(self) -> xr.Dataset:
        """Group /grams; an empty Dataset where it was not recorded."""
        return self._optional("grams")

    @property
    def statistics(self) -> xr.Dataset:
        """Group /statistics: sums of activations by relation; an empty Dataset where there are none."""
        return self._optional("statistics")

    @property
    def tokens(self) -> xr.Dataset:
        """Group /neurons: tokens that neurons promote and suppress; an empty Dataset where there are none."""
        return self._optional("neurons")

    @property
    def interventions(self) -> xr.Dataset:
        """Group /interventions: answers after neurons were changed; empty where the phase was not run."""
        return self._optional("interventions")

    @property
    def synapses(self) -> xr.Dataset:
        """Group /synapses: answers after attention was changed; empty where that was not done."""
        return self._optional("synapses")

    @property
    def synapse_views(self) -> xr.Dataset:
        """Group /synapse_views: neurons of some facts, synapses suppressed; empty where none was viewed."""
        return self._optional("synapse_views")

    @property
    def reprompts(self) -> xr.Dataset:
        """Group /reprompts: queries asked again in another form; empty where that was not done."""
        return self._optional("reprompts")

    @property
    def edits(self) -> xr.Dataset:
        """Group /edits: answers after weights were edited; an empty Dataset where the phase was not run."""
        return self._optional("edits")

    @property
    def entailments(self) -> xr.Dataset:
        """Group /entailments: answers to what edits entail; empty where no fact says what that is."""
        return self._optional("entailments")

    @property
    def tracing(self) -> xr.Dataset:
        """Group /tracing: answers after states were restored; an empty Dataset without that phase."""
        return self._optional("tracing")

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that the store has, in the order in which they run."""
        return ("signals", *(name for name in ("interventions", "edits", "tracing") if name in self.datasets))

    @property
    def signals(self) -> xr.Dataset:
        """Group /signals, selectable by label: ``study.signals.sel(relation="P36")``, or by template."""
        return self._labelled("signals")

    @property
    def attribution(self) -> xr.DataArray:
        """Attributions along (attribution_method, query, slot); dense: (…, query, layer, neuron)."""
        return self.signals["attribution"]

    @property
    def methods(self) -> tuple[str, ...]:
        """The attribution methods that the store has."""
        return tuple(str(name) for name in self._group("signals")[METHOD].values)

    @property
    def dense(self) -> bool:
        """Whether the values of all neurons are kept, not only those of panels."""
        return SLOT not in self._group("signals")["attribution"].dims

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the store; empty where the attributes have none."""
        fingerprint = self.attrs.get("fingerprint", "")
        return fingerprint if isinstance(fingerprint, str) else str(fingerprint.get("signals", ""))

    def signals_of(self, method: str) -> MethodAttributions:
        """Return the attributions of one method, to be read in pieces.

        Parameters
        ----------
        method : str
            An attribution method of the store; ``activation`` of a dense one.

        Returns
        -------
        MethodAttributions
            Lazy values, and the panels that they belong to.

        Raises
        ------
        InputError
            The store has no such method, or ``activation`` is asked of a panel.
        """
        return MethodAttributions.of(self._group("signals"), method, self._fact_of_query, self.attrs)

    def neurons(
        self, method: str = "ig", threshold: float | None = None, *, top: int | None = None
    ) -> NeuronSets:
        """Select the knowledge neurons of every query (docs/methods.md#neuron-sets).

        Parameters
        ----------
        method : str, default "ig"
            An attribution method of the store; ``activation`` of a dense one.
        threshold : float, optional
            Share of the largest attribution of the whole network that a neuron's attribution exceeds, within
            [0, 1); 0.2 where neither it nor ``top`` is given.
        top : int, optional
            In place of a threshold: the ``top`` strongest positive attributions.

        Returns
        -------
        NeuronSets
            Sets of all queries, those of leaking facts among them; ``.known()`` selects those of headline
            figures. ``.uncertain`` is how many neurons of a query are within its error of the threshold, and
            ``.converged`` whether its paths are as exact as was asked.

        Raises
        ------
        InputError
            Both a threshold and a budget are given, one of them is no such number, or the method is unknown.
        FloorError
            The threshold is below a panel's floor, or a panel cannot fill the budget exactly.
        """
        if threshold is not None and top is not None:
            rule = "a threshold or a budget"
            raise InputError(
                message("neurons", f"threshold={threshold}, top={top}", rule, "Study", "Drop one")
            )
        t = DEFAULT_THRESHOLD if threshold is None else threshold
        require_threshold(t)
        if top is not None:
            require_budget(top)
        signals = self.signals_of(method)
        selection = sets_of(signals, t, top, self.column("facts", "id"))
        return self._sets(signals, selection, f"threshold {t:g}" if top is None else f"top {top}")

    def neurons_at(self, thresholds: Sequence[float], method: str = "ig") -> Iterator[NeuronSets]:
        """Select the knowledge neurons of every query at several thresholds, reading the store once.

        Parameters
        ----------
        thresholds : sequence of float
            Shares of the largest attribution, each within [0, 1).
        method : str, default "ig"
            As for :meth:`neurons`.

        Returns
        -------
        iterator of NeuronSets
            The sets that :meth:`neurons` selects at each threshold, in order.

        Raises
        ------
        InputError
            The method is unknown, or a threshold is no number in [0, 1).
        FloorError
            A threshold is below a panel's floor.
        """
        listed = _shares(thresholds)
        return self._neurons_at(listed, self.signals_of(method))

    def _neurons_at(self, thresholds: list[float], signals: MethodAttributions) -> Iterator[NeuronSets]:
        if thresholds:
            selections = sets_at(signals, thresholds, self.column("facts", "id"))
            for t, selection in zip(thresholds, selections, strict=True):
                yield self._sets(signals, selection, f"threshold {t:g}")

    def _sets(self, signals: MethodAttributions, selection: Selection, rule: str) -> NeuronSets:
        told = {"uncertain": selection.uncertain, "converged": signals.accuracy.converged_queries()}
        return NeuronSets(
            member=selection.member,
            n_layers=signals.n_layers,
            n_neurons=signals.n_neurons,
            method=signals.method,
            rule=rule,
            queries={**self._query_columns, **told},
            facts=self._fact_columns,
        )

    def column(self, group: str, name: str) -> Array:
        """Read one variable into memory.

        Parameters
        ----------
        group : str
            Group, such as ``queries``.
        name : str
            Variable or coordinate of the group.

        Returns
        -------
        ndarray
            Its values; strings as ``str``, of fixed width.

        Raises
        ------
        InputError
            The study does not have the group, or the group the variable.
        """
        found = self._group(group)
        if name not in found.variables:
            rule = f"one of {', '.join(map(str, found.variables))}"
            raise InputError(message("variable", name, rule, f"group {group!r}", "Correct the name"))
        if (group, name) == ("queries", "known"):
            return self._known
        if group not in _KEPT:
            return _plain(found[name])
        if (group, name) not in self._columns:
            self._columns[group, name] = _plain(found[name])
        return self._columns[group, name].copy()

    @cached_property
    def _columns(self) -> dict[tuple[str, str], Array]:
        """The columns of queries and facts that were read so far."""
        return {}

    @cached_property
    def _known(self) -> Array:
        """Column ``known`` of the queries; of pairs, whether good is likelier than bad."""
        stored = _plain(self._group("queries")["known"])
        if self.every_query:
            return np.ones_like(stored)
        if not self._has_pairs:
            return stored
        pair = self.column("queries", "kind") == "minimal_pair"
        return np.where(pair, self._preferred().astype(stored.dtype), stored)

    @cached_property
    def _has_pairs(self) -> bool:
        queries = self._group("queries")
        needed = {"kind", "log_probability", "bad_log_probability"}
        if self.pairs_as_stored or not needed <= queries.variables.keys():
            return False
        return bool((self.column("queries", "kind") == "minimal_pair").any())

    @cached_property
    def _fact_of_query(self) -> Array:
        return self.column("queries", "fact").astype(np.int64)

    @cached_property
    def _query_columns(self) -> dict[str, Array]:
        names = ("template", "relation", "answer", "kind", "log_probability")
        known = self.column("queries", "known") == 1
        return {
            "fact": self._fact_of_query,
            **{name: self.column("queries", name) for name in names},
            "known": known,
            "own_first": (self.column("queries", "rank") == 1) | self.every_query,
            "preferred": self._preferred(),
        }

    def _preferred(self) -> Array:
        """Return, for minimal pairs, whether the good continuation is likelier than the bad one."""
        bad = self.column("queries", "bad_log_probability")
        with np.errstate(invalid="ignore"):
            return np.asarray(self.column("queries", "log_probability") > bad)

    @cached_property
    def _fact_columns(self) -> dict[str, Array]:
        left_out = {"first_query", "n_queries"}
        facts = self._group("facts")
        names = [str(name) for name in (*facts.data_vars, *facts.coords) if name not in left_out]
        columns = {name: self.column("facts", name) for name in names if facts[name].dims == (FACT,)}
        return {**columns, "leaks": columns["leaks"] > 0}

    def _optional(self, name: str) -> xr.Dataset:
        return self._labelled(name) if name in self.datasets else xr.Dataset()

    def _labelled(self, name: str) -> xr.Dataset:
        """Return a group whose rows can be selected by labels of its queries, or else of its facts."""
        if name not in self._selectable:
            group = self._group(name)
            for dim, of, labels in ((QUERY, "queries", QUERY_LABELS), (FACT, "facts", FACT_LABELS)):
                if dim in group.dims and of in self.datasets:
                    columns = {label: self.column(of, label) for label in labels}
                    group = selectable(group, dim, columns)
                    break
            self._selectable[name] = group
        return self._selectable[name]

    @cached_property
    def _selectable(self) -> dict[str, xr.Dataset]:
        """The groups that were asked for so far, with labels."""
        return {}

    def _group(self, name: str) -> xr.Dataset:
        try:
            return self.datasets[name]
        except KeyError:
            have = ", ".join(self.datasets)
            raise InputError(
                message("group", name, f"one of {have or 'none'}", "study", "Extract it first")
            ) from None


def _shares(thresholds: Any) -> list[float]:
    if isinstance(thresholds, str) or not isinstance(thresholds, Iterable):
        rule, action = "a list of numbers in [0, 1)", "Give a list, or ask neurons for one threshold"
        raise InputError(message("thresholds", thresholds, rule, "neuron sets", action))
    listed = list(thresholds)
    for t in listed:
        require_threshold(t)
    return listed


def _plain(array: xr.DataArray) -> Array:
    values = np.asarray(array.values)
    if values.dtype.kind in "iufb":
        return values
    return values.astype(str) if values.size else np.array([], dtype=str)
