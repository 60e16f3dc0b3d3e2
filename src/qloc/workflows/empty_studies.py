"""Why a study gives no score of consistency: told of its facts, of its signals, and of counts of both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qloc.text.rounding import counted

if TYPE_CHECKING:
    from qloc.extract.signals.extraction import Extraction


def emptiness(n_askable: int, n_known: int, most_left: int) -> str:
    """Say why a study gives no score of consistency.

    Parameters
    ----------
    n_askable : int
        Queries that the model was asked.
    n_known : int
        Queries for which a right answer ranks first.
    most_left : int
        Most known queries of a fact that does not leak its answer.

    Returns
    -------
    str
        A sentence; empty where some fact has two known queries.

    Examples
    --------
    >>> emptiness(8, 0, 0)
    'The model knows the answer to none of 8 queries: no score of consistency can be computed.'
    >>> emptiness(8, 3, 2)
    ''
    """
    if most_left > 1:
        return ""
    if not n_known:
        got = f"The model knows the answer to none of {counted(n_askable, 'query')}"
    else:
        got = "No fact has two known queries whose answer is not in its subject"
    return f"{got}: no score of consistency can be computed."


def too_few_queries(extraction: Extraction) -> str:
    """Say why no score can come of a study's facts, whatever the model knows.

    Parameters
    ----------
    extraction : Extraction
        Its facts, and the queries that can be asked of them.

    Returns
    -------
    str
        A sentence; empty where some fact has two queries that can be asked.
    """
    facts = zip(extraction.facts.facts, extraction.asking.asked, strict=True)
    n_queries = [len(asked) for fact, asked in facts if fact.kind == "fact" and not fact.leaks]
    if not n_queries or max(n_queries) > 1:
        return ""
    return "No fact has two queries that can be asked: no score of consistency can be computed."


def nothing_known(store: Path) -> str:
    """Say why no score can come of a store's signals.

    Parameters
    ----------
    store : Path
        With complete signals.

    Returns
    -------
    str
        A sentence; empty where some fact has two known queries, and where all queries are minimal pairs.
    """
    from qloc.store.schema.zarr_arrays import stored

    kind, known, fact = (stored(store / "queries" / name) for name in ("kind", "known", "fact"))
    facts = kind == "fact"
    if not facts.any():
        return ""
    usable = facts & (known == 1) & (stored(store / "facts" / "leaks")[fact] != 1)
    most = int(np.bincount(fact[usable], minlength=1).max())
    return emptiness(int(facts.sum()), int((known[facts] == 1).sum()), most)
