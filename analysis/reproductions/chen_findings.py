"""What the tables of Chen et al. 2025 say of a study's own numbers, one sentence a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qloc.analysis.wording import number, percent
from qloc.text.rounding import available

Row = Mapping[str, Any]


def inconsistent_shares(rows: Sequence[Row]) -> str:
    """Say K_I by Otsu's threshold, as published, and K_I(k₀) beside it.

    Parameters
    ----------
    rows : sequence of mapping
        Of table ``chen_ratio``.

    Returns
    -------
    str
        A sentence; empty where no share is there.
    """
    otsu = [row for row in _having(rows, score="CS2", threshold="Otsu") if available(row["ratio"])]
    if not otsu:
        return ""
    several = len({row["method"] for row in otsu}) > 1
    named = [f"{row['model']} by {row['method']}" if several else str(row["model"]) for row in otsu]
    pairs = list(zip(otsu, named, strict=True))
    published = ", ".join(f"{percent(row['ratio'])} in {name}" for row, name in pairs)
    beside = ", ".join(f"{percent(row['ki_k0'])} in {name}" for row, name in pairs)
    return (
        f"As published, CS2 by Otsu's threshold calls facts inconsistent: {published}. "
        f"K_I(k₀), of as many queries of every fact, is {beside}."
    )


def updates(rows: Sequence[Row]) -> str:
    """Say how far updates of N_i generalize, and what they leave as it was.

    Parameters
    ----------
    rows : sequence of mapping
        Of table ``chen_modification``.

    Returns
    -------
    str
        A sentence; empty where there is no update of N_i.
    """
    here = [
        row
        for row in _having(rows, **{"operation": "update", "set": "own", "class": "all"})
        if available(row["generalization"]) and available(row["locality"])
    ]
    if not here:
        return ""
    carried, left = (
        ", ".join(f"{percent(row[score])} in {row['model']}" for row in here)
        for score in ("generalization", "locality")
    )
    return (
        f"Updates of N_i bring o′ to held-out paraphrases: {carried}. "
        f"Unrelated prompts that they leave as they were are {left}."
    )


def own_and_neighbor(rows: Sequence[Row]) -> str:
    """Say what suppression of own and of neighbor neurons does to the answer.

    Parameters
    ----------
    rows : sequence of mapping
        Of table ``chen_probability``.

    Returns
    -------
    str
        A sentence; empty where nothing is suppressed.
    """
    chosen = _having(rows, **{"operation": "suppress", "class": "all"})
    both = [(row["log_odds_own"], row["log_odds_neighbor"], row["model"]) for row in chosen]
    return _changes("a query's own neurons", "those of its neighbor", both)


def synapses(rows: Sequence[Row]) -> str:
    """Say what suppression of knowledge synapses and of random columns does to the answer.

    Parameters
    ----------
    rows : sequence of mapping
        Of table ``chen_synapses``.

    Returns
    -------
    str
        A sentence; empty where nothing is suppressed.
    """
    by_set = {
        name: {row["model"]: row["log_odds"] for row in _having(rows, operation="suppress", synapses=name)}
        for name in ("knowledge", "random_columns")
    }
    other = by_set["random_columns"]
    both = [(value, other[model], model) for model, value in by_set["knowledge"].items() if model in other]
    return _changes("knowledge synapses", "random columns of as much attention", both)


def consistency_aware(rows: Sequence[Row]) -> str:
    """Say how well updates of CAS neurons do beside those of N_i.

    Parameters
    ----------
    rows : sequence of mapping
        Of table ``chen_cas``.

    Returns
    -------
    str
        A sentence; empty where CAS neurons are not updated.
    """
    own, cas = (
        {row["model"]: row["harmonic"] for row in _having(rows, operation="update", set=name)}
        for name in ("own", "cas")
    )
    told = [
        f"{number(cas[model])} against {number(own[model])} in {model}"
        for model in cas
        if available(cas[model]) and available(own.get(model))
    ]
    if not told:
        return ""
    return f"The harmonic mean of updates of CAS neurons is, against that of N_i, {', '.join(told)}."


def _having(rows: Sequence[Row], **labels: str) -> Iterator[Row]:
    return (row for row in rows if all(row[name] == label for name, label in labels.items()))


def _changes(first: str, second: str, both: Sequence[tuple[Any, Any, Any]]) -> str:
    told = [(a, b, model) for a, b, model in both if available(a) and available(b)]
    if not told:
        return ""
    here = ", ".join(f"{number(a)} in {model}" for a, _, model in told)
    beside = ", ".join(f"{number(b)} in {model}" for _, b, model in told)
    return f"Suppressing {first} changes log-odds by {here}. Suppressing {second} changes them by {beside}."
