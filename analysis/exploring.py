"""Gather facts of a study for a report's explorer: queries, neurons, scores, effects of changes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import xarray as xr

from qloc.analysis.inference.paired import log_odds
from qloc.analysis.inputs.neuron_tokens import neuron_tokens
from qloc.analysis.inputs.study import Study
from qloc.analysis.inputs.synapse_views import SynapseViews, token_labels
from qloc.analysis.localization.neuron_counts import counts_by
from qloc.analysis.questions.context import AnalysisContext
from qloc.arrays import Array, Floats, Ints
from qloc.exploration.exploration import Exploration
from qloc.exploration.explored_facts import ExploredFact, ExploredQuery
from qloc.plan import AnalysisPlan
from qloc.random_streams import Stream
from qloc.text.printable import printable
from qloc.vocabulary import PAIR, QUERY

N_FACTS: Final = 1000
"""Facts that an exploration has at most, where no other number is asked for."""

N_COLUMNS: Final = 24
"""Neurons of a fact's heatmap."""

N_CANDIDATES: Final = 3
"""Answers of the relation that are shown with a query."""

SCORES: Final = {
    "CS1": "CS1",
    "CS2": "CS2",
    "D": "D",
    "kappa": "κ, other answers",
    "kappa_same_answer": "κ, same answer",
}
"""Scores of a fact: their names in :func:`~qloc.analysis.localization.consistency.consistency`, and here."""

_EXTREMES: Final = 0.1
"""Share of a sample that goes to the least and the most consistent facts each."""

_READ: Final = 64
"""Facts whose values are read at a time."""


def explore(
    study: Study, plan: AnalysisPlan | None = None, *, title: str = "", n_facts: int = N_FACTS
) -> Exploration:
    """Gather the facts of a study that a reader can look through.

    Parameters
    ----------
    study : Study
        What the facts are of.
    plan : AnalysisPlan, optional
        Method and threshold of the neuron sets, cut of CS2, seed of the draw; the defaults where it is not
        given.
    title : str, default ""
        Title of the result that it belongs to; the model's name where it is empty.
    n_facts : int, default 1000
        Facts at most. Of more, a tenth each are the least and the most consistent (by CS2), the others are
        drawn by relation, in proportion to its facts.

    Returns
    -------
    Exploration
        The same for the same study, plan and number.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> found = explore(simulate(facts=12, relations=2, templates=3, seed=1))
    >>> found.n_facts, len(found.facts), found.rule  # one fact has its answer in its subject
    (11, 11, 'ig, threshold 0.2')
    """
    return _Explorer(AnalysisContext(study, plan or AnalysisPlan())).explore(title, n_facts)


def chosen_facts(score: Floats, relation: Ints, able: Ints, n: int, seed: int) -> Ints:
    """Choose facts: the extremes of a score, and others by relation in proportion to its facts.

    Parameters
    ----------
    score : float64 ndarray, shape (fact,)
        NaN where a fact has none; such facts are drawn, but are no extremes.
    relation : int64 ndarray, shape (fact,)
        Each fact's relation.
    able : int64 ndarray
        Rows of the facts that are chosen from, ascending.
    n : int
        How many.
    seed : int
        Of the draw.

    Returns
    -------
    int64 ndarray
        Rows, ascending; all of ``able`` where there are no more than ``n``.

    Examples
    --------
    >>> chosen_facts(np.linspace(0, 1, 40), np.arange(40) % 2, np.arange(40), 10, 0)[[0, -1]].tolist()
    [0, 39]
    """
    if len(able) <= n:
        return able
    scored = able[~np.isnan(score[able])]
    order = scored[np.argsort(score[scored], kind="stable")]
    few = min(int(_EXTREMES * n), len(order) // 2)
    extremes = np.unique(np.concatenate([order[:few], order[len(order) - few :]]))
    rest = Stream.EXPLORED_FACTS.generator(seed).permutation(np.setdiff1d(able, extremes))
    # The place of a fact within its relation, as a share: taken in this order, relations fill in proportion.
    codes = relation[rest]
    by_relation = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    place = np.empty(len(rest))
    place[by_relation] = np.arange(len(rest)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    share = (place + 0.5) / sizes[codes]
    drawn = rest[np.argsort(share, kind="stable")[: n - len(extremes)]]
    return np.sort(np.concatenate([extremes, drawn]))


@dataclass(frozen=True)
class _Explorer:
    context: AnalysisContext

    def explore(self, title: str, n_facts: int) -> Exploration:
        sets, plan, study = self.context.sets, self.context.plan, self.context.study
        able = np.flatnonzero(~sets.facts["leaks"] & (np.diff(self.bounds) > 0))
        cs2 = np.asarray(self.context.scores["CS2"].values)  # the extremes are facts where there are any
        n_pairs = int(np.sum(self.is_pair[able]))
        rows = chosen_facts(cs2, self.context.relations[1], able, n_facts, plan.seed)
        facts = tuple(self.facts(rows))
        here = sorted({neuron for fact in facts for query in fact.queries for neuron in query.neurons})
        words, tokens = _tokens(study, here)
        return Exploration(
            title=title or str(study.attrs.get("model", "unnamed model")),
            n_layers=sets.n_layers,
            n_neurons=sets.n_neurons,
            rule=f"{sets.method}, {sets.rule}",
            cut=plan.consistency_threshold,
            n_facts=len(able) - n_pairs,
            choice=_choice(len(facts), len(able) - n_pairs, n_pairs, grouped=self.context.has_groups),
            scores=tuple(SCORES.values()),
            templates=tuple(map(str, self.templates[0])),
            arms=tuple(f"{operation}, {name}" for operation, name in self.arms),
            edits=tuple(f"{operation}, {name}" for operation, name in self.edits),
            shared=_of(here, self.shared(of_pairs=False)),
            facts=facts,
            words=words,
            tokens=tokens,
            n_pairs=n_pairs,
            shared_by_pairs=_of(here, self.shared(of_pairs=True)),
            pairs=tuple(str(sets.facts["id"][row]) for row in rows[self.is_pair[rows]]),
        )

    @cached_property
    def is_pair(self) -> Array:
        """Which rows of the facts are groups of minimal pairs: bool, (fact,)."""
        return np.asarray(self.context.kind_of_fact == PAIR)

    @cached_property
    def scores(self) -> dict[str, Floats]:
        """Scores of facts, and of groups of minimal pairs among themselves, by name: (fact,)."""
        of_facts, of_pairs = self.context.scores, self.context.scores_of_pairs
        return {name: np.where(self.is_pair, of_pairs[name], of_facts[name]) for name in SCORES}

    @cached_property
    def bounds(self) -> Ints:
        """First query of each fact, and the number of queries: a fact's queries stand together."""
        sets = self.context.sets
        return np.searchsorted(sets.queries["fact"], np.arange(sets.n_facts + 1)).astype(np.int64)

    @cached_property
    def templates(self) -> tuple[Array, Array]:
        names, place = np.unique(self.context.sets.queries["template"], return_inverse=True)
        return names, place

    def shared(self, *, of_pairs: bool) -> dict[int, int]:
        """Neuron → facts, or groups of minimal pairs, that have it in the set of a known query."""
        sets = self.context.sets
        used = sets.select((sets.queries["kind"] == PAIR) == of_pairs).known()
        counts = counts_by(used.member, used.queries["fact"].astype(np.int64), used.n_facts)
        neurons, n = np.unique(counts.indices[counts.data > 0], return_counts=True)
        return dict(zip(neurons.tolist(), n.tolist(), strict=True))

    @cached_property
    def arms(self) -> list[tuple[str, str]]:
        return _pairs(self.context.study, "interventions", "operation", "neuron_set")

    @cached_property
    def edits(self) -> list[tuple[str, str]]:
        return _pairs(self.context.study, "edits", "edit_operation", "edit_set")

    @cached_property
    def asked(self) -> dict[str, Array]:
        return {name: self.context.study.column("queries", name) for name in ("prompt", "rank")}

    def facts(self, rows: Ints) -> Iterator[ExploredFact]:
        for start in range(0, len(rows), _READ):
            few = rows[start : start + _READ]
            queries = np.concatenate([np.arange(self.bounds[row], self.bounds[row + 1]) for row in few])
            values = _Values.read(self.context, queries)
            yield from (self.fact(int(row), values) for row in few)

    def fact(self, row: int, values: _Values) -> ExploredFact:
        facts = self.context.sets.facts
        queries = np.arange(self.bounds[row], self.bounds[row + 1])
        columns = values.columns(queries)
        cs2 = float(self.scores["CS2"][row])
        new_object, edited = self.edited(row)
        own: dict[str, Any] = {
            name: str(facts[name][row]) for name in ("id", "subject", "relation", "object")
        }
        return ExploredFact(
            **own,
            inconsistent=None if math.isnan(cs2) else cs2 < self.context.plan.consistency_threshold,
            scores=tuple(_rounded(self.scores[name][row], 3) for name in SCORES),
            queries=tuple(self.query(int(query), values) for query in queries),
            columns=tuple(columns.tolist()),
            attribution=values.attribution_at(queries, columns),
            activation=values.activation_at(queries, columns),
            arms=self.changed(queries),
            edits=edited,
            new_object=new_object,
            **self.suppressed(queries, columns),
        )

    @cached_property
    def views(self) -> SynapseViews:
        return SynapseViews(self.context.study)

    def suppressed(self, queries: Ints, columns: Ints) -> dict[str, Any]:
        """Return neurons with their query's synapses suppressed; nothing of facts that were not viewed."""
        if not self.views.has(queries):
            return {}
        values = self.views.values(queries, columns)
        before, after = values["attribution"]
        return {
            "activation_after": _rows_of(values["activation"][1], 2),
            "product": _rows_of(100 * before, 0),
            "product_after": _rows_of(100 * after, 0),
        }

    def attended(self, query: int) -> dict[str, Any]:
        """Return the attention of a query's target; nothing of queries that were not viewed."""
        found = self.views.attended(query) if self.views.has(np.array([query])) else None
        if found is None:
            return {}
        shares = np.rint(1000 * found.attention).astype(int).tolist()
        rows = zip(found.heads, shares, found.synapse, strict=True)
        return {
            "tokens": tuple(token_labels([*map(printable, found.tokens)])),
            "attention": tuple(
                (*head, tuple(share), tuple(np.flatnonzero(chosen).tolist())) for head, share, chosen in rows
            ),
        }

    def query(self, query: int, values: _Values) -> ExploredQuery:
        sets = self.context.sets
        neurons = sets.of(query)
        strengths = values.percent([query], neurons)[0]
        order = np.lexsort((neurons, -strengths))
        return ExploredQuery(
            prompt=str(self.asked["prompt"][query]),
            template=int(self.templates[1][query]),
            known=bool(sets.queries["known"][query]),
            log_probability=_rounded(sets.queries["log_probability"][query], 2),
            rank=int(self.asked["rank"][query]),
            neurons=tuple(neurons[order].tolist()),
            strengths=tuple(strengths[order].astype(int).tolist()),
            candidates=self.candidates(query),
            **self.attended(query),
        )

    def candidates(self, query: int) -> tuple[tuple[str, int], ...]:
        names = self._candidates[0].get(str(self.context.sets.queries["relation"][query]), [])
        log_p = self._candidates[1][query, : len(names)]
        order = np.argsort(np.where(np.isnan(log_p), np.inf, -log_p), kind="stable")[:N_CANDIDATES]
        return tuple(
            (str(names[place]), round(1000 * math.exp(log_p[place])))
            for place in order
            if not math.isnan(log_p[place])
        )

    @cached_property
    def _candidates(self) -> tuple[dict[str, list[str]], Floats]:
        study = self.context.study
        if "candidate_log_probability" not in study.queries:
            return {}, np.zeros((self.context.sets.n_queries, 0))
        log_p = study.queries["candidate_log_probability"].values.astype(np.float64)
        return dict(study.facts.attrs.get("candidates", {})), log_p

    def changed(self, queries: Ints) -> tuple[tuple[float | None, float | None], ...]:
        """Return the mean change of log-odds and probability over known queries, under each arm."""
        if not self.arms:
            return ()
        known = queries[self.context.sets.queries["known"][queries]]
        before, after = self._answers[1][known], self._answers[0][:, known]
        odds, share = log_odds(after) - log_odds(before), 100 * (np.exp(after) - np.exp(before))
        return tuple(
            (_rounded(_mean(odds[n]), 2), _rounded(_mean(share[n]), 1)) for n in range(len(self.arms))
        )

    @cached_property
    def _answers(self) -> tuple[Floats, Floats]:
        """Log P of the answer after each arm (arm, query) and before it (query,)."""
        here = self.context.study.interventions
        after = np.asarray(
            here["log_probability"].transpose("operation", "neuron_set", QUERY).values, np.float64
        )
        before = np.asarray(here["base_log_probability"].values, np.float64)
        return after.reshape(-1, after.shape[-1]), before

    def edited(self, row: int) -> tuple[str, tuple[tuple[float | None, int, int], ...]]:
        if not self.edits:
            return "", ()
        here = self._edited.isel(fact=row)
        query = int(here["edited_query"])
        if query < 0:
            return "", ()
        place = query - int(self.bounds[row])
        of_query = here.isel(query_of_fact=place)
        change = (of_query["log_probability"] - of_query["base_log_probability"]).values.reshape(-1)
        after = of_query["new_rank"].values.reshape(-1)
        before = int(of_query["base_new_rank"])
        rows = tuple((_rounded(change[n], 2), before, int(after[n])) for n in range(len(self.edits)))
        return str(here["new_object"].values), rows

    @cached_property
    def _edited(self) -> xr.Dataset:
        names = ["edited_query", "new_object", "log_probability", "base_log_probability", "new_rank"]
        here = self.context.study.edits[[*names, "base_new_rank"]].load()
        return here.transpose("edit_operation", "edit_set", ...)


@dataclass(frozen=True)
class _Values:
    """Attributions and activations of some queries, as stored.

    Attributes
    ----------
    queries : int64 ndarray, shape (query,)
        Rows, ascending.
    relative : float64 ndarray, shape (query, slot)
        Attribution as a share of the query's maximum.
    activation : float64 ndarray, shape (query, slot), or None
        None where it was not kept.
    neurons : integer ndarray, shape (query, slot)
        −1 in empty slots.
    """

    queries: Ints
    relative: Floats
    activation: Floats | None
    neurons: Ints

    @classmethod
    def read(cls, context: AnalysisContext, queries: Ints) -> _Values:
        signals = context.study.signals_of(context.plan.method)
        _, values, neurons = signals.rows(queries)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = values.astype(np.float64) / signals.maximum[queries][:, None]
        stored = context.study.signals
        active = None
        if "activation" in stored:
            part = np.asarray(stored["activation"].isel({QUERY: queries}).values, np.float64)
            active = part.reshape(len(queries), -1)
        if active is not None and not np.isfinite(active).any():
            active = None
        return cls(queries, np.nan_to_num(relative, posinf=0, neginf=0), active, np.asarray(neurons))

    def columns(self, queries: Ints) -> Ints:
        """Return the strongest neurons of a fact's queries by their mean share, ascending."""
        at = np.searchsorted(self.queries, queries)
        neurons = self.neurons[at[0]]
        mean = np.where(neurons >= 0, self.relative[at].mean(axis=0), -np.inf)
        strongest = np.argsort(-mean, kind="stable")[:N_COLUMNS]
        return np.sort(neurons[strongest[mean[strongest] > 0]]).astype(np.int64)

    def _slots(self, query: int, neurons: Ints) -> Ints:
        """Return the slots of neurons; a panel lists its neurons in ascending order, empty slots last."""
        panel = self.neurons[query]
        n = int(np.count_nonzero(panel >= 0))
        return np.searchsorted(panel[:n], neurons).astype(np.int64)

    def percent(self, queries: list[int] | Ints, neurons: Ints) -> Floats:
        at = np.searchsorted(self.queries, queries)
        return np.rint(100 * self.relative[at][:, self._slots(at[0], neurons)])

    def attribution_at(self, queries: Ints, neurons: Ints) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(row) for row in self.percent(queries, neurons).astype(int).tolist())

    def activation_at(self, queries: Ints, neurons: Ints) -> tuple[tuple[float | None, ...], ...]:
        if self.activation is None:
            return ()
        at = np.searchsorted(self.queries, queries)
        values = self.activation[at][:, self._slots(at[0], neurons)]
        return tuple(tuple(_rounded(value, 2) for value in row) for row in values)


def _tokens(
    study: Study, neurons: list[int]
) -> tuple[tuple[str, ...], tuple[tuple[int, tuple[int, ...], tuple[int, ...]], ...]]:
    """Return texts of tokens, and for each neuron the places of those that it promotes and suppresses."""
    of_neuron = neuron_tokens(study, neurons)
    texts = sorted({text for tokens in of_neuron.values() for text in (*tokens.promoted, *tokens.suppressed)})
    place = {text: n for n, text in enumerate(texts)}

    def places(listed: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(place[text] for text in listed)

    rows = tuple(
        (neuron, places(tokens.promoted), places(tokens.suppressed)) for neuron, tokens in of_neuron.items()
    )
    return tuple(map(printable, texts)), rows


def _pairs(study: Study, group: str, first: str, second: str) -> list[tuple[str, str]]:
    if not study.datasets.get(group):
        return []
    here = study.datasets[group]
    return [(str(a), str(b)) for a in here[first].values for b in here[second].values]


def _of(neurons: list[int], counts: dict[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple((neuron, counts[neuron]) for neuron in neurons if neuron in counts)


def _choice(n: int, n_facts: int, n_pairs: int, *, grouped: bool) -> str:
    pairs = f"{n_pairs:,} {'groups of ' if grouped else ''}minimal pairs"
    kinds = [f"{n_facts:,} facts"] if n_facts or not n_pairs else []
    kinds += [pairs] if n_pairs else []
    if n == n_facts + n_pairs:
        return f"All {' and '.join(kinds)} of the study that do not have their answer in their subject."
    return (
        f"{n:,} of the study's {' and '.join(kinds)}: a tenth each are the least and the most consistent "
        f"{'facts ' if len(kinds) > 1 else ''}(CS2), the others are drawn by relation, in proportion to its "
        "facts."
    )


def _mean(values: Floats) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else math.nan


def _rows_of(values: Floats, digits: int) -> tuple[tuple[Any, ...], ...]:
    """Return rows of rounded numbers, whole ones for no digits; None for NaN."""
    rows = [[_rounded(value, digits) for value in row] for row in values]
    if digits:
        return tuple(map(tuple, rows))
    return tuple(tuple(None if value is None else int(value) for value in row) for row in rows)


def _rounded(value: Any, digits: int) -> float | None:
    number = float(value)
    return round(number, digits) + 0.0 if math.isfinite(number) else None
