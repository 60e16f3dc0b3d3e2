"""One fact of a study: its queries, its neurons, its scores, and what changing the neurons did."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import xarray as xr

from qloc.analysis.inputs.neuron_tokens import NeuronTokens, neuron_tokens
from qloc.analysis.inputs.study import CORE_FACTS, Study
from qloc.analysis.localization.consistency import consistency
from qloc.arrays import Ints
from qloc.errors import InputError, message
from qloc.neurons import NeuronSets
from qloc.phase_plan import NEURON_SETS

SHOWN_SCORES: Final = ("CS1", "CS2", "D", "kappa", "kappa_same_answer")
"""Scores of a fact that are shown, as :func:`consistency` names them."""

_SHOWN: Final = ("own", "neighbor", "union", "other_fact", "matched")
"""Sets of neurons whose effects are shown, besides the user's own."""


@dataclass(frozen=True, kw_only=True)
class OneQuery:
    """A query, and its knowledge neurons N_i.

    Attributes
    ----------
    prompt, template : str
        As it was asked, and by which template.
    known : bool
        Whether a right answer ranks first.
    log_probability : float
        log P(answer), nats.
    rank : int
        Of the answer, 1 is first.
    neurons : int64 ndarray, shape (neuron,)
        Neuron numbers, ascending.
    """

    prompt: str
    template: str
    known: bool
    log_probability: float
    rank: int
    neurons: Ints


@dataclass(frozen=True, kw_only=True)
class OneFact:
    """What a store holds of a fact.

    Attributes
    ----------
    id, subject, relation, object : str
        As in /facts.
    leaks : bool
        Whether the answer is contained in the subject.
    attributes : mapping of str to object
        The fact's further columns, where they are not empty.
    rule : str
        Method and rule of the neuron sets, in words.
    queries : tuple of OneQuery
        In the order of the store.
    scores : mapping of str to float
        CS1, CS2, D and κ over its known queries; NaN with fewer than two non-empty sets.
    k : int
        Known queries with a non-empty set.
    count : mapping of int to int
        Neuron number → c_n, over those k queries; the most frequent first.
    n_neurons : int
        Neurons of a layer, by which neurons are numbered.
    tokens : mapping of int to NeuronTokens
        Neuron number → the tokens that it promotes and suppresses; empty where the store has none.
    certainty : str
        How many neurons of its queries are within the error of the threshold, and what did not converge.
    changed_by : str
        Method and rule of the sets that interventions and edits were made of; empty where there are none.
    effects : mapping of str to mapping of str to float
        Operation → set → mean Δ log P over the fact's queries; empty where nothing was intervened on.
    new_object : str
        o′ of its edits; empty where nothing was edited.
    edited : mapping of str to (int, int)
        Set → rank of o′ before and after an update, for the edited query; empty where nothing was edited.
    """

    id: str
    subject: str
    relation: str
    object: str
    leaks: bool
    attributes: Mapping[str, Any]
    rule: str
    queries: tuple[OneQuery, ...]
    scores: Mapping[str, float]
    k: int
    count: Mapping[int, int]
    n_neurons: int
    tokens: Mapping[int, NeuronTokens]
    certainty: str
    changed_by: str = ""
    effects: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    new_object: str = ""
    edited: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def intersection(self) -> tuple[int, ...]:
        """Neurons in every one of the k sets."""
        return tuple(neuron for neuron, c in self.count.items() if c == self.k)


def find(study: Study, text: str) -> Ints:
    """Find facts by id or subject, ignoring case.

    Parameters
    ----------
    study : Study
        What is searched.
    text : str
        An id or a subject, or a part of one.

    Returns
    -------
    int64 ndarray
        Rows of /facts: those whose id or subject is ``text``, or else those that have it in one of them.

    Raises
    ------
    InputError
        There is none; the message names the nearest subjects.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> study = simulate(facts=12, relations=2, templates=3, seed=1)
    >>> find(study, "F00003").tolist(), len(find(study, "f0000"))
    ([3], 10)
    """
    ids, subjects = (
        np.array([str(value).casefold() for value in study.column("facts", name)])
        for name in ("id", "subject")
    )
    wanted = text.casefold()
    for names in (ids, subjects):
        if len(rows := np.flatnonzero(names == wanted)):
            return rows
    within = [row for row in range(len(ids)) if wanted in ids[row] or wanted in subjects[row]]
    if wanted and within:
        return np.array(within, dtype=np.int64)
    near = difflib.get_close_matches(wanted, subjects.tolist(), n=3, cutoff=0.5)
    spelled = [str(study.column("facts", "subject")[subjects == name][0]) for name in near]
    spelled = spelled or [str(name) for name in study.column("facts", "subject")[:3]]
    action = f"{'Perhaps' if near else 'Give one, such as'} {' or '.join(dict.fromkeys(spelled))}"
    rule = "an id, a subject, or a part of one"
    raise InputError(message("fact", text, rule, f"the store's {len(ids):,} facts", action))


def one_facts(
    study: Study, rows: Ints, *, method: str = "ig", threshold: float | None = None
) -> Iterator[OneFact]:
    """Collect everything of some facts of a study.

    Parameters
    ----------
    study : Study
        What the facts are of.
    rows : int64 ndarray
        Rows of /facts.
    method : str, default "ig"
        Attribution method of the neuron sets.
    threshold : float, optional
        Of the neuron sets; the default of :meth:`Study.neurons` where it is not given.

    Yields
    ------
    OneFact
        In the order of the rows.
    """
    sets = study.neurons(method, threshold)
    of_facts, kind = consistency(sets), sets.queries["kind"]
    of_pairs = consistency(sets.select(kind != "fact"))
    pairs = set(sets.queries["fact"][kind != "fact"].tolist())
    for row in map(int, rows):
        yield _one(study, sets, of_pairs if row in pairs else of_facts, row)


def _one(study: Study, sets: NeuronSets, scores: xr.Dataset, row: int) -> OneFact:
    places = [int(n) for n in np.flatnonzero(sets.queries["fact"] == row)]
    counted = [n for n in places if sets.queries["known"][n] and len(sets.of(n))]
    members = np.concatenate([np.zeros(0, dtype=np.int64), *(sets.of(n) for n in counted)])
    neurons, count = np.unique(members, return_counts=True)
    order = np.lexsort((neurons, -count))
    facts = sets.facts
    attributes = {
        name: column[row] for name, column in facts.items() if name not in CORE_FACTS and str(column[row])
    }
    rank, prompt = study.column("queries", "rank"), study.column("queries", "prompt")
    new_object, edited = _edited(study, row)
    return OneFact(
        **{name: str(facts[name][row]) for name in ("id", "subject", "relation", "object")},
        leaks=bool(facts["leaks"][row]),
        attributes=attributes,
        rule=f"{sets.method}, {sets.rule}",
        queries=tuple(
            OneQuery(
                prompt=str(prompt[n]),
                template=str(sets.queries["template"][n]),
                known=bool(sets.queries["known"][n]),
                log_probability=float(sets.queries["log_probability"][n]),
                rank=int(rank[n]),
                neurons=sets.of(n),
            )
            for n in places
        ),
        scores={name: float(scores[name].values[row]) for name in SHOWN_SCORES},
        k=len(counted),
        count={int(neurons[n]): int(count[n]) for n in order},
        n_neurons=sets.n_neurons,
        tokens=neuron_tokens(study, neurons[order]),
        certainty=sets.select(sets.queries["fact"] == row).certainty(),
        changed_by=_changed_by(study),
        effects=_effects(study, places),
        new_object=new_object,
        edited=edited,
    )


def _changed_by(study: Study) -> str:
    """Return method and threshold by which phases chose neurons, as their groups' attributes say."""
    for group in (study.interventions, study.edits):
        if "method" in group.attrs and "threshold" in group.attrs:
            return f"{group.attrs['method']}, threshold {group.attrs['threshold']:g}"
    return ""


def _effects(study: Study, places: list[int]) -> dict[str, dict[str, float]]:
    if "interventions" not in study.datasets or not places:
        return {}
    here = study.interventions[["log_probability", "base_log_probability"]].isel(query=places).load()
    change = here["log_probability"] - here["base_log_probability"]
    effects: dict[str, dict[str, float]] = {}
    for operation in map(str, change["operation"].values):
        own = [name for name in map(str, change["neuron_set"].values) if name not in NEURON_SETS]
        for name in (*_SHOWN, *own):
            if name in change["neuron_set"].values:
                values = change.sel(operation=operation, neuron_set=name).values
                kept = values[~np.isnan(values)]
                if len(kept):
                    effects.setdefault(operation, {})[name] = float(kept.mean())
    return effects


def _edited(study: Study, row: int) -> tuple[str, dict[str, tuple[int, int]]]:
    """Return o′, and its rank before and after an update of each set, for the query that was edited."""
    if "edits" not in study.datasets:
        return "", {}
    here = study.edits.isel(fact=row)
    query, operations = int(here["edited_query"]), [str(name) for name in here["edit_operation"].values]
    if query < 0 or "update" not in operations:
        return "", {}
    place = query - int(study.column("facts", "first_query")[row])
    before = int(here["base_new_rank"][place])
    after = here["new_rank"].isel(query_of_fact=place).sel(edit_operation="update").load()
    ranks = {
        str(name): int(value) for name, value in zip(after["edit_set"].values, after.values, strict=True)
    }
    return str(here["new_object"].values), {name: (before, rank) for name, rank in ranks.items() if rank > 0}
