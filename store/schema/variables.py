"""The schema as frozen data: groups, variables, dims, dtypes, missing values.

This is the contract that docs/store.md describes. A variable may be added; none changes its name, dims or
meaning without a new :data:`SCHEMA_VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from qloc.arrays import Array
from qloc.vocabulary import (
    ANSWER_TOKEN,
    CANDIDATE,
    FACT,
    HEAD,
    LAYER,
    METHOD,
    NEURON,
    NO_INDEX,
    PLACE,
    QUERY,
    QUERY_OF_FACT,
    SLOT,
    TOKEN,
    TOP,
    VOCABULARY,
)

SCHEMA_VERSION: Final = 1
"""Version of the schema that this version of qloc writes."""

STRING: Final = "string"
"""Zarr dtype of variable-length UTF-8."""

STORED: Final = "stored"
"""Stands for the store's own floating type (``--store-dtype``)."""

QUERY_OF_FACT_: Final = f"{QUERY_OF_FACT}_"
"""Second axis of a Gram matrix: xarray wants two names for two axes."""

Tier = Literal["panel", "dense"]


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One array of the store.

    Attributes
    ----------
    group : str
        The group, such as ``signals``.
    name : str
        Its name in the group.
    dims : tuple of str
        Names of its axes.
    dtype : str
        A Zarr dtype, :data:`STRING` (variable-length UTF-8), or :data:`STORED`.
    meaning : str
        What a value is; written as the array's ``long_name``.
    """

    group: str
    name: str
    dims: tuple[str, ...]
    dtype: str
    meaning: str = ""

    @property
    def path(self) -> str:
        """The path in the hierarchy, such as ``signals/attribution``."""
        return f"{self.group}/{self.name}"

    @property
    def row(self) -> int | None:
        """The number of the axis that units cut, ``query`` or else ``fact``; None without such an axis."""
        return next((self.dims.index(dim) for dim in (QUERY, FACT) if dim in self.dims), None)


def variables(group: str, table: Mapping[str, tuple[tuple[str, ...], str, str]]) -> tuple[Variable, ...]:
    """Return the variables of a group from a table.

    Parameters
    ----------
    group : str
        Name of the group.
    table : mapping of str to tuple
        Dims, dtype and meaning of each variable, by name.

    Returns
    -------
    tuple of Variable
        The variables, in the order of the table.
    """
    return tuple(
        Variable(group=group, name=name, dims=dims, dtype=dtype, meaning=meaning)
        for name, (dims, dtype, meaning) in table.items()
    )


_Q, _QA, _QT = (QUERY,), (QUERY, ANSWER_TOKEN), (QUERY, TOP)
_MQL, _QS = (METHOD, QUERY, LAYER), (QUERY, SLOT)
_QLHT = (QUERY, LAYER, HEAD, TOKEN)
_MFKK = (METHOD, FACT, QUERY_OF_FACT, QUERY_OF_FACT_)

QUERIES: Final = variables(
    "queries",
    {
        "fact": (_Q, "int32", "index into /facts"),
        "template": (_Q, STRING, "id of the template"),
        "relation": (_Q, STRING, "relation of the fact"),
        "prompt": (_Q, STRING, "the text asked, [Y] where the answer stands"),
        "answer": (_Q, STRING, "the answer asked for"),
        "kind": (_Q, STRING, "fact or minimal_pair"),
        "answer_token_id": (_QA, "int32", "token ids of the answer"),
        "target_position": (_QA, "int32", "position whose output predicts the answer token"),
        "token_log_probability": (_QA, "float32", "log P(token | prompt, earlier answer tokens), nats"),
        "token_rank": (_QA, "int32", "rank of the answer token, from 1"),
        "log_probability": (_Q, "float32", "log P(answer | prompt), nats: the sum over its tokens"),
        "rank": (_Q, "int32", "the worst token_rank"),
        "argmax": (_Q, "int32", "token id of the best token at the first target"),
        "known": (_Q, "int8", "1 where it, or another right answer of the prompt, ranks first, else 0"),
        "bad_log_probability": (_Q, "float32", "log P of a minimal pair's bad continuation, nats"),
        "top_token_id": (_QT, "int32", "ids of the best tokens at the first target, best first"),
        "top_log_probability": (_QT, "float32", "their log-probabilities, nats"),
        "candidate_log_probability": (
            (QUERY, CANDIDATE),
            "float32",
            "log P of the relation's candidate answers (named in the attributes of /facts), nats",
        ),
    },
)

_PER_QUERY: Final = {
    "fact": (_Q, "int32", "index into /facts, and along dim fact"),
    "relation": (_Q, STRING, "relation of the fact"),
    "template": (_Q, STRING, "id of the template"),
    "attribution_method": ((METHOD,), STRING, "name of the attribution method"),
}
_PER_LAYER: Final = {
    "maximum": (_MQL, STORED, "largest attribution of the layer's neurons"),
    "total": (_MQL, STORED, "sum of the attributions of the layer's neurons"),
    "count_above_floor": (_MQL, "int32", "neurons with attribution > 0 and ≥ floor · max over the network"),
    "completeness_gap": (_MQL, "float32", "|ΣA − ΔP| / max(Σ|A|, |ΔP|), the largest over answer tokens"),
    "n_nodes": (_MQL, "int32", "gradients along the layer's paths, besides those at the activation itself"),
    "error_bound": (
        _MQL,
        "float32",
        "bound of the error of an attribution, relative to the query's largest, for neurons that could reach "
        "the floor; NaN where the quadrature gives none",
    ),
    "converged": (_MQL, "int8", "1 as exact as was asked, 0 not; -1 where the quadrature does not say"),
    "panel_neuron": (
        (FACT, SLOT),
        "int32",
        "layer · n_neurons + index of the neuron in each slot, ascending",
    ),
    "panel_floor": ((FACT,), "float64", "thresholds t ≥ this are exact on the fact's panel"),
}
_SIGNALS: Final = {
    "attribution": "attribution of the query's answer to the neuron",
    "activation": "input of the MLP's down-projection at the target position, mean over answer tokens",
    "gradient": "gradient of the answer token's probability at the activation, mean over answer tokens",
}
ERROR_BOUNDS: Final = ("n_nodes", "error_bound", "converged")
"""Variables of /signals that say how exactly paths were integrated; older stores lack them."""

CELLS: Final[dict[Tier, tuple[str, ...]]] = {"panel": (SLOT,), "dense": (LAYER, NEURON)}
"""The last axes of a signal in each tier."""

SIGNALS: Final[dict[Tier, tuple[Variable, ...]]] = {
    tier: variables(
        "signals",
        {
            name: (((METHOD,) if name == "attribution" else ()) + (QUERY, *cells), STORED, meaning)
            for name, meaning in _SIGNALS.items()
        }
        | _PER_LAYER
        | _PER_QUERY,
    )
    for tier, cells in CELLS.items()
}
ATTENTION: Final = variables(
    "attention",
    {
        "target_row": (_QLHT, "float16", "attention from the target position to each token"),
        "column_mass": (_QLHT, "float16", "Σ over tokens of their attention to this token"),
        "column_mass_no_sink": (_QLHT, "float16", "the same without the first token, rows renormalized"),
        "length": (_Q, "int32", "tokens of the pass (multi-token answers: the last token's pass)"),
    },
)
GRAMS: Final = variables(
    "grams",
    {
        "gram": (_MFKK, "float64", "inner products of the full score vectors of a fact's queries"),
        "null_gram": (_MFKK, "float64", "the same for queries drawn from different subjects"),
        "attribution_method": _PER_QUERY["attribution_method"],
    },
)
_LNP: Final = (LAYER, NEURON, PLACE)
NEURONS: Final = variables(
    "neurons",
    {
        "promoted_token_id": (
            _LNP,
            "int32",
            "ids of the tokens for which the neuron's row of the down-projection · their row of the output "
            "embedding is largest, the largest first; -1 for neurons that reached no floor",
        ),
        "suppressed_token_id": (_LNP, "int32", "the same where it is smallest, the smallest first"),
        "token": (
            (VOCABULARY,),
            STRING,
            "text of the token with this id, where this group or top_token_id names it, else empty",
        ),
    },
)
"""Gathered from units; older stores, and models without such products, lack the group."""
COORDINATES: Final = {"signals": tuple(_PER_QUERY), "grams": ("attribution_method",)}
"""Coordinates of each group that has some."""

_F: Final = (FACT,)
FACTS: Final = variables(
    "facts",
    {
        "id": (_F, STRING, "id of the fact"),
        "subject": (_F, STRING, "what the fact is about"),
        "relation": (_F, STRING, "relation; of a minimal pair, its paradigm"),
        "object": (_F, STRING, "the answer asked for; of a minimal pair, the good continuation"),
        "feature": (_F, STRING, "what a minimal pair is about, else empty"),
        "first_query": (_F, "int32", "the fact's first row along query; -1 where it has none"),
        "n_queries": (_F, "int32", "how many queries it has"),
        "n_objects": (_F, "int32", "how many right answers its subject and relation have"),
        "leaks": (_F, "int8", "1 where the answer is contained in the subject, else 0"),
    },
)
"""Columns that every /facts has; attributes of facts follow under their own names."""


def missing(dtype: str) -> Any:
    """Return the value that stands for a missing one.

    Parameters
    ----------
    dtype : str
        A Zarr dtype.

    Returns
    -------
    object
        NaN for floats, −1 for integers, the empty string for strings.
    """
    if dtype == STRING:
        return ""
    return np.nan if dtype.startswith("float") else NO_INDEX


def as_stored(values: Array, dtype: str) -> Array:
    """Convert values to a Zarr dtype, contiguous; strings become objects, with None as the empty string.

    Parameters
    ----------
    values : ndarray
        The values.
    dtype : str
        A Zarr dtype.

    Returns
    -------
    ndarray
        The values, of the same shape.

    Examples
    --------
    >>> as_stored(np.array(["a", None]), "string"), as_stored(np.array([True, False]), "int8")
    (array(['a', ''], dtype=object), array([1, 0], dtype=int8))
    """
    if dtype == STRING:
        flat = np.asarray(values, dtype=object).reshape(-1)
        texts = ["" if value is None else str(value) for value in flat]
        return np.array([*texts, None], dtype=object)[:-1].reshape(np.shape(values))
    return np.ascontiguousarray(values, dtype=dtype)


def fact_column(name: str, column: Array) -> Variable:
    """Return the variable for a column of /facts: a known one, or an attribute as string, int64 or float64.

    Parameters
    ----------
    name : str
        Name of the column.
    column : ndarray, shape (fact,)
        Its values; their kind decides the dtype of an attribute.

    Returns
    -------
    Variable
        The variable, in the group ``facts``.

    Examples
    --------
    >>> fact_column("count", np.array([0.5])).dtype, fact_column("leaks", np.array([True])).dtype
    ('float64', 'int8')
    """
    for ours in FACTS:
        if ours.name == name:
            return ours
    dtype = STRING if column.dtype.kind in "OUT" else "float64" if column.dtype.kind == "f" else "int64"
    return Variable(group="facts", name=name, dims=_F, dtype=dtype, meaning="attribute of the fact")
