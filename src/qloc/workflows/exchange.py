"""What sharing needs of two rooms: stores, and the neuron sets that an analysis makes of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qloc.canonical_json import canonical, differences
from qloc.errors import InputError, message
from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of
from qloc.vocabulary import DEFAULT_THRESHOLD

if TYPE_CHECKING:
    from qloc.neurons import NeuronSets
    from qloc.store.reading.open_store import StoredStudy

DEFAULT_SHARE: Final = 0.5
"""Sharing percentage p of the peers: a fact's neuron is in more than this share of its queries' sets."""


def diff(a: str | Path, b: str | Path, *, threshold: float = DEFAULT_THRESHOLD) -> dict[str, Any]:
    """Two extractions of one plan: how their numbers differ, and the neuron sets they lead to.

    Parameters
    ----------
    a, b : str or Path
        Complete stores.
    threshold : float, default DEFAULT_THRESHOLD
        T of the neuron sets, attribution > t · max.

    Returns
    -------
    dict of str to Any
        ``stores, facts, queries, fingerprint`` (where it differs), ``threshold, arrays, sets``.
        ``arrays``: of each ``n, n_unequal, unequal`` (share), ``absolute, relative`` (largest
        differences). ``sets``: of each method the Jaccard index |A ∩ B| / |A ∪ B| of a query's two
        sets, 1 where both are empty: ``mean, min`` and ``exact``, the share of queries where it is 1;
        None without queries.

    Raises
    ------
    SchemaError, VerificationError
        No store, or a broken one.
    InputError
        Not two extractions of one plan; every problem.
    FloorError
        A threshold below what a panel keeps.
    """
    from qloc.store.exchange.diff import compare_extractions, require_comparable
    from qloc.store.reading.open_store import open_store
    from qloc.workflows.analyze import open_study

    first, second = open_store(a), open_store(b)
    require_comparable(first, second)
    studies = [open_study(path) for path in (a, b)]
    methods = first.layout.methods
    sets = {name: _agreement(*(study.neurons(name, threshold) for study in studies)) for name in methods}
    arrays = compare_extractions(first, second)
    return {
        "stores": [str(a), str(b)],
        "facts": first.layout.sizes["fact"],
        "queries": first.layout.sizes["query"],
        "fingerprint": differences(_made_from(first), _made_from(second)),
        "threshold": threshold,
        "arrays": {path: {**asdict(one), "unequal": one.unequal} for path, one in arrays.items()},
        "sets": sets,
    }


def _made_from(stored: StoredStudy) -> dict[str, Any]:
    return {phase: found["made_from"] for phase, found in stored.attrs["fingerprint"].items()}


def jaccard(a: NeuronSets, b: NeuronSets) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Compare two models' sets of every query: |A ∩ B| / |A ∪ B|.

    Parameters
    ----------
    a : NeuronSets
        Sets of some queries.
    b : NeuronSets
        Sets of the same queries.

    Returns
    -------
    float64 ndarray, shape (query,)
        1 where both are empty.
    """
    common = a.member.astype(np.int64).multiply(b.member.astype(np.int64)).sum(axis=1)
    either = a.sizes() + b.sizes() - common
    return np.where(either > 0, common / np.maximum(either, 1), 1.0)


def _agreement(a: NeuronSets, b: NeuronSets) -> dict[str, float | None]:
    return _summary(jaccard(a, b))


def _summary(index: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float | None]:
    if not index.size:
        return {"mean": None, "min": None, "exact": None}
    return {"mean": float(index.mean()), "min": float(index.min()), "exact": float((index == 1).mean())}


def refined_of_store(sets: NeuronSets, share: float = DEFAULT_SHARE) -> dict[str, list[list[int]]]:
    """Return the refined neurons of every fact: those in more than a share of its queries' sets.

    Facts without queries are left out.

    Parameters
    ----------
    sets : NeuronSets
        Of all queries.
    share : float, default DEFAULT_SHARE
        P, in [0, 1).

    Returns
    -------
    dict of str to list of list of int
        Fact id → [[layer, index], …], ascending.

    Raises
    ------
    InputError
        ``share`` is not within [0, 1).

    References
    ----------
    Dai et al. 2022 (arXiv 2104.08696), §3.3; ``get_refined_neurons`` of EleutherAI/knowledge-neurons.
    """
    if not 0 <= share < 1:
        rule, action = "a number in [0, 1)", "Give a share of a fact's queries"
        raise InputError(message("share", share, rule, "refined neurons", action))
    found: dict[str, list[list[int]]] = {}
    fact = sets.queries["fact"]
    for number in np.unique(fact):
        rows = sets.member[np.flatnonzero(fact == number)]
        count = np.asarray(rows.astype(np.int64).sum(axis=0)).reshape(-1)
        neurons = np.flatnonzero(count > share * rows.shape[0])
        found[str(sets.facts["id"][number])] = [list(divmod(int(n), sets.n_neurons)) for n in neurons]
    return found


def export_neurons(
    store: str | Path,
    out: str | Path,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    share: float = DEFAULT_SHARE,
) -> Path:
    """Write the refined neurons of a store's facts as the peers do: ``{fact id: [[layer, index], …]}``.

    Parameters
    ----------
    store : str or Path
        Complete or not; facts without queries are left out.
    out : str or Path
        The file.
    method, threshold : str or float
        Of the queries' sets.
    share : float, default DEFAULT_SHARE
        As for :func:`refined_of_store`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SchemaError, VerificationError
        No store, or a broken one.
    InputError
        An unknown method, a share out of its domain, or something at ``out``.
    FloorError
        A threshold below what a panel keeps.
    StorageError
        The disk refused; nothing is left.
    """
    from qloc.store.files.staging import file_aside
    from qloc.workflows.analyze import open_study

    found = refined_of_store(open_study(store).neurons(method, threshold), share)
    with file_aside(Path(out)) as aside:
        aside.write_bytes(canonical(found) + b"\n")
    return Path(out)


def import_neurons(
    source: str | Path,
    store: str | Path,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    share: float = DEFAULT_SHARE,
) -> dict[str, Any]:
    """Compare neurons that somebody found, as ``{fact id: [[layer, index], …]}``, with those of a store.

    Parameters
    ----------
    source : str or Path
        The file of somebody's neurons.
    store : str or Path
        Complete or not.
    method : str, default "ig"
        Of the store's sets.
    threshold : float, default DEFAULT_THRESHOLD
        Of the store's sets.
    share : float, default DEFAULT_SHARE
        As for :func:`refined_of_store`.

    Returns
    -------
    dict of str to Any
        ``facts`` (in both), ``only_here, only_there`` (facts that one of them has), and of the Jaccard
        index of a fact's two refined sets ``mean, min, exact``; None without a fact in both.
        ``neurons``: the imported sets of the facts in both.

    Raises
    ------
    InputError
        The file is not of that form, or names neurons that the model of the store has not; every
        problem.
    """
    from qloc.workflows.analyze import open_study

    sets = open_study(store).neurons(method, threshold)
    theirs = _neurons(Path(source), sets.n_layers, sets.n_neurons)
    ours = refined_of_store(sets, share)
    both = [name for name in ours if name in theirs]
    index = np.array([_overlap(ours[name], theirs[name]) for name in both])
    return {
        "facts": len(both),
        "only_here": len(ours) - len(both),
        "only_there": len(theirs) - len(both),
        **_summary(index),
        "neurons": {name: theirs[name] for name in both},
    }


def _overlap(a: list[list[int]], b: list[list[int]]) -> float:
    first, second = ({(layer, index) for layer, index in found} for found in (a, b))
    return len(first & second) / len(first | second) if first | second else 1.0


def _neurons(source: Path, n_layers: int, n_neurons: int) -> dict[str, list[list[int]]]:
    rule, action = "JSON of the form {fact id: [[layer, index], …]}", "Export it again"
    try:
        found = json_of(read_ordinary(source))
    except (OSError, ValueError) as error:
        raise InputError(message("file", str(error), rule, str(source), action)) from None
    if not isinstance(found, dict):
        raise InputError(message("file", type(found).__name__, rule, str(source), action))
    bounds = f"[layer < {n_layers}, index < {n_neurons}]"
    problems = []
    for name, neurons in found.items():
        if not isinstance(neurons, list):
            problems.append(message(f"fact {name!r}", neurons, "a list of neurons", str(source), action))
            continue
        if wrong := [neuron for neuron in neurons if not _is_neuron(neuron, n_layers, n_neurons)]:
            what = f"neuron of fact {name!r} (and {len(wrong) - 1} more)"
            problems.append(message(what, wrong[0], bounds, str(source), "Take the store of the same model"))
    if problems:
        raise InputError(problems)
    return found


def _is_neuron(found: Any, n_layers: int, n_neurons: int) -> bool:
    whole = isinstance(found, list) and len(found) == 2 and all(type(n) is int for n in found)
    return whole and 0 <= found[0] < n_layers and 0 <= found[1] < n_neurons
